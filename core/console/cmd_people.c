/* Commands about people: kicks, bans, mutes. */
#include "core/console/console_private.h"
#include "core/console/survey.h"
#include "core/hub/host/ban_change.h"
#include "core/hub/host/host.h"
#include "core/hub/host/snapshot.h"
#include "core/hub/people/ban.h"
#include "core/hub/shard/shards.h"

#include <stdio.h>
#include <stdlib.h>

/* connections: closed all the same, where nodes are silent; negative: it is not about that. */
static void fail_op(struct command_call *c, const struct host_op *op, int64_t connections)
{
    if (op->silent.n && connections >= 0) {
        buf_printf(&c->out, "{\"connections\":%lld", (long long)connections);
        silent_put(&c->out, &op->silent);
        buf_byte(&c->out, '}');
    }
    command_fail(c, code_name(op->code), "%s", op->message);
}

/* --- Kicks -------------------------------------------------------------------------------------------------------- */

struct kick {
    struct host_kick op;
    struct command_call *call;
};

static void kicked(void *owner, struct host_op *op)
{
    struct kick *k = (struct kick *)op;
    struct command_call *c = k->call;
    (void)owner;
    if (op->code == CODE_OK) {
        buf_printf(&c->out, "{\"connections\":%u}", k->op.connections);
        command_done(c);
    } else {
        fail_op(c, op, k->op.connections);
    }
    free(k);
}

/* The word "revoke" before the reason: tokens end too. */
static bool take_revoke(struct slice *reason)
{
    static const char word[] = "revoke";
    size_t n = sizeof word - 1;
    if (reason->n < n || memcmp(reason->p, word, n) != 0 || (reason->n > n && reason->p[n] != ' '))
        return false;
    *reason = reason->n > n ? slice_of(reason->p + n + 1, reason->n - n - 1) : SLICE_NONE;
    return true;
}

static void run_kick_user(struct command_call *c, void *ctx)
{
    (void)ctx;
    struct kick *k = calloc(1, sizeof *k);
    if (!k) {
        command_fail(c, "internal", "out of memory");
        return;
    }
    struct slice reason = c->argc > 1 ? c->argv[1] : SLICE_NONE;
    k->call = c;
    k->op.revoke = take_revoke(&reason);
    k->op.user = c->argv[0];
    k->op.message = reason;
    k->op.op.home = hub_main(c->hub);
    k->op.op.done = kicked;
    host_kick(c->hub, &k->op);
}

struct handle {
    unsigned shard;
    uint32_t conn, generation;
    bool found;
};

static void ignore_conn(void *ctx, const struct snapshot_conn *k)
{
    (void)ctx, (void)k;
}

static void kick_there(struct shard *s, struct command_call *c)
{
    struct handle *h = c->state;
    h->found = snapshot_conn(s, h->conn, h->generation, ignore_conn, NULL);
    if (h->found)
        (void)host_close(s->hub, s, h->shard, h->conn, h->generation, c->argc > 1 ? c->argv[1] : SLICE_NONE);
}

static void kick_back(struct command_call *c)
{
    bool found = ((struct handle *)c->state)->found;
    free(c->state);
    if (found) {
        buf_lit(&c->out, "{\"connections\":1}");
        command_done(c);
    } else {
        command_fail(c, "not_found", "there is no such connection (any more)");
    }
}

static void run_kick_connection(struct command_call *c, void *ctx)
{
    (void)ctx;
    struct handle *h = calloc(1, sizeof *h);
    bool good = h && snapshot_handle_parse(c->argv[0], &h->shard, &h->conn, &h->generation);
    if (good && h->shard < c->hub->shard_count) {
        c->state = h;
        errand_start(c, c->hub->shards[h->shard], kick_there, kick_back);
        return;
    }
    bool memory = h != NULL;
    free(h);
    if (!memory)
        command_fail(c, "internal", "out of memory");
    else if (good)
        command_fail(c, "not_found", "there is no such connection");
    else
        command_fail(c, "bad_request", "expected a connection as `list connections` names it, like 0.12.34");
}

/* --- Bans and mutes ----------------------------------------------------------------------------------------------- */

struct change {
    struct ban_change op;
    struct command_call *call;
};

static void changed(void *owner, struct host_op *op)
{
    struct change *h = (struct change *)op;
    struct command_call *c = h->call;
    (void)owner;
    bool closes = !h->op.lift && (h->op.kind == BAN_USER || h->op.kind == BAN_IP);
    if (op->code != CODE_OK) {
        fail_op(c, op, closes ? (int64_t)h->op.connections : -1);
    } else {
        if (closes)
            buf_printf(&c->out, "{\"connections\":%u}", h->op.connections);
        command_done(c);
    }
    free(h);
}

static void change_start(struct command_call *c, const struct ban_change *what)
{
    struct change *h = calloc(1, sizeof *h);
    if (!h) {
        command_fail(c, "internal", "out of memory");
        return;
    }
    h->op = *what;
    h->call = c;
    h->op.op.home = hub_main(c->hub);
    h->op.op.done = changed;
    ban_change(c->hub, &h->op);
}

/* False: the call has failed. */
static bool take_seconds(struct command_call *c, unsigned i, uint64_t *seconds)
{
    if (c->argc <= i || argument_number(c->argv[i], UINT32_MAX, seconds))
        return true;
    command_fail(c, "bad_request", "expected a number of seconds (0: until it is lifted)");
    return false;
}

static void run_ban(struct command_call *c, void *ctx)
{
    struct ban_change q = {.kind = *(const enum ban_kind *)ctx, .reason = c->argc > 2 ? c->argv[2] : SLICE_NONE};
    if (!take_seconds(c, 1, &q.seconds))
        return;
    *(q.kind == BAN_IP ? &q.ip : &q.user) = c->argv[0];
    change_start(c, &q);
}

static void run_unban(struct command_call *c, void *ctx)
{
    struct ban_change q = {.kind = *(const enum ban_kind *)ctx, .lift = true};
    *(q.kind == BAN_IP ? &q.ip : &q.user) = c->argv[0];
    change_start(c, &q);
}

static void run_mute(struct command_call *c, void *ctx)
{
    (void)ctx;
    struct ban_change q = {.kind = MUTE_USER, .user = c->argv[0]};
    uint64_t seconds;
    /* One argument more: a number is a time, anything else a channel. */
    bool channel = c->argc > 2 || (c->argc == 2 && !argument_number(c->argv[1], UINT32_MAX, &seconds));
    if (channel) {
        q.kind = MUTE_MEMBER;
        q.channel = c->argv[1];
    }
    if (take_seconds(c, channel ? 2 : 1, &q.seconds))
        change_start(c, &q);
}

static void run_unmute(struct command_call *c, void *ctx)
{
    (void)ctx;
    struct ban_change q = {.kind = MUTE_USER, .user = c->argv[0], .lift = true};
    if (c->argc > 1) {
        q.kind = MUTE_MEMBER;
        q.channel = c->argv[1];
    }
    change_start(c, &q);
}

/* --- list bans ---------------------------------------------------------------------------------------------------- */

static void put_text(struct buf *b, const char *key, struct slice s)
{
    buf_printf(b, ",\"%s\":", key);
    if (s.n)
        buf_json_string(b, s);
    else
        buf_lit(b, "null");
}

static bool ban_row(void *ctx, const struct ban_snapshot *l)
{
    struct survey *v = ctx;
    struct slice ip = slice_str(l->ip);
    const struct slice texts[] = {l->user, l->channel, ip, slice_str(ban_kind_name(l->kind))};
    if (l->kind == CHANNEL_RULE || !survey_wants(v, texts, 4))
        return true;
    if (!survey_row(v))
        return false;
    buf_printf(&v->rows, "{\"kind\":\"%s\"", ban_kind_name(l->kind));
    put_text(&v->rows, "user", l->user);
    put_text(&v->rows, "channel", l->channel);
    put_text(&v->rows, "ip", ip);
    if (l->until_ms == BAN_FOREVER)
        buf_lit(&v->rows, ",\"until\":null");
    else
        buf_printf(&v->rows, ",\"until\":%llu", (unsigned long long)l->until_ms);
    put_text(&v->rows, "reason", l->reason);
    buf_byte(&v->rows, '}');
    return true;
}

/* Every shard has them all: the first one tells. */
static uint32_t visit_bans(struct shard *s, struct survey *v)
{
    return s->index == 0 ? snapshot_bans(s, v->at, ban_row, v) : NONE;
}

static void run_list_bans(struct command_call *c, void *ctx)
{
    struct survey_page page;
    (void)ctx;
    if (survey_arguments(c, 0, &page))
        survey_start(c, visit_bans, &page);
}

static const enum ban_kind kind_user = BAN_USER, kind_ip = BAN_IP;

int cmd_people_register(struct console *c)
{
#define CHANGES(n) .changes = true, .shown = n
#define KIND(k)    .ctx = (void *)(uintptr_t) & (k)
    const struct command list[] = {
        {.name = "kick user",
         .args = "ID [revoke] [REASON]",
         .help = "close a user's connections; revoke: its tokens end too",
         .min = 1,
         .max = 2,
         .text = true,
         CHANGES(1),
         .run = run_kick_user},
        {.name = "kick connection",
         .args = "CONNECTION [REASON]",
         .help = "close one connection",
         .min = 1,
         .max = 2,
         .text = true,
         CHANGES(1),
         .run = run_kick_connection},
        {.name = "ban user",
         .args = "ID [SECONDS] [REASON]",
         .help = "close a user's connections, end its tokens, refuse its logins",
         .min = 1,
         .max = 3,
         .text = true,
         CHANGES(2),
         .run = run_ban,
         KIND(kind_user)},
        {.name = "ban ip",
         .args = "ADDRESS[/BITS] [SECONDS] [REASON]",
         .help = "close and refuse connections from there",
         .min = 1,
         .max = 3,
         .text = true,
         CHANGES(2),
         .run = run_ban,
         KIND(kind_ip)},
        {.name = "unban user",
         .args = "ID",
         .help = "lift a ban",
         .min = 1,
         .max = 1,
         CHANGES(1),
         .run = run_unban,
         KIND(kind_user)},
        {.name = "unban ip",
         .args = "ADDRESS[/BITS]",
         .help = "lift a ban",
         .min = 1,
         .max = 1,
         CHANGES(1),
         .run = run_unban,
         KIND(kind_ip)},
        {.name = "mute user",
         .args = "ID [CHANNEL] [SECONDS]",
         .help = "refuse a user's messages, in one channel or everywhere",
         .min = 1,
         .max = 3,
         CHANGES(3),
         .run = run_mute},
        {.name = "unmute user",
         .args = "ID [CHANNEL]",
         .help = "lift a mute",
         .min = 1,
         .max = 2,
         CHANGES(2),
         .run = run_unmute},
        {.name = "list bans",
         .args = "[FILTER] [limit N] [skip N]",
         .help = "bans and mutes in force",
         .max = 5,
         .run = run_list_bans},
    };
    return commands_register(c->hub, list, sizeof list / sizeof list[0]);
}
