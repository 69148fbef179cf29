/*
 * Ids for new users: 16 characters of a base-32 alphabet whose digits sort as characters do.
 *
 *     | time: 9 characters, sixteenths of a millisecond since 2020 | random: 7 characters |
 *
 * The time comes first, so that new users are neighbours in the database. A row that is put beside the one before costs
 * a tenth of one that is put anywhere, in memory and when files are merged. One shard gives no time twice, and an id
 * belongs to the shard that made it. So ids of one process differ, whatever the random part is. The random part tells
 * apart ids of several machines, and of a clock that was set back; and nobody can guess it.
 */
#ifndef MAGPIE_HUB_USER_IDS_H
#define MAGPIE_HUB_USER_IDS_H

#include <stdint.h>

enum { USER_ID_SIZE = 16 };

/* A maker of ids; all zero to begin with. One thread. */
struct user_ids {
    uint64_t last;       /* newest time given, in sixteenths of a millisecond */
    uint8_t random[128]; /* bytes to come, from the kernel: one system call for some twenty ids */
    unsigned left;       /* of random, unused */
};

/* Writes USER_ID_SIZE characters, no terminator. */
void user_id_new(struct user_ids *f, char *out);
/* Another random part under the same time. */
void user_id_again(struct user_ids *f, char *out);

#endif
