#include "storage/redis/cold/cold_change.h"

#include "storage/redis/redis_private.h"
#include "storage/redis/rule.h"
#include "storage/redis/task.h"

#include <string.h>

enum { TRIES = 8 /* of a row that others change at the same time */ };

static void begin(struct cold_change *c);

static void end(struct cold_change *c, enum store_status status)
{
    struct redis *r = c->r;
    struct cold_change **at = &r->cold->changes, *next = c->waits;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    if (next) { /* it heads those that wait for this conversation */
        next->next = r->cold->changes;
        r->cold->changes = next;
        begin(next);
    }
    c->done(r, c, status);
}

static enum store_status status_of(const struct archive_req *req)
{
    return req->status == ARCHIVE_OK ? STORE_OK : req->status == ARCHIVE_REFUSED ? STORE_FATAL : STORE_RETRY;
}

/* --- The head's edits --------------------------------------------------------------------------------------------- */

static void row_change(struct cold_change *c);

static void touched(struct redis *r, struct call *call, enum store_status status, const struct reply *reply)
{
    struct cold_change *c = call->ctx;
    struct reply_in in = status == STORE_OK ? reply_in(reply) : (struct reply_in){.bad = true};
    bool right = reply_u8(&in) == 'N' && !r->cold->stopping;
    if (c->changed)
        end(c, right ? STORE_OK : STORE_UNKNOWN);
    else if (right)
        row_change(c);
    else
        end(c, STORE_RETRY);
}

static void touch(struct cold_change *c)
{
    call_begin(c->r, &c->call, FN_TOUCHED, partition_of(c->conv));
    call_key(c->r, &c->call, 'm', c->conv);
    c->call.about = task_about(c->conv);
    c->call.done = touched;
    c->call.ctx = c;
    call_post(c->r, &c->call);
}

/* --- The row ------------------------------------------------------------------------------------------------------ */

static void row_ask(struct cold_change *c);

static void row_changed(void *ctx, struct archive_req *req)
{
    struct cold_change *c = ctx;
    if (c->r->cold->stopping || req->status == ARCHIVE_AWAY) {
        end(c, STORE_UNKNOWN);
    } else if (req->status == ARCHIVE_OK) {
        c->changed = true;
        touch(c);
    } else if (req->status == ARCHIVE_MOVED && ++c->tries < TRIES) {
        row_ask(c);
    } else {
        end(c, status_of(req));
    }
}

static void row_change(struct cold_change *c)
{
    c->ask.change = (struct archive_change){
        .req = {.done = row_changed, .ctx = c, .patience_ms = cold_patience(c->r)},
        .conv = c->conv,
        .seq = c->seq,
        .id = c->id,
        .rev = c->rev,
        .edited_ms = c->edited_ms,
        .recalled = !c->edit,
        .content = c->edit ? c->content : SLICE_NONE,
    };
    archive_change(c->r->cold->archive, &c->ask.change);
}

/* What is to become of the row: STORE_OK, and whether it is so already. */
static enum store_status judge(struct cold_change *c, const struct archive_row *row)
{
    struct layout_rule rule;
    struct layout_record m = {.tier = row->tier, .birth_ms = row->birth_ms, .ttl_ms = row->ttl_ms};
    rule_get(c->r, &rule);
    if (row->tier >= TIER_COUNT || !rule_shows(&rule, &c->head, c->seq, &m))
        return STORE_NOTFOUND;
    if (c->sender.n && (!slice_eq(c->sender, row->sender) || row->id <= c->until))
        return STORE_DENIED;
    if (row->recalled && c->edit)
        return STORE_NOTFOUND;
    c->changed = row->recalled;
    if (!c->changed && c->window_ms && c->now_ms > row->birth_ms && c->now_ms - row->birth_ms > c->window_ms)
        return STORE_LATE;
    c->edited_ms = row->edited_ms;
    if (c->edit && row->edited_ms >= c->now_ms && slice_eq(c->content, row->content))
        c->changed = true; /* the same call once more */
    c->again = c->changed;
    if (!c->changed) {
        uint64_t after = row->edited_ms ? row->edited_ms + 1 : row->created_ms;
        c->edited_ms = !c->edit ? 0 : c->now_ms > after ? c->now_ms : after;
    }
    return STORE_OK;
}

static void row_read(void *ctx, struct archive_req *req)
{
    struct cold_change *c = ctx;
    enum store_status status = status_of(req);
    const struct archive_row *row = c->ask.range.rows;
    if (status == STORE_OK)
        status = c->ask.range.n ? judge(c, row) : STORE_NOTFOUND;
    if (status != STORE_OK || c->r->cold->stopping) {
        end(c, status == STORE_OK ? STORE_RETRY : status);
        return;
    }
    c->id = row->id;
    c->rev = row->rev;
    c->created_ms = row->created_ms;
    c->name_len = (uint8_t)(row->name.n < sizeof c->name ? row->name.n : sizeof c->name);
    memcpy(c->name, row->name.p, c->name_len);
    touch(c); /* before the row is changed; or, where it is so already, in place of who could not any more */
}

static void row_ask(struct cold_change *c)
{
    c->ask.range = (struct archive_range){
        .req = {.done = row_read, .ctx = c, .patience_ms = cold_patience(c->r)},
        .conv = c->conv,
        .from = c->seq,
        .to = c->seq,
        .limit = 1,
    };
    archive_range(c->r->cold->archive, &c->ask.range);
}

/* --- The head ----------------------------------------------------------------------------------------------------- */

static void head_read(struct redis *r, struct call *call, enum store_status status, const struct reply *reply)
{
    struct cold_change *c = call->ctx;
    struct reply_in in = status == STORE_OK && reply->type == REPLY_LIST && reply->n ? reply_in(reply->list)
                                                                                     : (struct reply_in){.bad = true};
    bool right = reply_u8(&in) == 'N' && reply_ok(&in) && layout_head(reply_rest(&in), &c->head) == 0;
    if (status != STORE_OK || !right || r->cold->stopping) {
        end(c, status != STORE_OK ? status : right ? STORE_RETRY : STORE_FATAL);
        return;
    }
    if (!cold_covers(r, &c->head) || c->seq < c->head.first || c->seq > c->head.low) {
        end(c, STORE_NOTFOUND);
        return;
    }
    c->head.low = c->head.first - 1; /* what shows, wherever it is */
    row_ask(c);
}

static void begin(struct cold_change *c)
{
    call_begin(c->r, &c->call, FN_ROWS, partition_of(c->conv));
    call_key(c->r, &c->call, 'm', c->conv);
    call_arg(&c->call, SLICE_NONE);
    c->call.about = task_about(c->conv);
    c->call.done = head_read;
    c->call.ctx = c;
    call_post(c->r, &c->call);
}

void cold_change(struct redis *r, struct cold_change *c)
{
    c->r = r;
    c->waits = NULL;
    c->changed = c->again = false;
    c->tries = 0;
    for (struct cold_change *o = r->cold->changes; o; o = o->next)
        if (slice_eq(o->conv, c->conv)) {
            while (o->waits)
                o = o->waits;
            o->waits = c;
            return;
        }
    c->next = r->cold->changes;
    r->cold->changes = c;
    begin(c);
}
