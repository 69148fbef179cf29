/* See script_store_flights.h. As a note has it, a value is
 *
 *     UNTIL n NUMBER | UNTIL b 0 or 1 | UNTIL s TEXT       UNTIL: ms of the store's time; 0: for ever
 */
#include "core/script/script_store_flights.h"

#include "core/base/hash.h"
#include "core/base/log.h"
#include "core/hub/shard/note_sweep.h"
#include "core/hub/shard/nodes.h"
#include "core/hub/shard/shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* At once on their way: far fewer than a node may miss of the log before it reads all of it anew. And so many may wait
 * before changes of one key become one. */
enum { FLYING_MAX = 128, WAITING_MANY = 1024 };
enum { HEAD_MAX = 64, NOTE_KEY_MAX = 200 };

/* --- Steps -------------------------------------------------------------------------------------------------------- */

static void step_clear(struct step *s)
{
    if (s->kind == STEP_SET && s->v.type == VALUE_TEXT)
        free((void *)(uintptr_t)s->v.text.p);
    *s = (struct step){.kind = STEP_REMOVE};
}

static bool step_set(struct step *out, const struct script_value *v, uint64_t until_ms)
{
    *out = (struct step){.kind = STEP_SET, .v = *v, .until_ms = until_ms};
    if (v->type != VALUE_TEXT)
        return true;
    char *text = malloc(v->text.n + 1);
    if (text && v->text.n)
        memcpy(text, v->text.p, v->text.n);
    out->v.text = slice_of(text, v->text.n);
    return text != NULL;
}

/* False: out of memory. */
static bool step_make(struct step *out, const struct values_change *c)
{
    if (c->v && !c->added)
        return step_set(out, c->v, c->until_ms);
    *out = (struct step){.kind = c->v         ? STEP_ADD
                                 : c->expired ? STEP_EXPIRE
                                              : STEP_REMOVE,
                         .until_ms = c->until_ms,
                         .by = c->by};
    return true;
}

/* On top of what stands. */
static void step_apply(const struct step *s, struct script_value *v, uint64_t *until_ms, uint64_t now_ms)
{
    bool gone = v->type == VALUE_NONE || (*until_ms && *until_ms <= now_ms);
    switch (s->kind) {
    case STEP_SET:
        *v = s->v;
        *until_ms = s->until_ms;
        break;
    case STEP_ADD:
        if (gone) {
            *v = (struct script_value){.type = VALUE_NUMBER, .number = s->by};
            *until_ms = s->until_ms;
        } else if (v->type == VALUE_NUMBER) {
            v->number += s->by;
        }
        break;
    case STEP_REMOVE:
        v->type = VALUE_NONE;
        break;
    case STEP_EXPIRE:
        if (*until_ms == s->until_ms)
            v->type = VALUE_NONE;
        break;
    }
}

/* Whether what stands does not matter to it. */
static bool is_whole(const struct step *s)
{
    return s->kind == STEP_SET || s->kind == STEP_REMOVE;
}

/* What two steps one after the other are. Takes `next`, unless false: it cannot be said, or there is no memory. */
static bool step_join(struct step *at, struct step *next, uint64_t now_ms)
{
    if (is_whole(next)) {
        step_clear(at);
        *at = *next;
        return true;
    }
    if (at->kind == STEP_ADD && next->kind == STEP_ADD) {
        at->by += next->by;
        return true;
    }
    if (!is_whole(at))
        return false;
    struct script_value v = {.type = VALUE_NONE};
    struct step whole = {.kind = STEP_REMOVE};
    uint64_t until_ms = 0;
    step_apply(at, &v, &until_ms, now_ms);
    step_apply(next, &v, &until_ms, now_ms);
    if (v.type != VALUE_NONE && !step_set(&whole, &v, until_ms))
        return false;
    step_clear(at);
    *at = whole;
    return true;
}

/* As a note has it; returns its bytes, which are `text` behind the head for a text. */
static int put_head(char out[HEAD_MAX], const struct step *s)
{
    unsigned long long until = s->until_ms;
    if (s->kind == STEP_ADD)
        return snprintf(out, HEAD_MAX, "%llu n %.17g", until, s->by);
    if (s->kind == STEP_EXPIRE)
        return snprintf(out, HEAD_MAX, "%llu ", until);
    if (s->kind != STEP_SET)
        return 0;
    if (s->v.type == VALUE_NUMBER)
        return snprintf(out, HEAD_MAX, "%llu n %.17g", until, s->v.number);
    if (s->v.type == VALUE_BOOL)
        return snprintf(out, HEAD_MAX, "%llu b %d", until, s->v.number != 0);
    return snprintf(out, HEAD_MAX, "%llu s ", until);
}

/* --- Tracks ------------------------------------------------------------------------------------------------------- */

static struct slice key_of(const struct track *t)
{
    return slice_of(t->key, t->key_n);
}

struct track **track_place(struct flights *x, const struct script_space *p, uint64_t hash, struct slice key)
{
    struct track **at = &x->buckets[hash % FLIGHT_BUCKETS];
    while (*at && !((*at)->hash == hash && (*at)->space == p && slice_eq(key_of(*at), key)))
        at = &(*at)->chain;
    return at;
}

void track_apply(struct track *t, uint64_t number, struct script_value *v, uint64_t *until_ms, uint64_t now_ms)
{
    bool anew = false; /* a step that makes it whole is missing in the log, so that all behind it are */
    for (struct flight *f = t->first; f; f = f->younger) {
        f->seen = f->seen || (number && number == f->number);
        anew = anew || (!f->seen && is_whole(&f->step));
        if (anew || !f->seen)
            step_apply(&f->step, v, until_ms, now_ms);
    }
}

/* Lets go of those at the beginning that have ended. */
static void track_trim(struct flights *x, struct track *t)
{
    while (t->first && t->first->state == FLIGHT_LANDED) {
        struct flight *f = t->first;
        t->first = f->younger;
        f->track = NULL; /* it goes out of the list of all when it is its turn */
    }
    if (t->first)
        return;
    *track_place(x, t->space, t->hash, key_of(t)) = t->chain;
    free(t);
}

static void flight_free(struct script_store *s, struct flight *f)
{
    atomic_fetch_sub_explicit(&s->pending, 1, memory_order_relaxed);
    step_clear(&f->step);
    free(f);
}

/* Those at the beginning that are in no track any more. */
static void trim(struct flights *x)
{
    while (x->first && !x->first->track) {
        struct flight *f = x->first;
        x->first = f->next;
        flight_free(x->store, f);
    }
    if (!x->first)
        x->last = NULL;
}

/* --- On their way ------------------------------------------------------------------------------------------------- */

static void landed(void *ctx, enum store_status status);

/* Hands it over. Without memory: as if it had failed. */
static void launch(struct flights *x, struct flight *f)
{
    struct track *t = f->track;
    char key[NOTE_KEY_MAX + 1], head[HEAD_MAX], value[HEAD_MAX + STORE_TEXT_MAX];
    size_t n = (size_t)put_head(head, &f->step), text = 0;
    memcpy(value, head, n);
    if (f->step.kind == STEP_SET && f->step.v.type == VALUE_TEXT && (text = f->step.v.text.n) != 0)
        memcpy(value + n, f->step.v.text.p, text);
    if (!f->number)
        f->number = note_number(x->store->hub);
    struct note_order o = {.key = slice_of(key, script_note_key(t->space, key_of(t), key)),
                           .value = slice_of(value, n + text),
                           .remove = f->step.kind == STEP_REMOVE || f->step.kind == STEP_EXPIRE,
                           .add = f->step.kind == STEP_ADD,
                           .number = f->number,
                           .home = hub_main(x->store->hub),
                           .done = landed,
                           .ctx = f};
    bool flies = note_order(x->store->hub, &o) == 0;
    f->state = flies ? FLIGHT_FLIES : FLIGHT_FAILED;
    x->flying += flies;
    x->failed += !flies;
}

/* As many as may. */
static void launch_waiting(struct flights *x)
{
    while (x->waits && x->flying < FLYING_MAX && !x->failed) {
        struct flight *f = x->waits;
        x->waits = f->next;
        x->waiting--;
        launch(x, f);
    }
}

static void add(struct flights *x, struct track *t, struct flight *f)
{
    if (t->first)
        t->last->younger = f;
    else
        t->first = f;
    t->last = f;
    if (x->first)
        x->last->next = f;
    else
        x->first = f;
    x->last = f;
    if (!x->waits)
        x->waits = f;
    x->waiting++;
    atomic_fetch_add_explicit(&x->store->pending, 1, memory_order_relaxed);
}

/* Takes the step, unless false: out of memory. */
static bool change(struct flights *x, struct script_space *p, struct slice key, struct step *step)
{
    uint64_t hash = hash_bytes(key);
    struct track **at = track_place(x, p, hash, key), *t = *at;
    struct flight *last = t ? t->last : NULL;
    /* The very last of all may take it in, for nothing has been done in between; others only in need. */
    if (last && last->state == FLIGHT_WAITS && (last == x->last || x->waiting >= WAITING_MANY) &&
        step_join(&last->step, step, script_store_now(x->store)))
        return true;
    struct flight *f = calloc(1, sizeof *f);
    if (f && !t && (t = calloc(1, sizeof *t + key.n)) != NULL) {
        *t = (struct track){.space = p, .hash = hash, .key_n = key.n};
        if (key.n)
            memcpy(t->key, key.p, key.n);
        *at = t;
    }
    if (!f || !t) {
        free(f);
        return false;
    }
    f->track = t;
    f->step = *step;
    add(x, t, f);
    launch_waiting(x);
    return true;
}

bool flights_change(struct script_space *p, const struct values_change *c)
{
    struct script_store *s = p->store;
    struct flights *x = s->flights;
    struct step step;
    if (c->expired && !hub_leads(s->hub))
        return true; /* it is past its time on all nodes; one of them says so to the store */
    if (!step_make(&step, c))
        return false;
    pthread_mutex_lock(&x->lock);
    bool idle = !x->flying && !x->failed;
    /* What flies is newer than what has passed. */
    bool good = (c->expired && *track_place(x, p, hash_bytes(c->key), c->key)) || change(x, p, c->key, &step);
    bool arm = idle && x->failed;
    pthread_mutex_unlock(&x->lock);
    if (!good)
        step_clear(&step);
    if (arm)
        script_store_arm(s);
    return good;
}

/* On the main thread. */
static void landed(void *ctx, enum store_status status)
{
    struct flight *f = ctx;
    struct script_space *p = f->track->space;
    struct script_store *s = p->store;
    struct flights *x = s->flights;
    bool failed = status == STORE_RETRY || status == STORE_UNKNOWN;
    if (failed)
        log_event(LOG_WARN, "script.store_failed", LOG_STR("script", p->name),
                  LOG_STR("because", "the store does not write now; it is tried again"));
    else if (status != STORE_OK && status != STORE_NOTFOUND)
        log_event(LOG_ERROR, "script.store_lost", LOG_STR("script", p->name));
    pthread_mutex_lock(&x->lock);
    x->flying--;
    x->failed += failed;
    f->state = failed ? FLIGHT_FAILED : FLIGHT_LANDED;
    if (!failed) {
        track_trim(x, f->track);
        trim(x);
    }
    launch_waiting(x);
    bool arm = x->failed && !x->flying;
    pthread_mutex_unlock(&x->lock);
    if (arm)
        script_store_arm(s);
}

/* --- After a failure ---------------------------------------------------------------------------------------------- */

/* Nothing of the key flies. What was overtaken by one that made it whole needs not be done any more; and one that makes
 * it whole, and failed, takes in what came after it, for in the log that may stand before it. */
static void track_mend(struct flights *x, struct track *t, uint64_t now_ms)
{
    struct flight *whole = NULL;
    for (struct flight *f = t->first; f && f->state != FLIGHT_WAITS; f = f->younger)
        if (is_whole(&f->step))
            whole = f;
    for (struct flight *f = t->first; whole && f != whole; f = f->younger) {
        x->failed -= f->state == FLIGHT_FAILED;
        f->state = FLIGHT_LANDED;
    }
    if (!whole || whole->state != FLIGHT_FAILED || !whole->number)
        return;
    for (struct flight *f = whole->younger; f && f->state != FLIGHT_WAITS; f = f->younger) {
        (void)step_join(&whole->step, &f->step, now_ms); /* without memory, what it was is what there is */
        x->failed -= f->state == FLIGHT_FAILED;
        f->state = FLIGHT_LANDED;
        whole->number = 0; /* it is another one now */
        whole->seen = false;
    }
}

void flights_again(struct script_store *s)
{
    struct flights *x = s->flights;
    uint64_t now_ms = script_store_now(s);
    pthread_mutex_lock(&x->lock);
    for (struct flight *f = x->flying ? NULL : x->first; f && f != x->waits; f = f->next)
        if (f->track && f->state == FLIGHT_FAILED)
            track_mend(x, f->track, now_ms);
    for (struct flight *f = x->flying ? NULL : x->first, *end = x->waits; f && f != end; f = f->next) {
        if (f->track && f->state == FLIGHT_FAILED) {
            x->failed--;
            launch(x, f);
        } else if (f->track && f->state == FLIGHT_LANDED) {
            track_trim(x, f->track);
        }
    }
    trim(x);
    launch_waiting(x);
    bool arm = x->failed && !x->flying;
    pthread_mutex_unlock(&x->lock);
    if (arm)
        script_store_arm(s);
}

void flights_free(struct script_store *s)
{
    struct flights *x = s->flights;
    if (!x)
        return;
    for (unsigned i = 0; i < FLIGHT_BUCKETS; i++) {
        for (struct track *t = x->buckets[i], *next; t; t = next) {
            next = t->chain;
            log_event(LOG_ERROR, "script.store_lost", LOG_STR("script", t->space->name));
            free(t);
        }
    }
    for (struct flight *f = x->first, *next; f; f = next) {
        next = f->next;
        flight_free(s, f);
    }
    note_sweeper_remove(s->hub, s);
    pthread_mutex_destroy(&x->lock);
    free(x->all.keys);
    free(x);
    s->flights = NULL;
}
