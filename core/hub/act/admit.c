#include "core/hub/act/admit.h"

#include "core/hub/act/login.h"
#include "core/hub/people/session.h"
#include "core/hub/registry/hook_wait.h"

static void login_resume(struct hook_call *h, enum hook_verdict verdict, void *ctx)
{
    struct login *l = ctx;
    struct session *x = conn_at(h->shard->net, l->conn)->session; /* there, or login_abandon() had ended the wait */
    x->login = NULL;
    l->wait = NULL;
    if (verdict == HOOK_REJECT)
        login_refuse(l, h->code, h->retry_after_ms, h->message);
    else
        login_go(l);
}

static void admit_later(struct login *l, struct hook_wait *wait)
{
    static const struct hook_waiter waiter = {.resume = login_resume};
    struct session *x = session_get(l->shard, l->conn);
    if (!x) {
        hook_wait_drop(wait);
        login_refuse(l, CODE_INTERNAL, 0, "out of memory");
        return;
    }
    x->login = l;
    l->wait = wait;
    hook_wait_for(wait, &waiter, l);
}

void login_admit(struct login *l)
{
    struct shard *s = l->shard;
    char ip[64] = "";
    if (!hooks_any(s, HOOK_LOGIN)) {
        login_go(l);
        return;
    }
    conn_peer(s->net, l->conn, ip, sizeof ip);
    struct hook_call h = {.shard = s,
                          .conn = l->conn,
                          .may_wait = true,
                          .user = login_id(l),
                          .user_name = login_name(l),
                          .claims = slice_str(l->claims),
                          .token = slice_str(l->token),
                          .device = slice_of(l->device, l->device_len),
                          .ip = slice_str(ip),
                          .websocket = conn_at(s->net, l->conn)->transport == CONN_WEBSOCKET,
                          .secure = conn_is_secure(conn_at(s->net, l->conn))};
    enum hook_verdict verdict = hooks_run(HOOK_LOGIN, &h);
    if (verdict == HOOK_LATER)
        admit_later(l, h.wait);
    else if (verdict == HOOK_REJECT)
        login_refuse(l, h.code, h.retry_after_ms, h.message);
    else
        login_go(l);
}
