/* Notes: small things that layers above keep, by key. */
#include "core/base/container.h"
#include "storage/bus.h"
#include "storage/redis/client/fan.h"
#include "storage/redis/nodes/node.h"
#include "storage/redis/nodes/notes.h"
#include "storage/redis/nodes/notes_log.h"
#include "storage/redis/nodes/time.h"
#include "storage/redis/ops/op.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/task.h"

#include <stdlib.h>

/* All notes are in partition 0, in one key. */
static void notes_key(struct redis *r, struct call *c)
{
    call_key(r, c, 'V', SLICE_NONE);
}

/* --- Changing ----------------------------------------------------------------------------------------------------- */

/* A change under way, of either door. */
struct changing {
    struct call call;
    struct note_change change; /* as it will stand in the log; its key and value are the operation's */
    struct bus_note *bus;      /* NULL: store_note_put() */
    struct task *task;
    struct notes_writer writer;
};

static void note_spread(struct redis *r, struct notes_writer *n, const struct silent_nodes *silent)
{
    struct changing *g = CONTAINER_OF(n, struct changing, writer);
    g->bus->silent = *silent;
    task_end(r, g->task, STORE_OK);
}

/* It stands at that place: this node takes it, and tells the others. value: what it has come to. */
static void note_stands(struct redis *r, const struct changing *g, uint64_t place, struct slice value)
{
    struct note_change change = g->change;
    struct buf body = BUF_INIT;
    change.value = value;
    note_change_put(&body, &change);
    if (buf_ok(&body)) {
        if (r->node_ears)
            r->node_ears->tell_log(r, place, buf_slice(&body));
        notes_log_heard(r, place, buf_slice(&body));
    } else {
        notes_log_seen(r, place);
    }
    buf_free(&body);
}

static void note_kept(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct changing *g = c->ctx;
    if (status == STORE_OK) {
        struct reply_in in = reply_in(reply);
        char code = (char)reply_u8(&in);
        g->writer.place = reply_u48(&in);
        status = reply_ok(&in) ? task_status((uint8_t)code) : STORE_FATAL;
        if (status == STORE_OK && code == 'N')
            note_stands(r, g, g->writer.place, reply_rest(&in));
        else if (status == STORE_OK)
            notes_log_seen(r, g->writer.place);
    }
    g->writer.done = note_spread;
    if (status == STORE_OK && g->bus && !g->bus->behind)
        notes_log_spread(r, &g->writer);
    else if (status == STORE_OK && g->bus)
        notes_log_here(r, &g->writer);
    else
        task_end(r, g->task, status);
}

/* bus: NULL: of store_note_put(). */
static void note_change(struct redis *r, struct task *t, const struct store_note *note, struct bus_note *bus,
                        bool remove)
{
    uint32_t most = bus && bus->passing ? NOTE_PASSING_MAX : NOTE_VALUE_MAX;
    bool sane = note->key.n >= 1 && note->key.n <= NOTE_KEY_MAX && note->value.n <= most;
    struct changing *g = sane ? task_own(t, sizeof *g) : NULL;
    if (!g) {
        task_end(r, t, sane ? STORE_RETRY : STORE_FATAL);
        return;
    }
    bool add = bus && bus->add, passing = bus && bus->passing;
    g->task = t;
    g->bus = bus;
    g->change = (struct note_change){.flags = (uint8_t)(remove    ? NOTE_CHANGE_REMOVE
                                                        : passing ? NOTE_CHANGE_PASSING
                                                        : add     ? NOTE_CHANGE_ADD
                                                                  : 0),
                                     .inc = notes_log_born(r),
                                     .number = bus && bus->number ? bus->number : notes_log_number(r),
                                     .key = note->key,
                                     .value = remove ? SLICE_LIT("") : note->value};
    call_begin(r, &g->call, FN_NOTE, 0);
    notes_key(r, &g->call);
    call_key(r, &g->call, 'L', SLICE_NONE);
    call_arg(&g->call, remove    ? SLICE_LIT("remove")
                       : passing ? SLICE_LIT("pass")
                       : add     ? SLICE_LIT("add")
                                 : SLICE_LIT("set"));
    call_arg(&g->call, note->key);
    call_arg(&g->call, bus ? note->value : g->change.value);
    call_arg_u64(&g->call, g->change.inc);
    call_arg_u64(&g->call, g->change.number);
    call_arg_u64(&g->call, notes_log_least(r));
    call_arg_u64(&g->call, time_now(r));
    g->call.done = note_kept;
    g->call.ctx = g;
    call_post(r, &g->call);
}

void begin_note_put(struct redis *r, struct task *t)
{
    struct store_note_put *op = (struct store_note_put *)t->op;
    note_change(r, t, &op->note, NULL, op->remove);
}

void begin_bus_note(struct redis *r, struct task *t)
{
    struct bus_note *op = (struct bus_note *)t->op;
    op->silent.n = 0;
    note_change(r, t, &op->note, op, op->remove);
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

struct asking {
    struct call call;
    struct task *task;
    struct notes_reader reader;
};

/* Takes a page out of a copy. */
static enum store_status notes_page(const struct notes *ns, struct store_notes *op)
{
    struct buf arena = BUF_INIT;
    uint32_t at = notes_find(ns, slice_cmp(op->cursor, op->prefix) > 0 ? op->cursor : op->prefix);
    if (op->cursor.n && at < ns->n && slice_eq(note_key(ns->list[at]), op->cursor))
        at++;
    op->notes = calloc(op->limit ? op->limit : 1, sizeof *op->notes);
    for (; op->notes && at < ns->n; at++) {
        const struct note *n = ns->list[at];
        if (n->key_n < op->prefix.n || memcmp(n->text, op->prefix.p, op->prefix.n) != 0)
            break;
        if (op->n == op->limit) {
            op->more = true;
            break;
        }
        op->notes[op->n++] = (struct store_note){{(const char *)(uintptr_t)arena.n, n->key_n},
                                                 {(const char *)(uintptr_t)(arena.n + n->key_n), n->value_n}};
        buf_put(&arena, n->text, (size_t)n->key_n + n->value_n);
    }
    if (!op->notes || !buf_ok(&arena)) {
        free(op->notes);
        buf_free(&arena);
        op->notes = NULL;
        op->n = 0;
        op->more = false;
        return STORE_RETRY;
    }
    op->arena = arena.p;
    for (uint32_t i = 0; i < op->n; i++) {
        op->notes[i].key.p = op->arena + (uintptr_t)op->notes[i].key.p;
        op->notes[i].value.p = op->arena + (uintptr_t)op->notes[i].value.p;
    }
    return STORE_OK;
}

/* The copy has all that stood there when it was asked for. */
static void copy_ready(struct redis *r, struct notes_reader *n, enum store_status status)
{
    struct task *t = CONTAINER_OF(n, struct asking, reader)->task;
    task_end(r, t, status == STORE_OK ? notes_page(r->notes, (struct store_notes *)t->op) : status);
}

static void place_read(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct asking *a = c->ctx;
    uint64_t place;
    if (status != STORE_OK || !reply_decimal(reply, &place)) {
        task_end(r, a->task, status == STORE_OK ? STORE_FATAL : status);
        return;
    }
    a->reader.place = place;
    a->reader.done = copy_ready;
    notes_log_await(r, &a->reader);
}

void begin_notes(struct redis *r, struct task *t)
{
    static const struct slice hget[] = {SLICE_LIT("HGET")};
    struct store_notes *op = (struct store_notes *)t->op;
    op->notes = NULL;
    op->arena = NULL;
    op->n = 0;
    op->more = false;
    bool sane = op->prefix.n > 0 && op->prefix.n <= NOTE_KEY_MAX && op->cursor.n <= NOTE_KEY_MAX;
    struct asking *a = sane ? task_own(t, sizeof *a) : NULL;
    if (!a) {
        task_end(r, t, sane ? STORE_RETRY : STORE_FATAL);
        return;
    }
    a->task = t;
    call_raw(r, &a->call, 0, false, hget, 1);
    notes_key(r, &a->call);
    call_arg(&a->call, SLICE_LIT(""));
    a->call.done = place_read;
    a->call.ctx = a;
    call_post(r, &a->call);
}
