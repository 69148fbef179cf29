/* The table of bans and mutes that each shard has, and the checks against it. */
#include "core/hub/people/ban.h"

#include "core/base/clock.h"
#include "core/base/utf8.h"
#include "core/hub/registry/hook.h"
#include "core/hub/shard/bucket.h"
#include "core/hub/shard/notes_load.h"
#include "core/hub/shard/shard.h"
#include "storage/bus.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BITS = 128, PRUNED = 64 /* entries looked at in a tick */ };

struct ban {
    struct ban_span span;
    char *text; /* key, then reason; owned */
    uint8_t key_len;
    uint8_t round; /* ban_table.round, when it was put in */
    uint16_t reason_len;
};

struct ban_table {
    struct pool pool;           /* struct ban */
    struct table keys;          /* by key */
    uint32_t kinds[BAN_KINDS];  /* how many of each */
    uint32_t lengths[BITS + 1]; /* how many networks have so many bits */
    uint32_t sweep;             /* where the pruning goes on */
    uint8_t round;              /* moves on when all are read anew */
};

static const char *const kind_names[BAN_KINDS] = {
    [BAN_USER] = "ban user",   [BAN_IP] = "ban ip",           [BAN_MEMBER] = "ban member",
    [MUTE_USER] = "mute user", [MUTE_MEMBER] = "mute member", [CHANNEL_RULE] = "rule"};

const char *ban_kind_name(enum ban_kind kind)
{
    return kind_names[kind];
}

/* --- Addresses: 16 bytes, IPv4 as ::ffff:a.b.c.d, and the number of bits that count ------------------------------- */

static bool address_parse(const char *text, uint8_t out[16], bool *v4)
{
    struct in_addr four;
    *v4 = inet_pton(AF_INET, text, &four) == 1;
    if (*v4) {
        memset(out, 0, 10);
        out[10] = out[11] = 0xFF;
        memcpy(out + 12, &four, 4);
        return true;
    }
    return inet_pton(AF_INET6, text, out) == 1;
}

static void address_mask(uint8_t a[16], unsigned bits)
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned left = bits > i * 8 ? bits - i * 8 : 0;
        a[i] = (uint8_t)(a[i] & (left >= 8 ? 0xFF : 0xFF00 >> left));
    }
}

/* "192.0.2.1", "192.0.2.0/24", "2001:db8::/32". */
static bool network_parse(struct slice text, uint8_t out[16], unsigned *bits)
{
    char copy[64];
    bool v4;
    if (text.n == 0 || text.n >= sizeof copy || memchr(text.p, '\0', text.n))
        return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    char *slash = strchr(copy, '/');
    if (slash)
        *slash++ = '\0';
    if (!address_parse(copy, out, &v4))
        return false;
    unsigned most = v4 ? 32 : BITS;
    *bits = most;
    if (slash) {
        size_t digits = strspn(slash, "0123456789");
        if (digits == 0 || digits > 3 || slash[digits])
            return false;
        *bits = (unsigned)atoi(slash);
    }
    if (*bits > most)
        return false;
    *bits += v4 ? BITS - 32 : 0;
    address_mask(out, *bits);
    return true;
}

static void network_print(const uint8_t a[16], unsigned bits, char out[64])
{
    char text[INET6_ADDRSTRLEN] = "?";
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
    bool v4 = bits >= 96 && memcmp(a, mapped, sizeof mapped) == 0;
    unsigned most = v4 ? 32 : BITS, shown = v4 ? bits - 96 : bits;
    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? (const void *)(a + 12) : (const void *)a, text, sizeof text);
    if (shown == most)
        snprintf(out, 64, "%s", text);
    else
        snprintf(out, 64, "%s/%u", text, shown);
}

/* --- Keys: the kind, then an address and its bits, or a user and (after a 0) a channel ---------------------------- */

static bool has_channel(enum ban_kind kind)
{
    return kind == BAN_MEMBER || kind == MUTE_MEMBER;
}

bool ban_key_make(struct ban_key *k, enum ban_kind kind, struct slice user, struct slice channel, struct slice ip)
{
    k->p[0] = (char)('0' + kind);
    k->n = 1;
    if (kind == BAN_IP) {
        unsigned bits;
        if (!network_parse(ip, (uint8_t *)k->p + 1, &bits))
            return false;
        k->p[17] = (char)bits;
        k->n = 18;
        return true;
    }
    if (kind == CHANNEL_RULE) {
        if (!value_channel(channel))
            return false;
        memcpy(k->p + 1, channel.p, channel.n);
        k->n = (uint8_t)(1 + channel.n);
        return true;
    }
    if (!value_user_id(user) || (has_channel(kind) && !value_channel(channel)))
        return false;
    memcpy(k->p + k->n, user.p, user.n);
    k->n = (uint8_t)(k->n + user.n);
    if (has_channel(kind)) {
        k->p[k->n++] = '\0';
        memcpy(k->p + k->n, channel.p, channel.n);
        k->n = (uint8_t)(k->n + channel.n);
    }
    return true;
}

/* Whether a key from the store is one. */
static bool key_good(struct slice k)
{
    enum ban_kind kind = k.n ? (enum ban_kind)(k.p[0] - '0') : BAN_KINDS;
    if ((unsigned)kind >= BAN_KINDS || k.n > BAN_KEY_MAX)
        return false;
    if (kind == BAN_IP)
        return k.n == 18 && (uint8_t)k.p[17] <= BITS;
    if (kind == CHANNEL_RULE)
        return value_channel(slice_of(k.p + 1, k.n - 1));
    const char *zero = memchr(k.p, '\0', k.n);
    size_t n = zero ? (size_t)(zero - k.p) - 1 : k.n - 1;
    if (!value_user_id(slice_of(k.p + 1, n)))
        return false;
    return has_channel(kind) ? zero && value_channel(slice_of(zero + 1, k.n - n - 2)) : !zero;
}

/* --- The table ---------------------------------------------------------------------------------------------------- */

static struct ban *ban_at(const struct ban_table *t, uint32_t i)
{
    return pool_at(&t->pool, i);
}

/* How much of it is left, ms; 0: over. */
static uint64_t span_left(struct store *store, const struct ban_span *b)
{
    if (b->until_ms == BAN_FOREVER)
        return BAN_FOREVER;
    uint64_t now = b->since_ms ? b->since_ms + store_age_ms(store, b->since_ms) : store_time_ms(store);
    return now < b->until_ms ? b->until_ms - now : 0;
}

static bool ban_over(struct shard *s, const struct ban *b)
{
    return span_left(s->store, &b->span) == 0;
}

struct ban_span ban_span_of(struct store *store, uint64_t seconds)
{
    uint64_t now = store_time_ms(store);
    return (struct ban_span){.since_ms = now, .until_ms = seconds ? now + seconds * 1000 : BAN_FOREVER};
}

/* until u64 · reason, and where it ends: 0 · since u64. Reasons hold no 0. */
size_t ban_note(const struct ban_span *span, struct slice reason, char out[BAN_NOTE_MAX])
{
    size_t n = 8 + reason.n;
    store_be64(out, span->until_ms);
    if (reason.n)
        memcpy(out + 8, reason.p, reason.n);
    if (span->until_ms == BAN_FOREVER)
        return n;
    out[n] = '\0';
    store_be64(out + n + 1, span->since_ms);
    return n + 9;
}

static struct slice key_of(const struct ban *b)
{
    return slice_of(b->text, b->key_len);
}

static uint64_t ban_hash(void *ctx, uint32_t i)
{
    return hash_bytes(key_of(ban_at(ctx, i)));
}

static bool ban_matches(void *ctx, uint32_t i, const void *key)
{
    return slice_eq(key_of(ban_at(ctx, i)), *(const struct slice *)key);
}

static struct ban_table *table_new(void)
{
    struct ban_table *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    pool_init(&t->pool, (sizeof(struct ban) + 7) & ~7u, 64);
    if (table_init(&t->keys, 0, ban_hash, ban_matches, t) != 0) {
        free(t);
        return NULL;
    }
    return t;
}

static void count(struct ban_table *t, const struct ban *b, bool more)
{
    uint32_t step = more ? 1 : UINT32_MAX;
    t->kinds[b->text[0] - '0'] += step;
    if (b->text[0] - '0' == BAN_IP)
        t->lengths[(uint8_t)b->text[17]] += step;
}

static void drop(struct ban_table *t, uint32_t i)
{
    struct ban *b = ban_at(t, i);
    count(t, b, false);
    table_remove(&t->keys, hash_bytes(key_of(b)), i);
    free(b->text);
    pool_free(&t->pool, i);
}

void bans_free(struct shard *s)
{
    struct ban_table *t = s->bans;
    if (!t)
        return;
    for (uint32_t i = pool_next(&t->pool, 0); i != POOL_NONE; i = pool_next(&t->pool, i + 1))
        free(ban_at(t, i)->text);
    table_fini(&t->keys);
    pool_fini(&t->pool);
    free(t);
    s->bans = NULL;
}

int ban_apply(struct shard *s, const struct ban_key *k, const struct ban_span *span, struct slice reason, bool lift,
              bool *existed)
{
    struct slice key = slice_of(k->p, k->n);
    uint64_t hash = hash_bytes(key);
    if (!s->bans && !lift && !(s->bans = table_new()))
        return ERR_NOMEM;
    struct ban_table *t = s->bans;
    uint32_t old = t ? table_find(&t->keys, hash, &key) : TABLE_NONE;
    *existed = old != TABLE_NONE && !ban_over(s, ban_at(t, old));
    if (lift) {
        if (old != TABLE_NONE)
            drop(t, old);
        return 0;
    }
    if (reason.n > BAN_REASON_MAX)
        reason.n = BAN_REASON_MAX;
    uint32_t i = pool_alloc(&t->pool);
    char *text = i != POOL_NONE ? malloc(key.n + reason.n) : NULL;
    if (!text) {
        if (i != POOL_NONE)
            pool_free(&t->pool, i);
        return ERR_NOMEM;
    }
    memcpy(text, key.p, key.n);
    if (reason.n)
        memcpy(text + key.n, reason.p, reason.n);
    *ban_at(t, i) = (struct ban){
        .span = *span, .text = text, .key_len = (uint8_t)key.n, .round = t->round, .reason_len = (uint16_t)reason.n};
    if (old != TABLE_NONE)
        drop(t, old);
    if (table_add(&t->keys, hash, i) != 0) {
        free(text);
        pool_free(&t->pool, i);
        return ERR_NOMEM;
    }
    count(t, ban_at(t, i), true);
    return 0;
}

void bans_renew_begin(struct shard *s)
{
    if (s->bans)
        s->bans->round++;
}

void bans_renew_end(struct shard *s)
{
    struct ban_table *t = s->bans;
    for (uint32_t i = t ? pool_next(&t->pool, 0) : POOL_NONE; i != POOL_NONE; i = pool_next(&t->pool, i + 1))
        if (ban_at(t, i)->round != t->round)
            drop(t, i);
}

void bans_tick(struct shard *s)
{
    struct ban_table *t = s->bans;
    if (!t)
        return;
    uint32_t i = t->sweep;
    for (unsigned n = 0; n < PRUNED; n++) {
        i = pool_next(&t->pool, i);
        if (i == POOL_NONE)
            break;
        if (ban_over(s, ban_at(t, i))) {
            drop(t, i);
            note_sweep_soon(s->hub);
        }
        i++;
    }
    t->sweep = i == POOL_NONE ? 0 : i;
}

/* --- Checks ------------------------------------------------------------------------------------------------------- */

static const struct ban *find(struct shard *s, const struct ban_key *k)
{
    struct slice key = slice_of(k->p, k->n);
    uint32_t i = table_find(&s->bans->keys, hash_bytes(key), &key);
    const struct ban *b = i != TABLE_NONE ? ban_at(s->bans, i) : NULL;
    return b && !ban_over(s, b) ? b : NULL;
}

static const struct ban *check(struct shard *s, enum ban_kind kind, struct slice user, struct slice channel)
{
    struct ban_key k;
    if (!s->bans || !s->bans->kinds[kind] || !ban_key_make(&k, kind, user, channel, SLICE_NONE))
        return NULL;
    return find(s, &k);
}

bool ban_user(struct shard *s, struct slice user, struct slice *reason)
{
    const struct ban *b = check(s, BAN_USER, user, SLICE_NONE);
    if (b && reason)
        *reason = slice_of(b->text + b->key_len, b->reason_len);
    return b != NULL;
}

bool ban_member(struct shard *s, struct slice user, struct slice channel)
{
    return check(s, BAN_MEMBER, user, channel) != NULL;
}

bool ban_muted(struct shard *s, struct slice user, struct slice channel)
{
    return check(s, MUTE_USER, user, SLICE_NONE) || (channel.n && check(s, MUTE_MEMBER, user, channel));
}

bool ban_ip(struct shard *s, const char *ip)
{
    struct ban_key k = {.n = 18, .p = {'0' + BAN_IP}};
    uint8_t address[16];
    bool v4;
    if (!s->bans || !s->bans->kinds[BAN_IP] || !address_parse(ip, address, &v4))
        return false;
    for (unsigned bits = 0; bits <= BITS; bits++) {
        if (!s->bans->lengths[bits])
            continue;
        memcpy(k.p + 1, address, sizeof address);
        address_mask((uint8_t *)k.p + 1, bits);
        k.p[17] = (char)bits;
        if (find(s, &k))
            return true;
    }
    return false;
}

/* How long a user stays muted there, ms; 0: it is not. */
static uint64_t mute_left(struct shard *s, struct slice user, struct slice channel)
{
    const struct ban *all = check(s, MUTE_USER, user, SLICE_NONE),
                     *here = channel.n ? check(s, MUTE_MEMBER, user, channel) : NULL;
    uint64_t a = all ? span_left(s->store, &all->span) : 0, b = here ? span_left(s->store, &here->span) : 0;
    return a > b ? a : b;
}

/* By the clock that people see, to the second. */
static const char *muted_until(struct shard *s, uint64_t left_ms)
{
    char text[64] = "you are muted";
    time_t at = (time_t)((clock_wall_ms() + left_ms + 999) / 1000);
    struct tm tm;
    if (gmtime_r(&at, &tm))
        strftime(text, sizeof text, "you are muted until %Y-%m-%dT%H:%M:%SZ", &tm);
    return hook_text(s, slice_str(text));
}

static enum hook_verdict keep_silent(struct hook_call *h, void *ctx)
{
    (void)ctx;
    if (!h->shard->bans)
        return HOOK_PASS;
    bool banned = ban_user(h->shard, h->user, NULL);
    uint64_t left = banned ? 0 : mute_left(h->shard, h->user, h->channel);
    if (!banned && !left)
        return HOOK_PASS;
    h->code = CODE_FORBIDDEN;
    h->message = banned ? "you are banned" : "you are muted";
    if (left && left != BAN_FOREVER) {
        h->message = muted_until(h->shard, left);
        h->retry_after_ms = left < UINT32_MAX ? (uint32_t)left : UINT32_MAX;
    }
    return HOOK_REJECT;
}

/* --- Rules of channels -------------------------------------------------------------------------------------------- */

void channel_rule_pack(const struct channel_rule *r, char out[CHANNEL_RULE_SIZE])
{
    out[0] = (char)r->tier;
    out[1] = (char)r->push;
    out[2] = r->limited;
    out[3] = r->closed;
    store_be32(out + 4, r->limit);
}

bool channel_rule_find(struct shard *s, struct slice channel, struct channel_rule *out)
{
    const struct ban *b = check(s, CHANNEL_RULE, SLICE_NONE, channel);
    const char *p = b ? b->text + b->key_len : NULL;
    *out = (struct channel_rule){.tier = 0};
    if (!p || b->reason_len != CHANNEL_RULE_SIZE || p[0] > TIER_LARGE || p[1] > MODE_NONE)
        return false;
    *out = (struct channel_rule){.tier = (uint8_t)p[0],
                                 .push = (uint8_t)p[1],
                                 .limited = p[2] != 0,
                                 .closed = p[3] != 0,
                                 .limit = load_be32(p + 4)};
    return true;
}

static enum hook_verdict follow_rule(struct hook_call *h, void *ctx)
{
    struct shard *s = h->shard;
    struct channel_rule r;
    (void)ctx;
    if (!s->bans || !h->channel.n || !channel_rule_find(s, h->channel, &r))
        return HOOK_PASS;
    if (r.tier && !h->advice.has_tier) {
        h->advice.has_tier = true;
        h->advice.tier = (enum store_tier)r.tier;
    }
    if (r.push && !h->advice.has_push) {
        h->advice.has_push = true;
        h->advice.mode = (enum push_mode)r.push;
    }
    if (!r.limited || !h->bucket)
        return HOOK_PASS;
    uint32_t wait = bucket_take(h->bucket, r.limit, (uint32_t)s->now_ms);
    h->charged = !wait;
    h->bucket = NULL; /* its own limit is the one that counts */
    if (!wait)
        return HOOK_PASS;
    if (s->opt->rate_policy == RATE_COMPLETE) {
        h->advice.has_push = h->advice.over_limit = true;
        return HOOK_PASS;
    }
    h->code = CODE_RATE_LIMITED;
    h->retry_after_ms = wait;
    h->message = "too many messages in this channel";
    return HOOK_REJECT;
}

static bool note_is_over(void *ctx, const struct store_note *n)
{
    const struct hub *hub = ctx;
    struct ban_key k;
    struct ban_span span;
    struct slice reason;
    return ban_note_read(n->key, n->value, &k, &span, &reason) && span_left(hub->store, &span) == 0;
}

int bans_register(struct hub *hub)
{
    /* Before anything that would charge for the message, or see it. */
    const struct hook hooks[] = {{.event = HOOK_MESSAGE, .priority = INT_MAX, .fn = keep_silent},
                                 {.event = HOOK_CONVERSATION, .priority = INT_MAX, .fn = follow_rule}};
    int rc = note_sweeper_add(hub, &(struct note_sweeper){"ban:", note_is_over, hub});
    for (unsigned i = 0; rc == 0 && i < sizeof hooks / sizeof hooks[0]; i++)
        rc = hook_register(hub, &hooks[i]);
    return rc;
}

uint32_t snapshot_bans(struct shard *s, uint32_t from, bool (*fn)(void *ctx, const struct ban_snapshot *b), void *ctx)
{
    const struct ban_table *t = s->bans;
    uint64_t now = clock_wall_ms();
    uint32_t i = t ? pool_next(&t->pool, from) : POOL_NONE;
    for (unsigned n = 0; i != POOL_NONE && n < 1024; n++, i = pool_next(&t->pool, i + 1)) {
        const struct ban *b = ban_at(t, i);
        uint64_t left = span_left(s->store, &b->span);
        struct ban_snapshot out = {.kind = (enum ban_kind)(b->text[0] - '0'),
                                   .reason = slice_of(b->text + b->key_len, b->reason_len),
                                   .until_ms = left == BAN_FOREVER ? BAN_FOREVER : now + left};
        if (!left)
            continue;
        if (out.kind == CHANNEL_RULE) {
            out.channel = slice_of(b->text + 1, b->key_len - 1u);
        } else if (out.kind == BAN_IP) {
            network_print((const uint8_t *)b->text + 1, (uint8_t)b->text[17], out.ip);
        } else {
            const char *zero = memchr(b->text, '\0', b->key_len);
            size_t user = zero ? (size_t)(zero - b->text) - 1 : b->key_len - 1u;
            out.user = slice_of(b->text + 1, user);
            out.channel = zero ? slice_of(zero + 1, b->key_len - user - 2) : SLICE_NONE;
        }
        if (!fn(ctx, &out))
            break;
    }
    return i;
}

/* --- From the store, before anything runs ------------------------------------------------------------------------- */

static void forgotten(void *owner, struct store_op *op)
{
    (void)owner;
    free(op);
}

/* What is over by now goes, before anybody could renew it. Other nodes could, so there it stays. */
static void forget(struct hub *hub, struct slice key)
{
    struct store_note_put *p = store_bus(hub->store) ? NULL : calloc(1, sizeof *p + key.n);
    if (!p || !hub->main)
        return free(p);
    memcpy(p + 1, key.p, key.n);
    *p = (struct store_note_put){
        .note.key = slice_of(p + 1, key.n), .remove = true, .op = {.home = hub->main, .done = forgotten}};
    store_note_put(hub->store, p);
}

bool ban_note_read(struct slice key, struct slice value, struct ban_key *k, struct ban_span *span, struct slice *reason)
{
    if (key.n < 4 || !key_good(slice_of(key.p + 4, key.n - 4)) || (value.n && value.n < 8))
        return false;
    k->n = (uint8_t)(key.n - 4);
    memcpy(k->p, key.p + 4, k->n);
    *span = (struct ban_span){.until_ms = value.n ? load_be64(value.p) : 0};
    *reason = value.n ? slice_of(value.p + 8, value.n - 8) : SLICE_NONE;
    if (span->until_ms != BAN_FOREVER && reason->n >= 9 && reason->p[reason->n - 9] == '\0') {
        reason->n -= 9;
        span->since_ms = load_be64(reason->p + reason->n + 1);
    }
    return true;
}

static int load_note(void *ctx, const struct store_note *note)
{
    struct hub *hub = ctx;
    struct ban_key k;
    struct ban_span span;
    struct slice reason;
    bool existed;
    if (!note->value.n || !ban_note_read(note->key, note->value, &k, &span, &reason))
        return 0; /* of a later version */
    if (span_left(hub->store, &span) == 0) {
        forget(hub, note->key);
        return 0;
    }
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < hub->shard_count; i++)
        rc = ban_apply(hub->shards[i], &k, &span, reason, false, &existed);
    return rc;
}

int bans_load(struct hub *hub)
{
    return notes_load(hub->store, SLICE_LIT("ban:"), load_note, hub);
}
