#include "core/hub/talk/conv.h"

#include "core/hub/people/ban.h"
#include "core/hub/registry/hook.h"
#include "core/hub/shard/op.h"
#include "core/hub/talk/follow.h"
#include "core/hub/talk/member_news.h"
#include "core/hub/talk/news.h"
#include "core/hub/talk/publish.h"

#include <math.h>
#include <stdlib.h>

/* A conversation unused for so long is forgotten (the store has it all); so many are looked at four times a second. */
enum { IDLE_MS = 60000, SWEEP = 4096 };

static uint64_t conv_hash(void *ctx, uint32_t index)
{
    return hash_bytes(conv_slice(conv_at(ctx, index)));
}

static bool conv_matches(void *ctx, uint32_t index, const void *key)
{
    return slice_eq(conv_slice(conv_at(ctx, index)), *(const struct slice *)key);
}

int convs_init(struct shard *s)
{
    pool_init(&s->convs, (sizeof(struct conv) + 7) & ~7u, 64);
    return table_init(&s->conv_keys, 8, conv_hash, conv_matches, s);
}

static void conv_drop(struct shard *s, uint32_t conv)
{
    struct conv *v = conv_at(s, conv);
    window_free(s, v->merged);
    window_free(s, v->plain);
    member_news_free(s, v->news);
    news_drop(s, v);
    free(v->interest);
    free(v->key);
}

void convs_fini(struct shard *s)
{
    for (uint32_t i = pool_next(&s->convs, 0); i != POOL_NONE; i = pool_next(&s->convs, i + 1))
        conv_drop(s, i);
    table_fini(&s->conv_keys);
    pool_fini(&s->convs);
}

bool conv_has(const struct shard *s, uint32_t conv, uint8_t mask)
{
    const struct conv *v = conv_at(s, conv);
    for (unsigned i = 0; v->interest && i < s->hub->shard_count; i++)
        if (v->interest[i] & mask)
            return true;
    return false;
}

static void conv_free(struct shard *s, uint32_t conv)
{
    table_remove(&s->conv_keys, hash_bytes(conv_slice(conv_at(s, conv))), conv);
    conv_drop(s, conv);
    pool_free(&s->convs, conv);
}

/* Whether nothing here refers to it. */
static bool unused(const struct shard *s, uint32_t conv)
{
    const struct conv *v = conv_at(s, conv);
    return !v->pins && !v->merged && !v->plain && !v->news && news_idle(v) && v->state != CONV_LOADING &&
           !conv_has(s, conv, UINT8_MAX);
}

void conv_release(struct shard *s, uint32_t conv)
{
    const struct conv *v = conv_at(s, conv);
    if (!v->exists && !v->heard && unused(s, conv))
        conv_free(s, conv);
}

void convs_sweep(struct shard *s)
{
    uint32_t i = s->conv_sweep;
    for (unsigned n = 0; n < SWEEP; n++) {
        i = pool_next(&s->convs, i);
        if (i == POOL_NONE) {
            i = 0;
            break;
        }
        const struct conv *v = conv_at(s, i);
        if (v->used_ms + IDLE_MS < s->now_ms && unused(s, i) && follow_end(s, i))
            conv_free(s, i);
        i++;
    }
    s->conv_sweep = i;
}

uint32_t conv_get(struct shard *s, struct slice key)
{
    uint64_t h = hash_bytes(key);
    uint32_t i = table_find(&s->conv_keys, h, &key);
    if (i != TABLE_NONE)
        return i;
    i = pool_alloc(&s->convs);
    if (i == POOL_NONE)
        return NONE;
    struct conv *v = conv_at(s, i);
    v->key = malloc(key.n);
    if (!v->key)
        goto fail;
    memcpy(v->key, key.p, key.n);
    v->key_len = (uint8_t)key.n;
    v->tier = conv_is_channel(key) ? TIER_SMALL : TIER_DM;
    v->rate.at = (uint32_t)s->now_ms;
    v->used_ms = s->now_ms;
    if (table_add(&s->conv_keys, h, i) != 0)
        goto fail;
    return i;
fail:
    free(v->key);
    pool_free(&s->convs, i);
    return NONE;
}

/* --- Requests at the owner --------------------------------------------------------------------------------------- */

struct loading {
    struct store_conv_load op;
    struct shard *shard;
    uint32_t conv; /* pinned */
};

static void take_rule(struct shard *s, uint32_t conv);

/* What the store has of it. */
static void know(struct shard *s, uint32_t conv, bool exists, uint32_t members, enum store_tier tier)
{
    struct conv *v = conv_at(s, conv);
    v->state = CONV_READY;
    v->exists = exists;
    v->members = members;
    if (!conv_is_channel(conv_slice(v)))
        return;
    v->tier = (uint8_t)(tier == TIER_LARGE ? TIER_LARGE : TIER_SMALL);
    if (!v->exists)
        return;
    conv_set_members(s, conv, v->members);
    if (s->bans)
        take_rule(s, conv);
}

void conv_followed(struct shard *s, uint32_t conv, const struct bus_follow *head)
{
    const struct conv *v = conv_at(s, conv);
    /* Of several that asked at the same time the last may be told what is older than what the first has made of it. */
    if (v->state != CONV_LOADING && !news_is_past(v, head->member_version))
        know(s, conv, head->exists, head->members, head->tier);
}

static void loaded(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct loading *l = OP_END(owner, op, struct loading, op.op);
    struct conv *v = conv_at(s, l->conv);
    v->pins--; /* the requests that wait have theirs */
    struct owned_req *q = v->waiting ? v->waiting->next : NULL;
    if (q)
        v->waiting->next = NULL;
    v->waiting = NULL;
    enum store_status status = op->status;
    if (status == STORE_OK) {
        memcpy(v->user_exists, l->op.user_exists, sizeof v->user_exists);
        memcpy(v->blocks, l->op.blocks, sizeof v->blocks);
        if (news_is_past(v, l->op.version)) /* a newer state has been heard meanwhile */
            v->state = CONV_READY;
        else
            know(s, l->conv, l->op.exists, l->op.members, l->op.tier);
    } else {
        v->state = CONV_NEW;
    }
    while (q) {
        struct owned_req *next = q->next;
        if (status == STORE_OK) {
            q->ready(q);
        } else {
            req_fail_read(&q->r, status == STORE_NOTFOUND ? STORE_FATAL : status, "");
            owned_done(q);
        }
        q = next;
    }
    free(l);
}

static bool load(struct shard *s, uint32_t conv)
{
    struct conv *v = conv_at(s, conv);
    struct loading *l = calloc(1, sizeof *l);
    if (!l)
        return false;
    v->state = CONV_LOADING;
    v->users_gone = atomic_load_explicit(&s->hub->users_gone, memory_order_relaxed);
    v->pins++;
    l->shard = s;
    l->conv = conv;
    l->op.conv = conv_slice(v);
    op_begin(s, &l->op.op, loaded);
    store_conv_load(s->store, &l->op);
    return true;
}

/* Whether what is known may be so no more. Of a pair: older than a deletion of one of the two, that they exist, and
 * block. Another server may have made a channel or a user, or have ended a block: what is forbidden by that is looked
 * up each time, and what is allowed is looked at again by store_append(). */
static bool outdated(const struct shard *s, const struct conv *v)
{
    if (conv_is_channel(conv_slice(v)))
        return s->bus && !v->exists;
    return v->users_gone != atomic_load_explicit(&s->hub->users_gone, memory_order_relaxed) ||
           (s->bus && (!v->user_exists[0] || !v->user_exists[1] || v->blocks[0] || v->blocks[1]));
}

static void owned_arrive(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct owned_req *q = (struct owned_req *)m;
    uint32_t i = conv_get(s, conv_key_slice(&q->key));
    if (i == NONE) {
        req_fail(&q->r, CODE_INTERNAL, "out of memory");
        req_done(s, &q->r);
        return;
    }
    struct conv *v = conv_at(s, i);
    v->used_ms = s->now_ms;
    v->pins++;
    q->conv = i;
    /* What others have under way here does not keep a pair from being looked up; a channel's members it counts. */
    bool free = v->pins == 1 || !conv_is_channel(conv_slice(v));
    if (v->state == CONV_READY && free && (outdated(s, v) || (q->fresh && s->bus)))
        v->state = CONV_NEW;
    if (v->state == CONV_READY) {
        q->ready(q);
        return;
    }
    if (v->state == CONV_NEW && !load(s, i)) {
        req_fail(&q->r, CODE_INTERNAL, "out of memory");
        owned_done(q);
        return;
    }
    q->next = v->waiting ? v->waiting->next : q;
    if (v->waiting)
        v->waiting->next = q;
    v->waiting = q;
}

void owned_post(struct shard *home, struct owned_req *q)
{
    q->conv = NONE;
    q->owner = shard_of(home->hub, conv_key_slice(&q->key));
    q->r.mail.run = owned_arrive;
    shard_post(home, q->owner, &q->r.mail);
}

void owned_done(struct owned_req *q)
{
    conv_at(q->owner, q->conv)->pins--;
    conv_release(q->owner, q->conv);
    req_done(q->owner, &q->r);
}

void owned_op(struct owned_req *q, struct store_op *op, void (*done)(void *owner, struct store_op *op))
{
    op_begin(q->owner, op, done);
}

/* --- Tiers -------------------------------------------------------------------------------------------------------- */

struct saving {
    struct store_channel_save op;
    struct conv_key key;
};

static void saved(void *owner, struct store_op *op)
{
    /* A tier that could not be saved is found again from the number of members. */
    free(OP_END(owner, op, struct saving, op.op));
}

/* What the number of members asks for; in between, what it is. */
static enum store_tier tier_of_members(const struct shard *s, const struct conv *v)
{
    uint32_t large = s->opt->large_members;
    if (!large || (uint64_t)v->members * 5 < (uint64_t)large * 4)
        return TIER_SMALL;
    return v->members >= large ? TIER_LARGE : v->tier;
}

static void set_tier(struct shard *s, uint32_t conv, enum store_tier tier, bool save)
{
    struct conv *v = conv_at(s, conv);
    if (tier == (enum store_tier)v->tier)
        return;
    /* What was collected under the old tier goes out first, so that nobody sees a later message before an earlier
     * one. */
    windows_flush(s, conv);
    v->tier = (uint8_t)tier;
    struct saving *p = save ? calloc(1, sizeof *p) : NULL;
    if (!p)
        return;
    memcpy(p->key.p, v->key, v->key_len);
    p->key.n = v->key_len;
    p->op.conv = conv_key_slice(&p->key);
    p->op.tier = tier;
    op_begin(s, &p->op.op, saved);
    store_channel_save(s->store, &p->op);
}

void conv_set_members(struct shard *s, uint32_t conv, uint32_t members)
{
    struct conv *v = conv_at(s, conv);
    v->members = members;
    if (!v->tier_by_policy)
        set_tier(s, conv, tier_of_members(s, v), true);
}

void conv_hear_members(struct shard *s, uint32_t conv, uint32_t members)
{
    struct conv *v = conv_at(s, conv);
    v->members = members;
    if (!v->tier_by_policy)
        set_tier(s, conv, tier_of_members(s, v), false);
}

void conv_hear_tier(struct shard *s, uint32_t conv, enum store_tier tier)
{
    struct conv *v = conv_at(s, conv);
    tier = tier == TIER_LARGE ? TIER_LARGE : TIER_SMALL;
    /* Between the thresholds either may be right. Elsewhere a policy has said so, which is this server's too. */
    bool between = s->opt->large_members && v->members < s->opt->large_members &&
                   (uint64_t)v->members * 5 >= (uint64_t)s->opt->large_members * 4;
    if (!v->tier_by_policy)
        v->tier_by_policy = !between && tier != tier_of_members(s, v);
    else if (between || tier == tier_of_members(s, v))
        v->tier_by_policy = false;
    set_tier(s, conv, tier, false);
}

void conv_read_tier(struct shard *s, uint32_t conv, enum store_tier tier)
{
    const struct conv *v = conv_at(s, conv);
    tier = tier == TIER_LARGE ? TIER_LARGE : TIER_SMALL;
    if (v->tier_by_policy || tier == tier_of_members(s, v))
        conv_hear_tier(s, conv, tier);
}

void conv_gone(struct shard *s, uint32_t conv)
{
    struct conv *v = conv_at(s, conv);
    windows_flush(s, conv);
    v->exists = v->tier_by_policy = false;
    v->members = 0;
    v->tier = TIER_SMALL;
    v->mode = MODE_DEFAULT;
}

/* --- Policy ------------------------------------------------------------------------------------------------------- */

/* Seconds after which a message counts for a third still. */
static const float fading = 2.0f;

float conv_rate(struct shard *s, struct conv *v)
{
    uint32_t now = (uint32_t)s->now_ms;
    v->meter = v->meter * expf(-(float)(now - v->meter_at) / (1000.0f * fading)) + 1.0f;
    v->meter_at = now;
    return v->meter / fading;
}

static void take_rule(struct shard *s, uint32_t conv)
{
    struct conv *v = conv_at(s, conv);
    struct channel_rule r;
    if (!conv_is_channel(conv_slice(v)) || v->state != CONV_READY || !v->exists)
        return;
    (void)channel_rule_find(s, conv_channel_name(conv_slice(v)), &r);
    const struct hook_advice a = {.has_tier = r.tier != 0,
                                  .tier = (enum store_tier)r.tier,
                                  .has_push = r.push != 0,
                                  .mode = (enum push_mode)r.push};
    conv_take_advice(s, conv, &a, true);
}

void conv_follow_rule(struct shard *s, struct slice channel)
{
    struct conv_key key = conv_key_channel(channel);
    struct slice k = conv_key_slice(&key);
    uint32_t conv = table_find(&s->conv_keys, hash_bytes(k), &k);
    if (conv != TABLE_NONE)
        take_rule(s, conv);
}

void convs_follow_rules(struct shard *s)
{
    for (uint32_t i = pool_next(&s->convs, 0); i != POOL_NONE; i = pool_next(&s->convs, i + 1))
        if (conv_at(s, i)->state == CONV_READY && conv_is_channel(conv_slice(conv_at(s, i))))
            take_rule(s, i);
}

float conv_rate_now(const struct shard *s, const struct conv *v)
{
    return v->meter * expf(-(float)((uint32_t)s->now_ms - v->meter_at) / (1000.0f * fading)) / fading;
}

static enum push_mode push_of_tier(const struct conv *v)
{
    return v->tier == TIER_LARGE ? MODE_MERGED : MODE_ALL;
}

void conv_take_advice(struct shard *s, uint32_t conv, const struct hook_advice *a, bool own)
{
    struct conv *v = conv_at(s, conv);
    if (!conv_is_channel(conv_slice(v)))
        return;
    if (a->has_tier || v->tier_by_policy) {
        enum store_tier natural = tier_of_members(s, v), tier = a->has_tier ? a->tier : natural;
        v->tier_by_policy = tier != natural;
        set_tier(s, conv, tier, own);
    }
    if (!a->has_push || !a->over_limit) {
        uint8_t mode = (uint8_t)(a->has_push ? a->mode : MODE_DEFAULT);
        /* What the tier asks for anyway goes on following the tier. */
        if (mode == push_of_tier(v))
            mode = MODE_DEFAULT;
        if (mode != v->mode) {
            /* Those who follow the default change sides: what they are owed goes out first. */
            windows_flush(s, conv);
            v->mode = mode;
        }
    }
    v->window_ms = a->has_push ? a->slice_ms : 0;
    v->window_max = a->has_push ? a->slice_max : 0;
}

enum push_mode conv_default_push(const struct conv *v)
{
    if (v->mode != MODE_DEFAULT)
        return v->mode;
    return push_of_tier(v);
}
