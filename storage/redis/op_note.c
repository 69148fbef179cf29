/* Notes: small things that layers above keep, by key. */
#include "storage/redis/fan.h"
#include "storage/redis/notes.h"
#include "storage/redis/op.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/task.h"

#include <stdlib.h>

enum { NOTE_KEY_MAX = 200, NOTE_VALUE_MAX = 4096, LOAD_STEP = 64, LOAD_TRIES = 5 };

/* All notes are in partition 0, in one key. */
static void notes_key(struct redis *r, struct call *c)
{
    call_key(r, c, 'V', SLICE_NONE);
}

/* --- Keeping ------------------------------------------------------------------------------------------------------ */

static void note_kept(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct store_note_put *op = (struct store_note_put *)t->op;
    struct notes *ns = r->notes;
    if (status == STORE_OK) {
        struct reply_in in = reply_in(reply);
        status = task_status(reply_u8(&in));
        uint64_t version = reply_u48(&in);
        if (!reply_ok(&in))
            status = STORE_FATAL;
        /* The next change of the copy, if nobody else has made one in between. Else the next reader loads it anew. */
        if (status == STORE_OK && ns->known && version == ns->version + 1) {
            if (op->remove)
                notes_remove(ns, op->note.key);
            else
                ns->known = notes_set(ns, op->note.key, op->note.value);
            ns->version = version;
        }
    }
    task_end(r, t, status);
}

void begin_note_put(struct redis *r, struct task *t)
{
    struct store_note_put *op = (struct store_note_put *)t->op;
    bool sane = op->note.key.n >= 1 && op->note.key.n <= NOTE_KEY_MAX && op->note.value.n <= NOTE_VALUE_MAX;
    struct call *c = sane ? task_own(t, sizeof *c) : NULL;
    if (!c) {
        task_end(r, t, sane ? STORE_RETRY : STORE_FATAL);
        return;
    }
    call_begin(r, c, FN_NOTE, 0);
    notes_key(r, c);
    call_arg(c, op->remove ? SLICE_LIT("remove") : SLICE_LIT("set"));
    call_arg(c, op->note.key);
    call_arg(c, op->remove ? SLICE_NONE : op->note.value);
    c->done = note_kept;
    c->ctx = t;
    call_post(r, c);
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

struct asking {
    struct call call;
    struct notes own; /* what is being loaded; owned */
    uint32_t tries;   /* loadings so far */
    bool loaded;      /* `own` is whole, if nothing has changed since */
    struct slice at;  /* where HSCAN goes on; in at_text */
    char at_text[24];
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

static void asking_end(struct redis *r, struct task *t, enum store_status status)
{
    notes_free(&((struct asking *)t->own)->own);
    task_end(r, t, status);
}

static void version_ask(struct redis *r, struct task *t);

/* Asks for the next notes of all. */
static void load_ask(struct redis *r, struct task *t);

static void load_read(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct asking *a = t->own;
    const struct reply *list = status == STORE_OK && reply->type == REPLY_LIST && reply->n == 2 ? reply->list : NULL;
    if (!list || list[1].type != REPLY_LIST || list[0].text.n < 1 || list[0].text.n > sizeof a->at_text) {
        asking_end(r, t, status == STORE_OK ? STORE_FATAL : status);
        return;
    }
    for (uint32_t i = 0; i + 1 < list[1].n; i += 2) {
        struct slice key = list[1].list[i].text, value = list[1].list[i + 1].text;
        if (key.n && !(key.n <= NOTE_KEY_MAX && notes_set(&a->own, key, value))) { /* the empty one is the version */
            asking_end(r, t, key.n <= NOTE_KEY_MAX ? STORE_RETRY : STORE_FATAL);
            return;
        }
    }
    memcpy(a->at_text, list[0].text.p, list[0].text.n);
    a->at = slice_of(a->at_text, list[0].text.n);
    if (slice_eq(a->at, SLICE_LIT("0"))) {
        a->loaded = true;
        version_ask(r, t);
    } else {
        load_ask(r, t);
    }
}

static void load_ask(struct redis *r, struct task *t)
{
    static const struct slice hscan[] = {SLICE_LIT("HSCAN")};
    struct asking *a = t->own;
    call_raw(r, &a->call, 0, false, hscan, 1);
    notes_key(r, &a->call);
    call_arg(&a->call, a->at);
    call_arg(&a->call, SLICE_LIT("COUNT"));
    call_arg_u64(&a->call, LOAD_STEP);
    a->call.done = load_read;
    a->call.ctx = t;
    call_post(r, &a->call);
}

/* What was loaded becomes the copy. */
static void copy_take(struct redis *r, struct asking *a, uint64_t version)
{
    struct notes old = *r->notes;
    *r->notes = a->own;
    r->notes->known = true;
    r->notes->version = version;
    a->own = old; /* which goes with the task */
}

static void version_read(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct asking *a = t->own;
    struct store_notes *op = (struct store_notes *)t->op;
    uint64_t version;
    if (status != STORE_OK || !reply_decimal(reply, &version)) {
        asking_end(r, t, status == STORE_OK ? STORE_FATAL : status);
        return;
    }
    if (a->loaded && version == a->own.version)
        copy_take(r, a, version);
    if (r->notes->known && version == r->notes->version) {
        asking_end(r, t, notes_page(r->notes, op));
    } else if (a->loaded && a->tries == LOAD_TRIES) { /* they change all the time: each is as it was a moment ago */
        asking_end(r, t, notes_page(&a->own, op));
    } else {
        notes_free(&a->own);
        a->own.version = version;
        a->loaded = false;
        a->tries++;
        a->at = SLICE_LIT("0");
        load_ask(r, t);
    }
}

static void version_ask(struct redis *r, struct task *t)
{
    static const struct slice hget[] = {SLICE_LIT("HGET")};
    struct asking *a = t->own;
    call_raw(r, &a->call, 0, false, hget, 1);
    notes_key(r, &a->call);
    call_arg(&a->call, SLICE_LIT(""));
    a->call.done = version_read;
    a->call.ctx = t;
    call_post(r, &a->call);
}

void begin_notes(struct redis *r, struct task *t)
{
    struct store_notes *op = (struct store_notes *)t->op;
    op->notes = NULL;
    op->arena = NULL;
    op->n = 0;
    op->more = false;
    if (op->prefix.n == 0 || op->prefix.n > NOTE_KEY_MAX || op->cursor.n > NOTE_KEY_MAX)
        task_end(r, t, STORE_FATAL);
    else if (!task_own(t, sizeof(struct asking)))
        task_end(r, t, STORE_RETRY);
    else
        version_ask(r, t);
}
