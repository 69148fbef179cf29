#include "core/hub/host/host_delete.h"

#include "core/base/utf8.h"
#include "core/hub/host/deletion.h"
#include "core/hub/host/host_op.h"
#include "core/hub/shard/op.h"

#include <stdlib.h>

enum { FOUND_PAGE = 64 }; /* deletions of the last run that are read at a time */

/* --- Operations --------------------------------------------------------------------------------------------------- */

/* Begins it, or waits for the one that is under way. */
static void deletion_ask(struct shard *s, struct host_op *op, bool channel, struct slice id, bool recall)
{
    struct deletion *d = deletion_find(s, channel, id), *new = d ? NULL : deletion_new(s, channel, id);
    d = d ? d : new;
    if (!d || (recall && !new && !d->recall && d->step == STEP_END)) {
        host_fail(op, d ? CODE_UNAVAILABLE : CODE_INTERNAL, d ? "it is being deleted already" : "out of memory");
        host_end(op);
        return;
    }
    d->recall = d->recall || recall;
    op->mail.next = d->askers;
    d->askers = &op->mail;
    if (new)
        deletion_wake(new);
}

static void user_delete_run(void *owner, struct mail *m)
{
    struct host_user_delete *q = (struct host_user_delete *)m;
    q->connections = q->channels = 0;
    q->messages = 0;
    if (!value_user_id(q->user))
        host_fail(&q->op, CODE_NOT_FOUND, "no such user");
    if (q->op.code != CODE_OK || host_stopping(owner, &q->op))
        host_end(&q->op);
    else
        deletion_ask(owner, &q->op, false, q->user, q->recall);
}

void host_user_delete(struct hub *hub, struct host_user_delete *q)
{
    host_begin(shard_of(hub, q->user), &q->op, user_delete_run);
}

static void channel_delete_run(void *owner, struct mail *m)
{
    struct host_channel_delete *q = (struct host_channel_delete *)m;
    q->members = 0;
    if (!value_channel(q->channel))
        host_fail(&q->op, CODE_NOT_FOUND, "no such channel");
    if (q->op.code != CODE_OK || host_stopping(owner, &q->op))
        host_end(&q->op);
    else
        deletion_ask(owner, &q->op, true, q->channel, false);
}

void host_channel_delete(struct hub *hub, struct host_channel_delete *q)
{
    struct conv_key key = {.n = 0};
    if (value_channel(q->channel))
        key = conv_key_channel(q->channel);
    host_begin(shard_of(hub, conv_key_slice(&key)), &q->op, channel_delete_run);
}

/* --- What the last run has left ----------------------------------------------------------------------------------- */

struct finding {
    struct store_scan op;
    char cursor[64];
};

struct found {
    struct mail mail; /* to the owner */
    bool channel;
    uint8_t id_n;
    char id[64];
};

static void found_arrive(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct found *f = CONTAINER_OF(m, struct found, mail);
    struct slice id = slice_of(f->id, f->id_n);
    struct deletion *d = s->net && !deletion_find(s, f->channel, id) ? deletion_new(s, f->channel, id) : NULL;
    free(f);
    if (d)
        deletion_wake(d);
}

static void found_send(struct shard *s, bool channel, struct slice id)
{
    struct found *f = calloc(1, sizeof *f);
    if (!f)
        return; /* the next start finds it */
    struct conv_key key = {.n = 0};
    if (channel)
        key = conv_key_channel(id);
    f->mail.run = found_arrive;
    f->channel = channel;
    f->id_n = (uint8_t)id.n;
    memcpy(f->id, id.p, id.n);
    shard_post(s, shard_of(s->hub, channel ? conv_key_slice(&key) : id), &f->mail);
}

static void found_read(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct finding *f = OP_END(owner, op, struct finding, op.op);
    bool channel = f->op.what == STORE_SCAN_GOING_CHANNELS;
    for (uint32_t i = 0; i < f->op.n; i++)
        found_send(s, channel, f->op.list[i].id);
    free(f->op.list);
    free(f->op.arena);
    if (op->status != STORE_OK) {
        s->deletions_found = false; /* at the next tick again */
    } else if (f->op.more || !channel) {
        f->op.cursor = SLICE_NONE;
        if (f->op.more) {
            memcpy(f->cursor, f->op.next, f->op.next_n);
            f->op.cursor = slice_of(f->cursor, f->op.next_n);
        } else {
            f->op.what = STORE_SCAN_GOING_CHANNELS;
        }
        op_begin(s, &f->op.op, found_read);
        store_scan(s->store, &f->op);
        return;
    }
    free(f);
}

static void find_left(struct shard *s)
{
    struct finding *f = s->draining ? NULL : calloc(1, sizeof *f);
    if (!f)
        return;
    s->deletions_found = true;
    f->op = (struct store_scan){.what = STORE_SCAN_GOING_USERS, .limit = FOUND_PAGE};
    op_begin(s, &f->op.op, found_read);
    store_scan(s->store, &f->op);
}

void deletions_tick(struct shard *s)
{
    struct deletion *next;
    if (s->index == 0 && !s->deletions_found)
        find_left(s);
    for (struct deletion *d = s->deletions; d; d = next) {
        next = d->next;
        if (d->asleep && (d->wake_ms <= s->now_ms || s->draining))
            deletion_wake(d);
    }
}

void deletions_drop(struct shard *s)
{
    struct deletion *next;
    for (struct deletion *d = s->deletions; d; d = next) {
        next = d->next;
        if (d->asleep)
            deletion_wake(d); /* it finds the shard at its end */
    }
}

void deletions_free(struct shard *s)
{
    struct deletion *next;
    for (struct deletion *d = s->deletions; d; d = next) {
        next = d->next;
        free(d->some);
        free(d);
    }
    s->deletions = NULL;
}
