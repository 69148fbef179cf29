/* What the API can do: one function an endpoint, and one for the end of its operation. openapi.json describes them
 * all. */
#include "http_api.h"
#include "moderation.h"

#include <stdlib.h>

/* Who sends what has no sender: half of a pair, and no user. */
static const char SYSTEM[] = "system";

/* --- Writing answers ---------------------------------------------------------------------------------------------- */

void put_key(struct call *c, const char *key, struct mp_str value)
{
    c->mp->out_printf(c->out, "\"%s\":", key);
    c->mp->out_json(c->out, value);
}

static void put_message(struct call *c, const struct mp_message *m, uint64_t edited_ms, struct mp_str channel)
{
    char id[20];
    c->mp->out_printf(c->out, "{\"id\":\"%s\",", mp_id_text(m->id, id));
    put_key(c, "content", m->content);
    c->mp->out_put(c->out, mp_str(",\"sender\":{"));
    put_key(c, "id", m->sender);
    c->mp->out_put(c->out, mp_str(","));
    put_key(c, "name", m->sender_name);
    c->mp->out_printf(c->out, "},\"createdAt\":%llu,\"seq\":%llu%s", (unsigned long long)m->created_ms,
                      (unsigned long long)m->seq, m->recalled ? ",\"recalled\":true" : "");
    if (edited_ms)
        c->mp->out_printf(c->out, ",\"editedAt\":%llu", (unsigned long long)edited_ms);
    if (channel.n) {
        c->mp->out_put(c->out, mp_str(","));
        put_key(c, "channel", channel);
    }
    c->mp->out_put(c->out, mp_str("}"));
}

/* --- Messages ----------------------------------------------------------------------------------------------------- */

static void sent(mp_thread *here, const struct mp_sent *r, void *ctx)
{
    struct call *c = ctx;
    char id[20];
    (void)here;
    if (r->result.code != MP_CODE_OK) {
        call_result(c, &r->result);
        return;
    }
    c->mp->out_printf(c->out, "{\"id\":\"%s\",\"seq\":%llu,\"createdAt\":%llu,\"duplicate\":%s}", mp_id_text(r->id, id),
                      (unsigned long long)r->seq, (unsigned long long)r->created_ms, r->duplicate ? "true" : "false");
    call_answer(c, r->duplicate ? 200 : 201);
}

static void send_message(struct call *c, bool channel)
{
    struct mp_send s = {.size = sizeof s};
    static const char *const as[] = {"system", NULL};
    bool system;
    unsigned which;
    if (!body_text(c, "content", true, &s.content) || !body_text(c, "sender", false, &s.sender) ||
        !body_choice(c, "as", as, &system, &which) || !body_text(c, "clientId", false, &s.client_id))
        return;
    if (system == (s.sender.p != NULL)) { /* past all rules only where that is meant */
        call_error(c, MP_CODE_BAD_REQUEST, 0,
                   system ? "sender, as: expected one of them"
                          : "sender: missing; a message from the server itself says \"as\":\"system\"");
        return;
    }
    if (!system && !s.sender.n) {
        call_error(c, MP_CODE_BAD_REQUEST, 0, "sender: expected a user's id");
        return;
    }
    if (s.client_id.n > 64) {
        call_error(c, MP_CODE_BAD_REQUEST, 0, "clientId: expected 1 to 64 bytes");
        return;
    }
    *(channel ? &s.channel : &s.receiver) = mp_str(c->args[0]);
    call_began(c, c->mp->send(c->api->self, &s, c->shard, sent, c));
}

static void send_user(struct call *c)
{
    if (strcmp(c->args[0], SYSTEM) == 0)
        call_error(c, MP_CODE_NOT_FOUND, 0, "no such user");
    else
        send_message(c, false);
}

static void send_channel(struct call *c)
{
    send_message(c, true);
}

static void put_page(struct call *c, const struct mp_history *h, struct mp_str channel)
{
    c->mp->out_put(c->out, mp_str("{\"messages\":["));
    for (size_t i = 0; i < h->n; i++) {
        c->mp->out_put(c->out, mp_str(i ? "," : ""));
        put_message(c, &h->messages[i], h->edited_ms[i], channel);
    }
    c->mp->out_printf(c->out, "],\"first\":%llu,\"last\":%llu,\"more\":%s}", (unsigned long long)h->first,
                      (unsigned long long)h->last, h->more ? "true" : "false");
    call_answer(c, 200);
}

static void put_empty_page(struct call *c)
{
    put_page(c, &(struct mp_history){.n = 0}, mp_str_of(NULL, 0));
}

/* Nothing was ever sent: because there is no such channel? */
static void channel_checked(mp_thread *here, const struct mp_channel *r, void *ctx)
{
    struct call *c = ctx;
    (void)here;
    if (r->result.code != MP_CODE_OK)
        call_result(c, &r->result);
    else
        put_empty_page(c);
}

static void channel_ranged(mp_thread *here, const struct mp_history *h, void *ctx)
{
    struct call *c = ctx;
    (void)here;
    if (h->result.code != MP_CODE_OK)
        call_result(c, &h->result);
    else if (h->last)
        put_page(c, h, mp_str(c->args[0]));
    else
        call_began(c, c->mp->channel(c->api->self, mp_str(c->args[0]), c->shard, channel_checked, c));
}

/* Nothing was ever sent: because one of the two is unknown? */
static void second_checked(mp_thread *here, const struct mp_user *u, void *ctx)
{
    struct call *c = ctx;
    (void)here;
    if (u && u->result.code != MP_CODE_OK)
        call_result(c, &u->result);
    else
        put_empty_page(c);
}

static void first_checked(mp_thread *here, const struct mp_user *u, void *ctx)
{
    struct call *c = ctx;
    if (u && u->result.code != MP_CODE_OK)
        call_result(c, &u->result);
    else if (strcmp(c->args[1], SYSTEM) == 0)
        second_checked(here, NULL, c);
    else
        call_began(c, c->mp->user(c->api->self, mp_str(c->args[1]), c->shard, second_checked, c));
}

static void pair_ranged(mp_thread *here, const struct mp_history *h, void *ctx)
{
    struct call *c = ctx;
    if (h->result.code != MP_CODE_OK)
        call_result(c, &h->result);
    else if (h->last)
        put_page(c, h, mp_str_of(NULL, 0));
    else if (strcmp(c->args[0], SYSTEM) == 0)
        first_checked(here, NULL, c);
    else
        call_began(c, c->mp->user(c->api->self, mp_str(c->args[0]), c->shard, first_checked, c));
}

static bool get_range(struct call *c, struct mp_range *r)
{
    bool has_limit;
    uint64_t limit = 50;
    r->size = sizeof *r;
    if (!call_number(c, "after", UINT64_MAX, &r->has_after, &r->after) ||
        !call_number(c, "before", UINT64_MAX, &r->has_before, &r->before) ||
        !call_number(c, "limit", 200, &has_limit, &limit))
        return false;
    if (has_limit && limit == 0) {
        call_error(c, MP_CODE_BAD_REQUEST, 0, "limit: expected 1 or more");
        return false;
    }
    r->limit = (uint32_t)limit;
    return true;
}

static void channel_history(struct call *c)
{
    struct mp_range r = {.channel = mp_str(c->args[0])};
    if (get_range(c, &r))
        call_began(c, c->mp->range(c->api->self, &r, c->shard, channel_ranged, c));
}

static void pair_history(struct call *c)
{
    struct mp_range r = {.users = {mp_str(c->args[0]), mp_str(c->args[1])}};
    if (get_range(c, &r))
        call_began(c, c->mp->range(c->api->self, &r, c->shard, pair_ranged, c));
}

static void announce(struct call *c)
{
    struct mp_str content;
    if (!body_text(c, "content", true, &content))
        return;
    int rc = c->mp->announce(c->api->self, content);
    if (rc != MP_OK) {
        call_began(c, rc);
        return;
    }
    c->mp->out_put(c->out, mp_str("{}"));
    call_answer(c, 202);
}

/* --- Channels ----------------------------------------------------------------------------------------------------- */

static void channel_known(mp_thread *here, const struct mp_channel *r, void *ctx)
{
    struct call *c = ctx;
    (void)here;
    if (r->result.code != MP_CODE_OK) {
        call_result(c, &r->result);
        return;
    }
    c->mp->out_put(c->out, mp_str("{"));
    put_key(c, "name", mp_str(c->args[0]));
    c->mp->out_printf(c->out, ",\"members\":%u,\"first\":%llu,\"last\":%llu,\"tier\":\"%s\"}", r->members,
                      (unsigned long long)r->first, (unsigned long long)r->last,
                      r->tier == MP_TIER_LARGE ? "large" : "small");
    call_answer(c, 200);
}

static void show_channel(struct call *c)
{
    call_began(c, c->mp->channel(c->api->self, mp_str(c->args[0]), c->shard, channel_known, c));
}

static void members_known(mp_thread *here, const struct mp_members *m, void *ctx)
{
    struct call *c = ctx;
    (void)here;
    if (m->result.code != MP_CODE_OK) {
        call_result(c, &m->result);
        return;
    }
    c->mp->out_put(c->out, mp_str("{\"members\":["));
    for (size_t i = 0; i < m->n; i++) {
        c->mp->out_put(c->out, mp_str(i ? ",{" : "{"));
        put_key(c, "id", m->people[i].id);
        c->mp->out_put(c->out, mp_str(","));
        put_key(c, "name", m->people[i].name);
        c->mp->out_put(c->out, mp_str("}"));
    }
    c->mp->out_put(c->out, mp_str("]"));
    if (m->more && m->n) {
        c->mp->out_put(c->out, mp_str(","));
        put_key(c, "cursor", m->people[m->n - 1].id);
    }
    c->mp->out_put(c->out, mp_str("}"));
    call_answer(c, 200);
}

static void list_members(struct call *c)
{
    char cursor[ARG_SIZE];
    uint32_t limit;
    if (call_text(c, "cursor", cursor, sizeof cursor) && page_limit(c, 1000, &limit))
        call_began(c,
                   c->mp->members(c->api->self, mp_str(c->args[0]), mp_str(cursor), limit, c->shard, members_known, c));
}

static void member_changed(mp_thread *here, const struct mp_member_result *r, void *ctx)
{
    struct call *c = ctx;
    (void)here;
    if (r->result.code != MP_CODE_OK) {
        call_result(c, &r->result);
        return;
    }
    c->mp->out_printf(c->out, "{\"members\":%u,\"existed\":%s}", r->members, r->existed ? "true" : "false");
    call_answer(c, 200);
}

static void join(struct call *c)
{
    static const struct {
        const char *name;
        enum mp_push push;
    } modes[] = {{"all", MP_PUSH_ALL}, {"merged", MP_PUSH_MERGED}, {"none", MP_PUSH_NONE}};
    struct mp_str push;
    struct mp_member m = {.size = sizeof m, .user = mp_str(c->args[1]), .channel = mp_str(c->args[0])};
    if (!body_text(c, "push", false, &push) || !body_bool(c, "create", &m.may_create))
        return;
    for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (mp_eq(push, mp_str(modes[i].name))) {
            m.set_push = true;
            m.push = modes[i].push;
        }
    }
    if (push.n && !m.set_push) {
        call_error(c, MP_CODE_BAD_REQUEST, 0, "push: expected \"all\", \"merged\" or \"none\"");
        return;
    }
    call_began(c, c->mp->member(c->api->self, &m, c->shard, member_changed, c));
}

static void put_no_member(struct call *c, uint32_t members)
{
    c->mp->out_printf(c->out, "{\"members\":%u,\"existed\":false}", members);
    call_answer(c, 200);
}

static void leaver_checked(mp_thread *here, const struct mp_user *u, void *ctx)
{
    struct call *c = ctx;
    (void)here;
    if (u->result.code != MP_CODE_OK)
        call_result(c, &u->result);
    else
        put_no_member(c, *(const uint32_t *)c->state);
}

/* Who was no member may be unknown. */
static void left(mp_thread *here, const struct mp_member_result *r, void *ctx)
{
    struct call *c = ctx;
    uint32_t *members = NULL;
    if (r->result.code != MP_CODE_OK || r->existed) {
        member_changed(here, r, c);
        return;
    }
    c->state = members = malloc(sizeof *members);
    if (members)
        *members = r->members;
    call_began(c, members ? c->mp->user(c->api->self, mp_str(c->args[1]), c->shard, leaver_checked, c) : MP_ENOMEM);
}

static void leave(struct call *c)
{
    struct mp_member m = {.size = sizeof m, .user = mp_str(c->args[1]), .channel = mp_str(c->args[0]), .leave = true};
    call_began(c, c->mp->member(c->api->self, &m, c->shard, left, c));
}

/* --- Users -------------------------------------------------------------------------------------------------------- */

static void user_known(mp_thread *here, const struct mp_user *u, void *ctx)
{
    struct call *c = ctx;
    (void)here;
    if (u->result.code != MP_CODE_OK) {
        call_result(c, &u->result);
        return;
    }
    c->mp->out_put(c->out, mp_str("{"));
    put_key(c, "id", u->id);
    c->mp->out_put(c->out, mp_str(","));
    put_key(c, "name", u->name);
    c->mp->out_printf(c->out, ",\"online\":%s,\"connections\":%u,\"inbox\":%u,\"channels\":[",
                      u->connections ? "true" : "false", u->connections, u->inbox);
    for (size_t i = 0; i < u->channel_count; i++) {
        c->mp->out_put(c->out, mp_str(i ? "," : ""));
        c->mp->out_json(c->out, u->channels[i]);
    }
    c->mp->out_put(c->out, mp_str("]}"));
    call_answer(c, 200);
}

static void show_user(struct call *c)
{
    call_began(c, c->mp->user(c->api->self, mp_str(c->args[0]), c->shard, user_known, c));
}

static void kicked(mp_thread *here, const struct mp_kick_result *r, void *ctx)
{
    struct call *c = ctx;
    (void)here;
    if (r->result.code != MP_CODE_OK) {
        call_result(c, &r->result);
        return;
    }
    c->mp->out_printf(c->out, "{\"connections\":%u}", r->connections);
    call_answer(c, 200);
}

static void kick(struct call *c)
{
    struct mp_str message;
    bool revoke = false;
    if (body_text(c, "message", false, &message) && body_bool(c, "revoke", &revoke))
        call_began(c, c->mp->kick(c->api->self, mp_str(c->args[0]), message, revoke, c->shard, kicked, c));
}

/* Presence of several users, asked for one by one: `left` counts the answers to come, and one for the asker. */
struct presence {
    unsigned left, found;
};

static void presence_step(struct call *c)
{
    struct presence *p = c->state;
    if (--p->left)
        return;
    c->mp->out_put(c->out, mp_str("]}"));
    call_answer(c, 200);
}

static void presence_known(mp_thread *here, const struct mp_user *u, void *ctx)
{
    struct call *c = ctx;
    struct presence *p = c->state;
    (void)here;
    if (u->result.code == MP_CODE_OK && u->connections) {
        c->mp->out_put(c->out, mp_str(p->found++ ? "," : ""));
        c->mp->out_json(c->out, u->id);
    }
    presence_step(c);
}

static void presence(struct call *c)
{
    char ids[IDS_MAX * 65 + 1];
    struct presence *p = calloc(1, sizeof *p);
    c->state = p;
    if (!p) {
        call_began(c, MP_ENOMEM);
        return;
    }
    if (!call_text(c, "ids", ids, sizeof ids))
        return;
    unsigned n = ids[0] ? 1 : 0;
    for (const char *at = ids; *at; at++)
        n += *at == ',';
    if (n == 0 || n > IDS_MAX) {
        call_error(c, MP_CODE_BAD_REQUEST, 0, "ids: expected 1 to 100 ids, with commas between them");
        return;
    }
    c->mp->out_put(c->out, mp_str("{\"online\":["));
    p->left = 1;
    for (char *at = ids, *next; at; at = next) {
        if ((next = strchr(at, ',')))
            *next++ = '\0';
        p->left++;
        /* One that cannot be asked for counts as offline. */
        if (c->mp->user(c->api->self, mp_str(at), c->shard, presence_known, c) != MP_OK)
            p->left--;
    }
    presence_step(c);
}

/* --- The table ---------------------------------------------------------------------------------------------------- */

#define SEND    "content sender as clientId"
#define BAN     "reason seconds"
#define PAGE    "prefix cursor limit"
#define HISTORY "after before limit"

/* Method, path, function, fields of the body, parameters of the query. */
const struct endpoint endpoints[] = {
    {"DELETE", "addresses/{}/ban", unban_ip, NULL, NULL},
    {"PUT", "addresses/{}/ban", ban_ip, BAN, NULL},
    {"POST", "announcements", announce, "content", NULL},
    {"GET", "bans", list_bans, NULL, "cursor limit"},
    {"GET", "channels", list_channels, NULL, PAGE},
    {"DELETE", "channels/{}", delete_channel, NULL, NULL},
    {"GET", "channels/{}", show_channel, NULL, NULL},
    {"DELETE", "channels/{}/bans/{}", unban_member, NULL, NULL},
    {"PUT", "channels/{}/bans/{}", ban_member, "seconds", NULL},
    {"GET", "channels/{}/members", list_members, NULL, "cursor limit"},
    {"DELETE", "channels/{}/members/{}", leave, NULL, NULL},
    {"PUT", "channels/{}/members/{}", join, "push create", NULL},
    {"GET", "channels/{}/messages", channel_history, NULL, HISTORY},
    {"POST", "channels/{}/messages", send_channel, SEND, NULL},
    {"DELETE", "channels/{}/messages/{}", recall_in_channel, NULL, NULL},
    {"PATCH", "channels/{}/messages/{}", edit_in_channel, "sender content", NULL},
    {"DELETE", "channels/{}/mutes/{}", unmute_member, NULL, NULL},
    {"PUT", "channels/{}/mutes/{}", mute_member, "seconds", NULL},
    {"GET", "channels/{}/rule", show_rule, NULL, NULL},
    {"PATCH", "channels/{}/rule", change_rule, "tier push limit closed", NULL},
    {"GET", "presence", presence, NULL, "ids"},
    {"GET", "users", list_users, NULL, PAGE},
    {"POST", "users", add_user, "id name", NULL},
    {"DELETE", "users/{}", delete_user, NULL, "messages"},
    {"GET", "users/{}", show_user, NULL, NULL},
    {"DELETE", "users/{}/ban", unban_user, NULL, NULL},
    {"PUT", "users/{}/ban", ban_user, BAN, NULL},
    {"POST", "users/{}/kick", kick, "message revoke", NULL},
    {"POST", "users/{}/messages", send_user, SEND, NULL},
    {"GET", "users/{}/messages/{}", pair_history, NULL, HISTORY},
    {"DELETE", "users/{}/messages/{}/{}", recall_in_pair, NULL, NULL},
    {"PATCH", "users/{}/messages/{}/{}", edit_in_pair, "sender content", NULL},
    {"DELETE", "users/{}/mute", unmute_user, NULL, NULL},
    {"PUT", "users/{}/mute", mute_user, "seconds", NULL},
    {"POST", "users/{}/token", make_token, NULL, NULL},
};
const unsigned endpoint_count = sizeof endpoints / sizeof endpoints[0];
