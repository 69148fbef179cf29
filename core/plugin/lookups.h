/* What plugins ask of the store: users, members, history. Private to core/plugin. */
#ifndef MAGPIE_PLUGIN_LOOKUPS_H
#define MAGPIE_PLUGIN_LOOKUPS_H

#include "core/plugin/plugin_private.h"

int plugin_range(mp_self *p, const struct mp_range *r, mp_thread *home, mp_history_fn done, void *ctx);
int plugin_members(mp_self *p, struct mp_str channel, struct mp_str cursor, uint32_t limit, mp_thread *home,
                   mp_members_fn done, void *ctx);
/* mp_api.date_ms */
int plugin_scan(mp_self *p, const struct mp_scan *q, mp_thread *home, mp_scanned_fn done, void *ctx);
uint64_t plugin_date(mp_self *p);
int plugin_channel(mp_self *p, struct mp_str name, mp_thread *home, mp_channel_fn done, void *ctx);

#endif
