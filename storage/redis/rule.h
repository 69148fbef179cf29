/*
 * What is past its time or beyond the count, by the options in force: the embedded engine's rule (storage/expiry.h).
 * Functions are told it; what they return is judged by it here. Engine's thread.
 */
#ifndef MAGPIE_STORAGE_REDIS_RULE_H
#define MAGPIE_STORAGE_REDIS_RULE_H

#include "storage/redis/layout.h"

struct redis;

/* The rule as it is now. */
void rule_get(struct redis *r, struct layout_rule *out);
/* The same, packed. */
void rule_now(struct redis *r, char out[LAYOUT_RULE]);
/* Whether a row that was born then, with a time to live of its own or none (0), has not ended. */
bool rule_alive(const struct layout_rule *rule, unsigned tier, uint64_t birth_ms, uint64_t ttl_ms);
/* The seq at and below which nothing of a tier is visible, as far as the head tells. */
uint64_t rule_low(const struct layout_rule *rule, const struct layout_head *h, unsigned tier);
/* Whether a message is visible. */
bool rule_shows(const struct layout_rule *rule, const struct layout_head *h, uint64_t seq,
                const struct layout_record *m);
/* When to look whether a message that is stored now has ended: by then it has, or a day has passed. */
uint64_t rule_due(const struct layout_rule *rule, unsigned tier, uint64_t ttl_ms);

#endif
