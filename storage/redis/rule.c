/* What is visible: see rule.h. */
#include "storage/redis/rule.h"

#include "storage/redis/nodes/time.h"
#include "storage/redis/redis_private.h"

#define DAY_MS UINT64_C(86400000)

void rule_get(struct redis *r, struct layout_rule *out)
{
    const struct expiry *e = time_expiry(r);
    uint64_t now = expiry_now(e);
    *out = (struct layout_rule){.now_ms = now};
    for (unsigned t = 0; t < TIER_COUNT; t++) {
        uint64_t ttl = atomic_load(&e->ttl_ms[t + 1]), ended = atomic_load(&e->ended_ms[t + 1]);
        out->born[t] = ttl && now >= ttl ? now - ttl + 1 : 0;
        out->born[t] = ended > out->born[t] ? ended : out->born[t];
        out->max[t] = r->options.tiers[t].max;
        for (unsigned i = 0; i < LAYOUT_COUNTS; i++) {
            const struct clock_count *past = &r->time->clock.record.counts[t].past[i]; /* this thread alone writes it */
            out->past[t][i].until = past->until;
            out->past[t][i].max = past->max;
        }
    }
}

void rule_now(struct redis *r, char out[LAYOUT_RULE])
{
    struct layout_rule rule;
    rule_get(r, &rule);
    layout_rule_put(out, &rule);
}

bool rule_alive(const struct layout_rule *rule, unsigned tier, uint64_t birth_ms, uint64_t ttl_ms)
{
    return ttl_ms ? rule->now_ms < birth_ms + ttl_ms : birth_ms >= rule->born[tier];
}

/* The count by which a tier's messages are hidden: the one in force, or a smaller one of before, if nothing was said
 * since. */
static uint32_t count_of(const struct layout_rule *rule, const struct layout_head *h, unsigned tier)
{
    uint32_t max = rule->max[tier];
    for (unsigned i = 0; i < LAYOUT_COUNTS; i++) {
        uint32_t past = rule->past[tier][i].max;
        if (past && layout_place(h->last_id) <= rule->past[tier][i].until && (!max || past < max))
            max = past;
    }
    return max;
}

/* head_low() of functions/head.lua is the same. */
uint64_t rule_low(const struct layout_rule *rule, const struct layout_head *h, unsigned tier)
{
    uint64_t low = h->low > h->floors[tier] ? h->low : h->floors[tier];
    uint32_t max = count_of(rule, h, tier);
    bool newest = (h->flags / LAYOUT_TIER & 3) == tier;
    if (h->flags & LAYOUT_OWN || (h->max && newest && (!max || h->max < max)))
        max = h->max;
    return max && h->seq > max && h->seq - max > low ? h->seq - max : low;
}

bool rule_shows(const struct layout_rule *rule, const struct layout_head *h, uint64_t seq,
                const struct layout_record *m)
{
    return seq > rule_low(rule, h, m->tier) && seq <= h->seq && rule_alive(rule, m->tier, m->birth_ms, m->ttl_ms);
}

uint64_t rule_due(const struct layout_rule *rule, unsigned tier, uint64_t ttl_ms)
{
    uint64_t lives = ttl_ms ? ttl_ms : rule->born[tier] ? rule->now_ms + 1 - rule->born[tier] : DAY_MS;
    return rule->now_ms + (lives < DAY_MS ? lives : DAY_MS);
}
