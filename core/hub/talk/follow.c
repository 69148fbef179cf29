#include "core/hub/talk/follow.h"

#include "core/hub/shard/op.h"
#include "core/hub/talk/news.h"
#include "storage/bus.h"

#include <stdlib.h>

struct follow {
    struct bus_follow op;
    uint32_t conv; /* pinned */
    void (*then)(struct shard *s, void *ctx, enum store_status status);
    void *ctx; /* of then */
};

static void followed(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct follow *f = OP_END(owner, op, struct follow, op.op);
    struct conv *v = conv_at(s, f->conv);
    if (op->status == STORE_OK) {
        v->followed = true;
        conv_followed(s, f->conv, &f->op);
    }
    f->then(s, f->ctx, op->status); /* who waits is a member by the time that the first message is given */
    news_followed(s, f->conv, op->status == STORE_OK ? &f->op : NULL);
    conv_at(s, f->conv)->pins--;
    free(f);
}

void follow_begin(struct shard *s, uint32_t conv, void (*then)(struct shard *s, void *ctx, enum store_status status),
                  void *ctx)
{
    struct follow *f = malloc(sizeof *f);
    if (!f || !news_follow(s, conv)) {
        free(f);
        then(s, ctx, STORE_FATAL);
        return;
    }
    struct conv *v = conv_at(s, conv);
    *f = (struct follow){.op = {.conv = conv_slice(v)}, .conv = conv, .then = then, .ctx = ctx};
    v->pins++;
    v->following = true;
    op_begin(s, &f->op.op, followed);
    bus_follow(s->bus, &f->op);
}

struct unfollow {
    struct bus_unfollow op;
    char key[]; /* the conversation is gone by the time */
};

static void unfollowed(void *owner, struct store_op *op)
{
    free(OP_END(owner, op, struct unfollow, op.op));
}

bool follow_end(struct shard *s, uint32_t conv)
{
    const struct conv *v = conv_at(s, conv);
    if (!v->following)
        return true;
    struct unfollow *u = malloc(sizeof *u + v->key_len);
    if (!u)
        return false;
    memcpy(u->key, v->key, v->key_len);
    u->op = (struct bus_unfollow){.conv = slice_of(u->key, v->key_len)};
    op_begin(s, &u->op.op, unfollowed);
    bus_unfollow(s->bus, &u->op);
    return true;
}
