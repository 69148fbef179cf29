/* Lines of the console that plugins give, and the console's password. Main thread. Private to core/plugin. */
#ifndef MAGPIE_PLUGIN_ORDERS_H
#define MAGPIE_PLUGIN_ORDERS_H

#include "core/plugin/plugin_private.h"

int order_run(mp_self *p, struct mp_str line, struct mp_str who, mp_console_fn done, void *ctx);
enum mp_code order_login(mp_self *p, struct mp_str address, struct mp_str password);
uint64_t order_password(mp_self *p);

#endif
