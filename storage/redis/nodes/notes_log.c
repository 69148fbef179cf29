/* Following the log of the notes: see notes_log.h. */
#include "storage/redis/nodes/notes_log_private.h"

#include "storage/redis/client/broken.h"
#include "storage/redis/client/fan.h"
#include "storage/redis/nodes/node.h"
#include "storage/redis/ops/lost.h"
#include "storage/redis/redis_private.h"

enum {
    LOAD_STEP = 64,  /* notes of one HSCAN */
    RANGE_STEP = 32, /* changes of one HMGET */
    HEAD = 16,       /* bytes of a change before its key */
    VERSION = 1
};

static void load_ask(struct redis *r, struct slice cursor);

/* --- A change ----------------------------------------------------------------------------------------------------- */

void note_change_put(struct buf *b, const struct note_change *c)
{
    buf_byte(b, VERSION);
    buf_byte(b, c->flags);
    buf_u16(b, (uint16_t)(c->inc >> 32));
    buf_u32(b, (uint32_t)c->inc);
    buf_u16(b, (uint16_t)(c->number >> 32));
    buf_u32(b, (uint32_t)c->number);
    buf_u16(b, (uint16_t)c->key.n);
    buf_slice_put(b, c->key);
    buf_slice_put(b, c->value);
}

int note_change_read(struct slice body, struct note_change *out)
{
    struct reply_in in = {body.p, body.p + body.n, body.n < HEAD};
    if (reply_u8(&in) < VERSION)
        return ERR_INVALID;
    out->flags = reply_u8(&in);
    out->inc = reply_u48(&in);
    out->number = reply_u48(&in);
    out->key = reply_slice16(&in);
    out->value = reply_rest(&in);
    uint32_t most = out->flags & NOTE_CHANGE_PASSING ? NOTE_PASSING_MAX : NOTE_VALUE_MAX;
    return reply_ok(&in) && out->key.n && out->key.n <= NOTE_KEY_MAX && out->value.n <= most ? 0 : ERR_INVALID;
}

/* --- Whoever waits for this node ---------------------------------------------------------------------------------- */

static void readers_tell(struct redis *r, enum store_status status)
{
    struct notes_log *l = r->notes_log;
    struct notes_reader *n = l->readers;
    l->readers = NULL;
    while (n) {
        struct notes_reader *next = n->next;
        if (status != STORE_OK) {
            n->done(r, n, status);
        } else if (r->notes->known && n->place <= l->told) {
            n->done(r, n, STORE_OK);
        } else {
            n->next = l->readers;
            l->readers = n;
        }
        n = next;
    }
}

void notes_log_await(struct redis *r, struct notes_reader *n)
{
    struct notes_log *l = r->notes_log;
    n->next = l->readers;
    l->readers = n;
    notes_log_seen(r, n->place);
    notes_log_load(r);
    readers_tell(r, STORE_OK);
}

/* --- Taking changes ----------------------------------------------------------------------------------------------- */

/* The copy is not to be trusted: all is read anew. */
static void forget(struct redis *r)
{
    r->notes->known = false;
    notes_log_load(r);
}

/* The next change. */
static void take(struct redis *r, const struct note_change *c)
{
    struct notes_log *l = r->notes_log;
    l->told++;
    if (c->flags & NOTE_CHANGE_REMOVE) {
        notes_remove(r->notes, c->key);
    } else if (!(c->flags & NOTE_CHANGE_PASSING) && !notes_set(r->notes, c->key, c->value)) {
        r->notes->known = false; /* there is no memory: all is read anew */
        l->anew = true;
    }
    notes_log_tell(r, c);
}

static void took(struct redis *r)
{
    struct notes_log *l = r->notes_log;
    l->least = l->told > l->least ? l->told : l->least;
    readers_tell(r, STORE_OK);
    notes_log_moved(r);
    if (!r->notes->known)
        notes_log_load(r);
}

static void range_ask(struct redis *r);

static void range_read(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct notes_log *l = r->notes_log;
    (void)c;
    l->asking = false;
    if (!r->notes->known) { /* all is to be read anew */
        notes_log_load(r);
        return;
    }
    if (status == STORE_OK && reply->type != REPLY_LIST)
        status = STORE_FATAL;
    if (status != STORE_OK) {
        l->status = status;
        readers_tell(r, status); /* the next beat goes on */
        return;
    }
    for (uint32_t i = 0; i < reply->n; i++) {
        struct note_change change;
        if (l->told != l->from + i)
            continue; /* it was told meanwhile */
        if (reply->list[i].type != REPLY_STRING || note_change_read(reply->list[i].text, &change) != 0) {
            l->anew = true; /* it is not there any more */
            forget(r);
            return;
        }
        take(r, &change);
    }
    took(r);
    range_ask(r);
}

/* Reads what is missing, if anything is and nothing is being read. */
static void range_ask(struct redis *r)
{
    static const struct slice hmget[] = {SLICE_LIT("HMGET")};
    struct notes_log *l = r->notes_log;
    if (l->asking || !r->notes->known || l->seen <= l->told)
        return;
    if (l->seen - l->told > NOTES_LOG_GAP) {
        l->anew = true;
        forget(r);
        return;
    }
    l->asking = true;
    l->from = l->told;
    call_raw(r, &l->call, 0, false, hmget, 1);
    call_key(r, &l->call, 'L', SLICE_NONE);
    for (uint64_t place = l->told + 1; place <= l->seen && place <= l->told + RANGE_STEP; place++)
        call_arg_u64(&l->call, place);
    l->call.done = range_read;
    call_post(r, &l->call);
}

void notes_log_seen(struct redis *r, uint64_t place)
{
    struct notes_log *l = r->notes_log;
    if (place > l->seen)
        l->seen = place;
    range_ask(r);
}

void notes_log_heard(struct redis *r, uint64_t place, struct slice body)
{
    struct notes_log *l = r->notes_log;
    struct note_change change;
    if (r->notes->known && place == l->told + 1 && note_change_read(body, &change) == 0) {
        take(r, &change);
        took(r);
    }
    notes_log_seen(r, place);
}

void notes_log_beaten(struct redis *r, uint64_t newest, uint64_t told)
{
    struct notes_log *l = r->notes_log;
    if (r->notes->known && newest < told && l->told == told) {
        lost_tell(r, SLICE_LIT("!log"), told, newest);
        l->seen = newest;
        l->anew = true;
        forget(r);
    } else {
        notes_log_seen(r, newest);
    }
    if (!r->notes->known)
        notes_log_load(r);
    notes_log_spread_look(r, told);
}

/* --- Reading all of them ------------------------------------------------------------------------------------------ */

/* It comes to nothing; the next beat tries again. */
static void load_fail(struct redis *r, enum store_status status)
{
    struct notes_log *l = r->notes_log;
    l->asking = false;
    l->status = status;
    notes_free(&l->loading);
    readers_tell(r, status);
    node_beat_now(r);
}

/* What was read becomes the copy. */
static void load_end(struct redis *r)
{
    struct notes_log *l = r->notes_log;
    bool anew = l->anew;
    l->asking = l->anew = false;
    l->status = STORE_OK;
    notes_free(r->notes);
    notes_sort(&l->loading);
    *r->notes = l->loading;
    r->notes->known = true;
    l->loading = (struct notes){0};
    l->told = l->from;
    l->born = l->born ? l->born : node_inc(r);
    l->seen = l->seen > l->from ? l->seen : l->from;
    if (anew)
        notes_log_tell(r, NULL); /* which may have no memory, and then it is anew again */
    else
        l->applied = l->told; /* nobody has had any of it yet: whoever begins reads them */
    took(r);
    range_ask(r);
    node_beat_now(r);
}

static void load_begin(struct redis *r);

static void load_read(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct notes_log *l = r->notes_log;
    const struct reply *list = status == STORE_OK && reply->type == REPLY_LIST && reply->n == 2 ? reply->list : NULL;
    (void)c;
    if (!list || list[1].type != REPLY_LIST) {
        load_fail(r, status == STORE_OK ? STORE_FATAL : status);
        return;
    }
    if (r->parts[0].epoch != l->epoch) { /* another process goes on, whose cursors are others */
        load_begin(r);
        return;
    }
    for (uint32_t i = 0; i + 1 < list[1].n; i += 2) {
        struct slice key = list[1].list[i].text, value = list[1].list[i + 1].text;
        if (key.n > NOTE_KEY_MAX) {
            broken_record(r, "note", slice_of(key.p, NOTE_KEY_MAX), 0);
        } else if (key.n && !notes_add(&l->loading, key, value)) { /* the empty one is the place */
            load_fail(r, STORE_RETRY);
            return;
        }
    }
    if (slice_eq(list[0].text, SLICE_LIT("0")))
        load_end(r);
    else
        load_ask(r, list[0].text);
}

static void load_ask(struct redis *r, struct slice cursor)
{
    static const struct slice hscan[] = {SLICE_LIT("HSCAN")};
    struct notes_log *l = r->notes_log;
    call_raw(r, &l->call, 0, false, hscan, 1);
    call_key(r, &l->call, 'V', SLICE_NONE);
    call_arg(&l->call, cursor);
    call_arg(&l->call, SLICE_LIT("COUNT"));
    call_arg_u64(&l->call, LOAD_STEP);
    l->call.done = load_read;
    call_post(r, &l->call);
}

static void load_from(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct notes_log *l = r->notes_log;
    (void)c;
    if (status == STORE_OK && reply->type != REPLY_NIL && !reply_decimal(reply, &l->from))
        status = STORE_FATAL;
    if (status != STORE_OK) {
        load_fail(r, status);
        return;
    }
    l->epoch = r->parts[0].epoch;
    load_ask(r, SLICE_LIT("0"));
}

/* The newest place first: what is read after that has at least all up to there. */
static void load_begin(struct redis *r)
{
    static const struct slice hget[] = {SLICE_LIT("HGET")};
    struct notes_log *l = r->notes_log;
    l->asking = true;
    l->from = l->seen = 0; /* what is heard of meanwhile is looked for then */
    notes_free(&l->loading);
    call_raw(r, &l->call, 0, false, hget, 1);
    call_key(r, &l->call, 'V', SLICE_NONE);
    call_arg(&l->call, SLICE_LIT(""));
    l->call.done = load_from;
    call_post(r, &l->call);
}

void notes_log_load(struct redis *r)
{
    if (!r->notes->known && !r->notes_log->asking)
        load_begin(r);
}

bool notes_log_known(const struct redis *r)
{
    return r->notes->known;
}

enum store_status notes_log_status(const struct redis *r)
{
    return r->notes_log->status;
}

uint64_t notes_log_told(const struct redis *r)
{
    return r->notes_log->told;
}

uint64_t notes_log_least(const struct redis *r)
{
    return r->notes_log->least;
}

void notes_log_anew(struct redis *r)
{
    r->notes_log->anew = true;
    forget(r);
}
