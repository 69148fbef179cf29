/* A cluster without a node: see still.h. */
#include "storage/redis/dump/still.h"

#include "core/base/container.h"
#include "core/base/hash.h"
#include "storage/redis/io.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/start/check.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    FIND_MS = 10000,
    PAGE = 512, /* keys of one SCAN, about */
    ROUNDS = 20 /* looks at all masters, where these change again and again */
};

/* --- Opening ------------------------------------------------------------------------------------------------------ */

int still_open(struct still *s, const struct store_options *options, char *why, size_t why_size)
{
    struct store_options o = *options;
    *s = (struct still){.r = NULL};
    o.path = NULL; /* no data directory is needed */
    int e = check_cluster(&o.cluster, why, why_size);
    e = e ? e : redis_new(&s->r, &o, NULL, why, why_size);
    if (!e) {
        snprintf(s->prefix, sizeof s->prefix, "%s", s->r->options.cluster.prefix);
        uint64_t began = s->r->turn_ms;
        slots_tick(s->r);
        while (!slots_whole(s->r) && s->r->turn_ms - began < FIND_MS)
            ev_run(s->r->loop, EVRUN_ONCE);
        if (!slots_whole(s->r)) {
            snprintf(why, why_size,
                     s->r->slots.viewed_at ? "cluster.redis: the cluster does not serve all slots"
                                           : "cluster.redis: none of its members answers");
            e = ERR_IO;
        }
    }
    if (e)
        still_close(s);
    return e;
}

void still_close(struct still *s)
{
    if (s->r) {
        redis_io_end(s->r);
        redis_free(s->r);
    }
    s->r = NULL;
}

void still_drain(struct still *s)
{
    while (s->under)
        ev_run(s->r->loop, EVRUN_ONCE);
}

int still_wait_few(struct still *s, uint32_t most)
{
    while (s->under > most)
        ev_run(s->r->loop, EVRUN_ONCE);
    return s->status == STORE_OK ? 0 : ERR_IO;
}

int still_wait(struct still *s)
{
    return still_wait_few(s, 0);
}

void still_tell(const struct still *s, char *why, size_t why_size)
{
    if (s->status == STORE_FATAL)
        snprintf(why, why_size,
                 "the cluster has answered what it may not: its data under the prefix %s is damaged, or "
                 "something else's",
                 s->prefix);
    else
        snprintf(why, why_size, "the cluster cannot be asked: a master is out of reach, short of copies, or full");
}

/* --- Asking ------------------------------------------------------------------------------------------------------- */

static void text_put(struct buf *out, struct slice s, bool nil)
{
    buf_u32(out, nil ? UINT32_MAX : (uint32_t)s.n);
    buf_slice_put(out, s);
}

static void answer_put(struct buf *out, const struct reply *reply)
{
    char number[24];
    switch (reply->type) {
    case REPLY_LIST:
        for (uint32_t i = 0; i < reply->n; i++)
            answer_put(out, &reply->list[i]);
        break;
    case REPLY_NIL:
        text_put(out, SLICE_NONE, true);
        break;
    case REPLY_NUMBER:
        snprintf(number, sizeof number, "%lld", (long long)reply->number);
        text_put(out, slice_str(number), false);
        break;
    default:
        text_put(out, reply->text, false);
    }
}

static void ask_done(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct still_ask *a = CONTAINER_OF(c, struct still_ask, call);
    (void)r;
    if (status == STORE_OK)
        answer_put(&a->out, reply);
    if (!buf_ok(&a->out))
        status = STORE_FATAL;
    if (status != STORE_OK && a->s->status == STORE_OK)
        a->s->status = status;
    a->left = buf_slice(&a->out);
    a->s->under--;
}

void still_begin(struct still *s, struct still_ask *a, const char *command, unsigned part, bool writes)
{
    struct slice name = slice_str(command);
    *a = (struct still_ask){.s = s, .out = BUF_INIT};
    call_raw(s->r, &a->call, part, writes, &name, 1);
    a->call.done = ask_done;
}

void still_post(struct still *s, struct still_ask *a)
{
    s->under++;
    call_post(s->r, &a->call);
}

bool still_next(struct slice *left, struct slice *item)
{
    if (left->n < 4)
        return false;
    uint32_t n = load_be32(left->p);
    *item = n == UINT32_MAX ? SLICE_NONE : slice_of(left->p + 4, n);
    *left = slice_of(left->p + 4 + item->n, left->n - 4 - item->n);
    return true;
}

void still_free(struct still_ask *a)
{
    buf_free(&a->out);
}

static void change_done(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct still *s = c->ctx;
    (void)r, (void)reply;
    if (status != STORE_OK && s->status == STORE_OK)
        s->status = status;
    s->under--;
    free(c);
}

struct call *still_change(struct still *s, const char *command, unsigned part)
{
    struct slice name = slice_str(command);
    struct call *c = malloc(sizeof *c);
    if (!c) {
        s->status = STORE_FATAL;
        return NULL;
    }
    call_raw(s->r, c, part, true, &name, 1);
    c->done = change_done;
    c->ctx = s;
    return c;
}

struct call *still_function(struct still *s, enum fn fn, unsigned part)
{
    struct call *c = malloc(sizeof *c);
    if (!c) {
        s->status = STORE_FATAL;
        return NULL;
    }
    call_begin(s->r, c, fn, part);
    c->done = change_done;
    c->ctx = s;
    return c;
}

void still_send(struct still *s, struct call *c)
{
    s->under++;
    call_post(s->r, c);
}

/* --- All keys ----------------------------------------------------------------------------------------------------- */

/* Keys that were seen: SCAN may tell one twice. By two hashes, since two keys of one hash of 64 bits may be. */
struct seen {
    struct mark {
        uint64_t a, b; /* 0, 0: empty */
    } * marks;
    size_t n, room; /* room: a power of two */
};

static struct mark *seen_find(struct mark *marks, size_t room, uint64_t a, uint64_t b)
{
    size_t at = a & (room - 1);
    while ((marks[at].a || marks[at].b) && !(marks[at].a == a && marks[at].b == b))
        at = (at + 1) & (room - 1);
    return &marks[at];
}

/* 1: it is new; 0: it was there; ERR_NOMEM. */
static int seen_add(struct seen *s, struct slice key)
{
    uint64_t a = hash_stable(key), b = hash_bytes(key) | 1;
    if (s->n * 2 >= s->room) {
        size_t room = s->room ? s->room * 2 : 4096;
        struct mark *marks = calloc(room, sizeof *marks);
        if (!marks)
            return ERR_NOMEM;
        for (size_t i = 0; i < s->room; i++)
            if (s->marks[i].b)
                *seen_find(marks, room, s->marks[i].a, s->marks[i].b) = s->marks[i];
        free(s->marks);
        s->marks = marks;
        s->room = room;
    }
    struct mark *m = seen_find(s->marks, s->room, a, b);
    if (m->b)
        return 0;
    *m = (struct mark){a, b};
    s->n++;
    return 1;
}

/* Whether it is a key of ours, of this kind: a prefix may begin like another one. */
static bool key_read(const struct still *s, struct slice text, char kind, struct still_key *out)
{
    struct slice prefix = slice_str(s->prefix);
    size_t at = prefix.n + 2;
    if (text.n < at + 2 || memcmp(text.p, prefix.p, prefix.n) != 0 || (kind && text.p[prefix.n] != kind) ||
        text.p[prefix.n + 1] != '{')
        return false;
    const char *end = memchr(text.p + at, '}', text.n - at);
    if (!end)
        return false;
    struct slice tag = slice_of(text.p + at, (size_t)(end - text.p) - at), rest = {end + 1, text.n - at - tag.n - 1};
    unsigned slot = partition_slot_of(tag);
    if (slot % SLOTS_EACH || !slice_eq(partition_tag(&s->r->tags, (uint16_t)(slot / SLOTS_EACH)), tag))
        return false;
    if (rest.n && rest.p[0] != ':')
        return false;
    *out = (struct still_key){.part = (uint16_t)(slot / SLOTS_EACH),
                              .has_rest = rest.n > 0,
                              .rest = rest.n ? slice_of(rest.p + 1, rest.n - 1) : SLICE_NONE};
    if (!kind)
        out->rest = text;
    return true;
}

/* One page of one master. *cursor goes on; "0": that was all. */
static int scan_page(struct still *s, int part, char kind, struct seen *seen, char cursor[24],
                     const struct still_pages *to)
{
    struct still_ask a;
    struct still_key *keys = NULL;
    struct slice item;
    char pattern[32];
    uint32_t n = 0, room = 0;
    snprintf(pattern, sizeof pattern, "%s%c{*", s->prefix, kind ? kind : '?');
    still_begin(s, &a, "SCAN", (unsigned)part, false);
    call_arg(&a.call, slice_str(cursor));
    call_arg(&a.call, SLICE_LIT("MATCH"));
    call_arg(&a.call, slice_str(pattern));
    call_arg(&a.call, SLICE_LIT("COUNT"));
    call_arg_u64(&a.call, PAGE);
    still_post(s, &a);
    int r = still_wait(s);
    if (!r && (!still_next(&a.left, &item) || item.n >= 24))
        r = ERR_INVALID;
    if (!r)
        snprintf(cursor, 24, "%.*s", (int)item.n, item.p);
    while (!r && still_next(&a.left, &item)) {
        struct still_key key;
        if (!key_read(s, item, kind, &key))
            continue;
        int new = seen_add(seen, item);
        if (new == 1 && n == room) {
            room = room ? room * 2 : PAGE;
            struct still_key *grown = realloc(keys, room * sizeof *keys);
            new = grown ? 1 : ERR_NOMEM;
            keys = grown ? grown : keys;
        }
        if (new == 1)
            keys[n++] = key;
        r = new < 0 ? new : 0;
    }
    r = r || !n ? r : to->page(to->ctx, keys, n);
    free(keys);
    still_free(&a);
    return r;
}

/* Changes when a partition gets another master, or a master is connected anew, which may have been restarted. */
static uint64_t masters_sign(const struct still *s)
{
    uint64_t sign = 0;
    for (unsigned p = 0; p < PARTITIONS; p++) {
        const struct master *m = s->r->parts[p].master;
        char bytes[16 + sizeof m->id];
        store_be64(bytes, sign);
        store_be64(bytes + 8, m->lanes[LANE_READ].link.opened); /* over which scans go */
        memcpy(bytes + 16, m->id, sizeof m->id);
        sign = hash_stable(slice_of(bytes, sizeof bytes));
    }
    return sign;
}

int still_scan(struct still *s, char kind, const struct still_pages *to)
{
    struct seen seen = {0};
    uint64_t sign;
    int r = 0, part, rounds = ROUNDS;
    /* A cursor means something in one process alone: where a master was replaced, all are asked once more. */
    do {
        sign = masters_sign(s);
        for (unsigned m = 0; !r && (part = slots_part(s->r, m)) >= 0; m++) {
            char cursor[24] = "0";
            do
                r = scan_page(s, part, kind, &seen, cursor, to);
            while (!r && strcmp(cursor, "0") != 0);
        }
        if (!r && sign != masters_sign(s) && !--rounds)
            r = ERR_AGAIN;
    } while (!r && sign != masters_sign(s));
    free(seen.marks);
    return r;
}
