/* Wrong: a schema with an option twice. */
#include "plugins/magpie_plugin.h"

static const struct mp_option options[] = {
    {.name = "same", .type = MP_OPT_TEXT, .help = "One."},
    {.name = "same", .type = MP_OPT_BOOL, .help = "Two."},
};

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    (void)self, (void)mp, (void)o, (void)state;
    return MP_OK;
}

MP_PLUGIN = {MP_PLUGIN_HEAD, MP_OPTIONS(options), .name = "wrong_schema",
             .version = "1", .summary = "test",   .init = init};
