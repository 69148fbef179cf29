/* Wrong: built for another major version of the ABI. */
#include "plugins/magpie_plugin.h"

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    (void)self, (void)mp, (void)o, (void)state;
    return MP_OK;
}

MP_PLUGIN = {
    .size = sizeof(struct mp_plugin),
    .abi_major = MP_ABI_MAJOR + 1,
    .abi_minor = 0,
    .option_size = sizeof(struct mp_option),
    .name = "wrong_major",
    .version = "1",
    .summary = "test",
    .init = init,
};
