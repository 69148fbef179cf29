/* What the tests of walks and of channels share: publications as the owner shard posts them. */
#ifndef MAGPIE_TESTS_WALK_KIT_H
#define MAGPIE_TESTS_WALK_KIT_H

#include "hub_kit.h"

#include "core/hub/talk/walk.h"

/* `count` messages from a seq on. */
static inline struct pub *publications(const char *channel, uint64_t from, uint32_t count, uint8_t mask)
{
    enum { LEN = 32 };
    size_t n = strlen(channel);
    struct pub *p = calloc(1, offsetof(struct pub, items) + count * sizeof(struct pub_item) + n + count * LEN);
    assert_non_null(p);
    p->mail.run = pub_arrive;
    p->from = from;
    p->to = from + count - 1;
    p->count = count;
    p->action = 102;
    p->mask = mask;
    p->name_len = (uint8_t)n;
    memcpy(pub_data(p), channel, n);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = (uint32_t)n + i * LEN;
        int len = snprintf(pub_data(p) + at, LEN, "{\"seq\":%llu}", (unsigned long long)(from + i));
        p->items[i] = (struct pub_item){.seq = from + i, .offset = at, .len = (uint32_t)len};
    }
    return p;
}

static inline struct pub *publication(const char *channel, uint64_t seq, uint8_t mask)
{
    return publications(channel, seq, 1, mask);
}

static inline void arrive(struct shard *s, struct pub *p)
{
    pub_arrive(s, &p->mail);
}

enum { EVERY = 1 << MODE_DEFAULT | 1 << MODE_ALL | 1 << MODE_MERGED };

#endif
