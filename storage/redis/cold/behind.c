#include "storage/redis/cold/behind.h"

#include "core/base/clock.h"
#include "core/base/container.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "storage/redis/cold/behind_private.h"
#include "storage/redis/cold/cold.h"
#include "storage/redis/cold/cold_block.h"
#include "storage/redis/nodes/time.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/rule.h"
#include "storage/redis/task.h"

#include <stdlib.h>
#include <string.h>

/* --- Jobs --------------------------------------------------------------------------------------------------------- */

static uint64_t job_hash(void *ctx, uint32_t index)
{
    return hash_bytes(conv_key_slice(&((struct behind *)ctx)->jobs[index]->key));
}

static bool job_matches(void *ctx, uint32_t index, const void *key)
{
    return slice_eq(conv_key_slice(&((struct behind *)ctx)->jobs[index]->key), *(const struct slice *)key);
}

/* A job for a conversation; NULL: it has one, or there is no room for more now. */
static struct job *job_new(struct redis *r, unsigned part, struct slice conv)
{
    struct behind *b = r->cold ? r->cold->behind : NULL;
    if (!b || r->cold->stopping || !b->free_n || b->bytes > BYTES_MAX || conv.n > CONV_KEY_MAX ||
        table_find(&b->table, hash_bytes(conv), &conv) != TABLE_NONE)
        return NULL;
    struct job *j = calloc(1, sizeof *j);
    if (!j)
        return NULL;
    j->b = b;
    j->part = (uint16_t)part;
    j->key.n = (uint8_t)conv.n;
    memcpy(j->key.p, conv.p, conv.n);
    j->index = b->free[b->free_n - 1];
    b->jobs[j->index] = j;
    if (table_add(&b->table, hash_bytes(conv), j->index) != 0) {
        free(j);
        return NULL;
    }
    b->free_n--;
    return j;
}

void behind_end(struct job *j)
{
    struct behind *b = j->b;
    (void)table_remove(&b->table, hash_bytes(conv_key_slice(&j->key)), j->index);
    b->free[b->free_n++] = j->index;
    buf_free(&j->bytes);
    free(j->rows);
    free(j);
}

void behind_read(struct job *j, void (*done)(struct redis *, struct call *, enum store_status, const struct reply *))
{
    struct redis *r = j->b->r;
    char args[3] = {(char)j->leave, 0, JOB_ROWS};
    call_begin(r, &j->call, FN_WAITING, j->part);
    call_key(r, &j->call, 'm', conv_key_slice(&j->key));
    call_arg(&j->call, slice_of(args, sizeof args));
    j->call.done = done;
    call_post(r, &j->call);
}

int behind_head(struct job *j, const struct reply *reply, uint64_t *from)
{
    if (reply->type != REPLY_LIST || !reply->n)
        return ERR_INVALID;
    struct reply_in in = reply_in(reply->list);
    uint8_t code = reply_u8(&in);
    *from = reply_u48(&in);
    if (code == 'X')
        return ERR_NOTFOUND;
    if (!reply_ok(&in) || code != 'N' || layout_head(reply_rest(&in), &j->head))
        return ERR_INVALID;
    j->to = *from + reply->n - 2;
    return 0;
}

void behind_tell(struct job *j, bool checked, uint64_t archived,
                 void (*done)(struct redis *, struct call *, enum store_status, const struct reply *))
{
    struct redis *r = j->b->r;
    struct slice conv = conv_key_slice(&j->key);
    char args[1 + 6 + 6 + 4 + 4 + 6 + 6 + 6];
    args[0] = checked;
    layout_put48(args + 1, archived);
    layout_put48(args + 7, j->gone);
    store_be32(args + 13, j->head.edits);
    store_be32(args + 17, r->options.cluster.archive.hot);
    layout_put48(args + 21, r->options.cluster.archive.hot_age_ms);
    layout_put48(args + 27, j->look_ms);
    layout_put48(args + 33, expiry_now(time_expiry(r)));
    call_begin(r, &j->call, FN_ARCHIVED, j->part);
    call_key(r, &j->call, 'm', conv);
    call_key(r, &j->call, 'e', SLICE_NONE);
    call_key(r, &j->call, 'A', SLICE_NONE);
    call_arg(&j->call, slice_of(args, sizeof args));
    call_arg(&j->call, conv);
    j->call.about = task_about(conv);
    j->call.done = done;
    call_post(r, &j->call);
}

/* --- What is held back -------------------------------------------------------------------------------------------- */

/* The place of a conversation among those of which a row was refused. Two may want the same: one is tried sooner. */
static struct held *held_at(struct behind *b, struct slice conv)
{
    return &b->held[hash_bytes(conv) % HELD_MAX];
}

static void hold(struct job *j)
{
    struct slice conv = conv_key_slice(&j->key);
    *held_at(j->b, conv) = (struct held){hash_bytes(conv), j->b->r->turn_ms + HELD_MS};
}

static bool is_held(struct behind *b, struct slice conv)
{
    const struct held *h = held_at(b, conv);
    return h->hash == hash_bytes(conv) && b->r->turn_ms < h->until_ms;
}

/* --- Told --------------------------------------------------------------------------------------------------------- */

static void rows_read(struct redis *r, struct call *c, enum store_status status, const struct reply *reply);

static void read_rows(struct job *j)
{
    j->b->reading++;
    behind_read(j, rows_read);
}

static void told(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct job *j = CONTAINER_OF(c, struct job, call);
    struct reply_in in = status == STORE_OK ? reply_in(reply) : (struct reply_in){.bad = true};
    uint8_t code = reply_u8(&in);
    bool more = code == 'N' && j->to < j->head.seq;
    if (r->cold->stopping || (code != 'D' && !more) || (code == 'D' && ++j->tries == JOB_TRIES))
        behind_end(j);
    else
        read_rows(j);
}

/* --- Batches ------------------------------------------------------------------------------------------------------ */

static void batch_free(struct batch *t)
{
    t->b->bytes -= t->bytes.n;
    buf_free(&t->bytes);
    free(t);
}

/* The database has refused a row of this conversation: those before it are archived, and it waits. */
static void job_refused(struct job *j, const struct archive_row *rows)
{
    uint64_t archived = 0;
    for (uint32_t i = 0; i < j->n && !archived; i++)
        if (rows[i].refused)
            archived = rows[i].seq - 1;
    if (archived)
        hold(j);
    else
        archived = j->to;
    j->to = j->head.seq; /* no further now */
    behind_tell(j, true, archived, told);
}

static void put_done(void *ctx, struct archive_req *req)
{
    struct batch *t = ctx;
    bool stopping = t->b->r->cold->stopping;
    for (struct job *j = t->jobs, *next; j; j = next) {
        next = j->next;
        j->gone = j->head.first ? 0 : t->rows[j->from].seq; /* else the first one of all stays */
        if (stopping || req->status == ARCHIVE_AWAY)
            behind_end(j); /* it waits still, and the next sweep finds it */
        else if (req->status == ARCHIVE_REFUSED)
            job_refused(j, &t->rows[j->from]);
        else
            behind_tell(j, true, j->to, told);
    }
    batch_free(t);
}

/* Ends a batch that cannot be sent. */
static void batch_drop(struct batch *t)
{
    for (struct job *j = t->jobs, *next; j; j = next) {
        next = j->next;
        behind_end(j);
    }
    batch_free(t);
}

/* Rows were kept as records, by offsets: now they are rows. */
static int batch_make(struct batch *t)
{
    for (const struct job *j = t->jobs; j; j = j->next)
        for (uint32_t i = j->from; i < j->from + j->n; i++) {
            struct archive_row *row = &t->rows[i];
            struct slice record = slice_of(t->bytes.p + (uintptr_t)row->id, row->content.n);
            int e = cold_row(row, conv_key_slice(&j->key), row->seq, record);
            if (e)
                return e;
        }
    return 0;
}

static void batch_send(struct behind *b)
{
    struct batch *t = b->open;
    b->open = NULL;
    ev_timer_stop(b->r->loop, &b->flush);
    if (!t)
        return;
    if (b->r->cold->stopping || !t->put.n || !buf_ok(&t->bytes) || batch_make(t) != 0) {
        batch_drop(t);
        return;
    }
    t->put.req = (struct archive_req){.done = put_done, .ctx = t, .patience_ms = ARCHIVE_PATIENCE_MS};
    t->put.rows = t->rows;
    archive_put(b->r->cold->archive, &t->put);
}

static void on_flush(struct ev_loop *loop, struct ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    batch_send(CONTAINER_OF(w, struct behind, flush));
}

/* The batch that has room for the rows of one more conversation; NULL: out of memory. */
static struct batch *batch_open(struct behind *b)
{
    if (b->open && (b->open->put.n + JOB_ROWS > ARCHIVE_ROWS_MAX || b->open->bytes.n > BATCH_BYTES))
        batch_send(b);
    if (!b->open) {
        b->open = calloc(1, sizeof *b->open);
        if (b->open)
            b->open->b = b;
    }
    return b->open;
}

/* Adds a row that shows. What has ended need not be kept for ever. */
static int batch_add(struct batch *t, struct job *j, const struct layout_rule *rule, uint64_t seq, struct slice record)
{
    struct layout_record m;
    int e = layout_record(record, &m);
    if (e || !rule_shows(rule, &j->head, seq, &m))
        return e;
    struct archive_row *row = &t->rows[t->put.n++];
    row->seq = seq;
    row->id = t->bytes.n;
    row->content.n = record.n;
    j->n++;
    buf_slice_put(&t->bytes, record);
    if (!buf_ok(&t->bytes))
        return ERR_NOMEM;
    t->b->bytes += record.n;
    return 0;
}

static int rows_take(struct job *j, const struct reply *reply)
{
    struct behind *b = j->b;
    struct layout_rule rule;
    uint64_t from = 0;
    int e = behind_head(j, reply, &from);
    struct batch *t = e ? NULL : batch_open(b);
    if (!t)
        return e ? e : ERR_NOMEM;
    rule_get(b->r, &rule);
    j->from = t->put.n;
    j->n = 0;
    for (uint32_t i = 1; !e && i < reply->n; i++)
        if (reply->list[i].type == REPLY_STRING)
            e = batch_add(t, j, &rule, from + i - 1, reply->list[i].text);
    if (e) { /* what it has put in goes out again: nothing came behind it */
        t->put.n = j->from;
        return e;
    }
    if (j->n) {
        struct job **end = &t->jobs;
        while (*end)
            end = &(*end)->next;
        j->next = NULL;
        *end = j;
    }
    return 0;
}

static void rows_read(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct job *j = CONTAINER_OF(c, struct job, call);
    struct behind *b = j->b;
    b->reading--;
    int e = status == STORE_OK && !r->cold->stopping ? rows_take(j, reply) : ERR_AGAIN;
    if (e == ERR_INVALID)
        log_event(LOG_ERROR, "cluster.bad_record", LOG_SLICE("conversation", conv_key_slice(&j->key)));
    if (e) {
        if (e == ERR_INVALID)
            hold(j);
        behind_end(j);
    } else if (!j->n) { /* nothing of it is to be kept */
        j->gone = 0;
        behind_tell(j, true, j->to, told);
    }
    if (!b->open || r->cold->stopping)
        return;
    if (!b->reading)
        batch_send(b);
    else if (!ev_is_active(&b->flush)) {
        ev_timer_set(&b->flush, BATCH_MS / 1e3, 0);
        ev_timer_start(r->loop, &b->flush);
    }
}

/* --- What the sweeper tells --------------------------------------------------------------------------------------- */

void behind_found(struct redis *r, unsigned part, struct slice conv)
{
    struct job *j = r->cold && !is_held(r->cold->behind, conv) ? job_new(r, part, conv) : NULL;
    if (j)
        read_rows(j);
}

void behind_due(struct redis *r, unsigned part, struct slice conv)
{
    struct job *j = job_new(r, part, conv);
    if (!j)
        return;
    j->leave = true;
    behind_leave(j);
}

/* Says once that the archive is far behind, and that it is no more. */
static void behind_warn(struct redis *r, struct behind *b)
{
    uint64_t ms = behind_ms(r);
    if (ms >= WARN_MS && !b->warned) {
        struct archive_stats st;
        archive_get_stats(r->cold->archive, &st);
        log_event(LOG_WARN, "cluster.archive_behind", LOG_INT("seconds", ms / 1000), LOG_STR("why", st.why));
        b->warned = true;
    } else if (ms < WARN_MS / 4 && b->warned) {
        log_event(LOG_INFO, "cluster.archive_caught_up", LOG_INT("seconds", ms / 1000));
        b->warned = false;
    }
}

static uint64_t least_of(const struct behind *b)
{
    uint64_t least = 0;
    for (unsigned i = 0; i < PARTITIONS; i++)
        if (b->oldest[i] && (!least || b->oldest[i] < least))
            least = b->oldest[i];
    return least;
}

void behind_swept(struct redis *r, unsigned part, uint64_t oldest_ms)
{
    struct behind *b = r->cold ? r->cold->behind : NULL;
    if (!b || r->cold->stopping)
        return;
    uint64_t least = atomic_load(&b->oldest_all), was = b->oldest[part];
    b->oldest[part] = oldest_ms;
    if (oldest_ms && (!least || oldest_ms <= least))
        least = oldest_ms;
    else if (was == least && was)
        least = least_of(b);
    atomic_store(&b->oldest_all, least);
    behind_warn(r, b);
}

uint64_t behind_ms(struct redis *r)
{
    uint64_t oldest = r->cold ? atomic_load(&r->cold->behind->oldest_all) : 0, now = time_now(r);
    return oldest && now > oldest ? now - oldest : 0;
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

int behind_open(struct redis *r, struct behind **out)
{
    struct behind *b = calloc(1, sizeof *b);
    if (!b || table_init(&b->table, 0, job_hash, job_matches, b) != 0) {
        free(b);
        return ERR_NOMEM;
    }
    b->r = r;
    ev_timer_init(&b->flush, on_flush, 0, 0);
    for (uint32_t i = 0; i < BEHIND_MAX; i++)
        b->free[b->free_n++] = BEHIND_MAX - 1 - i;
    *out = b;
    return 0;
}

void behind_stop(struct behind *b)
{
    if (b->open)
        batch_send(b); /* which drops it */
}

void behind_close(struct behind *b)
{
    if (!b)
        return;
    table_fini(&b->table);
    free(b);
}
