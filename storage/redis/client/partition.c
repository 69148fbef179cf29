#include "storage/redis/client/partition.h"

#include "core/base/hash.h"

#include <stdbool.h>
#include <stdio.h>

enum { USER_ID_MAX = 255 };

uint16_t partition_of(struct slice key)
{
    return (uint16_t)(hash_stable(key) >> 44 & (PARTITIONS - 1));
}

uint16_t partition_of_user(struct slice id)
{
    char key[1 + USER_ID_MAX] = {'u'};
    size_t n = id.n < USER_ID_MAX ? id.n : USER_ID_MAX;
    if (n)
        memcpy(key + 1, id.p, n);
    return partition_of(slice_of(key, 1 + n));
}

/* CRC-16/XMODEM, which Redis takes for its slots. Called for the table alone, so bit by bit will do. */
uint16_t partition_slot_of(struct slice s)
{
    unsigned crc = 0;
    for (size_t i = 0; i < s.n; i++) {
        crc ^= (unsigned)(uint8_t)s.p[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1;
    }
    return (uint16_t)(crc & (SLOTS - 1));
}

void partition_tags_make(struct partition_tags *t)
{
    unsigned missing = PARTITIONS;
    memset(t, 0, sizeof *t);
    for (unsigned number = 0; missing; number++) {
        char text[12];
        int n = snprintf(text, sizeof text, "%u", number);
        unsigned slot = partition_slot_of(slice_of(text, (size_t)n));
        if (slot % SLOTS_EACH != 0 || t->tag[slot / SLOTS_EACH].n)
            continue;
        t->tag[slot / SLOTS_EACH].n = (uint8_t)n;
        memcpy(t->tag[slot / SLOTS_EACH].text, text, (size_t)n);
        missing--;
    }
}
