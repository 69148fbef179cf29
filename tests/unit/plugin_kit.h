/* What the tests of core/plugin share: where the plugins for tests are, a config from text, descriptions at hand. */
#ifndef MAGPIE_TESTS_PLUGIN_KIT_H
#define MAGPIE_TESTS_PLUGIN_KIT_H

#include "core/plugin/plugin_private.h"

#include <cjson/cJSON.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* The directory of tests/plugins, beside the running test. */
static inline const char *kit_plugins(char out[512])
{
    char exe[400];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    assert_true(n > 0);
    exe[n] = '\0';
    *strrchr(exe, '/') = '\0';
    snprintf(out, 512, "%s/plugins", exe);
    return out;
}

static inline int kit_init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    (void)self, (void)mp, (void)o, (void)state;
    return MP_OK;
}

/* A good description. */
static inline struct mp_plugin kit_description(void)
{
    return (struct mp_plugin){MP_PLUGIN_HEAD, .name = "kit", .version = "1", .summary = "for tests", .init = kit_init};
}

#endif
