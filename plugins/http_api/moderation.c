/* Endpoints that moderate: recalls, edits, bans, mutes, rules of channels, users that are made and taken away. */
#include "moderation.h"

#include "http_api.h"

#include <stdlib.h>

/* --- Messages ----------------------------------------------------------------------------------------------------- */

/* The end of what has nothing to tell. */
static void plain_done(mp_thread *here, const struct mp_result *r, void *ctx)
{
    struct call *c = ctx;
    (void)here;
    if (r->code != MP_CODE_OK) {
        call_result(c, r);
        return;
    }
    c->mp->out_put(c->out, mp_str("{}"));
    call_answer(c, 200);
}

void recall_in_channel(struct call *c)
{
    struct mp_recall r = {.size = sizeof r, .channel = mp_str(c->args[0])};
    if (path_seq(c, 1, &r.seq))
        call_began(c, c->mp->recall(c->api->self, &r, c->shard, plain_done, c));
}

void recall_in_pair(struct call *c)
{
    struct mp_recall r = {.size = sizeof r, .users = {mp_str(c->args[0]), mp_str(c->args[1])}};
    if (path_seq(c, 2, &r.seq))
        call_began(c, c->mp->recall(c->api->self, &r, c->shard, plain_done, c));
}

static void edited(mp_thread *here, const struct mp_edited *r, void *ctx)
{
    struct call *c = ctx;
    (void)here;
    if (r->result.code != MP_CODE_OK) {
        call_result(c, &r->result);
        return;
    }
    c->mp->out_printf(c->out, "{\"editedAt\":%llu}", (unsigned long long)r->edited_ms);
    call_answer(c, 200);
}

static void edit(struct call *c, struct mp_edit *e, unsigned seq_arg)
{
    e->size = sizeof *e;
    if (!path_seq(c, seq_arg, &e->seq) || !body_text(c, "sender", true, &e->sender) ||
        !body_text(c, "content", true, &e->content))
        return;
    /* In a pair the path says who the two are; the sender is one of them. */
    if (seq_arg == 2 && !mp_eq(e->sender, mp_str(c->args[0])) && !mp_eq(e->sender, mp_str(c->args[1]))) {
        call_error(c, MP_CODE_BAD_REQUEST, 0, "sender: expected one of the two in the path");
        return;
    }
    if (seq_arg == 2)
        e->peer = mp_str(c->args[mp_eq(e->sender, mp_str(c->args[0])) ? 1 : 0]);
    call_began(c, c->mp->edit(c->api->self, e, c->shard, edited, c));
}

void edit_in_channel(struct call *c)
{
    struct mp_edit e = {.channel = mp_str(c->args[0])};
    edit(c, &e, 1);
}

void edit_in_pair(struct call *c)
{
    struct mp_edit e = {.seq = 0};
    edit(c, &e, 2);
}

/* --- Bans and mutes ----------------------------------------------------------------------------------------------- */

static const struct {
    enum mp_ban_kind kind;
    const char *name; /* in the list */
    bool channel;     /* the path is channel, user */
} kinds[MP_BAN_KINDS] = {[MP_BAN_USER] = {MP_BAN_USER, "ban user", false},
                         [MP_BAN_IP] = {MP_BAN_IP, "ban ip", false},
                         [MP_BAN_MEMBER] = {MP_BAN_MEMBER, "ban member", true},
                         [MP_MUTE_USER] = {MP_MUTE_USER, "mute user", false},
                         [MP_MUTE_MEMBER] = {MP_MUTE_MEMBER, "mute member", true}};

static void ban_done(mp_thread *here, const struct mp_ban_result *r, void *ctx)
{
    struct call *c = ctx;
    (void)here;
    if (r->result.code != MP_CODE_OK) {
        call_result(c, &r->result);
        return;
    }
    c->mp->out_printf(c->out, "{\"connections\":%u,\"member\":%s}", r->connections, r->ended ? "true" : "false");
    call_answer(c, 200);
}

static void lift_done(mp_thread *here, const struct mp_ban_result *r, void *ctx)
{
    plain_done(here, &r->result, ctx);
}

static void ban_begin(struct call *c, enum mp_ban_kind kind, bool lift)
{
    struct mp_ban b = {.size = sizeof b, .kind = kind, .lift = lift};
    if (!body_text(c, "reason", false, &b.reason) || !body_number(c, "seconds", UINT32_MAX, NULL, &b.seconds))
        return;
    if (b.reason.n > 256) {
        call_error(c, MP_CODE_BAD_REQUEST, 0, "reason: expected 256 bytes at most");
        return;
    }
    if (kinds[kind].channel) {
        b.channel = mp_str(c->args[0]);
        b.user = mp_str(c->args[1]);
    } else if (kind == MP_BAN_IP) {
        b.ip = mp_str(c->args[0]);
    } else {
        b.user = mp_str(c->args[0]);
    }
    call_began(c, c->mp->ban(c->api->self, &b, c->shard, lift ? lift_done : ban_done, c));
}

void ban_user(struct call *c)
{
    ban_begin(c, MP_BAN_USER, false);
}
void unban_user(struct call *c)
{
    ban_begin(c, MP_BAN_USER, true);
}
void ban_ip(struct call *c)
{
    ban_begin(c, MP_BAN_IP, false);
}
void unban_ip(struct call *c)
{
    ban_begin(c, MP_BAN_IP, true);
}
/* Only where there is such a channel. */
static void channel_of_ban(mp_thread *here, const struct mp_channel *r, void *ctx)
{
    struct call *c = ctx;
    (void)here;
    if (r->result.code != MP_CODE_OK)
        call_result(c, &r->result);
    else
        ban_begin(c, *(const enum mp_ban_kind *)c->state, false);
}

static void ban_in_channel(struct call *c, enum mp_ban_kind kind)
{
    enum mp_ban_kind *kept = c->state = malloc(sizeof *kept);
    if (kept)
        *kept = kind;
    call_began(c, kept ? c->mp->channel(c->api->self, mp_str(c->args[0]), c->shard, channel_of_ban, c) : MP_ENOMEM);
}

void ban_member(struct call *c)
{
    ban_in_channel(c, MP_BAN_MEMBER);
}
void unban_member(struct call *c)
{
    ban_begin(c, MP_BAN_MEMBER, true);
}
void mute_user(struct call *c)
{
    ban_begin(c, MP_MUTE_USER, false);
}
void unmute_user(struct call *c)
{
    ban_begin(c, MP_MUTE_USER, true);
}
void mute_member(struct call *c)
{
    ban_in_channel(c, MP_MUTE_MEMBER);
}
void unmute_member(struct call *c)
{
    ban_begin(c, MP_MUTE_MEMBER, true);
}

static void put_optional(struct call *c, const char *key, struct mp_str value)
{
    if (!value.n)
        return;
    c->mp->out_put(c->out, mp_str(","));
    put_key(c, key, value);
}

static void bans_known(mp_thread *here, const struct mp_bans *b, void *ctx)
{
    struct call *c = ctx;
    (void)here;
    if (b->result.code != MP_CODE_OK) {
        call_result(c, &b->result);
        return;
    }
    c->mp->out_put(c->out, mp_str("{\"bans\":["));
    for (size_t i = 0; i < b->n; i++) {
        c->mp->out_put(c->out, mp_str(i ? ",{" : "{"));
        put_key(c, "kind", mp_str(kinds[b->bans[i].kind].name));
        put_optional(c, "user", b->bans[i].user);
        put_optional(c, "channel", b->bans[i].channel);
        put_optional(c, "ip", b->bans[i].ip);
        put_optional(c, "reason", b->bans[i].reason);
        if (b->bans[i].until_ms != UINT64_MAX)
            c->mp->out_printf(c->out, ",\"until\":%llu", (unsigned long long)b->bans[i].until_ms);
        c->mp->out_put(c->out, mp_str("}"));
    }
    c->mp->out_put(c->out, mp_str("]"));
    if (b->more)
        c->mp->out_printf(c->out, ",\"cursor\":\"%u\"", b->next);
    c->mp->out_put(c->out, mp_str("}"));
    call_answer(c, 200);
}

void list_bans(struct call *c)
{
    bool has;
    uint64_t cursor = 0;
    uint32_t limit;
    if (call_number(c, "cursor", UINT32_MAX - 1, &has, &cursor) && page_limit(c, 1000, &limit))
        call_began(c, c->mp->bans(c->api->self, (uint32_t)cursor, limit, c->shard, bans_known, c));
}

/* --- The rule of a channel ---------------------------------------------------------------------------------------- */

static const char *const tiers[] = {"auto", "small", "large", NULL};         /* by enum mp_tier */
static const char *const pushes[] = {"auto", "all", "merged", "none", NULL}; /* by enum mp_push */

static void put_rule(struct call *c, const struct mp_rule_result *r)
{
    c->mp->out_printf(c->out, "{\"tier\":\"%s\",\"push\":\"%s\",\"closed\":%s", tiers[r->tier], pushes[r->push],
                      r->closed ? "true" : "false");
    if (r->limited)
        c->mp->out_printf(c->out, ",\"limit\":%u", r->limit);
    c->mp->out_put(c->out, mp_str("}"));
    call_answer(c, 200);
}

static void rule_changed(mp_thread *here, const struct mp_rule_result *r, void *ctx)
{
    (void)here;
    if (r->result.code != MP_CODE_OK)
        call_result(ctx, &r->result);
    else
        put_rule(ctx, r);
}

/* Nothing is set: because there is no such channel? */
static void channel_of_rule(mp_thread *here, const struct mp_channel *r, void *ctx)
{
    (void)here;
    if (r->result.code != MP_CODE_OK)
        call_result(ctx, &r->result);
    else
        put_rule(ctx, &(struct mp_rule_result){.tier = MP_TIER_DM});
}

static void rule_known(mp_thread *here, const struct mp_rule_result *r, void *ctx)
{
    struct call *c = ctx;
    if (r->result.code != MP_CODE_OK || r->tier || r->push || r->limited || r->closed)
        rule_changed(here, r, c);
    else
        call_began(c, c->mp->channel(c->api->self, mp_str(c->args[0]), c->shard, channel_of_rule, c));
}

void show_rule(struct call *c)
{
    const struct mp_rule r = {.size = sizeof r, .channel = mp_str(c->args[0])};
    call_began(c, c->mp->rule(c->api->self, &r, c->shard, rule_known, c));
}

/* limit: a number, or "auto". */
static bool rule_limit(struct call *c, struct mp_rule *r)
{
    static const char *const automatic[] = {"auto", NULL};
    const mp_json *v = c->body ? c->mp->json_get(c->body, "limit") : NULL;
    struct mp_str text;
    unsigned which;
    uint64_t limit = 0;
    if (v && c->mp->json_string(v, &text))
        return body_choice(c, "limit", automatic, &r->set_limit, &which);
    if (!body_number(c, "limit", 1000000, &r->limited, &limit))
        return false;
    r->set_limit = r->limited;
    r->limit = (uint32_t)limit;
    return true;
}

void change_rule(struct call *c)
{
    struct mp_rule r = {.size = sizeof r, .channel = mp_str(c->args[0])};
    unsigned tier = 0, push = 0;
    if (!body_choice(c, "tier", tiers, &r.set_tier, &tier) || !body_choice(c, "push", pushes, &r.set_push, &push) ||
        !rule_limit(c, &r) || !body_bool(c, "closed", &r.closed))
        return;
    r.set_closed = c->body && c->mp->json_get(c->body, "closed") != NULL;
    r.tier = (enum mp_tier)tier;
    r.push = (enum mp_push)push;
    call_began(c, c->mp->rule(c->api->self, &r, c->shard, rule_changed, c));
}

/* --- Users and channels that are made and taken away -------------------------------------------------------------- */

static void user_added(mp_thread *here, const struct mp_result *r, void *ctx)
{
    struct call *c = ctx;
    struct mp_str id, name;
    (void)here;
    if (r->code == MP_CODE_FORBIDDEN) {
        call_conflict(c, r->message);
        return;
    }
    if (r->code != MP_CODE_OK) {
        call_result(c, r);
        return;
    }
    (void)body_text(c, "id", true, &id);
    (void)body_text(c, "name", false, &name);
    c->mp->out_put(c->out, mp_str("{"));
    put_key(c, "id", id);
    c->mp->out_put(c->out, mp_str(","));
    put_key(c, "name", name.n ? name : id);
    c->mp->out_put(c->out, mp_str("}"));
    call_answer(c, 201);
}

void add_user(struct call *c)
{
    struct mp_str id, name;
    if (body_text(c, "id", true, &id) && body_text(c, "name", false, &name))
        call_began(c, c->mp->user_add(c->api->self, id, name, c->shard, user_added, c));
}

static void token_made(mp_thread *here, const struct mp_token *t, void *ctx)
{
    struct call *c = ctx;
    (void)here;
    if (t->result.code != MP_CODE_OK) {
        call_result(c, &t->result);
        return;
    }
    c->mp->out_put(c->out, mp_str("{"));
    put_key(c, "token", t->token);
    c->mp->out_put(c->out, mp_str("}"));
    call_answer(c, 201);
}

void make_token(struct call *c)
{
    call_began(c, c->mp->user_token(c->api->self, mp_str(c->args[0]), c->shard, token_made, c));
}

static void user_deleted(mp_thread *here, const struct mp_deleted *r, void *ctx)
{
    struct call *c = ctx;
    (void)here;
    if (r->result.code != MP_CODE_OK) {
        call_result(c, &r->result);
        return;
    }
    c->mp->out_printf(c->out, "{\"connections\":%u,\"channels\":%u,\"recalled\":%llu}", r->connections, r->memberships,
                      (unsigned long long)r->recalled);
    call_answer(c, 200);
}

void delete_user(struct call *c)
{
    char messages[16];
    if (!call_text(c, "messages", messages, sizeof messages))
        return;
    bool recall = strcmp(messages, "recall") == 0;
    if (messages[0] && !recall && strcmp(messages, "keep") != 0)
        call_error(c, MP_CODE_BAD_REQUEST, 0, "messages: expected keep or recall");
    else
        call_began(c, c->mp->user_delete(c->api->self, mp_str(c->args[0]), recall, c->shard, user_deleted, c));
}

static void channel_deleted(mp_thread *here, const struct mp_deleted *r, void *ctx)
{
    struct call *c = ctx;
    (void)here;
    if (r->result.code != MP_CODE_OK) {
        call_result(c, &r->result);
        return;
    }
    c->mp->out_printf(c->out, "{\"members\":%u}", r->memberships);
    call_answer(c, 200);
}

void delete_channel(struct call *c)
{
    call_began(c, c->mp->channel_delete(c->api->self, mp_str(c->args[0]), c->shard, channel_deleted, c));
}

/* --- All there is ------------------------------------------------------------------------------------------------- */

static void page_end(struct call *c, const struct mp_scanned *r)
{
    c->mp->out_put(c->out, mp_str("]"));
    if (r->more) {
        c->mp->out_put(c->out, mp_str(","));
        put_key(c, "cursor", r->next);
    }
    c->mp->out_put(c->out, mp_str("}"));
    call_answer(c, 200);
}

static void users_known(mp_thread *here, const struct mp_scanned *r, void *ctx)
{
    struct call *c = ctx;
    (void)here;
    if (r->result.code != MP_CODE_OK) {
        call_result(c, &r->result);
        return;
    }
    c->mp->out_put(c->out, mp_str("{\"users\":["));
    for (size_t i = 0; i < r->n; i++) {
        c->mp->out_put(c->out, mp_str(i ? ",{" : "{"));
        put_key(c, "id", r->list[i].id);
        c->mp->out_put(c->out, mp_str(","));
        put_key(c, "name", r->list[i].name);
        c->mp->out_printf(c->out, ",\"guest\":%s}", r->list[i].guest ? "true" : "false");
    }
    page_end(c, r);
}

static void channels_known(mp_thread *here, const struct mp_scanned *r, void *ctx)
{
    struct call *c = ctx;
    (void)here;
    if (r->result.code != MP_CODE_OK) {
        call_result(c, &r->result);
        return;
    }
    c->mp->out_put(c->out, mp_str("{\"channels\":["));
    for (size_t i = 0; i < r->n; i++) {
        c->mp->out_put(c->out, mp_str(i ? ",{" : "{"));
        put_key(c, "name", r->list[i].id);
        c->mp->out_printf(c->out, ",\"members\":%u,\"last\":%llu,\"tier\":\"%s\"}", r->list[i].members,
                          (unsigned long long)r->list[i].last, r->list[i].tier == MP_TIER_LARGE ? "large" : "small");
    }
    page_end(c, r);
}

static void list_all(struct call *c, bool channels)
{
    char prefix[ARG_SIZE], cursor[ARG_SIZE];
    struct mp_scan q = {.size = sizeof q, .channels = channels};
    if (!call_text(c, "prefix", prefix, sizeof prefix) || !call_text(c, "cursor", cursor, sizeof cursor) ||
        !page_limit(c, 1000, &q.limit))
        return;
    if (strlen(prefix) > 64 || strlen(cursor) > 64) {
        call_error(c, MP_CODE_BAD_REQUEST, 0, "prefix, cursor: expected 64 bytes at most");
        return;
    }
    q.prefix = mp_str(prefix);
    q.cursor = mp_str(cursor);
    call_began(c, c->mp->scan(c->api->self, &q, c->shard, channels ? channels_known : users_known, c));
}

void list_users(struct call *c)
{
    list_all(c, false);
}

void list_channels(struct call *c)
{
    list_all(c, true);
}
