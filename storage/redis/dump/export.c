/* All that a cluster holds, record by record: see export.h. Conversations are in export_conv.c. */
#include "storage/redis/dump/export.h"

#include "core/base/container.h"
#include "storage/conv_key.h"
#include "storage/redis/dump/export_private.h"
#include "storage/redis/layout.h"
#include "storage/redis/nodes/cluster_clock.h"
#include "storage/redis/nodes/time.h"
#include "storage/redis/ops/halves.h"
#include "storage/redis/ops/member_half.h"
#include "storage/redis/ops/settle.h"
#include "storage/redis/redis_private.h"

#include <stdio.h>
#include <stdlib.h>

#define YEAR_2020 UINT64_C(1577836800000)

uint64_t export_number(struct slice text)
{
    uint64_t v = 0;
    for (size_t i = 0; i < text.n && text.p[i] >= '0' && text.p[i] <= '9'; i++)
        v = v * 10 + (uint64_t)(text.p[i] - '0');
    return v;
}

/* --- The store ---------------------------------------------------------------------------------------------------- */

/* No id passes what the partitions' counters stand at: places, ids without their partition. */
static int last_id(struct exporter *e, uint64_t *out)
{
    struct still_ask *asks = calloc(PARTITIONS, sizeof *asks);
    struct slice item;
    uint64_t place = 0;
    if (!asks)
        return ERR_NOMEM;
    for (unsigned p = 0; p < PARTITIONS; p++) {
        still_begin(e->s, &asks[p], "GET", p, false);
        call_key(e->s->r, &asks[p].call, 'g', SLICE_NONE);
        still_post(e->s, &asks[p]);
    }
    int r = still_wait(e->s);
    for (unsigned p = 0; p < PARTITIONS; p++) {
        uint64_t v = still_next(&asks[p].left, &item) ? export_number(item) : 0;
        place = v > place ? v : place;
        still_free(&asks[p]);
    }
    free(asks);
    *out = place ? layout_id_end(place / 4096 + YEAR_2020) : 0;
    return r;
}

/* What the nodes know of time. Sets our own clock by it. */
static int clock_read(struct exporter *e, struct clock_record *record, uint64_t *told_ms)
{
    struct still_ask a;
    struct slice field, value;
    *told_ms = 0;
    *record = (struct clock_record){0};
    still_begin(e->s, &a, "HGETALL", 0, false);
    call_key(e->s->r, &a.call, 'N', SLICE_NONE);
    still_post(e->s, &a);
    int r = still_wait(e->s);
    while (!r && still_next(&a.left, &field) && still_next(&a.left, &value))
        if (slice_eq(field, SLICE_LIT("clock")))
            *told_ms = export_number(value);
        else if (slice_eq(field, SLICE_LIT("time")))
            r = clock_record_decode(value, record);
    still_free(&a);
    if (!r && *told_ms) {
        cluster_clock_record_set(&e->s->r->time->clock, record, *told_ms);
        (void)time_limit(e->s->r, expiry_now(time_expiry(e->s->r)));
    }
    return r;
}

static int put_store(struct exporter *e)
{
    struct clock_record c;
    char moves[CLOCK_MOVES * CLOCK_MOVE_SIZE];
    uint64_t told, id;
    int r = clock_read(e, &c, &told);
    r = r ? r : last_id(e, &id);
    if (r)
        return r;
    e->clock_ms = told;
    /* In doubt, what is told is where expiry stands: else the next start would take the masters' time for right. */
    struct dump_record rec = {.kind = DUMP_STORE,
                              .store = {.clock_ms = c.paused ? c.expiry_ms : told,
                                        .steady_ms = told + (uint64_t)c.steady_by_ms,
                                        .paused_from_ms = c.paused ? c.from_ms : 0,
                                        .last_id = id,
                                        .flags = c.paused ? DUMP_PAUSED : 0,
                                        .moves = slice_of(moves, clock_moves_encode(&c.moves, moves))}};
    return dump_put(e->out, &rec);
}

/* What stands under the prefix is ours, and of a format that we know. */
static int format_check(struct exporter *e, char *why, size_t why_size)
{
    struct still_ask a;
    struct slice value = SLICE_NONE;
    char known[8];
    snprintf(known, sizeof known, "%d", LAYOUT_FORMAT);
    still_begin(e->s, &a, "HGET", 0, false);
    call_key(e->s->r, &a.call, 'C', SLICE_NONE);
    call_arg(&a.call, SLICE_LIT("format"));
    still_post(e->s, &a);
    int r = still_wait(e->s);
    if (r) {
        still_tell(e->s, why, why_size);
    } else if (!still_next(&a.left, &value) || !value.p) {
        snprintf(why, why_size, "there is nothing under the prefix %s of the cluster", e->s->prefix);
        r = ERR_NOTFOUND;
    } else if (slice_eq(value, SLICE_LIT("import"))) { /* import.c */
        snprintf(why, why_size, "an import under the prefix %s is under way, or was cut short", e->s->prefix);
        r = ERR_INVALID;
    } else if (!slice_eq(value, slice_str(known))) {
        snprintf(why, why_size, "the data under the prefix %s has format %.*s; this server knows %s", e->s->prefix,
                 (int)(value.n < 20 ? value.n : 20), value.p, known);
        r = ERR_INVALID;
    }
    still_free(&a);
    return r;
}

/* --- Second halves ------------------------------------------------------------------------------------------------ */

struct half {
    struct halves message;
    struct member_half member;
    struct still *s;
};

static void half_end(struct half *h, enum store_status status)
{
    if (status != STORE_OK && h->s->status == STORE_OK)
        h->s->status = status;
    h->s->under--;
    free(h);
}

static void message_done(struct redis *r, struct halves *m, enum store_status status)
{
    (void)r;
    half_end(m->ctx, status);
}

static void member_done(struct redis *r, struct member_half *m, enum store_status status)
{
    (void)r;
    half_end(m->ctx, status);
}

/* Does what one intent says; what it points to must stay until still_wait(). */
static int half_run(struct exporter *e, struct slice field, struct slice value)
{
    struct layout_intent message;
    struct half *h = calloc(1, sizeof *h);
    if (!h)
        return ERR_NOMEM;
    h->s = e->s;
    h->message.ctx = h->member.ctx = h;
    h->message.done = message_done;
    h->member.done = member_done;
    h->member.intent = h->member.late = true;
    bool pair = field.n == 9 && field.p[0] == 'p';
    int r = pair                           ? layout_intent(value, &message)
            : field.n && field.p[0] == 'j' ? layout_half(slice_of(field.p + 1, field.n - 1), value, &h->member.what)
                                           : ERR_INVALID;
    if (r) {
        free(h);
        return r;
    }
    e->s->under++;
    if (pair)
        halves_run(e->s->r, &h->message, load_be64(field.p + 1), &message);
    else
        member_half_run(e->s->r, &h->member);
    return 0;
}

/* All that stand now. */
static int halves_do(struct exporter *e)
{
    struct still_ask *asks = calloc(PARTITIONS, sizeof *asks);
    struct slice field, value;
    if (!asks)
        return ERR_NOMEM;
    for (unsigned p = 0; p < PARTITIONS; p++) {
        still_begin(e->s, &asks[p], "HGETALL", p, false);
        call_key(e->s->r, &asks[p].call, 'o', SLICE_NONE);
        still_post(e->s, &asks[p]);
    }
    int r = still_wait(e->s);
    for (unsigned p = 0; p < PARTITIONS; p++)
        while (!r && still_next(&asks[p].left, &field) && still_next(&asks[p].left, &value))
            r = half_run(e, field, value);
    int waited = still_wait(e->s);
    settle_flush(e->s->r);
    while (e->s->r->background)
        ev_run(e->s->r->loop, EVRUN_ONCE);
    for (unsigned p = 0; p < PARTITIONS; p++)
        still_free(&asks[p]);
    free(asks);
    return r ? r : waited;
}

/* --- Users -------------------------------------------------------------------------------------------------------- */

/* Strings by their names, as a hash of Redis had them: sorted, so that they are found, and told in one order. */
struct pairs {
    struct pair {
        struct slice name, value;
    } * list;
    size_t n;
};

static int pair_cmp(const void *a, const void *b)
{
    return slice_cmp(((const struct pair *)a)->name, ((const struct pair *)b)->name);
}

static int pairs_read(struct pairs *out, struct slice answer)
{
    struct slice left = answer, name, value;
    size_t n = 0;
    *out = (struct pairs){0};
    while (still_next(&left, &name))
        n++;
    out->list = calloc(n / 2 + 1, sizeof *out->list);
    if (!out->list)
        return ERR_NOMEM;
    while (still_next(&answer, &name) && still_next(&answer, &value))
        out->list[out->n++] = (struct pair){name, value};
    qsort(out->list, out->n, sizeof *out->list, pair_cmp);
    return 0;
}

static struct slice pairs_find(const struct pairs *p, struct slice name)
{
    const struct pair key = {.name = name};
    const struct pair *found = bsearch(&key, p->list, p->n, sizeof *p->list, pair_cmp);
    return found ? found->value : SLICE_NONE;
}

static int put_user(struct exporter *e, struct slice id, const struct pairs *u)
{
    struct slice name = pairs_find(u, SLICE_LIT("n")), due = pairs_find(u, SLICE_LIT("g")),
                 going = pairs_find(u, SLICE_LIT("f")), x = pairs_find(u, SLICE_LIT("x"));
    uint32_t epoch = (uint32_t)export_number(pairs_find(u, SLICE_LIT("e")));
    struct layout_gone gone;
    int r = layout_gone(x, &gone);
    if (!r && name.p) {
        struct dump_record rec = {.kind = DUMP_USER,
                                  .user = {.id = id,
                                           .name = name,
                                           .epoch = epoch,
                                           .due_ms = export_number(due),
                                           .revoked_ms = export_number(pairs_find(u, SLICE_LIT("t"))),
                                           .flags = due.p ? DUMP_GUEST : 0}};
        r = dump_put(e->out, &rec);
    }
    if (!r && x.p) {
        bool now = gone.now && !name.p;
        struct dump_record rec = {.kind = DUMP_DELETED, .deleted = {.id = id, .last_id = gone.until, .epoch = epoch}};
        rec.deleted.flags = (uint8_t)((now ? DUMP_GONE_NOW : 0) | (now && going.p ? DUMP_GOING : 0) |
                                      (now && slice_eq(going, SLICE_LIT("2")) ? DUMP_GOING_ALL : 0));
        r = dump_put(e->out, &rec);
    }
    return r;
}

static int put_members(struct exporter *e, struct slice id, const struct pairs *u)
{
    int r = 0;
    for (size_t i = 0; !r && i < u->n; i++) {
        struct layout_sub sub;
        if (u->list[i].name.n < 2 || !conv_is_channel(u->list[i].name))
            continue;
        r = layout_sub(u->list[i].value, &sub);
        struct dump_record rec = {.kind = DUMP_MEMBER,
                                  .member = {.user = id,
                                             .conv = u->list[i].name,
                                             .read = sub.read,
                                             .push = sub.push,
                                             .flags = sub.events ? DUMP_EVENTS : 0}};
        r = r || !sub.member ? r : dump_put(e->out, &rec);
    }
    return r;
}

static int slices_cmp(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

/* Whom the user has a private conversation with, by id. */
static int put_pairs(struct exporter *e, struct slice id, struct slice peers, const struct pairs *marks)
{
    struct slice left = peers, peer;
    size_t n = 0;
    int r = 0;
    while (still_next(&left, &peer))
        n++;
    struct slice *list = calloc(n + 1, sizeof *list);
    if (!list)
        return ERR_NOMEM;
    for (n = 0; still_next(&peers, &list[n]); n++)
        continue;
    qsort(list, n, sizeof *list, slices_cmp);
    for (size_t i = 0; !r && i < n; i++) {
        struct slice mark = pairs_find(marks, list[i]);
        struct conv_key conv;
        uint64_t read = 0;
        if (list[i].n < 1 || list[i].n > 64 || (mark.p && layout_peer_read(mark, &read))) {
            r = ERR_INVALID;
            break;
        }
        conv = conv_key_pair(id, list[i]);
        struct dump_record rec = {.kind = DUMP_PAIR, .pair = {id, conv_key_slice(&conv), read}};
        r = dump_put(e->out, &rec);
    }
    free(list);
    return r;
}

static int put_inbox(struct exporter *e, struct slice id, struct slice order, const struct pairs *entries)
{
    struct slice message;
    int r = 0;
    while (!r && still_next(&order, &message)) {
        struct slice value = pairs_find(entries, message);
        struct layout_entry entry;
        struct conv_key conv;
        if (!value.p)
            continue; /* acknowledged between the two answers */
        if (message.n != 8 || layout_entry(value, &entry) || entry.peer.n < 1 || entry.peer.n > 64)
            return ERR_INVALID;
        if (!rule_alive(&e->rule, TIER_DM, entry.birth_ms, entry.ttl_ms))
            continue;
        conv = conv_key_pair(id, entry.peer);
        struct dump_record rec = {.kind = DUMP_INBOX,
                                  .inbox = {.user = id,
                                            .conv = conv_key_slice(&conv),
                                            .id = load_be64(message.p),
                                            .seq = entry.seq,
                                            .birth_ms = entry.birth_ms,
                                            .ttl_ms = entry.ttl_ms,
                                            .tier = TIER_DM}};
        r = dump_put(e->out, &rec);
    }
    return r;
}

/* The user's own record, and its channels. */
static int put_account(struct exporter *e, struct slice id, struct slice order, const struct pairs *u)
{
    (void)order;
    int r = put_user(e, id, u);
    return r ? r : put_members(e, id, u);
}

/* What is asked of each key of a kind: a sorted set, and a hash beside it. */
struct look {
    struct exporter *e;
    char order, hash; /* kinds of keys; order 0: there is none */
    int (*put)(struct exporter *e, struct slice id, struct slice order, const struct pairs *hash);
};

enum { LOOKS = 64 /* asked together */ };

static void look_ask(const struct look *l, struct still_ask *order, struct still_ask *hash, const struct still_key *key)
{
    struct still *s = l->e->s;
    *order = (struct still_ask){.out = BUF_INIT};
    if (l->order) {
        still_begin(s, order, "ZRANGE", key->part, false);
        call_key(s->r, &order->call, l->order, key->rest);
        call_arg(&order->call, SLICE_LIT("0"));
        call_arg(&order->call, SLICE_LIT("-1"));
        still_post(s, order);
    }
    still_begin(s, hash, "HGETALL", key->part, false);
    call_key(s->r, &hash->call, l->hash, key->rest);
    still_post(s, hash);
}

static int look_put(const struct look *l, struct slice id, struct still_ask *order, struct still_ask *hash)
{
    struct pairs pairs;
    int r = pairs_read(&pairs, hash->left);
    r = r ? r : l->put(l->e, id, order->left, &pairs);
    free(pairs.list);
    return r;
}

static int look_page(void *ctx, const struct still_key *keys, uint32_t n)
{
    const struct look *l = ctx;
    struct still_ask orders[LOOKS], hashes[LOOKS];
    int r = 0;
    for (uint32_t at = 0; !r && at < n; at += LOOKS) {
        uint32_t some = n - at < LOOKS ? n - at : LOOKS;
        for (uint32_t i = 0; i < some; i++)
            look_ask(l, &orders[i], &hashes[i], &keys[at + i]);
        r = still_wait(l->e->s);
        for (uint32_t i = 0; i < some; i++) {
            r = r ? r : look_put(l, keys[at + i].rest, &orders[i], &hashes[i]);
            still_free(&orders[i]);
            still_free(&hashes[i]);
        }
    }
    return r;
}

/* Accounts, private conversations, inboxes: each by its own keys, since `system` has conversations and no account. */
static int put_people(struct exporter *e)
{
    struct look looks[] = {{e, 0, 'u', put_account}, {e, 'p', 'r', put_pairs}, {e, 'i', 'I', put_inbox}};
    int r = 0;
    for (size_t i = 0; !r && i < sizeof looks / sizeof *looks; i++)
        r = still_scan(e->s, looks[i].order ? looks[i].order : looks[i].hash,
                       &(struct still_pages){look_page, &looks[i]});
    return r;
}

/* --- The rest ----------------------------------------------------------------------------------------------------- */

/* Digests of a window; those past their time go by nobody's repeats. */
static int put_digests(void *ctx, const struct still_key *keys, uint32_t n)
{
    struct exporter *e = ctx;
    struct slice digest, value;
    int r = 0;
    for (uint32_t i = 0; !r && i < n; i++) {
        struct still_ask a;
        still_begin(e->s, &a, "HGETALL", keys[i].part, false);
        call_key(e->s->r, &a.call, 'd', keys[i].rest);
        still_post(e->s, &a);
        r = still_wait(e->s);
        while (!r && still_next(&a.left, &digest) && still_next(&a.left, &value)) {
            struct dump_record rec = {.kind = DUMP_DIGEST, .digest = {.digest = digest, .part = keys[i].part}};
            if (value.n != LAYOUT_DEDUP) {
                r = ERR_INVALID;
                break;
            }
            rec.digest.id = load_be64(value.p);
            rec.digest.seq = layout_u48(value.p + 8);
            rec.digest.created_ms = layout_u48(value.p + 14);
            if (rec.digest.created_ms + e->s->r->options.dedup_window_ms > e->clock_ms)
                r = dump_put(e->out, &rec);
        }
        still_free(&a);
    }
    return r;
}

static int put_notes(struct exporter *e)
{
    struct still_ask a;
    struct pairs notes = {0};
    still_begin(e->s, &a, "HGETALL", 0, false);
    call_key(e->s->r, &a.call, 'V', SLICE_NONE);
    still_post(e->s, &a);
    int r = still_wait(e->s);
    r = r ? r : pairs_read(&notes, a.left);
    for (size_t i = 0; !r && i < notes.n; i++) {
        struct dump_record rec = {.kind = DUMP_NOTE, .note = {notes.list[i].name, notes.list[i].value}};
        if (notes.list[i].name.n) /* the empty one counts the changes */
            r = dump_put(e->out, &rec);
    }
    free(notes.list);
    still_free(&a);
    return r;
}

/* Which names were dropped nobody knows any more, and an export's places are others than a partition's (member.lua): so
 * the highest floor of all stands for each place, if there is any. Read once all names have been told: those that go
 * meanwhile have raised it. */
static int put_floors(struct exporter *e)
{
    struct still_ask *asks = calloc(PARTITIONS, sizeof *asks);
    struct slice item;
    uint64_t highest = 0;
    char field[8];
    if (!asks)
        return ERR_NOMEM;
    for (unsigned p = 0; p < PARTITIONS; p++) {
        still_begin(e->s, &asks[p], "HMGET", p, false);
        call_key(e->s->r, &asks[p].call, 'c', SLICE_NONE);
        for (unsigned i = 0; i < LAYOUT_NAME_FLOORS; i++) {
            snprintf(field, sizeof field, "f%u", i);
            call_arg(&asks[p].call, slice_str(field));
        }
        still_post(e->s, &asks[p]);
    }
    int r = still_wait(e->s);
    for (unsigned p = 0; p < PARTITIONS; p++) {
        while (!r && still_next(&asks[p].left, &item)) {
            uint64_t v = item.p ? export_number(item) : 0;
            highest = v > highest ? v : highest;
        }
        still_free(&asks[p]);
    }
    free(asks);
    for (unsigned place = 0; !r && highest && place <= UINT16_MAX; place++) {
        struct dump_record rec = {.kind = DUMP_FLOOR, .floor = {.place = (uint16_t)place, .seq = highest}};
        r = dump_put(e->out, &rec);
    }
    return r;
}

static void tell(const struct exporter *e, int r, char *why, size_t why_size)
{
    if (e->s->status != STORE_OK)
        still_tell(e->s, why, why_size);
    else if (r == ERR_INVALID)
        snprintf(why, why_size, "the data under the prefix %s is damaged: it has something that cannot be read",
                 e->s->prefix);
    else if (r == ERR_CLOSED)
        snprintf(why, why_size, "cluster.archive.url: the archive does not answer");
    else if (r == ERR_AGAIN)
        snprintf(why, why_size, "the cluster's masters change again and again: try it when all of them are well");
    else
        snprintf(why, why_size, "what is under the prefix %s cannot be exported: %s", e->s->prefix, err_str(r));
}

/* All records. What names a conversation comes after it, and what a user has after the second halves. */
static int put_all(struct exporter *e)
{
    int r = put_store(e);
    rule_get(e->s->r, &e->rule);
    r = r ? r : still_scan(e->s, 'm', &(struct still_pages){export_convs, e});
    r = r ? r : halves_do(e);
    r = r ? r : put_people(e);
    r = r ? r : still_scan(e->s, 'd', &(struct still_pages){put_digests, e});
    r = r ? r : put_notes(e);
    return r ? r : put_floors(e);
}

int redis_export(const struct store_options *options, struct dump_writer *out, char *why, size_t why_size)
{
    struct still s;
    struct exporter e = {.s = &s, .out = out};
    int r = still_open(&s, options, why, why_size);
    if (r)
        return r;
    r = format_check(&e, why, why_size);
    r = r ? r : export_open_archive(&e, why, why_size);
    if (!r && (r = put_all(&e)))
        tell(&e, r, why, why_size);
    export_close_archive(&e);
    still_close(&s);
    return r;
}
