#include "core/hub/people/call.h"

#include "core/base/buf.h"
#include "core/hub/people/grant.h"
#include "core/hub/people/session.h"
#include "core/hub/people/user.h"
#include "core/hub/registry/hook.h"
#include "core/hub/shard/shard.h"

#include <stdarg.h>
#include <stdio.h>

static void answer_now(struct call *c, struct slice body)
{
    session_answer(c->shard, c->conn, c->order, NONE, c->action, c->seq, body);
}

void call_reply(struct call *c, struct slice body)
{
    answer_now(c, body.n ? body : SLICE_LIT("{}"));
}

static void call_error(struct call *c, enum code code, uint32_t retry_after_ms, const char *message)
{
    struct buf *b = &c->shard->scratch;
    buf_reset(b);
    code_encode(b, code, message, code_wait(c->shard, code, retry_after_ms));
    code_count(c->shard, code);
    answer_now(c, code_slice(b));
}

void call_fail(struct call *c, enum code code, const char *fmt, ...)
{
    char text[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    call_error(c, code, 0, text);
}

void call_rate_limited(struct call *c, uint32_t retry_after_ms, const char *message)
{
    call_error(c, CODE_RATE_LIMITED, retry_after_ms, message);
}

void call_reject(struct call *c, const struct hook_call *h)
{
    call_error(c, h->code, h->retry_after_ms, h->message);
}

struct slice call_user_id(const struct call *c)
{
    return user_id(user_at(c->shard, c->user));
}

struct slice call_user_name(const struct call *c)
{
    return user_name(user_at(c->shard, c->user));
}

struct slice call_claims(const struct call *c)
{
    return grant_claims(c->shard, c->conn);
}
