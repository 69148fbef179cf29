#include "core/script/script_store_private.h"

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/container.h"
#include "core/base/log.h"
#include "core/hub/shard/nodes.h"
#include "core/hub/shard/notes_load.h"
#include "core/hub/shard/shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NOTE_FORMAT = 1,
    NOTE_HEAD = 10, /* format, type, when it ends (0: never; ms by the store's time) */
    STRIPES = 16
};
static const uint64_t NO_LIMIT = UINT64_MAX / 2; /* room for sums */
static const double AGAIN_S = 1;                 /* after which what the disk refused is written again */

/* A change on its way; owns its texts. */
struct change {
    struct store_note_put op;
    struct script_space *space;
    struct change *next; /* of those that failed */
    struct slice key;    /* as the script has it; in data */
    char data[];
};

uint64_t script_store_now(const struct script_store *s)
{
    if (s->clock)
        return *s->clock;
    return s->hub ? store_time_ms(s->hub->store) : clock_wall_ms();
}

/* --- Names of notes ----------------------------------------------------------------------------------------------- */

size_t script_note_key(const struct script_space *p, struct slice key, char *out)
{
    size_t n = strlen(p->name);
    out[0] = 's';
    out[1] = '/';
    for (size_t i = 0; i < n; i++)
        out[2 + i] = p->name[i] == '/' ? ':' : p->name[i];
    out[2 + n] = '/';
    memcpy(out + 3 + n, key.p, key.n);
    return n + 3 + key.n;
}

bool script_note_split(struct slice note, char name[SCRIPT_NAME_MAX], struct slice *key)
{
    const char *slash = note.n > 2 ? memchr(note.p + 2, '/', note.n - 2) : NULL;
    size_t n = slash ? (size_t)(slash - note.p) - 2 : 0;
    if (n == 0 || n >= SCRIPT_NAME_MAX)
        return false;
    for (size_t i = 0; i < n; i++)
        name[i] = note.p[2 + i] == ':' ? '/' : note.p[2 + i];
    name[n] = '\0';
    *key = slice_of(slash + 1, note.n - n - 3);
    return key->n <= STORE_KEY_MAX;
}

/* --- Values as bytes ---------------------------------------------------------------------------------------------- */

static size_t encoded_size(const struct script_value *v)
{
    return NOTE_HEAD + (v->type == VALUE_TEXT ? v->text.n : v->type == VALUE_NUMBER ? 8 : 1);
}

static void encode(char *out, const struct script_value *v, uint64_t until_ms)
{
    out[0] = NOTE_FORMAT;
    out[1] = (char)v->type;
    store_be64(out + 2, until_ms);
    out += NOTE_HEAD;
    uint64_t bits;
    memcpy(&bits, &v->number, sizeof bits);
    if (v->type == VALUE_TEXT && v->text.n)
        memcpy(out, v->text.p, v->text.n);
    else if (v->type == VALUE_NUMBER)
        store_be64(out, bits);
    else if (v->type == VALUE_BOOL)
        out[0] = v->number != 0;
}

/* Decimal digits and a blank, which go. */
static bool take_time(struct slice *rest, uint64_t *out)
{
    size_t n = 0;
    for (*out = 0; n < rest->n && n < 19 && rest->p[n] >= '0' && rest->p[n] <= '9'; n++)
        *out = *out * 10 + (uint64_t)(rest->p[n] - '0');
    if (n == 0 || n >= rest->n || rest->p[n] != ' ')
        return false;
    *rest = slice_of(rest->p + n + 1, rest->n - n - 1);
    return true;
}

/* As nodes write it, see script_store_nodes.c. */
static bool decode_text(struct slice note, struct script_value *v, uint64_t *until_ms)
{
    char number[64], *end;
    if (!take_time(&note, until_ms) || note.n < 2 || note.p[1] != ' ')
        return false;
    struct slice rest = slice_of(note.p + 2, note.n - 2);
    v->text = rest;
    v->type = note.p[0] == 's' ? VALUE_TEXT : note.p[0] == 'b' ? VALUE_BOOL : VALUE_NUMBER;
    if (v->type == VALUE_TEXT)
        return true;
    snprintf(number, sizeof number, "%.*s", (int)(rest.n < 63 ? rest.n : 63), rest.p);
    v->number = strtod(number, &end);
    return rest.n > 0 && *end == '\0' && (note.p[0] == 'n' || note.p[0] == 'b');
}

bool script_note_read(struct slice note, struct script_value *v, uint64_t *until_ms)
{
    *v = (struct script_value){.type = VALUE_NONE};
    if (note.n && note.p[0] != NOTE_FORMAT)
        return decode_text(note, v, until_ms);
    if (note.n < NOTE_HEAD)
        return false;
    *until_ms = load_be64(note.p + 2);
    struct slice rest = slice_of(note.p + NOTE_HEAD, note.n - NOTE_HEAD);
    v->type = (enum value_type)note.p[1];
    if (v->type == VALUE_NUMBER && rest.n == 8) {
        uint64_t bits = load_be64(rest.p);
        memcpy(&v->number, &bits, sizeof bits);
        return true;
    }
    if (v->type == VALUE_BOOL && rest.n == 1) {
        v->number = rest.p[0] != 0;
        return true;
    }
    v->text = rest;
    return v->type == VALUE_TEXT;
}

/* --- Writing behind ----------------------------------------------------------------------------------------------- */

static void written(void *owner, struct store_op *op);

/* With the lock of the key's stripe held, so that the changes of a key are handed over in their order. */
static bool changed(void *ctx, const struct values_change *what)
{
    struct script_space *p = ctx;
    struct script_store *s = p->store;
    const struct script_value *v = what->v;
    struct slice key = what->key;
    if (!s->hub)
        return true;
    if (s->flights)
        return flights_change(p, what);
    size_t name = strlen(p->name) + 3 + key.n, value = v ? encoded_size(v) : 0;
    struct change *c = malloc(sizeof *c + name + value);
    if (!c)
        return false;
    *c = (struct change){.space = p};
    script_note_key(p, key, c->data);
    c->key = slice_of(c->data + name - key.n, key.n);
    if (v)
        encode(c->data + name, v, what->until_ms);
    c->op = (struct store_note_put){.op = {.home = hub_main(s->hub), .done = written},
                                    .note = {slice_of(c->data, name), slice_of(c->data + name, value)},
                                    .remove = v == NULL};
    atomic_fetch_add_explicit(&s->pending, 1, memory_order_relaxed);
    store_note_put(s->hub->store, &c->op);
    return true;
}

static void change_free(struct change *c)
{
    atomic_fetch_sub_explicit(&c->space->store->pending, 1, memory_order_relaxed);
    free(c);
}

static struct change *take_failed(struct script_store *s)
{
    pthread_mutex_lock(&s->failed_lock);
    struct change *list = s->failed;
    s->failed = NULL;
    s->failed_tail = &s->failed;
    pthread_mutex_unlock(&s->failed_lock);
    return list;
}

/* On shard 0: what failed is written as it is by now. */
static void on_again(struct ev_loop *loop, ev_timer *t, int events)
{
    struct script_store *s = t->data;
    (void)events;
    ev_timer_stop(loop, t);
    pthread_mutex_lock(&s->failed_lock);
    s->armed = false;
    pthread_mutex_unlock(&s->failed_lock);
    if (s->flights)
        flights_again(s);
    for (struct change *next, *c = take_failed(s); c; c = next) {
        next = c->next;
        if (values_tell(c->space->values, c->key, script_store_now(s))) {
            change_free(c);
            continue;
        }
        pthread_mutex_lock(&s->failed_lock); /* no memory: the next time */
        c->next = NULL;
        *s->failed_tail = c;
        s->failed_tail = &c->next;
        pthread_mutex_unlock(&s->failed_lock);
    }
}

static void on_arm(void *owner, struct mail *m)
{
    struct script_store *s = CONTAINER_OF(m, struct script_store, arm);
    ev_timer_init(&s->again, on_again, AGAIN_S, 0.);
    s->again.data = s;
    ev_timer_start(((struct shard *)owner)->loop, &s->again);
}

void script_store_arm(struct script_store *s)
{
    pthread_mutex_lock(&s->failed_lock);
    bool arm = !s->armed && !s->hub->stopped;
    s->armed |= arm;
    pthread_mutex_unlock(&s->failed_lock);
    if (arm) {
        s->arm.run = on_arm;
        mailbox_post(&s->hub->shards[0]->mailbox, &s->arm);
    }
}

/* On the main thread. */
static void written(void *owner, struct store_op *op)
{
    struct change *c = (struct change *)op;
    struct script_store *s = c->space->store;
    (void)owner;
    if (op->status == STORE_OK || op->status == STORE_NOTFOUND) {
        change_free(c);
        return;
    }
    if (op->status == STORE_FATAL) {
        log_event(LOG_ERROR, "script.store_lost", LOG_STR("script", c->space->name));
        change_free(c);
        return;
    }
    log_event(LOG_WARN, "script.store_failed", LOG_STR("script", c->space->name),
              LOG_STR("because", "the store does not write now; it is tried again"));
    pthread_mutex_lock(&s->failed_lock);
    c->next = NULL;
    *s->failed_tail = c;
    s->failed_tail = &c->next;
    pthread_mutex_unlock(&s->failed_lock);
    script_store_arm(s);
}

/* --- From scripts ------------------------------------------------------------------------------------------------- */

uint64_t script_store_bytes(const struct script_store *s)
{
    uint64_t n = 0;
    for (const struct script_space *p = atomic_load_explicit(&s->spaces, memory_order_acquire); p; p = p->next)
        n += values_bytes(p->values);
    return n;
}

/* Whether another change may be made. */
static int may_change(const struct script_store *s)
{
    return atomic_load_explicit(&s->pending, memory_order_relaxed) < PENDING_MAX ? 0 : ERR_AGAIN;
}

static bool is_full(const struct script_store *s, size_t more)
{
    return script_store_bytes(s) + more > atomic_load_explicit(&s->limit, memory_order_relaxed);
}

int script_space_get(struct script_space *p, struct slice key, struct script_value *out)
{
    return values_get(p->values, key, script_store_now(p->store), out);
}

int script_space_set(struct script_space *p, struct slice key, const struct script_value *v, uint64_t ttl_ms)
{
    if (may_change(p->store) != 0)
        return ERR_AGAIN;
    if (is_full(p->store, key.n + (v->type == VALUE_TEXT ? v->text.n : 0)))
        return ERR_FULL;
    return values_set(p->values, key, v, ttl_ms, script_store_now(p->store));
}

int script_space_incr(struct script_space *p, struct slice key, double n, uint64_t ttl_ms, double *out)
{
    struct script_value v;
    if (may_change(p->store) != 0)
        return ERR_AGAIN;
    if (is_full(p->store, key.n) && script_space_get(p, key, &v) != 0)
        return ERR_FULL;
    return values_incr(p->values, key, n, ttl_ms, script_store_now(p->store), out);
}

int script_space_del(struct script_space *p, struct slice key)
{
    return may_change(p->store) != 0 ? ERR_AGAIN : values_del(p->values, key, script_store_now(p->store));
}

/* --- From the store ----------------------------------------------------------------------------------------------- */

/* What cannot be read is of a later version, and stays where it is; what is past its time goes, once somebody listens
 * to the values. */
static int load_note(void *ctx, const struct store_note *note)
{
    struct script_store *s = ctx;
    char name[SCRIPT_NAME_MAX];
    struct slice key;
    struct script_value v;
    uint64_t until_ms, now = script_store_now(s);
    if (!script_note_split(note->key, name, &key) || !script_note_read(note->value, &v, &until_ms))
        return 0;
    struct script_space *p = script_store_space(s, name);
    if (!p)
        return ERR_NOMEM;
    values_watch(p->values, NULL, NULL);
    uint64_t ttl = !until_ms ? 0 : until_ms > now ? until_ms - now : 1;
    int rc = values_set(p->values, key, &v, ttl, until_ms && until_ms <= now ? until_ms - 1 : now);
    values_watch(p->values, changed, p);
    return rc;
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

struct script_store *script_store_new(struct hub *hub)
{
    struct script_store *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->hub = hub;
    s->failed_tail = &s->failed;
    pthread_mutex_init(&s->failed_lock, NULL);
    pthread_mutex_init(&s->grow_lock, NULL);
    atomic_store(&s->limit, NO_LIMIT);
    int rc = hub && hub_is_node(hub) ? flights_open(s) : 0;
    if (rc != 0 || (hub && notes_load(hub->store, SLICE_LIT("s/"), load_note, s) != 0)) {
        script_store_free(s);
        return NULL;
    }
    if (s->flights)
        flights_loaded(s);
    return s;
}

void script_store_free(struct script_store *s)
{
    if (!s)
        return;
    for (struct change *next, *c = take_failed(s); c; c = next) {
        next = c->next;
        log_event(LOG_ERROR, "script.store_lost", LOG_STR("script", c->space->name));
        change_free(c);
    }
    flights_free(s);
    for (struct script_space *next, *p = atomic_load(&s->spaces); p; p = next) {
        next = p->next;
        values_free(p->values);
        free(p);
    }
    pthread_mutex_destroy(&s->failed_lock);
    pthread_mutex_destroy(&s->grow_lock);
    free(s);
}

void script_store_limit(struct script_store *s, uint64_t bytes)
{
    atomic_store(&s->limit, bytes);
    for (struct script_space *p = atomic_load(&s->spaces); p; p = p->next)
        values_limit(p->values, bytes / 4 * 3);
}

static struct script_space *space_new(struct script_store *s, const char *script)
{
    struct script_space *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->store = s;
    uint64_t limit = atomic_load(&s->limit);
    p->values = values_new(STRIPES, limit == NO_LIMIT ? limit : limit / 4 * 3);
    if (!p->values) {
        free(p);
        return NULL;
    }
    values_watch(p->values, changed, p);
    snprintf(p->name, sizeof p->name, "%s", script);
    p->next = atomic_load(&s->spaces);
    atomic_store_explicit(&s->spaces, p, memory_order_release);
    return p;
}

struct script_space *script_store_space(struct script_store *s, const char *script)
{
    pthread_mutex_lock(&s->grow_lock);
    struct script_space *p = atomic_load(&s->spaces);
    while (p && strcmp(p->name, script) != 0)
        p = p->next;
    if (!p)
        p = space_new(s, script);
    pthread_mutex_unlock(&s->grow_lock);
    return p;
}

void script_store_clock(struct script_store *s, const uint64_t *now_ms)
{
    s->clock = now_ms;
}
