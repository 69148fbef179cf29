/* From a member to the struct that it is part of. */
#ifndef MAGPIE_BASE_CONTAINER_H
#define MAGPIE_BASE_CONTAINER_H

#include <stddef.h>

/* The struct of `type` whose `member` is at `p`: for callbacks that are given the member. Refuses a pointer to anything
 * but such a member. */
#define CONTAINER_OF(p, type, member) ((type *)((char *)(1 ? (p) : &((type *)0)->member) - offsetof(type, member)))

#endif
