#include "core/hub/act/pending.h"

#include "core/hub/people/ban.h"
#include "core/hub/people/chan.h"
#include "core/hub/people/user.h"

void pending_begin(struct call *c, const struct conv_key *key, struct hook_wait *wait, const struct hook_waiter *waiter,
                   struct slice client_id, uint64_t seq)
{
    struct pending *w = req_begin(c, sizeof *w);
    if (!w) {
        hook_wait_drop(wait);
        return;
    }
    w->key = *key;
    w->seq = seq;
    w->client_id_len = (uint8_t)client_id.n;
    if (client_id.n)
        memcpy(w->client_id, client_id.p, client_id.n);
    req_wait(&w->r);
    hook_wait_for(wait, waiter, w);
}

void pending_refresh(struct hook_call *h, void *pending)
{
    const struct pending *w = pending;
    h->bucket = &user_at(h->shard, w->r.user)->rate;
}

bool pending_here(const struct pending *w, const struct shard *s)
{
    const struct conn *k = conn_find(s->net, w->r.conn, w->r.generation);
    return k && !(k->flags & CONN_F_CLOSING);
}

bool pending_refused(struct pending *w, const struct hook_call *h, enum hook_verdict verdict)
{
    struct shard *s = h->shard;
    bool limited = verdict == HOOK_REJECT && h->code == CODE_RATE_LIMITED && w->client_id_len;
    req_wait_over(&w->r);
    if (!pending_here(w, s)) {
        /* Kicked, banned, or simply gone: nobody was told that it was done, so it was not. */
        req_fail(&w->r, CODE_UNAVAILABLE, "the connection has gone");
    } else if (verdict == HOOK_REJECT && !limited) {
        req_fail(&w->r, h->code, h->message);
        w->r.retry_after_ms = h->retry_after_ms;
    } else if (verdict != HOOK_DROP && ban_muted(s, h->user, h->channel)) {
        req_fail(&w->r, CODE_FORBIDDEN, "you are muted");
    } else {
        return false;
    }
    req_done(s, &w->r);
    return true;
}

bool pending_member(const struct pending *w, const struct shard *s)
{
    struct slice key = conv_key_slice(&w->key);
    if (!conv_is_channel(key))
        return true;
    uint32_t chan = chan_find(s, conv_channel_name(key));
    return chan != NONE && sub_find(s, w->r.user, chan) != NONE;
}
