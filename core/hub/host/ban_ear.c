#include "core/hub/host/ban_ear.h"

#include "core/base/buf.h"
#include "core/base/log.h"
#include "core/hub/host/ban_change.h"
#include "core/hub/host/ban_ip.h"
#include "core/hub/people/ban.h"
#include "core/hub/shard/note_ears.h"
#include "core/hub/shard/shard.h"
#include "core/hub/talk/conv.h"

#include <stdlib.h>
#include <time.h>

static const char prefix[] = "ban:";

/* --- One ---------------------------------------------------------------------------------------------------------- */

struct heard_ban {
    struct mail mail; /* to the main thread */
    struct hub *hub;
    struct ban_key key;
    struct ban_span span;
    struct slice reason; /* in data */
    uint64_t number;     /* note_change.number */
    bool lift;
    _Atomic bool existed, nomem;
    char data[];
};

static struct slice rule_channel(const struct ban_key *k)
{
    return slice_of(k->p + 1, k->n - 1u);
}

static void apply(struct shard *s, void *ctx)
{
    struct heard_ban *b = ctx;
    bool existed = false;
    if (ban_apply(s, &b->key, &b->span, b->reason, b->lift, &existed) != 0)
        atomic_store(&b->nomem, true);
    if (existed)
        atomic_store(&b->existed, true);
    if (b->key.p[0] - '0' == CHANNEL_RULE)
        conv_follow_rule(s, rule_channel(&b->key));
}

/* k: of the ban that another node has made; NULL: of whichever. */
static void ip_close(struct hub *hub, const struct ban_key *k, struct slice reason)
{
    int rc = k ? ban_ip_close_heard(hub, k, reason) : ban_ip_close(hub, reason, NULL, NULL);
    if (rc != 0)
        log_event(LOG_WARN, "ban.connections_stay", LOG_STR("because", "out of memory"));
}

static void apply_everywhere(void *main, struct mail *m);

static void applied(void *ctx)
{
    struct heard_ban *b = ctx;
    struct hub *hub = b->hub;
    if (atomic_load(&b->nomem)) { /* it must be in force: once more */
        atomic_store(&b->nomem, false);
        mailbox_post(hub->main, &b->mail);
        return;
    }
    bool own = ban_change_heard(hub, b->number, atomic_load(&b->existed));
    if (!own && !b->lift && b->key.p[0] - '0' == BAN_IP)
        ip_close(hub, &b->key, b->reason);
    free(b);
    note_applied(hub);
}

static void apply_everywhere(void *main, struct mail *m)
{
    struct heard_ban *b = (struct heard_ban *)m;
    (void)main;
    if (hub_each(b->hub, apply, applied, b) != 0)
        mailbox_post(b->hub->main, m);
}

/* --- All, anew ---------------------------------------------------------------------------------------------------- */

struct heard_all {
    struct mail mail; /* to the main thread */
    struct hub *hub;
    struct buf list; /* struct one_ban, each with its reason behind it; then 8 bytes are filled up */
    _Atomic bool nomem;
};

struct one_ban {
    struct ban_key key;
    struct ban_span span;
    uint16_t reason_n;
};

static void apply_all(struct shard *s, void *ctx)
{
    struct heard_all *a = ctx;
    bans_renew_begin(s);
    for (size_t at = 0; at < a->list.n;) {
        struct one_ban b;
        bool existed;
        memcpy(&b, a->list.p + at, sizeof b);
        at += sizeof b;
        if (ban_apply(s, &b.key, &b.span, slice_of(a->list.p + at, b.reason_n), false, &existed) != 0)
            atomic_store(&a->nomem, true);
        at += b.reason_n;
    }
    if (!atomic_load(&a->nomem))
        bans_renew_end(s);
    convs_follow_rules(s);
}

static void apply_all_everywhere(void *main, struct mail *m);

static void all_applied(void *ctx)
{
    struct heard_all *a = ctx;
    if (atomic_load(&a->nomem)) {
        atomic_store(&a->nomem, false);
        mailbox_post(a->hub->main, &a->mail);
        return;
    }
    struct hub *hub = a->hub;
    ban_change_heard_all(hub);
    ip_close(hub, NULL, SLICE_NONE);
    buf_free(&a->list);
    free(a);
    note_applied(hub);
}

static void apply_all_everywhere(void *main, struct mail *m)
{
    struct heard_all *a = (struct heard_all *)m;
    (void)main;
    if (hub_each(a->hub, apply_all, all_applied, a) != 0)
        mailbox_post(a->hub->main, m);
}

static void read_all(void *main, struct mail *m);

static void collect(void *ctx, const struct store_note *n, int rc)
{
    struct heard_all *a = ctx;
    struct one_ban b;
    struct slice reason;
    memset(&b, 0, sizeof b);
    if (!n) { /* the end */
        bool all = rc == 0 && buf_ok(&a->list);
        a->mail.run = all ? apply_all_everywhere : read_all;
        mailbox_post(a->hub->main, &a->mail);
    } else if (n->value.n && ban_note_read(n->key, n->value, &b.key, &b.span, &reason)) {
        b.reason_n = (uint16_t)(reason.n < BAN_REASON_MAX ? reason.n : BAN_REASON_MAX);
        buf_put(&a->list, &b, sizeof b);
        buf_put(&a->list, reason.p, b.reason_n);
    }
}

/* On the main thread, until all have been read: what the store cannot do now it may do later. */
static void read_all(void *main, struct mail *m)
{
    struct heard_all *a = (struct heard_all *)m;
    (void)main;
    buf_free(&a->list);
    a->list = (struct buf)BUF_INIT;
    if (a->hub->stopped) {
        struct hub *hub = a->hub;
        free(a);
        note_applied(hub);
    } else if (notes_read(a->hub, prefix, collect, a) != 0) {
        mailbox_post(a->hub->main, m);
    }
}

/* --- On the bus's thread ------------------------------------------------------------------------------------------ */

static void changed(void *ctx, const struct note_change *n)
{
    struct hub *hub = ctx;
    if (n->all) {
        struct heard_all *a;
        while (!(a = calloc(1, sizeof *a)))
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        a->hub = hub;
        a->mail.run = read_all;
        mailbox_post(hub->main, &a->mail);
        return;
    }
    struct heard_ban *b;
    while (!(b = calloc(1, sizeof *b + n->value.n)))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    struct slice reason;
    if (!ban_note_read(n->key, n->removed ? SLICE_NONE : n->value, &b->key, &b->span, &reason)) {
        free(b); /* of a later version */
        note_applied(hub);
        return;
    }
    b->hub = hub;
    b->number = n->number;
    b->lift = n->removed || !n->value.n;
    b->reason = slice_of(b->data, reason.n);
    if (reason.n)
        memcpy(b->data, reason.p, reason.n);
    b->mail.run = apply_everywhere;
    mailbox_post(hub->main, &b->mail);
}

int ban_ear_begin(struct hub *hub)
{
    return note_ear_add(hub, &(struct note_ear){.prefix = prefix, .changed = changed, .ctx = hub});
}
