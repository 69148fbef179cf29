/* Out of Redis, and out of the archive: rows that are old enough leave Redis, those that have ended leave both. */
#include "core/base/container.h"
#include "core/base/log.h"
#include "storage/redis/cold/behind_private.h"
#include "storage/redis/cold/cold.h"
#include "storage/redis/cold/cold_block.h"
#include "storage/redis/nodes/time.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/rule.h"
#include "storage/redis/sweep.h"

#include <stdlib.h>
#include <string.h>

enum { PAGES_MAX = 64 /* of rows in one go; then the next sweep goes on */ };

static void rows_read(struct redis *r, struct call *c, enum store_status status, const struct reply *reply);

static bool ask_begin(struct job *j, struct archive_req *req, void (*done)(void *, struct archive_req *))
{
    if (j->b->r->cold->stopping) {
        behind_end(j);
        return false;
    }
    *req = (struct archive_req){.done = done, .ctx = j, .patience_ms = ARCHIVE_PATIENCE_MS};
    return true;
}

/* --- The archive's own rows --------------------------------------------------------------------------------------- */

static void told(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    (void)r;
    (void)status; /* what it was not told it is told next time */
    (void)reply;
    behind_end(CONTAINER_OF(c, struct job, call));
}

static void drop_done(void *ctx, struct archive_req *req)
{
    struct job *j = ctx;
    if (req->status != ARCHIVE_OK || j->b->r->cold->stopping) {
        behind_end(j); /* `first` stays: what is left is found by it */
        return;
    }
    if (!j->ask.drop.more) {
        behind_tell(j, false, 0, told);
        return;
    }
    if (ask_begin(j, &j->ask.drop.req, drop_done))
        archive_drop(j->b->r->cold->archive, &j->ask.drop);
}

/* The archive's first row that shows is known: those before it are dropped. */
static void oldest_done(void *ctx, struct archive_req *req)
{
    struct job *j = ctx;
    struct archive_oldest o = j->ask.oldest;
    struct layout_rule rule;
    if (req->status != ARCHIVE_OK || j->b->r->cold->stopping) {
        behind_end(j);
        return;
    }
    rule_get(j->b->r, &rule);
    j->gone = o.seq ? o.seq : j->head.archived + 1;
    if (o.seq && o.ttl_ms)
        j->look_ms = o.birth_ms + o.ttl_ms;
    else if (o.seq && o.tier < TIER_COUNT && rule.born[o.tier])
        j->look_ms = o.birth_ms + rule.now_ms - rule.born[o.tier] + 1;
    if (j->gone <= j->head.first) {
        behind_tell(j, false, 0, told);
        return;
    }
    j->ask.drop = (struct archive_drop){.conv = conv_key_slice(&j->key), .below = j->gone};
    if (ask_begin(j, &j->ask.drop.req, drop_done))
        archive_drop(j->b->r->cold->archive, &j->ask.drop);
}

static void oldest_ask(struct job *j)
{
    struct layout_rule rule;
    struct layout_head view = j->head;
    if (!j->head.first || j->head.first > j->head.archived) {
        behind_end(j);
        return;
    }
    rule_get(j->b->r, &rule);
    view.low = j->head.first - 1;
    j->ask.oldest = (struct archive_oldest){
        .conv = conv_key_slice(&j->key), .from = rule_low(&rule, &view, TIER_DM) + 1, .now_ms = rule.now_ms};
    memcpy(j->ask.oldest.born_ms, rule.born, sizeof j->ask.oldest.born_ms);
    if (ask_begin(j, &j->ask.oldest.req, oldest_done))
        archive_oldest(j->b->r->cold->archive, &j->ask.oldest);
}

/* --- Redis's rows ------------------------------------------------------------------------------------------------- */

static void trimmed(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct job *j = CONTAINER_OF(c, struct job, call);
    struct reply_in in = status == STORE_OK ? reply_in(reply) : (struct reply_in){.bad = true};
    uint8_t code = reply_u8(&in);
    (void)reply_u48(&in); /* low */
    (void)reply_u48(&in); /* seq */
    bool again = reply_u8(&in);
    if (code != 'N' || !reply_ok(&in) || r->cold->stopping)
        behind_end(j);
    else if (again && ++j->pages < PAGES_MAX)
        behind_read(j, rows_read);
    else
        oldest_ask(j);
}

/* Rows go that have ended and, with `leave`, those that are in the archive and neither new nor young. */
static void trim(struct job *j, bool leave)
{
    struct redis *r = j->b->r;
    struct slice conv = conv_key_slice(&j->key);
    if (r->cold->stopping) {
        behind_end(j);
        return;
    }
    sweep_trim(r, &j->call, conv);
    if (leave) {
        call_arg_u64(&j->call, r->options.cluster.archive.hot);
        call_arg_u64(&j->call, j->warm_ms);
    }
    j->call.done = trimmed;
    call_post(r, &j->call);
}

static void put_done(void *ctx, struct archive_req *req)
{
    trim(ctx, req->status == ARCHIVE_OK);
}

/* The archive's rows came: those that it lacks, or has in an older state, go there once more. */
static void range_done(void *ctx, struct archive_req *req)
{
    struct job *j = ctx;
    const struct archive_range *range = &j->ask.range;
    uint32_t lacks = 0, at = 0;
    if (req->status != ARCHIVE_OK) {
        trim(j, false);
        return;
    }
    for (uint32_t i = 0; i < j->n; i++) {
        while (at < range->n && range->rows[at].seq < j->rows[i].seq)
            at++;
        const struct archive_row *has =
            at < range->n && range->rows[at].seq == j->rows[i].seq ? &range->rows[at] : NULL;
        bool right = has && (has->id > j->rows[i].id || (has->id == j->rows[i].id && has->rev >= j->rows[i].rev));
        if (!right)
            j->rows[lacks++] = j->rows[i];
    }
    if (!lacks) {
        trim(j, true);
        return;
    }
    log_event(LOG_WARN, "cluster.archive_lacked", LOG_SLICE("conversation", conv_key_slice(&j->key)),
              LOG_INT("rows", lacks));
    struct archive_put put = {.rows = j->rows, .n = lacks};
    j->ask.put = put;
    if (ask_begin(j, &j->ask.put.req, put_done))
        archive_put(j->b->r->cold->archive, &j->ask.put);
}

/* Takes the rows that are about to leave. */
static int leaving_take(struct job *j, const struct layout_rule *rule, uint64_t from, const struct reply *reply)
{
    uint32_t hot = j->b->r->options.cluster.archive.hot;
    uint64_t cold = j->head.seq > hot ? j->head.seq - hot : 0;
    cold = cold < j->head.archived ? cold : j->head.archived;
    size_t at[JOB_ROWS];
    j->n = 0;
    buf_reset(&j->bytes);
    for (uint32_t i = 1; i < reply->n && i <= JOB_ROWS && from + i - 1 <= cold; i++) {
        struct layout_record m;
        struct slice record = reply->list[i].text;
        if (reply->list[i].type != REPLY_STRING)
            continue;
        if (layout_record(record, &m))
            return ERR_INVALID;
        if (m.birth_ms >= j->warm_ms || !rule_shows(rule, &j->head, from + i - 1, &m))
            continue;
        at[j->n] = j->bytes.n;
        j->rows[j->n].seq = from + i - 1;
        j->rows[j->n++].content.n = record.n;
        buf_slice_put(&j->bytes, record);
    }
    if (!buf_ok(&j->bytes))
        return ERR_NOMEM;
    int e = 0;
    for (uint32_t i = 0; !e && i < j->n; i++)
        e = cold_row(&j->rows[i], conv_key_slice(&j->key), j->rows[i].seq,
                     slice_of(j->bytes.p + at[i], j->rows[i].content.n));
    return e;
}

static void rows_read(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct job *j = CONTAINER_OF(c, struct job, call);
    struct layout_rule rule;
    uint64_t from = 0;
    int e = status == STORE_OK && !r->cold->stopping ? behind_head(j, reply, &from) : ERR_AGAIN;
    rule_get(r, &rule);
    uint64_t age = r->options.cluster.archive.hot_age_ms;
    j->warm_ms = rule.now_ms > age ? rule.now_ms - age : 0;
    e = e ? e : leaving_take(j, &rule, from, reply);
    if (e == ERR_NOTFOUND) { /* which trim tidies up */
        trim(j, false);
        return;
    }
    if (e) {
        if (e == ERR_INVALID)
            log_event(LOG_ERROR, "cluster.bad_record", LOG_SLICE("conversation", conv_key_slice(&j->key)));
        behind_end(j);
        return;
    }
    if (!j->n) {
        trim(j, true);
        return;
    }
    j->ask.range = (struct archive_range){
        .conv = conv_key_slice(&j->key), .from = j->rows[0].seq, .to = j->rows[j->n - 1].seq, .limit = JOB_ROWS};
    if (ask_begin(j, &j->ask.range.req, range_done))
        archive_range(r->cold->archive, &j->ask.range);
}

void behind_leave(struct job *j)
{
    j->rows = calloc(JOB_ROWS, sizeof *j->rows);
    if (j->rows)
        behind_read(j, rows_read);
    else
        behind_end(j);
}
