/* Wrong: calls itself other than its file. */
#include "plugins/magpie_plugin.h"

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    (void)self, (void)mp, (void)o, (void)state;
    return MP_OK;
}

MP_PLUGIN = {
    MP_PLUGIN_HEAD, .name = "right_name", .version = "1", .summary = "test", .init = init,
};
