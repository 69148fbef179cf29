/* Wrong: built for a newer minor version of the ABI. */
#include "plugins/magpie_plugin.h"

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    (void)self, (void)mp, (void)o, (void)state;
    return MP_OK;
}

MP_PLUGIN = {
    .size = sizeof(struct mp_plugin) + 64,
    .abi_major = MP_ABI_MAJOR,
    .abi_minor = MP_ABI_MINOR + 1,
    .option_size = sizeof(struct mp_option),
    .name = "wrong_minor",
    .version = "1",
    .summary = "test",
    .init = init,
};
