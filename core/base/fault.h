/*
 * What a server may leave out, so that tests see that they would notice: tests/cluster/test_checker.py. In the build
 * tests/magpied_faulty alone, where the environment's MAGPIE_FAULT names one of them: `reads` (a read waits for no
 * copies), `repair` (what a node has missed is not read). Anywhere else nothing is.
 */
#ifndef MAGPIE_BASE_FAULT_H
#define MAGPIE_BASE_FAULT_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static inline bool fault(const char *name)
{
#ifdef MAGPIE_FAULTS
    const char *left_out = getenv("MAGPIE_FAULT");
    return left_out && !strcmp(left_out, name);
#else
    (void)name;
    return false;
#endif
}

#endif
