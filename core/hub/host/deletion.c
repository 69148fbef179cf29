#include "core/hub/host/deletion.h"

#include "core/base/container.h"
#include "core/base/log.h"
#include "core/hub/host/deletion_steps.h"
#include "core/hub/host/host_delete.h"
#include "core/hub/host/host_op.h"

#include <stdlib.h>

enum { AGAIN_MS = 1000 }; /* after a failure */

static void deletion_step(struct deletion *d);

/* --- Its end ------------------------------------------------------------------------------------------------------ */

static void asker_end(struct deletion *d, struct host_op *op, enum code code, const char *message)
{
    if (d->channel) {
        ((struct host_channel_delete *)op)->members = d->members;
    } else {
        struct host_user_delete *q = (struct host_user_delete *)op;
        q->connections = d->connections;
        q->channels = d->members;
        q->messages = d->messages;
    }
    if (code != CODE_OK)
        host_fail(op, code, message);
    host_end(op);
}

void deletion_end(struct deletion *d, enum code code, const char *message)
{
    struct deletion **at = &d->shard->deletions;
    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    deletion_free_user(d);
    for (struct mail *m = d->askers, *next; m; m = next) {
        next = m->next;
        asker_end(d, (struct host_op *)m, code, message);
    }
    free(d->some);
    free(d);
}

void deletion_sleep(struct deletion *d, uint64_t ms)
{
    d->asleep = true;
    d->wake_ms = d->shard->now_ms + ms;
}

void deletion_again(struct deletion *d)
{
    log_event(LOG_WARN, "deletion.delayed", LOG_STR("of", d->channel ? "channel" : "user"), LOG_INT("step", d->step));
    deletion_sleep(d, AGAIN_MS);
}

void deletion_next(struct deletion *d, enum deletion_step step)
{
    d->step = step;
    deletion_step(d);
}

static void woken(void *owner, struct mail *m)
{
    struct deletion *d = CONTAINER_OF(m, struct deletion, mail);
    (void)owner;
    deletion_step(d);
}

void deletion_yield(struct deletion *d)
{
    d->mail.run = woken;
    mailbox_post(&d->shard->mailbox, &d->mail);
}

/* --- The steps ---------------------------------------------------------------------------------------------------- */

/* By step: of a user, of a channel. */
static void (*const steps[][2])(struct deletion *d) = {
    [STEP_HOLD] = {deletion_hold, NULL},     [STEP_BEGIN] = {deletion_begin_user, deletion_begin_channel},
    [STEP_KICK] = {deletion_kick, NULL},     [STEP_LEAVE] = {deletion_leave, deletion_leave},
    [STEP_FREE] = {deletion_let_go, NULL},   [STEP_BANS] = {deletion_bans, deletion_bans},
    [STEP_RECALL] = {deletion_recall, NULL}, [STEP_END] = {deletion_end_user, deletion_end_channel}};

static void deletion_step(struct deletion *d)
{
    if (!d->shard->net || d->shard->draining) {
        deletion_end(d, CODE_UNAVAILABLE, "the server is stopping; it goes on after the next start");
        return;
    }
    steps[d->step][d->channel](d);
}

struct deletion *deletion_find(const struct shard *s, bool channel, struct slice id)
{
    struct deletion *d = s->deletions;
    while (d && (d->channel != channel || !slice_eq(deletion_id(d), id)))
        d = d->next;
    return d;
}

struct deletion *deletion_new(struct shard *s, bool channel, struct slice id)
{
    struct deletion *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->shard = s;
    d->user = NONE;
    d->channel = channel;
    d->step = channel ? STEP_BEGIN : STEP_HOLD;
    d->id_n = (uint8_t)id.n;
    memcpy(d->id, id.p, id.n);
    if (channel)
        d->key = conv_key_channel(id);
    d->asleep = true;
    d->next = s->deletions;
    s->deletions = d;
    return d;
}

void deletion_wake(struct deletion *d)
{
    d->asleep = false;
    deletion_step(d);
}
