/*
 * magpie.store over the nodes of a cluster. A script's change is made here at once, and flies to the log of notes
 * behind. What the log says is what counts: it replaces what is here, and on top of it come the changes of this node
 * that it does not have yet. So all nodes end the same, and sums are exact.
 *
 * One change of a key flies at a time; those that come meanwhile become one, which goes next. A change that fails, or
 * of which nothing is known, flies again under its number, by which it is done once.
 *
 *     value of a note   UNTIL n NUMBER | UNTIL b 0 or 1 | UNTIL s TEXT       UNTIL: ms of the store's time; 0: for ever
 *
 * Locks: that of the key's stripe first, then the flights'.
 */
#include "core/base/container.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "core/hub/shard/nodes.h"
#include "core/hub/shard/shard.h"
#include "core/script/script_store_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 4096, HEAD_MAX = 64, NOTE_KEY_MAX = 200 };

enum flight_kind {
    FLY_NOTHING,
    FLY_SET,
    FLY_ADD,
    FLY_REMOVE,
    FLY_EXPIRE /* removed where it still ends then */
};

struct step {
    enum flight_kind kind;
    struct script_value v; /* SET; its text is owned */
    uint64_t until_ms;     /* SET; ADD: of a new one; EXPIRE: the one that has passed */
    double by;             /* ADD */
};

/* What is on its way of one key. */
struct flight {
    struct flight *chain; /* of the bucket */
    struct flight *again; /* of those that failed */
    struct script_space *space;
    uint64_t hash;
    uint64_t number;        /* of `now` */
    struct step now, later; /* flying, or about to fly again; what comes then */
    bool seen;              /* the log has had `now` */
    size_t key_n;
    char key[];
};

struct flights {
    struct script_store *store;
    pthread_mutex_t lock;
    struct flight *buckets[BUCKETS]; /* owned */
    struct flight *failed;           /* to be tried again; list by `again` */
    uint64_t numbers;                /* the newest */
    bool loading;                    /* changes of others wait */
    bool waits;                      /* … and one does */
    struct note_change heard;        /* that one */
    struct {
        uint64_t *keys; /* hashes of notes that are there; owned */
        size_t n, cap;
        bool lost; /* without memory: nothing is taken away */
    } all;         /* while all are read anew; main thread */
    struct mail read;
};

static void launch(struct flight *f);

/* --- Steps -------------------------------------------------------------------------------------------------------- */

static void step_clear(struct step *s)
{
    if (s->kind == FLY_SET && s->v.type == VALUE_TEXT)
        free((void *)(uintptr_t)s->v.text.p);
    *s = (struct step){.kind = FLY_NOTHING};
}

/* False: out of memory. */
static bool step_make(struct step *out, const struct values_change *c)
{
    *out = (struct step){.kind = !c->v      ? c->expired ? FLY_EXPIRE : FLY_REMOVE
                                 : c->added ? FLY_ADD
                                            : FLY_SET,
                         .until_ms = c->until_ms,
                         .by = c->by};
    if (out->kind != FLY_SET)
        return true;
    out->v = *c->v;
    if (c->v->type != VALUE_TEXT)
        return true;
    char *text = malloc(c->v->text.n + 1);
    if (text && c->v->text.n)
        memcpy(text, c->v->text.p, c->v->text.n);
    out->v.text = slice_of(text, c->v->text.n);
    return text != NULL;
}

/* What two steps one after the other are. Takes `next`, whose outcome is *v. */
static bool step_join(struct step *at, struct step *next, const struct values_change *c)
{
    if (next->kind != FLY_ADD || at->kind == FLY_NOTHING) {
        step_clear(at);
        *at = *next;
        return true;
    }
    if (at->kind == FLY_ADD) {
        at->by += next->by;
        return true;
    }
    /* A sum on what is set by then is known. */
    struct values_change whole = *c;
    whole.added = false;
    step_clear(at);
    return step_make(at, &whole);
}

/* On top of what stands. */
static void step_apply(const struct step *s, struct script_value *v, uint64_t *until_ms, uint64_t now_ms)
{
    bool gone = v->type == VALUE_NONE || (*until_ms && *until_ms <= now_ms);
    switch (s->kind) {
    case FLY_NOTHING:
        break;
    case FLY_SET:
        *v = s->v;
        *until_ms = s->until_ms;
        break;
    case FLY_ADD:
        if (gone) {
            *v = (struct script_value){.type = VALUE_NUMBER, .number = s->by};
            *until_ms = s->until_ms;
        } else if (v->type == VALUE_NUMBER) {
            v->number += s->by;
        }
        break;
    case FLY_REMOVE:
        v->type = VALUE_NONE;
        break;
    case FLY_EXPIRE:
        if (*until_ms == s->until_ms)
            v->type = VALUE_NONE;
        break;
    }
}

/* As a note has it; returns its bytes, which are `text` behind the head for a text. */
static int put_head(char out[HEAD_MAX], const struct step *s)
{
    unsigned long long until = s->until_ms;
    if (s->kind == FLY_ADD)
        return snprintf(out, HEAD_MAX, "%llu n %.17g", until, s->by);
    if (s->kind == FLY_EXPIRE)
        return snprintf(out, HEAD_MAX, "%llu ", until);
    if (s->kind != FLY_SET)
        return 0;
    if (s->v.type == VALUE_NUMBER)
        return snprintf(out, HEAD_MAX, "%llu n %.17g", until, s->v.number);
    if (s->v.type == VALUE_BOOL)
        return snprintf(out, HEAD_MAX, "%llu b %d", until, s->v.number != 0);
    return snprintf(out, HEAD_MAX, "%llu s ", until);
}

/* --- Flights, under the lock -------------------------------------------------------------------------------------- */

static struct slice key_of(const struct flight *f)
{
    return slice_of(f->key, f->key_n);
}

static struct flight **place_of(struct flights *x, const struct script_space *p, uint64_t hash, struct slice key)
{
    struct flight **at = &x->buckets[hash % BUCKETS];
    while (*at && !((*at)->hash == hash && (*at)->space == p && slice_eq(key_of(*at), key)))
        at = &(*at)->chain;
    return at;
}

static void flight_end(struct flights *x, struct flight *f)
{
    struct flight **at = place_of(x, f->space, f->hash, key_of(f));
    *at = f->chain;
    atomic_fetch_sub_explicit(&f->space->store->pending, 1, memory_order_relaxed);
    step_clear(&f->now);
    step_clear(&f->later);
    free(f);
}

/* --- A change of this node ---------------------------------------------------------------------------------------- */

/* With the lock of the key's stripe held. */
bool flights_change(struct script_space *p, const struct values_change *c)
{
    struct script_store *s = p->store;
    struct flights *x = s->flights;
    struct step next;
    if (c->expired && !hub_leads(s->hub))
        return true; /* it is past its time on all nodes; one of them says so to the store */
    if (!step_make(&next, c))
        return false;
    uint64_t hash = hash_bytes(c->key);
    pthread_mutex_lock(&x->lock);
    struct flight **at = place_of(x, p, hash, c->key), *f = *at;
    if (f) {
        bool good = c->expired || step_join(&f->later, &next, c); /* what flies is newer than what has passed */
        pthread_mutex_unlock(&x->lock);
        return good;
    }
    f = malloc(sizeof *f + c->key.n);
    if (f) {
        *f = (struct flight){.space = p, .hash = hash, .now = next, .number = ++x->numbers, .key_n = c->key.n};
        if (c->key.n)
            memcpy(f->key, c->key.p, c->key.n);
        *at = f;
        atomic_fetch_add_explicit(&s->pending, 1, memory_order_relaxed);
        launch(f);
    }
    pthread_mutex_unlock(&x->lock);
    if (!f)
        step_clear(&next);
    return f != NULL;
}

static void landed(void *ctx, enum store_status status)
{
    struct flight *f = ctx;
    struct script_store *s = f->space->store;
    struct flights *x = s->flights;
    bool failed = status == STORE_RETRY || status == STORE_UNKNOWN;
    if (failed)
        log_event(LOG_WARN, "script.store_failed", LOG_STR("script", f->space->name),
                  LOG_STR("because", "the store does not write now; it is tried again"));
    else if (status != STORE_OK && status != STORE_NOTFOUND)
        log_event(LOG_ERROR, "script.store_lost", LOG_STR("script", f->space->name));
    pthread_mutex_lock(&x->lock);
    if (failed) {
        f->again = x->failed;
        x->failed = f;
    } else {
        step_clear(&f->now);
        if (f->later.kind == FLY_NOTHING) {
            flight_end(x, f);
        } else {
            f->now = f->later;
            f->later = (struct step){.kind = FLY_NOTHING};
            f->seen = false;
            f->number = ++x->numbers;
            launch(f);
        }
    }
    pthread_mutex_unlock(&x->lock);
    if (failed)
        script_store_arm(s);
}

/* Hands `now` over; under the lock. Without memory: as if it had failed. */
static void launch(struct flight *f)
{
    struct script_store *s = f->space->store;
    char key[NOTE_KEY_MAX + 1], head[HEAD_MAX], value[HEAD_MAX + STORE_TEXT_MAX];
    size_t n = (size_t)put_head(head, &f->now), text = 0;
    memcpy(value, head, n);
    if (f->now.kind == FLY_SET && f->now.v.type == VALUE_TEXT && (text = f->now.v.text.n) != 0)
        memcpy(value + n, f->now.v.text.p, text);
    struct note_order o = {.key = slice_of(key, script_note_key(f->space, key_of(f), key)),
                           .value = slice_of(value, n + text),
                           .remove = f->now.kind == FLY_REMOVE || f->now.kind == FLY_EXPIRE,
                           .add = f->now.kind == FLY_ADD,
                           .number = f->number,
                           .home = hub_main(s->hub),
                           .done = landed,
                           .ctx = f};
    if (note_order(s->hub, &o) == 0)
        return;
    f->again = s->flights->failed;
    s->flights->failed = f;
    script_store_arm(s);
}

void flights_again(struct script_store *s)
{
    struct flights *x = s->flights;
    pthread_mutex_lock(&x->lock);
    struct flight *list = x->failed;
    x->failed = NULL;
    for (struct flight *next, *f = list; f; f = next) {
        next = f->again;
        launch(f);
    }
    pthread_mutex_unlock(&x->lock);
}

/* --- What the log says -------------------------------------------------------------------------------------------- */

struct said {
    struct script_space *space;
    struct slice key;
    const struct script_value *v; /* as the log has it; NULL: it is not there */
    uint64_t until_ms, number;
};

/* With the lock of the key's stripe held: what stands here from now on. */
static void rewrite(void *ctx, struct script_value *v, uint64_t *until_ms)
{
    const struct said *d = ctx;
    struct script_store *s = d->space->store;
    struct flights *x = s->flights;
    uint64_t now = script_store_now(s);
    *v = d->v ? *d->v : (struct script_value){.type = VALUE_NONE};
    *until_ms = d->v ? d->until_ms : 0;
    pthread_mutex_lock(&x->lock);
    struct flight *f = *place_of(x, d->space, hash_bytes(d->key), d->key);
    if (f) {
        f->seen = f->seen || (d->number && d->number == f->number);
        if (!f->seen)
            step_apply(&f->now, v, until_ms, now);
        step_apply(&f->later, v, until_ms, now);
    }
    if (v->type == VALUE_TEXT) { /* of a step that may go once the lock does: the caller frees it */
        char *text = malloc(v->text.n + 1);
        if (text && v->text.n)
            memcpy(text, v->text.p, v->text.n);
        v->text = slice_of(text, text ? v->text.n : 0);
        if (!text)
            v->type = VALUE_NONE;
    }
    pthread_mutex_unlock(&x->lock);
}

static void say(struct script_store *s, struct slice note, struct slice value, bool removed, uint64_t number)
{
    char name[SCRIPT_NAME_MAX];
    struct script_value v;
    struct said d = {.v = NULL, .number = number};
    if (!script_note_split(note, name, &d.key) || (!removed && !script_note_read(value, &v, &d.until_ms)))
        return;
    d.space = script_store_space(s, name);
    d.v = removed ? NULL : &v;
    if (d.space && values_rewrite(d.space->values, d.key, rewrite, &d) == 0)
        return;
    log_event(LOG_ERROR, "script.store_lost", LOG_STR("script", name), LOG_STR("because", "out of memory"));
}

/* --- All anew ----------------------------------------------------------------------------------------------------- */

static int by_hash(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void remember(struct flights *x, struct slice key)
{
    if (x->all.n == x->all.cap) {
        size_t cap = x->all.cap ? x->all.cap * 2 : 256;
        uint64_t *p = realloc(x->all.keys, cap * sizeof *p);
        x->all.lost = x->all.lost || !p;
        if (!p)
            return;
        x->all.keys = p;
        x->all.cap = cap;
    }
    x->all.keys[x->all.n++] = hash_bytes(key);
}

struct absent {
    struct script_space *space;
    struct flights *flights;
};

/* Whether the note of this key was among all: with what this node has under way, it may be there without. */
static bool is_there(void *ctx, struct slice key)
{
    const struct absent *a = ctx;
    char note[NOTE_KEY_MAX + 1];
    uint64_t hash = hash_bytes(slice_of(note, script_note_key(a->space, key, note)));
    if (bsearch(&hash, a->flights->all.keys, a->flights->all.n, sizeof hash, by_hash))
        return true;
    pthread_mutex_lock(&a->flights->lock);
    bool flies = *place_of(a->flights, a->space, hash_bytes(key), key) != NULL;
    pthread_mutex_unlock(&a->flights->lock);
    return flies;
}

static void anew(void *ctx, const struct store_note *n, int rc)
{
    struct script_store *s = ctx;
    struct flights *x = s->flights;
    if (n) {
        remember(x, n->key);
        say(s, n->key, n->value, false, 0);
        return;
    }
    if (x->all.n)
        qsort(x->all.keys, x->all.n, sizeof x->all.keys[0], by_hash);
    for (struct script_space *p = rc == 0 && !x->all.lost ? atomic_load(&s->spaces) : NULL; p; p = p->next)
        values_keep(p->values, is_there, &(struct absent){p, x});
    if (rc != 0)
        log_event(LOG_WARN, "script.store_stale",
                  LOG_STR("because", "notes that were missed cannot be read now; they are with the next change"));
    free(x->all.keys);
    x->all.keys = NULL;
    x->all.n = x->all.cap = 0;
    x->all.lost = false;
    note_applied(s->hub);
}

static void read_all(void *owner, struct mail *m)
{
    struct flights *x = CONTAINER_OF(m, struct flights, read);
    struct script_store *s = x->store;
    (void)owner;
    if (notes_read(s->hub, "s/", anew, s) != 0)
        anew(s, NULL, ERR_NOMEM);
}

/* --- Hearing ------------------------------------------------------------------------------------------------------ */

static void hear(struct script_store *s, const struct note_change *n)
{
    if (n->all) {
        s->flights->read.run = read_all;
        mailbox_post(hub_main(s->hub), &s->flights->read);
        return;
    }
    say(s, n->key, n->value, n->removed, n->number);
    note_applied(s->hub);
}

/* On the bus's thread. */
static void heard(void *ctx, const struct note_change *n)
{
    struct script_store *s = ctx;
    struct flights *x = s->flights;
    pthread_mutex_lock(&x->lock);
    bool wait = x->loading;
    if (wait) {
        x->heard = *n; /* the next one comes only when this one is applied */
        x->waits = true;
    }
    pthread_mutex_unlock(&x->lock);
    if (!wait)
        hear(s, n);
}

int flights_open(struct script_store *s)
{
    struct flights *x = calloc(1, sizeof *x);
    if (!x)
        return ERR_NOMEM;
    pthread_mutex_init(&x->lock, NULL);
    x->store = s;
    x->loading = true;
    s->flights = x;
    return note_ear_add(s->hub, &(struct note_ear){"s/", heard, s});
}

void flights_loaded(struct script_store *s)
{
    struct flights *x = s->flights;
    pthread_mutex_lock(&x->lock);
    bool waits = x->waits;
    x->loading = x->waits = false;
    pthread_mutex_unlock(&x->lock);
    if (waits)
        hear(s, &x->heard);
}

void flights_free(struct script_store *s)
{
    struct flights *x = s->flights;
    if (!x)
        return;
    for (unsigned i = 0; i < BUCKETS; i++) {
        while (x->buckets[i]) {
            log_event(LOG_ERROR, "script.store_lost", LOG_STR("script", x->buckets[i]->space->name));
            flight_end(x, x->buckets[i]);
        }
    }
    pthread_mutex_destroy(&x->lock);
    free(x->all.keys);
    free(x);
    s->flights = NULL;
}
