/* The endpoints of moderation.c, for the table in endpoints.c. */
#ifndef MAGPIE_PLUGINS_HTTP_API_MODERATION_H
#define MAGPIE_PLUGINS_HTTP_API_MODERATION_H

struct call;

void recall_in_channel(struct call *c);
void recall_in_pair(struct call *c);
void edit_in_channel(struct call *c);
void edit_in_pair(struct call *c);

void ban_user(struct call *c);
void unban_user(struct call *c);
void ban_ip(struct call *c);
void unban_ip(struct call *c);
void ban_member(struct call *c);
void unban_member(struct call *c);
void mute_user(struct call *c);
void unmute_user(struct call *c);
void mute_member(struct call *c);
void unmute_member(struct call *c);
void list_bans(struct call *c);
void show_rule(struct call *c);
void change_rule(struct call *c);

void add_user(struct call *c);
void make_token(struct call *c);
void delete_user(struct call *c);
void delete_channel(struct call *c);
void list_users(struct call *c);
void list_channels(struct call *c);

#endif
