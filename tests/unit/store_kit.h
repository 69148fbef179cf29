/* What the suites of the store begin with: each test has a store of its own. */
#ifndef MAGPIE_TEST_STORE_KIT_H
#define MAGPIE_TEST_STORE_KIT_H

#define UTIL_MAIN
#include "tests/unit/test_store_util.h"

static const char *engine; /* under test */

static inline int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    world_init(w, engine);
    world_open(w);
    *state = w;
    return 0;
}

/* … with two users. */
static inline int setup_people(void **state)
{
    (void)setup(state);
    user_make(*state, "ann", "Ann");
    user_make(*state, "bob", "Bob");
    return 0;
}

static inline int teardown(void **state)
{
    world_fini(*state);
    free(*state);
    return 0;
}

#endif
