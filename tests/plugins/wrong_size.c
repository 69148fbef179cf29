/* Wrong: its description has another size than its version says. */
#include "plugins/magpie_plugin.h"

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    (void)self, (void)mp, (void)o, (void)state;
    return MP_OK;
}

MP_PLUGIN = {
    .size = sizeof(struct mp_plugin) - 8,
    .abi_major = MP_ABI_MAJOR,
    .abi_minor = MP_ABI_MINOR,
    .option_size = sizeof(struct mp_option),
    .name = "wrong_size",
    .version = "1",
    .summary = "test",
    .init = init,
};
