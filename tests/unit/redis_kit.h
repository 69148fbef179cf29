/*
 * A Redis Cluster for tests: one that runs already, named by MAGPIE_TEST_REDIS=HOST:PORT,…
 * (`python3 tests/cluster/start.py redis -- COMMAND` starts one for a command). All tests share it, each with a prefix
 * of its own.
 */
#ifndef MAGPIE_TEST_REDIS_KIT_H
#define MAGPIE_TEST_REDIS_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "storage/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { REDIS_KIT_PREFIX = 16 + 1 }; /* the longest cluster.prefix, and its end */

/* The members' addresses, "HOST:PORT,…"; NULL: there is no cluster, which it says once. */
static inline const char *redis_kit_addresses(void)
{
    static int said;
    const char *addresses = getenv("MAGPIE_TEST_REDIS");
    if (addresses && *addresses)
        return addresses;
    if (!said++)
        print_message(
            "MAGPIE_TEST_REDIS names no Redis Cluster: its tests are skipped; tests/cluster/start.py starts one\n");
    return NULL;
}

/* The same in a test, which is skipped where there is none. */
static inline const char *redis_kit_need(void)
{
    const char *addresses = redis_kit_addresses();
    if (!addresses)
        skip();
    return addresses;
}

/* Who it is there: the user of MAGPIE_TEST_REDIS_USER=NAME:PASSWORD, else the one that Redis has by itself. */
static inline void redis_kit_user(struct store_cluster_options *o)
{
    static char user[128];
    const char *given = getenv("MAGPIE_TEST_REDIS_USER");
    snprintf(user, sizeof user, "%s", given ? given : "");
    char *colon = strchr(user, ':');
    if (!colon)
        return;
    *colon = '\0';
    o->username = user;
    o->password = colon + 1;
}

/* A prefix that no other test has, of this run or another. */
static inline void redis_kit_prefix(char out[REDIS_KIT_PREFIX])
{
    uint64_t random;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        abort();
    snprintf(out, REDIS_KIT_PREFIX, "t%014llx:", (unsigned long long)(random >> 8));
}

#endif
