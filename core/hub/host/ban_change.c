/*
 * Making and lifting bans: from the order to all shards. The steps are taken on the main thread, one after the other:
 *
 *     is there such a user? → the store keeps it → every shard has it → the user, or the member, or the address goes
 */
#include "core/hub/host/ban_change.h"

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/container.h"
#include "core/base/log_security.h"
#include "core/hub/host/ban_ip.h"
#include "core/hub/host/host.h"
#include "core/hub/host/host_member.h"
#include "core/hub/host/host_op.h"
#include "core/hub/shard/note_ears.h"
#include "core/hub/shard/shard.h"
#include "core/hub/shard/shards.h"
#include "core/hub/talk/conv.h"
#include "storage/bus.h"

#include <stdio.h>
#include <stdlib.h>

struct change {
    struct change *next; /* in hub.ban_changes, while the bus has it */
    bool heard;          /* this node has been told of the note, and has it in force */
    struct ban_change *q;
    struct hub *hub;
    struct ban_key key;
    struct ban_span span;
    _Atomic bool existed, nomem;
    struct silent_nodes silent; /* nodes that have not said that they have it */
    char note[4 + BAN_KEY_MAX];
    char value[BAN_NOTE_MAX];
    union {
        struct host_user user;
        struct store_note_put put;
        struct bus_note note;
        struct host_kick kick;
        struct host_member member;
    } op;
};

/* A line of the security log. Rules of channels are no matter of it. */
static void tell_security(const struct ban_change *q)
{
    if (q->op.code == CODE_OK && q->kind != CHANNEL_RULE)
        security_event(q->lift ? "ban.lifted" : "ban.made", LOG_STR("kind", ban_kind_name(q->kind)),
                       LOG_SLICE("user", q->user), LOG_SLICE("channel", q->channel), LOG_SLICE("ip", q->ip),
                       LOG_INT("seconds", q->seconds), LOG_SLICE("because", q->reason));
}

static void change_end(struct change *c)
{
    struct ban_change *q = c->q;
    tell_security(q);
    if (c->silent.n && q->op.code == CODE_OK)
        host_fail_silent(&q->op, &c->silent, "in force here; ", "so");
    hub_step_end(c->hub);
    free(c);
    host_end(&q->op);
}

static void change_fail(struct change *c, enum code code, const char *message)
{
    host_fail(&c->q->op, code, message);
    change_end(c);
}

/* --- 4. Whom it is about, goes ------------------------------------------------------------------------------------ */

static void add_silent(struct change *c, const struct silent_nodes *more)
{
    unsigned named = more->n < SILENT_NAMED ? more->n : SILENT_NAMED;
    for (unsigned i = 0; i < named; i++)
        silent_add(&c->silent, more->numbers[i]);
    c->silent.n += more->n - named;
}

static void kicked(void *owner, struct host_op *op)
{
    struct change *c = CONTAINER_OF(op, struct change, op.kick.op);
    (void)owner;
    c->q->connections = c->op.kick.connections;
    add_silent(c, &op->silent);
    if (op->code == CODE_UNAVAILABLE && op->silent.n)
        op->code = CODE_OK; /* they are named */
    /* One that is not known yet has no tokens and no connections. */
    if (op->code != CODE_OK && op->code != CODE_NOT_FOUND)
        change_fail(c, op->code, "the ban is in force, but not all could be ended: repeat it");
    else
        change_end(c);
}

static void left(void *owner, struct host_op *op)
{
    struct change *c = CONTAINER_OF(op, struct change, op.member.op);
    (void)owner;
    c->q->ended = op->code == CODE_OK && c->op.member.existed;
    c->q->op.silent = op->silent;
    if (op->code != CODE_OK && op->code != CODE_NOT_FOUND)
        change_fail(c, op->code, "the ban is in force, but the membership could not be ended: repeat it");
    else
        change_end(c);
}

static void ip_closed_elsewhere(void *ctx, uint32_t closed, const struct silent_nodes *silent)
{
    struct change *c = ctx;
    c->q->connections += closed;
    add_silent(c, silent);
    change_end(c);
}

static void ip_closed(void *ctx, uint32_t closed)
{
    struct change *c = ctx;
    c->q->connections = closed;
    int rc = ban_ip_ask(c->hub, &c->key, ip_closed_elsewhere, c);
    if (rc == ERR_NOMEM)
        change_fail(c, CODE_INTERNAL, "out of memory: the ban is in force, connections of other nodes are not counted");
    else if (rc)
        change_end(c);
}

/* --- 3. Every shard has it ---------------------------------------------------------------------------------------- */

static void in_force(void *ctx)
{
    struct change *c = ctx;
    struct ban_change *q = c->q;
    if (atomic_load(&c->nomem)) {
        change_fail(c, CODE_INTERNAL, "out of memory: repeat it");
    } else if (q->lift && !atomic_load(&c->existed)) {
        change_fail(c, CODE_NOT_FOUND, "there is none to lift");
    } else if (!q->lift && q->kind == BAN_USER) {
        c->op.kick = (struct host_kick){.user = q->user,
                                        .message = q->reason.n ? q->reason : SLICE_LIT("banned"),
                                        .revoke = true,
                                        .op = {.home = c->hub->main, .done = kicked}};
        host_kick(c->hub, &c->op.kick);
    } else if (!q->lift && q->kind == BAN_MEMBER) {
        c->op.member = (struct host_member){.user = q->user,
                                            .channel = q->channel,
                                            .leave = true,
                                            .change = MEMBER_BANNED,
                                            .op = {.home = c->hub->main, .done = left}};
        host_member(c->hub, &c->op.member);
    } else if (!q->lift && q->kind == BAN_IP) {
        if (ban_ip_close(c->hub, q->reason, ip_closed, c) != 0)
            change_fail(c, CODE_INTERNAL, "out of memory: the ban is in force, connections are still open");
    } else {
        change_end(c);
    }
}

static void apply(struct shard *s, void *ctx)
{
    struct change *c = ctx;
    bool existed = false;
    if (ban_apply(s, &c->key, &c->span, c->q->reason, c->q->lift, &existed) != 0)
        atomic_store(&c->nomem, true);
    if (existed)
        atomic_store(&c->existed, true);
    if (c->q->kind == CHANNEL_RULE)
        conv_follow_rule(s, c->q->channel);
}

/* --- 2. The store keeps it ---------------------------------------------------------------------------------------- */

static void change_kept(struct change *c, enum store_status status)
{
    if (status == STORE_UNKNOWN)
        change_fail(c, CODE_UNAVAILABLE, "the store has not answered, and may have changed it: repeat it");
    else if (status != STORE_OK)
        change_fail(c, CODE_UNAVAILABLE, "the store cannot write now; nothing was changed");
    else if (hub_each(c->hub, apply, in_force, c) != 0)
        change_fail(c, CODE_INTERNAL, "out of memory: repeat it");
}

static void kept(void *owner, struct store_op *op)
{
    (void)owner;
    change_kept(CONTAINER_OF(op, struct change, op.put.op), op->status);
}

/* … and every node has it in force. So has this one, when it has been told so in the order of all changes; and then it
 * is not brought into force again, for what came after it may stand already. Else it does not wait for that. */
static void noted(void *owner, struct store_op *op)
{
    struct change *c = CONTAINER_OF(op, struct change, op.note.op);
    struct change **at = &c->hub->ban_changes;
    (void)owner;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    c->silent = c->op.note.silent;
    if (op->status == STORE_OK && c->heard)
        in_force(c);
    else
        change_kept(c, op->status);
}

/* By its number: there may be several of one ban under way, and others that other nodes have made. */
bool ban_change_heard(struct hub *hub, uint64_t number, bool existed)
{
    struct change *c = number ? hub->ban_changes : NULL;
    while (c && c->op.note.number != number)
        c = c->next;
    if (!c)
        return false;
    c->heard = true;
    if (existed)
        atomic_store(&c->existed, true);
    return true;
}

/* Those that are not kept yet are told of like any other. */
void ban_change_heard_all(struct hub *hub)
{
    for (struct change *c = hub->ban_changes; c; c = c->next) {
        c->heard = true;
        atomic_store(&c->existed, true); /* nobody knows it, and what was to be lifted is */
    }
}

static void keep(struct change *c)
{
    struct ban_change *q = c->q;
    struct bus *bus = store_bus(c->hub->store);
    q->reason.n = q->reason.n < BAN_REASON_MAX ? q->reason.n : BAN_REASON_MAX;
    c->span = ban_span_of(c->hub->store, q->seconds);
    memcpy(c->note, "ban:", 4);
    memcpy(c->note + 4, c->key.p, c->key.n);
    size_t value = ban_note(&c->span, q->reason, c->value);
    struct store_note note = {slice_of(c->note, 4u + c->key.n), slice_of(c->value, q->lift ? 0 : value)};
    if (bus) {
        c->op.note = (struct bus_note){.note = note,
                                       .remove = q->lift,
                                       .number = note_number(c->hub),
                                       .op = {.home = c->hub->main, .done = noted}};
        c->next = c->hub->ban_changes;
        c->hub->ban_changes = c;
        bus_note(bus, &c->op.note);
        return;
    }
    c->op.put = (struct store_note_put){.note = note, .remove = q->lift, .op = {.home = c->hub->main, .done = kept}};
    store_note_put(c->hub->store, &c->op.put);
}

/* --- 1. Is there such a user? ------------------------------------------------------------------------------------- */

static void looked_up(void *owner, struct host_op *op)
{
    struct change *c = CONTAINER_OF(op, struct change, op.user.op);
    (void)owner;
    enum code code = op->code;
    store_user_load_free(&c->op.user.load);
    /* Where others give out the ids, somebody may be banned before the first login. */
    bool ours = strcmp(c->hub->box->opt.auth_mode, "open") == 0;
    if (code == CODE_OK || (code == CODE_NOT_FOUND && !ours))
        keep(c);
    else
        change_fail(c, code, code == CODE_NOT_FOUND ? "there is no such user" : "the store cannot be read now");
}

static void begin(void *owner, struct mail *m)
{
    struct ban_change *q = (struct ban_change *)m;
    struct change *c = q->inner;
    (void)owner;
    q->inner = NULL;
    if (!ban_key_make(&c->key, q->kind, q->user, q->channel, q->ip)) {
        change_fail(c, CODE_BAD_REQUEST,
                    q->kind == BAN_IP ? "expected an address like 192.0.2.1 or 192.0.2.0/24"
                                      : "expected a user's id and a channel's name");
    } else if (q->seconds > UINT32_MAX) {
        change_fail(c, CODE_BAD_REQUEST, "expected fewer seconds");
    } else if (q->lift || q->kind == BAN_IP || q->kind == CHANNEL_RULE) {
        keep(c);
    } else {
        c->op.user = (struct host_user){.user = q->user, .here = true, .op = {.home = c->hub->main, .done = looked_up}};
        host_user(c->hub, &c->op.user);
    }
}

void ban_change(struct hub *hub, struct ban_change *q)
{
    struct change *c = calloc(1, sizeof *c);
    q->op.code = CODE_OK;
    q->op.message[0] = '\0';
    q->connections = 0;
    q->ended = false;
    if (!c) {
        host_fail(&q->op, CODE_INTERNAL, "out of memory");
        host_end(&q->op);
        return;
    }
    c->q = q;
    c->hub = hub;
    q->inner = c;
    q->op.mail.run = begin;
    hub_step_begin(hub);
    mailbox_post(hub->main, &q->op.mail);
}
