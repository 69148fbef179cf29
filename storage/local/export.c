/* All that the embedded engine's database holds, record by record: see export.h. */
#include "storage/local/export.h"

#include "storage/dump.h"
#include "storage/local/idgen.h"
#include "storage/local/local_private.h"
#include "storage/local/meta.h"
#include "storage/local/msgs.h"

#include <stdio.h>

struct exporter {
    struct local *s;
    struct dump_writer *out;
    const struct identity *id;
    uint64_t losses; /* those of the store, with the one that this look has found */
    uint64_t now_ms; /* expiry clock */
    struct iter_cache iters;
};

/* --- Walking ------------------------------------------------------------------------------------------------------ */

/* Where rows of a kind are, and what puts the records of one of them: 0 or an enum err. */
struct walk {
    enum kv_family family;
    const char *prefix, *what; /* keys; for the log */
    int (*put)(struct exporter *e, struct slice key, struct slice value);
};

/* Puts all rows of a kind. */
static int walk(struct exporter *e, const struct walk *w)
{
    struct slice prefix = slice_str(w->prefix);
    struct key to;
    struct slice end = prefix.n ? key_after_prefix(&to, prefix) : SLICE_NONE;
    struct kv_iter *it = kv_iter_new(e->s->kv, w->family, prefix, end);
    int r = it ? 0 : ERR_NOMEM;
    for (it ? kv_seek(it, prefix) : (void)0; !r && kv_valid(it); kv_next(it)) {
        struct slice key = kv_key(it);
        r = w->put(e, key, kv_value(it));
        if (r == ERR_INVALID)
            record_bad(w->what, key);
    }
    r = r ? r : it ? kv_iter_error(it) : 0;
    kv_iter_free(it);
    return r;
}

/* What follows the letter of a key. */
static struct slice behind(struct slice key, size_t n)
{
    return slice_of(key.p + n, key.n - n);
}

/* "letter user 0 tail": the user. */
static struct slice user_of(struct slice key)
{
    struct slice tail = key_tail(key);
    return slice_of(key.p + 1, tail.p ? (size_t)(tail.p - key.p) - 2 : 0);
}

/* --- The store ---------------------------------------------------------------------------------------------------- */

static int put_store(struct exporter *e)
{
    struct guard_state g;
    char moves[CLOCK_MOVES * CLOCK_MOVE_SIZE];
    guard_read(&e->s->guard, &g);
    uint64_t last_ms = e->id->last_id_ms;
    if (e->losses != e->id->loss && e->id->ids > last_ms)
        last_ms = e->id->ids; /* what was given out may be missing */
    struct dump_record r = {.kind = DUMP_STORE,
                            .store = {.clock_ms = g.guarded_ms,
                                      .steady_ms = g.steady_ms,
                                      .paused_from_ms = g.paused ? g.paused_from_ms : 0,
                                      .last_id = idgen_end(last_ms),
                                      .flags = (uint8_t)((g.paused ? DUMP_PAUSED : 0) | (g.unsure ? DUMP_UNSURE : 0)),
                                      .moves = slice_of(moves, clock_moves_encode(&g.moves, moves))}};
    return dump_put(e->out, &r);
}

/* --- Users -------------------------------------------------------------------------------------------------------- */

static int put_user(struct exporter *e, struct slice key, struct slice value)
{
    struct user_record u;
    if (user_decode(value, &u))
        return ERR_INVALID;
    struct dump_record r = {.kind = DUMP_USER,
                            .user = {.id = behind(key, 1),
                                     .name = u.name,
                                     .epoch = u.epoch,
                                     .due_ms = u.guest ? u.due_ms : 0,
                                     .revoked_ms = u.revoked_ms,
                                     .flags = u.guest ? DUMP_GUEST : 0}};
    return dump_put(e->out, &r);
}

static int put_deleted(struct exporter *e, struct slice key, struct slice value)
{
    struct deleted_record d;
    if (deleted_decode(value, &d))
        return ERR_INVALID;
    struct dump_record r = {
        .kind = DUMP_DELETED,
        .deleted = {.id = behind(key, 1), .last_id = d.last_id, .epoch = d.epoch, .flags = d.flags}};
    return dump_put(e->out, &r);
}
_Static_assert((int)DUMP_GONE_NOW == (int)DELETED_NOW && (int)DUMP_GOING == (int)DELETED_GOING &&
                   (int)DUMP_GOING_ALL == (int)DELETED_RECALL,
               "the flags are the same");

/* The rows of both kinds stand side by side, by user and conversation: put as one. */
static int put_belonging(struct exporter *e, struct slice sub_key, struct slice sub, struct slice mark_key,
                         struct slice mark)
{
    struct slice key = sub_key.n ? sub_key : mark_key, conv = key_tail(key), user = user_of(key);
    struct sub_record s = {0};
    uint64_t read = 0;
    if ((mark_key.n && mark_decode(mark, &read)) || (sub_key.n && sub_decode(sub, &s)))
        return ERR_INVALID;
    struct dump_record r = {.kind = DUMP_PAIR, .pair = {.user = user, .conv = conv, .read = read}};
    if (conv_is_channel(conv)) {
        if (!sub_key.n)
            return 0; /* a mark without a membership means nothing */
        r = (struct dump_record){
            .kind = DUMP_MEMBER,
            .member = {.user = user, .conv = conv, .read = read, .push = s.push, .flags = s.events ? DUMP_EVENTS : 0}};
    }
    return dump_put(e->out, &r);
}

static int walk_belongings(struct exporter *e)
{
    struct kv *kv = e->s->kv;
    struct kv_iter *sub = kv_iter_new(kv, KV_USER, SLICE_LIT("s"), SLICE_LIT("t"));
    struct kv_iter *mark = kv_iter_new(kv, KV_USER, SLICE_LIT("r"), SLICE_LIT("s"));
    int r = sub && mark ? 0 : ERR_NOMEM;
    if (!r) {
        kv_seek(sub, SLICE_LIT("s"));
        kv_seek(mark, SLICE_LIT("r"));
    }
    while (!r && (kv_valid(sub) || kv_valid(mark))) {
        struct slice sk = kv_valid(sub) ? kv_key(sub) : SLICE_NONE, mk = kv_valid(mark) ? kv_key(mark) : SLICE_NONE;
        int order = !sk.n ? 1 : !mk.n ? -1 : slice_cmp(behind(sk, 1), behind(mk, 1));
        bool has_sub = order <= 0, has_mark = order >= 0;
        r = put_belonging(e, has_sub ? sk : SLICE_NONE, has_sub ? kv_value(sub) : SLICE_NONE,
                          has_mark ? mk : SLICE_NONE, has_mark ? kv_value(mark) : SLICE_NONE);
        if (r == ERR_INVALID)
            record_bad("mark", has_sub ? sk : mk);
        has_sub ? kv_next(sub) : (void)0;
        has_mark ? kv_next(mark) : (void)0;
    }
    r = r || !sub || !mark ? r : kv_iter_error(sub) ? kv_iter_error(sub) : kv_iter_error(mark);
    kv_iter_free(sub);
    kv_iter_free(mark);
    return r;
}

static int put_block(struct exporter *e, struct slice key, struct slice value)
{
    (void)value;
    struct dump_record r = {.kind = DUMP_BLOCK, .block = {.user = user_of(key), .target = key_tail(key)}};
    return dump_put(e->out, &r);
}

static int put_inbox(struct exporter *e, struct slice key, struct slice value)
{
    struct inbox_record i;
    uint64_t id;
    if (inbox_decode(value, &i) || !key_tail_u64(key, &id))
        return ERR_INVALID;
    if (row_expired(&i.row, &e->s->expiry, e->now_ms))
        return 0;
    struct dump_record r = {.kind = DUMP_INBOX,
                            .inbox = {.user = slice_of(key.p, key.n - 9),
                                      .conv = i.conv,
                                      .id = id,
                                      .seq = i.seq,
                                      .birth_ms = i.row.birth_ms,
                                      .ttl_ms = i.row.ttl_ms,
                                      .tier = (uint8_t)(i.row.cls - 1)}};
    return dump_put(e->out, &r);
}

/* --- Conversations ------------------------------------------------------------------------------------------------ */

static int put_message(struct exporter *e, const struct msgs *m)
{
    const struct message_record *row = m->row;
    struct dump_record r = {.kind = DUMP_MESSAGE,
                            .message = {.sender = row->sender,
                                        .name = row->sender_name,
                                        .content = row->content,
                                        .seq = m->seq,
                                        .id = row->id,
                                        .created_ms = row->created_ms,
                                        .birth_ms = row->row.birth_ms,
                                        .ttl_ms = row->row.ttl_ms,
                                        .edited_ms = row->edited_ms,
                                        .tier = (uint8_t)m->tier,
                                        .flags = (uint8_t)((row->row.flags & ROW_RECALLED ? DUMP_RECALLED : 0) |
                                                           (row->row.flags & ROW_EDITED ? DUMP_EDITED : 0))}};
    return dump_put(e->out, &r);
}

static int put_messages(struct exporter *e, struct msgs *m)
{
    int r = m->error;
    for (; !r && m->valid; msgs_step(m))
        r = put_message(e, m);
    return r ? r : m->error;
}

/* A conversation's record, whose `low` is not known yet. */
static struct dump_record conv_record(const struct exporter *e, struct slice conv, const struct head_record *h)
{
    bool jump = h->losses != e->losses && h->reserved > h->seq && !(h->flags & HEAD_GONE);
    struct dump_conv c = {.key = conv,
                          .seq = h->seq,
                          .given = jump ? h->reserved : h->seq,
                          .low = h->seq,
                          .last_id = h->last_id,
                          .skip_at = h->skip_at,
                          .gone_ms = h->gone_ms,
                          .skip = h->skip,
                          .max = h->max,
                          .tier = h->flags & HEAD_CHANNEL ? h->tier : 0};
    c.flags = (uint8_t)((h->flags & HEAD_CHANNEL ? DUMP_CONV_MADE : 0) | (h->flags & HEAD_GONE ? DUMP_CONV_GONE : 0) |
                        (h->flags & HEAD_CLOSING ? DUMP_CONV_CLOSING : 0));
    return (struct dump_record){.kind = DUMP_CONV, .conv = c};
}

static int put_conv(struct exporter *e, struct slice key, struct slice value)
{
    struct head_record h;
    struct msgs m;
    struct slice conv = behind(key, 1);
    if (head_decode(value, &h))
        return ERR_INVALID;
    struct dump_record r = conv_record(e, conv, &h);
    if (h.flags & HEAD_GONE)
        return dump_put(e->out, &r);
    int code = msgs_open(&m, e->s, &e->iters, conv, &h);
    if (!code) {
        msgs_up(&m, 0);
        r.conv.low = m.valid ? m.seq - 1 : h.seq;
        code = m.error ? m.error : dump_put(e->out, &r);
    }
    code = code ? code : put_messages(e, &m);
    msgs_close(&m);
    return code;
}

/* --- The rest ----------------------------------------------------------------------------------------------------- */

static int put_dedup(struct exporter *e, struct slice key, struct slice value)
{
    struct dedup_record d;
    struct slice rest = key_tail(key);
    size_t n = rest.n ? (uint8_t)rest.p[0] : 0;
    if (dedup_decode(value, &d) || rest.n < 1 + n)
        return ERR_INVALID;
    if (row_expired(&d.row, &e->s->expiry, e->now_ms))
        return 0;
    struct dump_record r = {.kind = DUMP_DEDUP,
                            .dedup = {.sender = slice_of(key.p, key.n - rest.n - 1),
                                      .conv = slice_of(rest.p + 1, n),
                                      .client_id = slice_of(rest.p + 1 + n, rest.n - 1 - n),
                                      .seq = d.seq,
                                      .id = d.id,
                                      .created_ms = d.created_ms,
                                      .birth_ms = d.row.birth_ms}};
    return dump_put(e->out, &r);
}

static int put_note(struct exporter *e, struct slice key, struct slice value)
{
    enum { FIXED = 2 }; /* as notes.c has it: version, flags */
    if (slice_eq(key, META_NAMES))
        return 0;
    if (value.n < FIXED || value.p[0] != RECORD_VERSION)
        return ERR_INVALID;
    struct dump_record r = {.kind = DUMP_NOTE, .note = {.key = behind(key, 1), .value = behind(value, FIXED)}};
    return dump_put(e->out, &r);
}

static int put_floor(struct exporter *e, struct slice key, struct slice value)
{
    if (key.n != 3 || value.n != 8)
        return ERR_INVALID;
    struct dump_record r = {.kind = DUMP_FLOOR, .floor = {.place = load_be16(key.p + 1), .seq = load_be64(value.p)}};
    return dump_put(e->out, &r);
}

int export_all(struct local *s, const struct identity *id, bool lost, struct dump_writer *out)
{
    struct exporter e = {.s = s, .out = out, .id = id, .losses = id->loss + lost};
    static const struct walk walks[] = {
        {KV_USER, "u", "user", put_user},    {KV_USER, "x", "deleted user", put_deleted},
        {KV_CHANNEL, "h", "head", put_conv}, {KV_USER, "b", "block", put_block},
        {KV_INBOX, "", "inbox", put_inbox},  {KV_DEDUP, "", "dedup", put_dedup},
        {KV_META, "n", "note", put_note},    {KV_META, "f", "floor", put_floor}};
    (void)guard_now(&s->guard);
    e.now_ms = expiry_now(&s->expiry);
    int r = put_store(&e);
    for (size_t i = 0; !r && i < sizeof walks / sizeof *walks; i++)
        r = walk(&e, &walks[i]);
    r = r ? r : walk_belongings(&e);
    iter_cache_drop(&e.iters);
    return r;
}

int local_export(const struct store_options *options, struct dump_writer *out, char *why, size_t why_size)
{
    struct local *s;
    struct identity id;
    bool lost;
    if (strcmp(options->engine, "memory") == 0) {
        snprintf(why, why_size, "storage.engine is \"memory\", which keeps nothing that could be exported");
        return ERR_INVALID;
    }
    int r = local_open_still(&s, &id, &lost, options, NULL, why, why_size);
    if (r)
        return r;
    r = export_all(s, &id, lost, out);
    if (r)
        snprintf(why, why_size, "the database in %s cannot be read: %s", options->path, err_str(r));
    local_close_still(s);
    return r;
}
