/* What the files of the tester share. Private to core/script. */
#ifndef MAGPIE_SCRIPT_TESTER_PRIVATE_H
#define MAGPIE_SCRIPT_TESTER_PRIVATE_H

#include "core/script/state.h"
#include "core/script/world_fake.h"

#include <stdio.h>

struct cJSON;
struct watchdog;

enum { SUBJECTS_MAX = 100 };

/* A script under test, alone in a world of its own. */
struct subject {
    struct fake_world world;
    struct script_env env;
    struct shard_set shard_set;
    struct script_stats stats;
    struct state *st;
    struct script_store *store;
    struct cJSON *config; /* owned */
    char name[SCRIPT_NAME_MAX];
};

/* One test file. */
struct tester {
    const char *folder;
    const struct cJSON *config; /* defaults */
    struct watchdog *dog;
    struct watched *outer, *inner; /* of the tests, of the scripts */
    struct values *kept;           /* kv and shared of the tests themselves */
    struct subject *subjects[SUBJECTS_MAX];
    unsigned count;
    FILE *out;
    unsigned passed, failed;
    const char *file; /* name of the test's file */
};

/* The tester of the running test: hangs in the test's own shard_set. */
struct test_troupe {
    struct shard_set shard_set; /* first */
    struct tester *tester;
};

static inline struct tester *tester_of(lua_State *L)
{
    return ((struct test_troupe *)state_of(L)->shard_set)->tester;
}

/* The subject whose number is the first argument, or an error. */
struct subject *check_subject(lua_State *L);

static inline void put_text(lua_State *L, const char *field, struct slice s)
{
    lua_pushlstring(L, s.p ? s.p : "", s.n);
    lua_setfield(L, -2, field);
}

static inline void put_number(lua_State *L, const char *field, double n)
{
    lua_pushnumber(L, n);
    lua_setfield(L, -2, field);
}

/* --- tester_fire.c --- */
/* fire(subject, event, fields): what the hooks say. By priority, the first verdict wins. */
int lua_fire(lua_State *L);
/* act(subject, number, {user =, body =, seq =}): {body =} or {error = {code, message, retryAfter}} */
int lua_act(lua_State *L);

#endif
