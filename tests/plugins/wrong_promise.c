/* Wrong: promises to serve an auth.mode and registers no provider. */
#include "plugins/magpie_plugin.h"

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    (void)self, (void)mp, (void)o, (void)state;
    return MP_OK;
}

MP_PLUGIN = {MP_PLUGIN_HEAD,    .name = "wrong_promise", .version = "1",
             .summary = "test", .auth_mode = "promised", .init = init};
