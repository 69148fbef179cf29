/* What plugins ask of the hub as operators: recall, users, bans, rules, lists of all. Private to core/plugin. */
#ifndef MAGPIE_PLUGIN_MODERATION_H
#define MAGPIE_PLUGIN_MODERATION_H

#include "core/plugin/plugin_private.h"

int plugin_recall(mp_self *p, const struct mp_recall *r, mp_thread *home, mp_done_fn done, void *ctx);
int plugin_edit(mp_self *p, const struct mp_edit *e, mp_thread *home, mp_edited_fn done, void *ctx);
int plugin_user_add(mp_self *p, struct mp_str id, struct mp_str name, mp_thread *home, mp_done_fn done, void *ctx);
int plugin_user_token(mp_self *p, struct mp_str id, mp_thread *home, mp_token_fn done, void *ctx);
int plugin_user_delete(mp_self *p, struct mp_str id, bool recall, mp_thread *home, mp_deleted_fn done, void *ctx);
int plugin_channel_delete(mp_self *p, struct mp_str name, mp_thread *home, mp_deleted_fn done, void *ctx);
int plugin_ban(mp_self *p, const struct mp_ban *b, mp_thread *home, mp_ban_fn done, void *ctx);
int plugin_bans(mp_self *p, uint32_t cursor, uint32_t limit, mp_thread *home, mp_bans_fn done, void *ctx);
int plugin_rule(mp_self *p, const struct mp_rule *r, mp_thread *home, mp_rule_fn done, void *ctx);

#endif
