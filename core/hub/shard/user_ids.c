/* Ids for new users: see user_ids.h. */
#include "core/hub/shard/user_ids.h"

#include "core/base/clock.h"
#include "core/base/random.h"

enum { TIME_DIGITS = 9, RANDOM_DIGITS = USER_ID_SIZE - TIME_DIGITS };

static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";
static const uint64_t epoch_us = UINT64_C(1577836800000000); /* 2020-01-01T00:00:00Z */

void user_id_again(struct user_ids *f, char *out)
{
    for (unsigned i = TIME_DIGITS; i < USER_ID_SIZE; i++) {
        if (f->left == 0) {
            random_bytes(f->random, sizeof f->random);
            f->left = sizeof f->random;
        }
        out[i] = digits[f->random[--f->left] & 31];
    }
}

void user_id_new(struct user_ids *f, char *out)
{
    uint64_t us = clock_wall_us(), now = us > epoch_us ? (us - epoch_us) * 16 / 1000 : 0;
    f->last = now > f->last ? now : f->last + 1;
    for (unsigned i = 0; i < TIME_DIGITS; i++)
        out[i] = digits[f->last >> 5 * (TIME_DIGITS - 1 - i) & 31];
    user_id_again(f, out);
}
