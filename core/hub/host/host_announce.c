/* Announcements: push 106 to every connection, of all nodes where the server is one of several. */
#include "core/hub/host/host_announce.h"

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/frame.h"
#include "core/base/log.h"
#include "core/base/push.h"
#include "core/base/random.h"
#include "core/hub/host/host.h"
#include "core/hub/shard/note_ears.h"
#include "core/hub/shard/shard.h"
#include "core/net/net.h"
#include "core/net/send.h"

#include <stdio.h>
#include <stdlib.h>

/* Connections that an announcement reaches in one turn of the loop. */
enum { ANNOUNCE_STEP = 2048 };
/* What a note may hold. */
enum { NOTE_VALUE_MAX = 4096 };

/* --- Here --------------------------------------------------------------------------------------------------------- */

struct announcement {
    struct mail mail;
    struct frame *frame; /* made by the shard */
    uint32_t at;         /* next connection */
    size_t n;
    char body[];
};

static void announce_run(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct announcement *a = (struct announcement *)m;
    if (!a->frame)
        a->frame = s->net ? frame_borrow(PUSH_ANNOUNCEMENT, 0, slice_of(a->body, a->n), WIRE_TAG_NONE) : NULL;
    uint32_t i = NONE;
    if (a->frame) {
        i = net_next(s->net, a->at);
        for (unsigned n = 0; n < ANNOUNCE_STEP && i != CONN_NONE; n++) {
            if (conn_at(s->net, i)->flags & CONN_F_READY)
                (void)conn_send_frame(s->net, i, a->frame, CONN_MAY);
            i = net_next(s->net, i + 1);
        }
    }
    if (i != NONE) {
        a->at = i;
        mailbox_post(&s->mailbox, m);
        return;
    }
    if (a->frame)
        frame_unref(a->frame);
    free(a);
}

/* ERR_NOMEM: nobody is told. */
static int announce_here(struct hub *hub, struct shard *from, struct slice body)
{
    struct announcement **list = calloc(hub->shard_count, sizeof *list);
    bool ok = list != NULL;
    for (unsigned i = 0; ok && i < hub->shard_count; i++)
        ok = (list[i] = calloc(1, sizeof **list + body.n)) != NULL;
    for (unsigned i = 0; list && i < hub->shard_count; i++) {
        if (!ok) {
            free(list[i]);
            continue;
        }
        list[i]->mail.run = announce_run;
        list[i]->n = body.n;
        memcpy(list[i]->body, body.p, body.n);
        shard_post(from, hub->shards[i], &list[i]->mail);
    }
    free(list);
    return ok ? 0 : ERR_NOMEM;
}

/* --- On other nodes: a note that passes --------------------------------------------------------------------------- */

/* "announce:PROCESS": who told it has told its own clients. */
static const char prefix[] = "announce:";

static size_t note_key(const struct hub *hub, char out[40])
{
    return (size_t)snprintf(out, 40, "%s%016llx", prefix, (unsigned long long)hub->process);
}

/* On the bus's thread. */
static void changed(void *ctx, const struct note_change *n)
{
    struct hub *hub = ctx;
    char own[40];
    bool ours = n->all || slice_eq(n->key, slice_of(own, note_key(hub, own)));
    if (!ours && announce_here(hub, NULL, n->value) != 0)
        log_event(LOG_WARN, "announcement.left_out", LOG_STR("because", "out of memory"));
    note_applied(hub);
}

static void told_behind(void *ctx, enum store_status status)
{
    (void)ctx;
    if (status != STORE_OK)
        log_event(LOG_WARN, "announcement.not_told", LOG_STR("because", "the store cannot tell other nodes now"));
}

int host_announce_begin(struct hub *hub)
{
    random_bytes(&hub->process, sizeof hub->process);
    return note_ear_add(hub, &(struct note_ear){.prefix = prefix, .changed = changed, .ctx = hub});
}

/* Who waits for an announcement; told NULL: nobody does. */
struct waiter {
    void (*told)(void *ctx, enum store_status status, const struct silent_nodes *silent);
    void *ctx;
};

static int announce_elsewhere(struct hub *hub, struct slice body, const struct waiter *w)
{
    char key[40];
    if (!hub->shards[0]->bus)
        return 0;
    if (body.n > NOTE_VALUE_MAX)
        return ERR_TOOLARGE;
    return note_order(hub, &(struct note_order){.key = slice_of(key, note_key(hub, key)),
                                                .value = body,
                                                .passing = true,
                                                .home = hub->main,
                                                .done = told_behind,
                                                .spread = w->told,
                                                .ctx = w->ctx});
}

/* --- Both --------------------------------------------------------------------------------------------------------- */

static int announce(struct hub *hub, struct shard *from, struct slice content, const struct waiter *w)
{
    struct buf b = BUF_INIT;
    buf_lit(&b, "{\"content\":");
    buf_json_string(&b, content);
    buf_lit(&b, ",\"createdAt\":");
    buf_dec(&b, clock_wall_ms());
    buf_lit(&b, "}");
    int rc = buf_ok(&b) ? announce_elsewhere(hub, buf_slice(&b), w) : ERR_NOMEM;
    bool gone = rc == 0 && w->told;
    if (rc == 0)
        rc = announce_here(hub, from, buf_slice(&b));
    if (rc != 0 && gone) { /* whoever waits is told that others have it */
        log_event(LOG_WARN, "announcement.left_out", LOG_STR("because", "out of memory"));
        rc = 0;
    }
    buf_free(&b);
    return rc;
}

int host_announce(struct hub *hub, struct shard *from, struct slice content)
{
    return announce(hub, from, content, &(struct waiter){NULL, NULL});
}

int host_announce_told(struct hub *hub, struct slice content,
                       void (*told)(void *ctx, enum store_status status, const struct silent_nodes *silent), void *ctx)
{
    static const struct silent_nodes none = {.n = 0};
    if (hub->shards[0]->bus)
        return announce(hub, NULL, content, &(struct waiter){told, ctx});
    int rc = announce(hub, NULL, content, &(struct waiter){NULL, NULL});
    if (rc == 0)
        told(ctx, STORE_OK, &none);
    return rc;
}
