/* Wrong: a description without init(). */
#include "plugins/magpie_plugin.h"

MP_PLUGIN = {MP_PLUGIN_HEAD, .name = "wrong_empty", .version = "1", .summary = "test"};
