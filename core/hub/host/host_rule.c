#include "core/hub/host/host_rule.h"

#include "core/base/buf.h"
#include "core/base/container.h"
#include "core/base/utf8.h"
#include "core/hub/host/host_op.h"

#include <stdlib.h>

/* --- The rule of a channel ---------------------------------------------------------------------------------------- */

static void rule_changed(void *owner, struct host_op *op)
{
    struct host_rule *q = CONTAINER_OF(op, struct host_rule, change.op);
    (void)owner;
    if (op->code != CODE_OK && !(q->change.lift && op->code == CODE_NOT_FOUND))
        host_fail(&q->op, op->code, op->message);
    host_end(&q->op);
}

static void rule_run(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct host_rule *q = (struct host_rule *)m;
    static const struct channel_rule none = {.tier = 0};
    const struct channel_rule asked = q->rule;
    bool sane = asked.tier <= TIER_LARGE && asked.push <= MODE_NONE;
    if (!value_channel(q->channel) || !sane)
        host_fail(&q->op, CODE_BAD_REQUEST, "expected a channel's name, a tier and a push mode");
    if (q->op.code != CODE_OK || host_stopping(s, &q->op)) {
        host_end(&q->op);
        return;
    }
    (void)channel_rule_find(s, q->channel, &q->rule);
    if (q->set_tier)
        q->rule.tier = asked.tier;
    if (q->set_push)
        q->rule.push = asked.push;
    if (q->set_limit) {
        q->rule.limited = asked.limited;
        q->rule.limit = asked.limited ? asked.limit : 0;
    }
    if (q->set_closed)
        q->rule.closed = asked.closed;
    if (!q->set_tier && !q->set_push && !q->set_limit && !q->set_closed) {
        host_end(&q->op);
        return;
    }
    channel_rule_pack(&q->rule, q->packed);
    q->change = (struct ban_change){.op = {.home = &s->mailbox, .done = rule_changed},
                                    .kind = CHANNEL_RULE,
                                    .channel = q->channel,
                                    .reason = slice_of(q->packed, sizeof q->packed),
                                    .lift = memcmp(&q->rule, &none, sizeof none) == 0};
    ban_change(s->hub, &q->change);
}

void host_rule(struct hub *hub, struct host_rule *q)
{
    host_begin(hub->shards[0], &q->op, rule_run); /* every shard has all rules */
}

/* --- All bans ----------------------------------------------------------------------------------------------------- */

struct collecting {
    struct host_bans *q;
    struct buf arena;
};

static struct slice keep_at(struct buf *b, struct slice s)
{
    struct slice at = {(const char *)(uintptr_t)b->n, s.n};
    buf_slice_put(b, s);
    return at;
}

static bool collect(void *ctx, const struct ban_snapshot *b)
{
    struct collecting *c = ctx;
    if (b->kind == CHANNEL_RULE)
        return true;
    if (c->q->n == c->q->limit)
        return false;
    struct host_ban *out = &c->q->list[c->q->n++];
    *out = (struct host_ban){.kind = b->kind, .until_ms = b->until_ms};
    out->user = keep_at(&c->arena, b->user);
    out->channel = keep_at(&c->arena, b->channel);
    out->reason = keep_at(&c->arena, b->reason);
    memcpy(out->ip, b->ip, sizeof out->ip);
    return true;
}

static void bans_run(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct host_bans *q = (struct host_bans *)m;
    struct collecting c = {.q = q, .arena = BUF_INIT};
    q->n = 0;
    q->arena = NULL;
    q->next = NONE;
    q->list = q->limit ? calloc(q->limit, sizeof *q->list) : NULL;
    if (q->list)
        q->next = snapshot_bans(s, q->cursor, collect, &c);
    if (!q->list || !buf_ok(&c.arena)) {
        free(q->list);
        buf_free(&c.arena);
        q->list = NULL;
        q->n = 0;
        host_fail(&q->op, CODE_INTERNAL, "out of memory");
    }
    q->arena = c.arena.p;
    for (uint32_t i = 0; i < q->n; i++) {
        struct slice *texts[] = {&q->list[i].user, &q->list[i].channel, &q->list[i].reason};
        for (unsigned t = 0; t < 3; t++)
            texts[t]->p = q->arena + (uintptr_t)texts[t]->p;
    }
    host_end(&q->op);
}

void host_bans(struct hub *hub, struct host_bans *q)
{
    host_begin(hub->shards[0], &q->op, bans_run);
}
