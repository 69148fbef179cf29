/* The lane of news: see publish.h. */
#include "storage/redis/client/publish.h"

#include "storage/redis/bus/tell.h"
#include "storage/redis/client/group.h"
#include "storage/redis/client/slots.h"
#include "storage/redis/redis_private.h"

static struct lane *lane_of(struct link *l)
{
    return (struct lane *)l; /* its first member */
}

/* --- Sending ------------------------------------------------------------------------------------------------------ */

static void news_send(struct redis *r, struct lane *lane, struct call *c)
{
    struct link *l = &lane->link;
    r->parts[c->part].under[LANE_NEWS]++;
    call_write(r, c, &l->out);
    c->state = CALL_WAITS;
    c->end = redis_link_end_of_output(l);
    queue_put(&lane->group.sent, c);
    lane->fresh = lane->fresh ? lane->fresh : c;
    redis_link_sent(l, 1);
}

static void part_send(struct redis *r, struct lane *lane, uint16_t part)
{
    struct call *c;
    while ((c = r->parts[part].queue[LANE_NEWS].first) && lane->link.out.n < PUBLISH_OUT) {
        queue_pull(r, part, LANE_NEWS);
        if (r->turn_ms > queue_until(r, c))
            queue_fail(r, c, STORE_RETRY);
        else
            news_send(r, lane, c);
    }
    queue_list(r, part, LANE_NEWS);
}

/* Those whose bytes the kernel has: whoever waits for that waits no more. */
static void gone_look(struct redis *r, struct lane *lane)
{
    while (lane->fresh && redis_link_gone(&lane->link, lane->fresh->end)) {
        struct call *c = lane->fresh;
        lane->fresh = c->next;
        tell_gone(r, c);
    }
}

void publish_run(struct redis *r, struct lane *lane)
{
    unsigned looked = 0;
    uint16_t part;
    if (lane->link.state != LINK_READY)
        return;
    if (lane->group.replied.first)
        queue_return(r, &lane->group.replied, LANE_NEWS, QUEUE_HOLD);
    while (lane->first != QUEUE_NONE && lane->link.out.n < PUBLISH_OUT &&
           (part = queue_next_part(r, lane, &looked)) != QUEUE_NONE)
        part_send(r, lane, part);
    redis_link_flush(&lane->link);
    if (lane->link.state == LINK_READY)
        gone_look(r, lane);
}

/* --- Replies ------------------------------------------------------------------------------------------------------ */

static void news_reply(struct link *l, const struct reply *reply)
{
    struct lane *lane = lane_of(l);
    struct redis *r = l->r;
    gone_look(r, lane);
    if (lane->fresh && lane->fresh == lane->group.sent.first) {
        redis_link_end(l, "it replies to what it was not sent yet");
        return;
    }
    struct call *c = queue_take(&lane->group.sent);
    queue_left(r, c, LANE_NEWS);
    enum call_state state = CALL_REPLIED;
    if (reply->type == REPLY_ERROR)
        state = group_error(r, lane, c, reply->text);
    if (state == CALL_REFUSED || state == CALL_DENIED) {
        queue_put(&lane->group.replied, c); /* once more, after this turn: behind those that come with it */
    } else {
        c->reply = reply;
        call_end(r, c, state == CALL_REPLIED ? STORE_OK : STORE_FATAL);
    }
    redis_link_forget(l);
}

static void news_lost(struct link *l)
{
    struct lane *lane = lane_of(l);
    for (struct call *c = lane->group.sent.first; c; c = c->next)
        queue_left(l->r, c, LANE_NEWS);
    lane->fresh = NULL;
    queue_return(l->r, &lane->group.sent, LANE_NEWS, 0);
    queue_return(l->r, &lane->group.replied, LANE_NEWS, QUEUE_HOLD);
    slots_doubt(l->r, SLICE_NONE);
}

const struct link_events publish_link_events = {group_ready, news_reply, news_lost};
