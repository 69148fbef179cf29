/* A script in the real sandbox without a server, for the host's unit tests: included by test_script*.c alone. */
#ifndef MAGPIE_TEST_SCRIPT_KIT_H
#define MAGPIE_TEST_SCRIPT_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/clock.h"
#include "core/script/buckets.h"
#include "core/script/event.h"
#include "core/script/script_store.h"
#include "core/script/values.h"
#include "core/script/state.h"
#include "core/script/timer.h"
#include "core/script/watchdog.h"
#include "core/script/world_fake.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kit {
    struct watchdog *dog;
    struct fake_world world;
    struct script_env env;
    struct shard_set shard_set;
    struct script_store *store;
    struct script_stats stats;
    struct state *st;
    enum hook_verdict verdict; /* of the last hook */
};

static inline void kit_begin(struct kit *k)
{
    memset(k, 0, sizeof *k);
    k->dog = watchdog_new();
    assert_non_null(k->dog);
    fake_world_init(&k->world);
    k->env = (struct script_env){.world = &k->world.world,
                                 .watched = watchdog_watch(k->dog),
                                 .kv = values_new(1, 1 << 20),
                                 .shared = values_new(8, 1 << 20),
                                 .buckets = buckets_new()};
    k->env.refunds = refunds_new(k->env.buckets);
    k->store = script_store_new(NULL);
    script_store_clock(k->store, &k->world.wall_ms);
    script_store_limit(k->store, 1 << 20);
    k->shard_set = (struct shard_set){.env = &k->env, .budget_us = 20000, .memory_max = 8 << 20};
}

/* Loads a script; returns whether it went well. */
static inline bool kit_load(struct kit *k, const char *text)
{
    state_free(k->st);
    k->shard_set.loading = true;
    k->st = state_new(&k->shard_set, "kit", &k->stats);
    assert_non_null(k->st);
    k->st->space = script_store_space(k->store, "kit");
    assert_non_null(k->st->space);
    int rc = state_load(k->st, "kit.lua", slice_str(text));
    k->shard_set.loading = false;
    if (rc == 0)
        timers_begin(k->st, true);
    return rc == 0;
}

static inline void kit_end(struct kit *k)
{
    state_free(k->st);
    script_store_free(k->store);
    values_free(k->env.kv);
    values_free(k->env.shared);
    refunds_free(k->env.refunds);
    buckets_free(k->env.buckets);
    fake_world_fini(&k->world);
    watchdog_free(k->dog);
}

/* Loads text that must load, or fails the test with its error. */
static inline void kit_script(struct kit *k, const char *text)
{
    if (!kit_load(k, text))
        fail_msg("%s", k->st->error);
}

/* Runs every handler of the event, as the hub does. */
static inline enum hook_verdict kit_fire(struct kit *k, struct hook_call *h)
{
    for (uint32_t i = 0; i < k->st->handler_count; i++) {
        struct handler *handler = &k->st->handlers[i];
        if (handler->event != h->event || !event_wanted(handler, h))
            continue;
        enum hook_verdict v = event_run(k->st, handler, h);
        if (v != HOOK_PASS)
            return k->verdict = v;
    }
    return k->verdict = HOOK_PASS;
}

static inline struct hook_call kit_message(const char *content)
{
    return (struct hook_call){.event = HOOK_MESSAGE,
                              .user = SLICE_LIT("ada"),
                              .user_name = SLICE_LIT("Ada"),
                              .channel = SLICE_LIT("tea"),
                              .content = slice_str(content)};
}

/* Whether there is a log line with both texts in it. */
static inline bool kit_logged(const struct kit *k, const char *a, const char *b)
{
    for (const struct deed *d = k->world.first; d; d = d->next)
        if (d->kind == DEED_LOG && (strstr(d->target, a) || strstr(d->text, a)) && strstr(d->text, b))
            return true;
    return false;
}

#endif
