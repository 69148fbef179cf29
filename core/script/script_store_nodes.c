/*
 * magpie.store over the nodes of a cluster. A script's change is made here at once, and goes to the log of notes behind
 * (script_store_flights.h). What the log says is what counts: it replaces what is here, and on top of it come the
 * changes of this node that it does not have yet. So all nodes end the same, and sums are exact.
 */
#include "core/base/container.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "core/hub/shard/note_sweep.h"
#include "core/hub/shard/nodes.h"
#include "core/hub/shard/shard.h"
#include "core/script/script_store_flights.h"

#include <stdlib.h>
#include <string.h>

enum {
    NOTE_KEY_MAX = 200,
    LEFT_MS = 60000 /* what ended so long ago, and is there all the same, was left by a leader that died */
};

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
    struct track *t = *track_place(x, d->space, hash_bytes(d->key), d->key);
    if (t)
        track_apply(t, d->number, v, until_ms, now);
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
    bool flies = *track_place(a->flights, a->space, hash_bytes(key), key) != NULL;
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
        x->heard_one = true;
    }
    pthread_mutex_unlock(&x->lock);
    if (!wait)
        hear(s, n);
}

static bool is_left(void *ctx, const struct store_note *n)
{
    struct script_value v;
    uint64_t until_ms;
    return script_note_read(n->value, &v, &until_ms) && until_ms && until_ms + LEFT_MS <= script_store_now(ctx);
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
    int rc = note_sweeper_add(s->hub, &(struct note_sweeper){"s/", is_left, s});
    return rc ? rc : note_ear_add(s->hub, &(struct note_ear){"s/", heard, s});
}

void flights_loaded(struct script_store *s)
{
    struct flights *x = s->flights;
    pthread_mutex_lock(&x->lock);
    bool heard_one = x->heard_one;
    x->loading = x->heard_one = false;
    pthread_mutex_unlock(&x->lock);
    if (heard_one)
        hear(s, &x->heard);
}
