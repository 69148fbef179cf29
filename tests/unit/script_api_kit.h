/* What the functions of the module `magpie` are tested with: one script on one shard, whose world is a fake. It is of
 * one test program: its state is static. */
#ifndef MAGPIE_TEST_SCRIPT_API_KIT_H
#define MAGPIE_TEST_SCRIPT_API_KIT_H

#include "script_kit.h"

static struct kit k;

static inline int begin(void **state)
{
    (void)state;
    kit_begin(&k);
    k.shard_set.budget_us = 10000000; /* time is no matter here, and sanitizers are slow */
    return 0;
}

static inline int end(void **state)
{
    (void)state;
    kit_end(&k);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
#define HEAD    "local magpie = require 'magpie'\n"

/* Runs Lua inside a message hook; its assertions must hold. */
static inline void inside(const char *body)
{
    char text[4000];
    snprintf(text, sizeof text, HEAD "magpie.on('message', function(e)\n%s\nend, {fail = 'closed'})", body);
    kit_script(&k, text);
    struct hook_call h = kit_message("hi");
    if (kit_fire(&k, &h) == HOOK_REJECT && h.code == CODE_INTERNAL)
        fail_msg("%s", k.st->error);
}

/* A hook's body that must fail with this error. */
static inline void wrong(const char *event, const char *lua, const char *error)
{
    char text[500];
    snprintf(text, sizeof text, HEAD "magpie.on('%s', function(e) %s end, {fail = 'open'})", event, lua);
    kit_script(&k, text);
    struct hook_call h = kit_message("hi");
    for (int i = 0; i < HOOK_EVENTS; i++)
        if (strcmp(hook_event_name((enum hook_event)i), event) == 0)
            h.event = (enum hook_event)i;
    h.members = 3;
    uint64_t errors = k.stats.errors;
    assert_int_equal(kit_fire(&k, &h), HOOK_PASS);
    if (k.stats.errors != errors + 1)
        fail_msg("%s: %s: no error", event, lua);
    if (!strstr(k.st->error, error))
        fail_msg("%s: %s: expected %s, got %s", event, lua, error, k.st->error);
}

#endif
