/* Nodes and masters in one process whose clocks a test moves. It is of one test program: its state is static. */
#ifndef MAGPIE_TEST_CLUSTER_CLOCK_KIT_H
#define MAGPIE_TEST_CLUSTER_CLOCK_KIT_H

#include "core/base/log.h"
#include "storage/redis/nodes/nodes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define T0   UINT64_C(1800000000000)
#define HOUR UINT64_C(3600000)
#define DAY  (24 * HOUR)

static inline uint64_t boot(void *ctx)
{
    return *(uint64_t *)ctx;
}

#endif
