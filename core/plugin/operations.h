/* What plugins ask of the hub: send, join, kick, push. Private to core/plugin. */
#ifndef MAGPIE_PLUGIN_OPERATIONS_H
#define MAGPIE_PLUGIN_OPERATIONS_H

#include "core/plugin/plugin_private.h"

int plugin_send(mp_self *p, const struct mp_send *s, mp_thread *home, mp_sent_fn done, void *ctx);
int plugin_member(mp_self *p, const struct mp_member *m, mp_thread *home, mp_member_fn done, void *ctx);
int plugin_kick(mp_self *p, struct mp_str user, struct mp_str message, bool revoke, mp_thread *home, mp_kick_fn done,
                void *ctx);
int plugin_user(mp_self *p, struct mp_str id, mp_thread *home, mp_user_fn done, void *ctx);
int plugin_push_user(mp_self *p, struct mp_str user, uint16_t action, struct mp_str body);
int plugin_push_conn(mp_self *p, struct mp_conn conn, uint16_t action, struct mp_str body);
int plugin_announce(mp_self *p, struct mp_str content);
int plugin_close_conn(mp_self *p, struct mp_conn conn, struct mp_str message);

#endif
