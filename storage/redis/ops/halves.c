/* The second halves of private messages: see halves.h. */
#include "storage/redis/ops/halves.h"

#include "storage/redis/bus/tell.h"
#include "storage/redis/ops/settle.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/task.h"

/* --- What the users' other nodes are told ------------------------------------------------------------------------- */

/* in: the nodes, as a reply ends. */
static void half_tell(struct redis *r, struct halves *h, bool receiver, struct reply_in *in)
{
    const struct store_append *a = h->message;
    struct bus_news n = {.kind = NEWS_NUDGE, .conv = conv_key_slice(&h->conv), .seq = h->seq};
    struct slice users[2];
    conv_pair_users(n.conv, &users[0], &users[1]);
    n.user = users[receiver != h->from_high];
    n.arrival = receiver ? h->arrival : 0;
    if (a) {
        n.kind = NEWS_MESSAGE;
        n.id = h->id;
        n.time = a->created_ms;
        n.tier = TIER_DM;
        n.sender = a->sender;
        n.name = a->sender_name;
        n.content = a->content;
        n.advice = a->advice;
    }
    tell_sessions(r, h->task, &n, in);
}

/* What a half replied: N sessions of `sent`; N or D, place, arrivals, sessions of `inbox_put`. What is in the inbox no
 * more need not be told. */
static enum store_status half_read(struct redis *r, struct halves *h, bool receiver, const struct reply *reply)
{
    struct reply_in in = reply_in(reply);
    uint8_t code = reply_u8(&in);
    if (code == 'X')
        return STORE_OK;
    if (receiver) {
        h->arrival = reply_u48(&in);
        (void)reply_u48(&in);
    }
    if (!reply_ok(&in) || (code != 'N' && code != 'D'))
        return STORE_FATAL;
    if (!receiver || h->arrival)
        half_tell(r, h, receiver, &in);
    return STORE_OK;
}

/* --- The halves --------------------------------------------------------------------------------------------------- */

/* X: the user was deleted meanwhile. There is nothing to be done for it, then. */
static void half_done(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct halves *h = c->ctx;
    if (status == STORE_OK)
        status = half_read(r, h, c == &h->put, reply);
    if (h->status == STORE_OK || status == STORE_FATAL)
        h->status = status;
    if (--h->left)
        return;
    if (h->status == STORE_OK) {
        char field[9] = {'p'};
        store_be64(field + 1, h->id);
        settle_later(r, h->part, slice_of(field, sizeof field), 0);
    }
    h->done(r, h, h->status);
}

static void half_begin(struct redis *r, struct halves *h, struct call *c, enum fn fn, struct slice user)
{
    call_begin(r, c, fn, partition_of_user(user));
    c->about = task_about(user);
    c->done = half_done;
    c->ctx = h;
    h->left++;
    for (const char *kind = fn == FN_SENT ? "upr" : "uiIpr"; *kind; kind++)
        call_key(r, c, *kind, user);
    if (tell_is_wanted(r))
        call_key(r, c, 'S', user);
}

void halves_run(struct redis *r, struct halves *h, uint64_t id, const struct layout_intent *intent)
{
    char raw[8], packed[28];
    store_be64(raw, id);
    h->id = id;
    h->seq = intent->seq;
    h->arrival = 0;
    h->conv = conv_key_pair(intent->sender, intent->receiver);
    h->from_high = slice_cmp(intent->sender, intent->receiver) > 0;
    h->part = partition_of(intent->conv);
    h->left = 0;
    h->status = STORE_OK;
    if (intent->k) {
        layout_put48(packed, intent->seq);
        layout_put48(packed + 6, intent->k);
        layout_put48(packed + 12, intent->birth_ms);
        layout_put48(packed + 18, intent->ttl_ms);
        store_be32(packed + 24, r->options.inbox_max);
        half_begin(r, h, &h->put, FN_INBOX_PUT, intent->receiver);
        call_arg(&h->put, slice_of(packed, sizeof packed));
        call_arg(&h->put, slice_of(raw, sizeof raw));
        call_arg(&h->put, intent->sender);
        call_post(r, &h->put);
    }
    half_begin(r, h, &h->sent, FN_SENT, intent->sender);
    call_arg_u64(&h->sent, intent->seq);
    call_arg(&h->sent, slice_of(raw, sizeof raw));
    call_arg(&h->sent, intent->receiver);
    call_post(r, &h->sent);
}
