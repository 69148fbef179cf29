/* why USER MESSAGE-ID: what happened to one message for one receiver, from the shards' notes and what is there now. */
#include "core/base/clock.h"
#include "core/base/utf8.h"
#include "core/console/console_private.h"
#include "core/console/survey.h"
#include "core/console/why_call.h"
#include "core/hub/host/snapshot.h"
#include "core/hub/shard/shards.h"

#include <stdlib.h>

#define ID_EPOCH_MS UINT64_C(1577836800000) /* 2020-01-01: protocol.md section 3 */

static const char *const push_names[] = {
    [MODE_DEFAULT] = "default", [MODE_ALL] = "all", [MODE_MERGED] = "merged", [MODE_NONE] = "none"};
static const char *const tier_names[] = {[TIER_DM] = "dm", [TIER_SMALL] = "small", [TIER_LARGE] = "large"};

/* --- The sentence ------------------------------------------------------------------------------------------------- */

/* The mode that the user's subscription had: its own, or the channel's. */
static unsigned mode_of(const struct why_call *w)
{
    unsigned own = w->member.found ? w->member.push : MODE_DEFAULT;
    return own == MODE_DEFAULT ? w->stored.push : own;
}

static bool queued(const struct why_call *w)
{
    if (!why_is_channel(w))
        return w->have_pushed && w->pushed.a > 0;
    return w->have_walked && !w->have_skipped && w->member.found && w->connections > 0 && mode_of(w) != MODE_NONE &&
           w->stored.seq > w->member.since && w->have_published && w->stored.seq >= w->published.first;
}

static const char *channel_verdict(const struct why_call *w)
{
    if (!w->member.found)
        return w->connections
                   ? "not pushed: the user is no member of the channel"
                   : "no longer known: the user has no connection now, and its earlier ones are not remembered; a "
                     "member can pull it";
    if (w->stored.seq <= w->member.since)
        return "not pushed: the user subscribed after it";
    if (mode_of(w) == MODE_NONE)
        return "not pushed: the subscription's push mode is none";
    if (!w->have_published)
        return "not pushed yet: it waits in a time slice, or nobody of this push mode was online";
    if (w->stored.seq < w->published.first)
        return "not pushed: left out of its time slice, which had more than push.max messages";
    if (w->have_skipped)
        return "not pushed: skipped, because the receiver was slow; push 107 tells it to pull";
    if (!w->have_walked)
        return "not pushed yet: the walk over the channel's members is under way";
    if (!w->connections)
        return "no longer known: the user has no connection now, and its earlier ones are not remembered; a member can "
               "pull it";
    return w->waiting ? "queued; it may still wait for the receiver to read" : "queued and written to the socket";
}

static const char *private_verdict(const struct why_call *w)
{
    if (!w->have_pushed || w->pushed.a == 0)
        return w->have_acked ? "not pushed, but acknowledged: it was fetched from the inbox"
               : w->in_inbox ? "not pushed: the user was not connected; it waits in the inbox"
                             : "not pushed: the user was not connected (or it was the sending connection)";
    if (w->have_acked)
        return "pushed and acknowledged";
    if (!w->connections)
        return w->in_inbox ? "queued; the connection is gone since, and it waits in the inbox"
                           : "queued; the connection is gone since";
    return w->waiting ? "queued; it may still wait for the receiver to read" : "queued and written to the socket";
}

static void put_flag(struct buf *b, const char *key, int value)
{
    buf_printf(b, ",\"%s\":%s", key, value < 0 ? "null" : value ? "true" : "false");
}

static void put_when(struct buf *b, const char *key, bool have, const struct why_note *n)
{
    if (have)
        buf_printf(b, ",\"%s\":%llu", key, (unsigned long long)n->at_ms);
    else
        buf_printf(b, ",\"%s\":null", key);
}

static void answer(struct why_call *w)
{
    struct command_call *c = w->call;
    struct buf *b = &c->out;
    bool q = queued(w);
    buf_printf(b, "{\"message\":\"%019llu\",\"user\":", (unsigned long long)w->id);
    buf_json_string(b, c->argv[0]);
    buf_lit(b, ",\"verdict\":");
    buf_json_string(b, slice_str(why_is_channel(w) ? channel_verdict(w) : private_verdict(w)));
    buf_printf(b, ",\"conversation\":\"%s\",\"channel\":", why_is_channel(w) ? "channel" : "private");
    if (w->channel[0])
        buf_json_string(b, slice_str(w->channel));
    else
        buf_lit(b, "null");
    buf_printf(b, ",\"seq\":%llu,\"stored\":%llu,\"bytes\":%u,\"tier\":\"%s\",\"policy\":\"%s\"",
               (unsigned long long)w->stored.seq, (unsigned long long)w->stored.at_ms, w->stored.a,
               tier_names[w->stored.tier],
               w->stored.bits & WHY_B_OVER_LIMIT ? "over the limit: pushed in slices" : "passed");
    put_when(b, "edited", w->have_edited, &w->edited);
    put_when(b, "recalled", w->have_recalled, &w->recalled);
    if (why_is_channel(w)) {
        buf_printf(b, ",\"push\":\"%s\",\"slice\":", push_names[mode_of(w)]);
        if (w->have_published)
            buf_printf(b, "{\"from\":%llu,\"to\":%llu,\"messages\":%u,\"omitted\":%u,\"merged\":%s}",
                       (unsigned long long)w->published.seq, (unsigned long long)w->published.to, w->published.a,
                       w->published.b, w->published.bits & WHY_B_MERGED ? "true" : "false");
        else
            buf_lit(b, "null");
        put_flag(b, "skipped", w->have_skipped);
    }
    put_flag(b, "queued", q);
    put_flag(b, "written", !q ? 0 : !w->connections ? -1 : w->waiting ? -1 : 1);
    if (!why_is_channel(w)) {
        buf_printf(b, ",\"inbox\":\"%s\"", w->in_inbox ? "waiting" : !w->inbox_read ? "unknown" : "not there");
        put_flag(b, "acknowledged", w->have_acked ? 1 : w->in_inbox ? 0 : -1);
    }
    buf_printf(b, ",\"connections\":%u,\"waiting\":%u", w->connections, w->waiting);
    why_put_unanswered(b, w);
    buf_byte(b, '}');
    free(w);
    command_done(c);
}

static void forgotten(struct why_call *w)
{
    struct command_call *c = w->call;
    uint64_t born = (w->id >> 22) + ID_EPOCH_MS, now = store_date_ms(hub_store(c->hub));
    if (w->in_inbox)
        command_fail(c, "not_found",
                     "what happened to it is not known any more; it still waits in this user's inbox, unacknowledged");
    else if (born > now)
        command_fail(c, "not_found", "no message has this id yet");
    else if (w->since)
        command_fail(c, "not_found",
                     "nothing is known of it (any more): it is %llu s old, and the record reaches back %llu s",
                     (unsigned long long)((now - born) / 1000),
                     (unsigned long long)(now > w->since ? (now - w->since) / 1000 : 0));
    else
        command_fail(c, "not_found", "nothing is known of it: the record is empty since the start");
    free(w);
}

/* --- Asking ------------------------------------------------------------------------------------------------------- */

static void put_conn(void *ctx, const struct snapshot_conn *k)
{
    struct why_call *w = ctx;
    w->connections++;
    w->waiting += k->queued;
}

/* Third: what the conversation's owner and the user's shard noted of it. */
static void notes_there(struct shard *s, struct command_call *c)
{
    struct why_call *w = c->state;
    struct why_note like = {.kind = WHY_PUBLISHED, .conv = w->stored.conv, .seq = w->stored.seq};
    bool home = shard_of(s->hub, c->argv[0]) == s;
    if (home && why_is_channel(w)) {
        snapshot_membership(s, c->argv[0], w->stored.conv, &w->member);
        memcpy(w->channel, w->member.channel, sizeof w->channel);
    }
    if (home)
        snapshot_user_conns(s, c->argv[0], put_conn, w);
    if (!why_is_channel(w))
        return;
    /* Subscriptions without a mode of their own have a bit of their own. */
    uint8_t mask = (uint8_t)(1u << (w->member.found ? w->member.push : MODE_DEFAULT));
    like.mask = mask;
    if (!w->have_published)
        w->have_published = why_find(s, &like, &w->published);
    if (!home)
        return;
    like.kind = WHY_WALKED;
    w->have_walked = why_find(s, &like, &w->walked);
    like.kind = WHY_SKIPPED;
    like.mask = 0;
    like.user = w->user;
    w->have_skipped = why_find(s, &like, &w->skipped);
}

static void notes_next(struct command_call *c)
{
    struct why_call *w = c->state;
    if (w->shard == c->hub->shard_count)
        w->then(w);
    else
        errand_start(c, c->hub->shards[w->shard++], notes_there, notes_next);
}

static void notes_start(struct command_call *c)
{
    struct why_call *w = c->state;
    w->shard = 0;
    w->connections = w->waiting = 0;
    notes_next(c);
}

static void member_there(struct shard *s, struct command_call *c)
{
    struct why_call *w = c->state;
    if (why_is_channel(w))
        snapshot_membership(s, c->argv[0], w->stored.conv, &w->member);
}

/* The user's shard first: it knows the subscription's mode, by which the others are asked. */
void why_find_notes(struct why_call *w, void (*then)(struct why_call *w))
{
    w->then = then;
    errand_start(w->call, shard_of(w->call->hub, w->call->argv[0]), member_there, notes_start);
}

static void answer_over_nodes(struct why_call *w)
{
    why_ask_nodes(w, WHY_ASK_NOTES, answer);
}

/* Second: does it wait in the inbox? */
static void inbox_peeked(void *owner, struct store_op *op)
{
    struct why_call *w = (struct why_call *)op;
    (void)owner;
    w->inbox_read = op->status == STORE_OK;
    w->in_inbox = w->inbox_read && w->inbox.page.n && w->inbox.page.messages[0].id == w->id;
    store_page_free(&w->inbox.page);
    if (w->have_stored)
        why_find_notes(w, answer_over_nodes);
    else
        forgotten(w);
}

/* First: who stored it, and was it pushed to this user, and acknowledged? */
static void stored_there(struct shard *s, struct command_call *c)
{
    struct why_call *w = c->state;
    struct why_note like = {.kind = WHY_STORED, .id = w->id};
    uint64_t since = why_since(s);
    w->since = since > w->since ? since : w->since;
    if (!w->have_stored)
        w->have_stored = why_find(s, &like, &w->stored);
    like.kind = WHY_EDITED;
    if (!w->have_edited)
        w->have_edited = why_find(s, &like, &w->edited);
    like.kind = WHY_RECALLED;
    if (!w->have_recalled)
        w->have_recalled = why_find(s, &like, &w->recalled);
    like.user = w->user;
    like.kind = WHY_PUSHED;
    if (!w->have_pushed)
        w->have_pushed = why_find(s, &like, &w->pushed);
    like.kind = WHY_ACKED;
    if (!w->have_acked)
        w->have_acked = why_find(s, &like, &w->acked);
}

static void stored_next(struct command_call *c)
{
    struct why_call *w = c->state;
    if (w->shard < c->hub->shard_count) {
        errand_start(c, c->hub->shards[w->shard++], stored_there, stored_next);
        return;
    }
    w->then(w);
}

void why_find_stored(struct why_call *w, void (*then)(struct why_call *w))
{
    w->then = then;
    w->shard = 0;
    stored_next(w->call);
}

static void peek_inbox(struct why_call *w)
{
    struct command_call *c = w->call;
    w->inbox = (struct store_inbox_peek){
        .user = c->argv[0], .after = w->id - 1, .limit = 1, .op = {.home = hub_main(c->hub), .done = inbox_peeked}};
    store_inbox_peek(hub_store(c->hub), &w->inbox);
}

static void stored_over_nodes(struct why_call *w)
{
    why_ask_nodes(w, WHY_ASK_STORED, peek_inbox);
}

static void run_why(struct command_call *c, void *ctx)
{
    uint64_t id;
    (void)ctx;
    if (!value_user_id(c->argv[0]) || c->argv[1].n != 19 || !argument_number(c->argv[1], INT64_MAX, &id) || id == 0) {
        command_fail(c, "bad_request", "expected a user's id and a message's, 19 digits");
        return;
    }
    struct why_call *w = calloc(1, sizeof *w);
    if (!w) {
        command_fail(c, "internal", "out of memory");
        return;
    }
    w->call = c;
    w->id = id;
    w->user = hash_bytes(c->argv[0]);
    c->state = w;
    why_find_stored(w, stored_over_nodes);
}

int cmd_why_register(struct console *c)
{
    const struct command list[] = {{.name = "why",
                                    .args = "USER MESSAGE-ID",
                                    .help = "what happened to a message for this receiver, as long as it is remembered",
                                    .min = 2,
                                    .max = 2,
                                    .run = run_why}};
    return commands_register(c->hub, list, sizeof list / sizeof list[0]);
}
