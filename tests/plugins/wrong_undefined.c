/* Wrong: needs a symbol that nobody has. */
#include "plugins/magpie_plugin.h"

extern int mp_of_another_world(void);

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    (void)self, (void)mp, (void)o, (void)state;
    return mp_of_another_world();
}

MP_PLUGIN = {MP_PLUGIN_HEAD, .name = "wrong_undefined", .version = "1", .summary = "test", .init = init};
