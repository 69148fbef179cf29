/* Randomness. Any thread. */
#ifndef MAGPIE_BASE_RANDOM_H
#define MAGPIE_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Cryptographic bytes by getrandom(2); cannot fail (aborts if the kernel has none). */
void random_bytes(void *out, size_t n);
/* Uniform in [0, bound); not for secrets. bound > 0. */
uint32_t random_below(uint32_t bound);

#endif
