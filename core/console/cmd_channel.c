/* channel NAME …: what an operator does with one channel. */
#include "core/base/utf8.h"
#include "core/console/console_private.h"
#include "core/console/survey.h"
#include "core/hub/host/ban_change.h"
#include "core/hub/host/host.h"
#include "core/hub/host/host_delete.h"
#include "core/hub/host/host_member.h"
#include "core/hub/host/snapshot.h"
#include "core/hub/people/ban.h"
#include "core/hub/shard/shards.h"

#include <stdlib.h>

static void out_of_memory(struct command_call *c)
{
    command_fail(c, "internal", "out of memory");
}

/* --- Its rule: tier, push, limit, closed -------------------------------------------------------------------------- */

static const char *const tiers[] = {"auto", "small", "large"};
static const char *const pushes[] = {"auto", "all", "merged", "none"};

struct rule_change {
    struct ban_change op;
    struct command_call *call;
    struct channel_rule rule; /* as it is, then as it shall be */
    char packed[CHANNEL_RULE_SIZE];
    void (*then)(struct command_call *c);
};

static void rule_answer(struct command_call *c, const struct channel_rule *r)
{
    buf_lit(&c->out, "{\"channel\":");
    buf_json_string(&c->out, c->argv[0]);
    buf_printf(&c->out, ",\"tier\":\"%s\",\"push\":\"%s\",\"limit\":", tiers[r->tier], pushes[r->push]);
    if (r->limited)
        buf_printf(&c->out, "%u", r->limit);
    else
        buf_lit(&c->out, "\"auto\"");
    buf_printf(&c->out, ",\"closed\":%s}", r->closed ? "true" : "false");
}

static void rule_changed(void *owner, struct host_op *op)
{
    struct rule_change *r = (struct rule_change *)op;
    struct command_call *c = r->call;
    (void)owner;
    void (*then)(struct command_call *) = r->then;
    bool good = op->code == CODE_OK || (r->op.lift && op->code == CODE_NOT_FOUND);
    if (!good)
        command_fail(c, code_name(op->code), "%s", op->message);
    else if (!then)
        rule_answer(c, &r->rule);
    free(r);
    c->state = NULL;
    if (good && then)
        then(c);
    else if (good)
        command_done(c);
}

static void rule_there(struct shard *s, struct command_call *c)
{
    struct rule_change *r = c->state;
    (void)channel_rule_find(s, c->argv[0], &r->rule);
}

static void rule_put(struct command_call *c)
{
    struct rule_change *r = c->state;
    static const struct channel_rule none = {.tier = 0};
    r->call = c;
    r->op = (struct ban_change){
        .kind = CHANNEL_RULE, .channel = c->argv[0], .lift = memcmp(&r->rule, &none, sizeof none) == 0};
    channel_rule_pack(&r->rule, r->packed);
    r->op.reason = slice_of(r->packed, sizeof r->packed);
    r->op.op.home = hub_main(c->hub);
    r->op.op.done = rule_changed;
    ban_change(c->hub, &r->op);
}

static bool take_choice(struct slice word, const char *const *names, unsigned n, uint8_t *out)
{
    for (unsigned i = 0; i < n; i++)
        if (slice_eq(word, slice_str(names[i]))) {
            *out = (uint8_t)i;
            return true;
        }
    return false;
}

/* Changes the rule by the command's words. NULL, or what is wrong. */
static const char *rule_edit(struct channel_rule *r, struct slice what, struct slice value)
{
    uint64_t limit;
    if (slice_eq(what, SLICE_LIT("tier")))
        return take_choice(value, tiers, 3, &r->tier) ? NULL : "expected small, large or auto";
    if (slice_eq(what, SLICE_LIT("push")))
        return take_choice(value, pushes, 4, &r->push) ? NULL : "expected all, merged, none or auto";
    r->limited = !slice_eq(value, SLICE_LIT("auto"));
    if (r->limited && !argument_number(value, 1000000, &limit))
        return "expected messages a second (0: no limit), or auto";
    r->limit = r->limited ? (uint32_t)limit : 0;
    return NULL;
}

/* The rule as it is has come. */
static void rule_back(struct command_call *c)
{
    struct rule_change *r = c->state;
    if (c->argc > 2) {
        const char *why = rule_edit(&r->rule, c->argv[1], c->argv[2]);
        if (!why) {
            rule_put(c);
            return;
        }
        command_fail(c, "bad_request", "%s", why);
    } else {
        rule_answer(c, &r->rule);
        command_done(c);
    }
    free(r);
}

static void run_rule(struct command_call *c)
{
    struct rule_change *r = calloc(1, sizeof *r);
    if (!r) {
        out_of_memory(c);
        return;
    }
    c->state = r;
    errand_start(c, c->hub->shards[0], rule_there, rule_back);
}

/* --- Members ------------------------------------------------------------------------------------------------------ */

enum { MEMBERS_PAGE = 500 };

/* A walk over a channel's members by pages of the store. */
struct members {
    struct store_members op;
    struct command_call *call;
    struct conv_key key;
    char cursor[64];
    bool end;                 /* for `close`: they are ended */
    uint32_t next;            /* … the next one of the page */
    uint64_t ended;           /* … so many */
    struct host_member leave; /* … the one under way */
};

static void members_ask(struct members *m);

static void page_free(struct members *m)
{
    free(m->op.people);
    free(m->op.arena);
    m->op.people = NULL;
    m->op.arena = NULL;
    m->op.n = 0;
}

static void members_end(struct members *m)
{
    struct command_call *c = m->call;
    if (m->end)
        buf_printf(&c->out, "{\"members\":%llu}", (unsigned long long)m->ended);
    page_free(m);
    free(m);
    command_done(c);
}

static void members_resume(struct command_call *c)
{
    struct members *m = c->state;
    if (c->gone)
        members_end(m);
    else
        members_ask(m);
}

static void members_rows(struct members *m)
{
    struct command_call *c = m->call;
    for (uint32_t i = 0; i < m->op.n; i++) {
        buf_str(&c->out, i ? ",{\"user\":" : "{\"user\":");
        buf_json_string(&c->out, m->op.people[i].id);
        buf_lit(&c->out, ",\"name\":");
        buf_json_string(&c->out, m->op.people[i].name);
        buf_byte(&c->out, '}');
    }
    if (m->op.more)
        command_more(c, members_resume);
    else
        members_end(m);
}

static void member_left(void *owner, struct host_op *op);

/* Ends the next membership of the page; then the next page comes. */
static void members_leave(struct members *m)
{
    if (m->next == m->op.n) {
        if (m->op.more && m->op.n)
            members_ask(m);
        else
            members_end(m);
        return;
    }
    m->leave = (struct host_member){.user = m->op.people[m->next++].id,
                                    .channel = m->call->argv[0],
                                    .leave = true,
                                    .change = MEMBER_CLOSED,
                                    .op = {.home = hub_main(m->call->hub), .done = member_left}};
    host_member(m->call->hub, &m->leave);
}

static void member_left(void *owner, struct host_op *op)
{
    struct members *m = (struct members *)((char *)op - offsetof(struct members, leave.op));
    (void)owner;
    m->ended += op->code == CODE_OK && m->leave.existed;
    members_leave(m);
}

static void members_read(void *owner, struct store_op *op)
{
    struct members *m = (struct members *)op;
    struct command_call *c = m->call;
    (void)owner;
    if (op->status != STORE_OK) {
        enum store_status status = op->status;
        if (status == STORE_NOTFOUND && m->end) { /* closed before it was ever made */
            members_end(m);
            return;
        }
        page_free(m);
        free(m);
        if (status == STORE_NOTFOUND)
            command_fail(c, "not_found", "there is no such channel");
        else
            command_fail(c, "unavailable", "the store cannot be read now");
        return;
    }
    if (m->op.n) {
        struct slice last = m->op.people[m->op.n - 1].id;
        memcpy(m->cursor, last.p, last.n);
        m->op.cursor = slice_of(m->cursor, last.n);
    }
    m->next = 0;
    if (m->end)
        members_leave(m);
    else
        members_rows(m);
}

static void members_ask(struct members *m)
{
    page_free(m);
    store_members(hub_store(m->call->hub), &m->op);
}

static void members_start(struct command_call *c, bool end)
{
    struct members *m = calloc(1, sizeof *m);
    if (!m) {
        out_of_memory(c);
        return;
    }
    c->state = m;
    c->rows = !end;
    m->call = c;
    m->end = end;
    m->key = conv_key_channel(c->argv[0]);
    m->op.conv = conv_key_slice(&m->key);
    m->op.limit = MEMBERS_PAGE;
    m->op.op.home = hub_main(c->hub);
    m->op.op.done = members_read;
    members_ask(m);
}

static void run_members(struct command_call *c)
{
    members_start(c, false);
}

/* --- close, open -------------------------------------------------------------------------------------------------- */

static void close_members(struct command_call *c)
{
    members_start(c, true);
}

static void close_back(struct command_call *c)
{
    struct rule_change *r = c->state;
    r->rule.closed = slice_eq(c->argv[1], SLICE_LIT("close"));
    r->then = r->rule.closed ? close_members : NULL;
    rule_put(c);
}

static void run_close(struct command_call *c)
{
    struct rule_change *r = calloc(1, sizeof *r);
    if (!r) {
        out_of_memory(c);
        return;
    }
    c->state = r;
    errand_start(c, c->hub->shards[0], rule_there, close_back);
}

/* --- kick, ban, unban --------------------------------------------------------------------------------------------- */

struct leave {
    struct host_member op;
    struct command_call *call;
};

static void leave_done(void *owner, struct host_op *op)
{
    struct leave *l = (struct leave *)op;
    struct command_call *c = l->call;
    (void)owner;
    if (op->code != CODE_OK) {
        command_fail(c, code_name(op->code), "%s", op->message);
    } else if (!l->op.existed) {
        command_fail(c, "not_found", "that user is no member of the channel");
    } else {
        buf_printf(&c->out, "{\"members\":%u", l->op.members);
        silent_put(&c->out, &op->silent);
        buf_byte(&c->out, '}');
        command_done(c);
    }
    free(l);
}

static void run_kick(struct command_call *c)
{
    struct leave *l = calloc(1, sizeof *l);
    if (!l) {
        out_of_memory(c);
        return;
    }
    l->call = c;
    l->op = (struct host_member){.user = c->argv[2],
                                 .channel = c->argv[0],
                                 .leave = true,
                                 .change = MEMBER_KICKED,
                                 .op = {.home = hub_main(c->hub), .done = leave_done}};
    host_member(c->hub, &l->op);
}

struct ban {
    struct ban_change op;
    struct command_call *call;
};

static void ban_done(void *owner, struct host_op *op)
{
    struct ban *b = (struct ban *)op;
    struct command_call *c = b->call;
    (void)owner;
    if (op->code != CODE_OK) {
        command_fail(c, code_name(op->code), "%s", op->message);
    } else {
        if (!b->op.lift) {
            buf_printf(&c->out, "{\"member\":%s", b->op.ended ? "true" : "false");
            silent_put(&c->out, &op->silent);
            buf_byte(&c->out, '}');
        }
        command_done(c);
    }
    free(b);
}

static void run_ban(struct command_call *c)
{
    uint64_t seconds = 0;
    bool lift = slice_eq(c->argv[1], SLICE_LIT("unban"));
    if (c->argc > 3 && (lift || !argument_number(c->argv[3], UINT32_MAX, &seconds))) {
        command_fail(c, "bad_request", "expected a number of seconds (0: until it is lifted)");
        return;
    }
    struct ban *b = calloc(1, sizeof *b);
    if (!b) {
        out_of_memory(c);
        return;
    }
    b->call = c;
    b->op = (struct ban_change){
        .kind = BAN_MEMBER, .user = c->argv[2], .channel = c->argv[0], .seconds = seconds, .lift = lift};
    b->op.op.home = hub_main(c->hub);
    b->op.op.done = ban_done;
    ban_change(c->hub, &b->op);
}

/* --- delete ------------------------------------------------------------------------------------------------------- */

struct removal {
    struct host_channel_delete op;
    struct command_call *call;
};

static void removed(void *owner, struct host_op *op)
{
    struct removal *r = (struct removal *)op;
    struct command_call *c = r->call;
    (void)owner;
    if (op->code == CODE_OK) {
        buf_printf(&c->out, "{\"members\":%u}", r->op.members);
        command_done(c);
    } else {
        command_fail(c, code_name(op->code), "%s", op->message);
    }
    free(r);
}

static void run_delete(struct command_call *c)
{
    struct removal *r = calloc(1, sizeof *r);
    if (!r) {
        out_of_memory(c);
        return;
    }
    r->call = c;
    r->op = (struct host_channel_delete){.channel = c->argv[0], .op = {.home = hub_main(c->hub), .done = removed}};
    host_channel_delete(c->hub, &r->op);
}

/* --- The words ---------------------------------------------------------------------------------------------------- */

static const struct verb {
    const char *name;
    unsigned min, max; /* arguments, with the channel and the verb */
    void (*run)(struct command_call *c);
} verbs[] = {
    {"tier", 2, 3, run_rule},  {"push", 2, 3, run_rule},     {"limit", 2, 3, run_rule}, {"members", 2, 2, run_members},
    {"kick", 3, 3, run_kick},  {"ban", 3, 4, run_ban},       {"unban", 3, 3, run_ban},  {"close", 2, 2, run_close},
    {"open", 2, 2, run_close}, {"delete", 2, 2, run_delete},
};

static void run_channel(struct command_call *c, void *ctx)
{
    (void)ctx;
    if (!value_channel(c->argv[0])) {
        command_fail(c, "bad_request", "expected a channel's name: 1 to 64 bytes without leading or trailing blanks");
        return;
    }
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (!slice_eq(c->argv[1], slice_str(verbs[i].name)))
            continue;
        if (c->argc >= verbs[i].min && c->argc <= verbs[i].max)
            verbs[i].run(c);
        else
            break;
        return;
    }
    command_fail(c, "bad_request", "usage: channel %s", c->command.args);
}

int cmd_channel_register(struct console *c)
{
    const struct command list[] = {
        {.name = "channel",
         .args = "NAME members|tier [T]|push [P]|limit [N]|kick USER|ban USER [SECONDS]|unban USER|close|open|delete",
         .help =
             "one channel: who is in it, its own tier (small, large, auto), push mode (all, merged, none, auto) and "
             "messages a second; take "
             "somebody out, or all for good; delete: with its messages",
         .min = 2,
         .max = 4,
         .changes = true,
         .shown = 4,
         .run = run_channel},
    };
    return commands_register(c->hub, list, sizeof list / sizeof list[0]);
}
