/*
 * Partitions: in which of 1024 parts of the keys a conversation or a user is, and what its keys are tagged with.
 *
 * All keys of a partition have the same tag in braces, and so the same hash slot of the Redis cluster: 16 times the
 * partition's number. Number and tag of a key are the same for ever and on every machine.
 */
#ifndef MAGPIE_STORAGE_REDIS_PARTITION_H
#define MAGPIE_STORAGE_REDIS_PARTITION_H

#include "core/base/slice.h"

#include <stdint.h>

enum {
    PARTITIONS = 1024,
    SLOTS = 16384, /* of a Redis cluster */
    SLOTS_EACH = SLOTS / PARTITIONS
};

/* The tags of all partitions. */
struct partition_tags {
    struct {
        uint8_t n;    /* bytes of text */
        char text[7]; /* decimal; not NUL-terminated */
    } tag[PARTITIONS];
};

/* Makes the table: each tag is the smallest number whose slot is the partition's. Takes some milliseconds. */
void partition_tags_make(struct partition_tags *t);

/* The partition of a conversation, by its key. */
uint16_t partition_of(struct slice key);
/* The partition of a user. id: 255 bytes at most. */
uint16_t partition_of_user(struct slice id);

static inline uint16_t partition_slot(uint16_t part)
{
    return (uint16_t)(part * SLOTS_EACH);
}
static inline struct slice partition_tag(const struct partition_tags *t, uint16_t part)
{
    return slice_of(t->tag[part].text, t->tag[part].n);
}

/* The hash slot that Redis gives to these bytes, which are the tag or a key without one. */
uint16_t partition_slot_of(struct slice s);

#endif
