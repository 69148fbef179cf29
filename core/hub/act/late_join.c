#include "core/hub/act/late_join.h"

#include "core/base/frame.h"
#include "core/base/push.h"
#include "core/hub/people/chan.h"
#include "core/hub/people/user.h"
#include "core/hub/shard/op.h"
#include "core/hub/talk/follow.h"
#include "core/hub/talk/member_news.h"
#include "core/hub/talk/news.h"

#include <stdlib.h>

/* Goes to the channel's owner and back; LATE_JOINED then asks the store for the number of members. */
struct late {
    struct mail mail;
    struct store_conv_load load;
    struct shard *home;
    struct conv_key key;
    enum late_kind kind;
    bool followed;  /* the owner has waited for the bus to follow the channel */
    uint64_t since; /* LATE_KNOWN */
    uint64_t told;  /* the last seq that members here have been given, or are about to be */
    uint8_t id_len;
    char id[64]; /* the user's */
};

/* --- Back on the user's shard ------------------------------------------------------------------------------------- */

/* seq: the newest that is known of. */
static void go(struct shard *s, uint32_t sub, enum late_kind kind, uint64_t since, uint64_t told, uint64_t seq)
{
    const struct sub *b = pool_at(&s->subs, sub);
    uint64_t last = chan_at(s, b->chan)->last_seq;
    told = last > told ? last : told;
    seq = told > seq ? told : seq;
    bool behind = b->push != MODE_NONE && seq && (kind != LATE_KNOWN || told > since);
    sub_go(s, sub, kind != LATE_KNOWN || told > since ? told : since);
    if (behind)
        user_push_behind(s, b->user, b->chan, seq, NONE);
}

static uint32_t user_of(struct shard *s, const struct late *q)
{
    uint32_t user = user_find(s, slice_of(q->id, q->id_len));
    return user != NONE && user_at(s, user)->state == USER_READY ? user : NONE;
}

/* seq: as go() has it. Takes q. */
static void end(struct shard *s, struct late *q, uint32_t user, uint64_t seq)
{
    uint32_t chan = chan_find(s, conv_channel_name(conv_key_slice(&q->key)));
    uint32_t sub = user != NONE && chan != NONE ? sub_find(s, user, chan) : NONE;
    if (sub != NONE && ((struct sub *)pool_at(&s->subs, sub))->held)
        go(s, sub, q->kind, q->since, q->told, seq);
    free(q);
}

static void members_known(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct late *q = OP_END(owner, op, struct late, load.op);
    struct slice channel = conv_channel_name(conv_key_slice(&q->key));
    uint32_t user = user_of(s, q), chan = chan_find(s, channel);
    bool member = user != NONE && chan != NONE && sub_find(s, user, chan) != NONE;
    bool good = op->status == STORE_OK;
    if (user != NONE)
        user_pin(s, user); /* a push may close its last connection */
    if (member)
        member_news_own(s, user, channel, MEMBER_JOINED, good ? q->load.members : 0, NULL);
    end(s, q, user, good ? q->load.seq : 0);
    if (user != NONE)
        user_unpin(s, user);
}

static void come_back(void *home, struct mail *m)
{
    struct shard *s = home;
    struct late *q = (struct late *)m;
    uint32_t user = user_of(s, q);
    if (user == NONE) {
        free(q);
        return;
    }
    if (q->kind == LATE_JOINED) {
        q->load.conv = conv_key_slice(&q->key);
        op_begin(s, &q->load.op, members_known);
        store_conv_load(s->store, &q->load);
        return;
    }
    user_pin(s, user);
    end(s, q, user, 0);
    user_unpin(s, user);
}

/* --- On the channel's owner --------------------------------------------------------------------------------------- */

static void arrive(void *owner, struct mail *m);

/* News begin with what is there now, which is known once this callback has returned. */
static void followed(struct shard *s, void *ctx, enum store_status status)
{
    struct late *q = ctx;
    (void)status; /* where it could not be followed, the bus goes on trying */
    q->followed = true;
    mailbox_post(&s->mailbox, &q->mail);
}

static void arrive(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct late *q = (struct late *)m;
    struct slice key = conv_key_slice(&q->key);
    uint32_t conv = table_find(&s->conv_keys, hash_bytes(key), &key);
    if (conv != NONE && q->kind == LATE_KNOWN)
        news_from(s, conv, q->since + 1); /* where the channel is about to be followed, they begin there */
    else if (conv != NONE && !q->followed && follow_waits(s, conv, followed, q))
        return;
    q->told = conv != NONE ? news_told(conv_at(s, conv), 0) : 0;
    q->mail.run = come_back;
    shard_post(s, q->home, &q->mail);
}

/* --- The beginning ------------------------------------------------------------------------------------------------ */

void late_join(struct shard *s, uint32_t user, uint32_t sub, enum late_kind kind, uint64_t since)
{
    const struct sub *b = pool_at(&s->subs, sub);
    const struct chan *ch = chan_at(s, b->chan);
    struct slice id = user_id(user_at(s, user));
    if (user_at(s, user)->first_conn == NONE)
        return; /* nobody hears it; the next login looks */
    struct late *q = calloc(1, sizeof *q);
    if (!q) {
        go(s, sub, LATE_UNKNOWN, 0, since, since);
        return;
    }
    sub_hold(s, sub);
    q->mail.run = arrive;
    q->home = s;
    q->key = conv_key_channel(chan_name(ch));
    q->kind = kind;
    q->since = since;
    q->id_len = (uint8_t)id.n;
    memcpy(q->id, id.p, id.n);
    shard_post(s, ch->owner, &q->mail);
}
