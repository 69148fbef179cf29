#include "storage/archive/link.h"

#include "core/base/clock.h"
#include "core/base/container.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "core/base/random.h"
#include "storage/archive/sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SENT_MAX = 64,            /* statements in the pipeline */
    SENT_BYTES_MAX = 8 << 20, /* of their rows */
    WAITING_MAX = 4096,       /* requests; more are answered at once: nobody can want to wait behind so many */
    PAUSE_FIRST_MS = 100,     /* between two tries to connect; doubles */
    FAILED_AGAIN_MS = 60000,  /* between two lines about failures of one kind */
    LOSSES_MAX = 3            /* a statement that ends so many connections is given up, for now */
};
static const double tick_s = 0.1;

/* --- Lists -------------------------------------------------------------------------------------------------------- */

static void steps_init(struct link_steps *s)
{
    *s = (struct link_steps){NULL, &s->head, 0};
}

static void steps_push(struct link_steps *s, struct link_step *step)
{
    step->next = NULL;
    *s->tail = step;
    s->tail = &step->next;
    s->n++;
}

static void steps_push_front(struct link_steps *s, struct link_step *step)
{
    step->next = s->head;
    if (!s->head)
        s->tail = &step->next;
    s->head = step;
    s->n++;
}

static struct link_step *steps_pop(struct link_steps *s)
{
    struct link_step *step = s->head;
    s->head = step->next;
    if (!s->head)
        s->tail = &s->head;
    s->n--;
    return step;
}

/* Moves all of `from` behind those of `to`. */
static void steps_move(struct link_steps *to, struct link_steps *from)
{
    while (from->n)
        steps_push(to, steps_pop(from));
}

/* --- Answers ------------------------------------------------------------------------------------------------------ */

static void answer(struct pg_link *l, struct archive_req *req)
{
    struct archive_stats *st = &l->notes->stats;
    st->requests++;
    st->waiting--;
    if (req->status == ARCHIVE_AWAY)
        st->failed++;
    if (req->kind == ARCHIVE_PUT && req->status == ARCHIVE_OK)
        latency_add(&l->notes->put_latency, (clock_mono_ms() - req->since_ms) * 1000);
    req->done(req->ctx, req);
}

/* A statement has ended. The request has the worst of its statements' results, and is answered with the last one. */
static void step_end(struct pg_link *l, struct link_step *step, enum archive_status status)
{
    struct archive_req *req = step->req;
    free(step);
    if (!req)
        return;
    if (req->status != ARCHIVE_AWAY && status != ARCHIVE_OK)
        req->status = status;
    if (--req->parts == 0)
        answer(l, req);
}

static struct link_step *step_new(struct archive_req *req, uint32_t from, uint32_t n)
{
    struct link_step *step = calloc(1, sizeof *step);
    if (!step)
        return NULL;
    *step = (struct link_step){.req = req, .kind = req->kind, .from = from, .n = n};
    req->parts++;
    return step;
}

static uint64_t deadline(const struct archive_req *req)
{
    return req->since_ms + req->patience_ms;
}

static size_t step_bytes(const struct link_step *step)
{
    if (step->kind != ARCHIVE_PUT)
        return 0;
    size_t bytes = 0;
    for (uint32_t i = 0; i < step->n; i++)
        bytes += ((const struct archive_put *)step->req)->rows[step->from + i].content.n;
    return bytes;
}

/* Half of its rows go into a statement of their own, both to be sent before all others. */
static bool halve(struct pg_link *l, struct link_step *step)
{
    uint32_t half = step->n / 2;
    struct link_step *second = step->n > 1 ? step_new(step->req, step->from + half, step->n - half) : NULL;
    if (!second)
        return false;
    step->n = half;
    step->losses = 0;
    steps_push_front(&l->waiting, second);
    steps_push_front(&l->waiting, step);
    return true;
}

/* --- The log ------------------------------------------------------------------------------------------------------ */

/* Says why there is no connection, each reason once until there is one again. */
static void tell_away(struct pg_link *l, const char *why)
{
    struct pg_notes *n = l->notes;
    uint64_t hash = hash_stable(slice_str(why));
    (void)snprintf(n->away, sizeof n->away, "%s", why);
    for (unsigned i = 0; i < n->told_n; i++)
        if (n->told[i] == hash)
            return;
    if (n->told_n == NOTES_TOLD)
        return;
    n->told[n->told_n++] = hash;
    log_event(LOG_WARN, "archive.away", LOG_STR("why", why));
}

static void tell_connected(struct pg_link *l)
{
    struct pg_notes *n = l->notes;
    if (n->connected < n->links)
        return;
    n->away[0] = '\0';
    n->told_n = 0;
    int version = PQserverVersion(l->conn);
    char text[24];
    (void)snprintf(text, sizeof text, "%d.%d", version / 10000, version % 10000);
    log_event(LOG_INFO, "archive.connected", LOG_STR("host", PQhost(l->conn)), LOG_STR("database", PQdb(l->conn)),
              LOG_STR("postgresql", text));
}

static const char *said(const PGresult *res)
{
    const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    return text ? text : "no answer";
}

/* Says why requests of a kind fail, once a minute: a full disk names another file each time, and some go well in
 * between. The database's DETAIL is left out: it may quote messages. */
static void tell_failed(struct pg_link *l, const struct link_step *step, const PGresult *res)
{
    static const char *const kinds[ARCHIVE_KINDS] = {"put", "range", "change", "drop", "oldest", "heads"};
    struct pg_failed *f = &l->notes->failed[step->kind];
    const char *found = PQresultErrorField(res, PG_DIAG_SQLSTATE), *state = found ? found : "";
    uint64_t now = clock_mono_ms();
    (void)snprintf(f->why, sizeof f->why, "%s", said(res));
    f->ms = now;
    f->well = false;
    if (f->told_ms && strcmp(f->state, state) == 0 && now - f->told_ms < FAILED_AGAIN_MS)
        return;
    (void)snprintf(f->state, sizeof f->state, "%s", state);
    f->told_ms = now;
    log_event(LOG_WARN, "archive.failed", LOG_STR("request", kinds[step->kind]), LOG_STR("why", said(res)),
              LOG_STR("sqlstate", state));
}

static void tell_refused(const struct link_step *step, const PGresult *res)
{
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const struct archive_put *p = (const struct archive_put *)step->req;
    struct slice conv = step->kind == ARCHIVE_PUT ? p->rows[step->from].conv : SLICE_NONE;
    uint64_t seq = step->kind == ARCHIVE_PUT ? p->rows[step->from].seq : 0;
    log_event(LOG_ERROR, "archive.refused", LOG_SLICE("conversation", conv), LOG_INT("seq", seq),
              LOG_STR("why", said(res)), LOG_STR("sqlstate", state ? state : ""));
}

/* --- The connection ----------------------------------------------------------------------------------------------- */

static void pump(struct pg_link *l);

/* Asks for events: always what comes, and when there is room while something waits to go out. */
static void listen_for(struct pg_link *l, bool write)
{
    int events = EV_READ | (write ? EV_WRITE : 0);
    if (l->asked == events)
        return;
    ev_io_stop(l->loop, &l->io);
    ev_io_set(&l->io, PQsocket(l->conn), events);
    ev_io_start(l->loop, &l->io);
    l->asked = events;
}

static void arm(struct pg_link *l, struct ev_timer *t, double after)
{
    ev_timer_stop(l->loop, t);
    ev_timer_set(t, after, 0);
    ev_timer_start(l->loop, t);
}

static uint32_t first_pause(const struct pg_link *l)
{
    return l->reconnect_ms < PAUSE_FIRST_MS ? l->reconnect_ms : PAUSE_FIRST_MS;
}

static void dial_later(struct pg_link *l)
{
    uint32_t pause = l->pause_ms / 2 + random_below(l->pause_ms / 2 + 1); /* servers do not come all at once */
    l->pause_ms = l->pause_ms * 2 < l->reconnect_ms ? l->pause_ms * 2 : l->reconnect_ms;
    arm(l, &l->again, pause / 1e3);
}

/* Puts what had no answer back in front, but for what was answered meanwhile. The first may be what ends the
 * connections. */
static void send_again(struct pg_link *l)
{
    struct link_step *first = l->sent.head;
    struct link_steps all;
    steps_init(&all);
    for (struct link_steps *from = &l->sent; from; from = from == &l->sent ? &l->waiting : NULL)
        while (from->n) {
            struct link_step *step = steps_pop(from);
            if (step->req)
                steps_push(&all, step);
            else
                free(step);
        }
    steps_move(&l->waiting, &all);
    l->sent_bytes = 0;
    if (!first || l->waiting.head != first || ++first->losses < LOSSES_MAX)
        return;
    (void)steps_pop(&l->waiting);
    if (!halve(l, first))
        step_end(l, first, ARCHIVE_AWAY);
}

static void lose(struct pg_link *l, const char *why)
{
    char line[DIAL_WHY];
    (void)snprintf(line, sizeof line, "%.*s", (int)strcspn(why, "\n"), why);
    ev_io_stop(l->loop, &l->io);
    l->asked = 0;
    PQfinish(l->conn);
    l->conn = NULL;
    l->notes->connected--;
    l->away_since_ms = clock_mono_ms();
    tell_away(l, line);
    dial_later(l);
    send_again(l);
}

static void on_again(struct ev_loop *loop, struct ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    struct pg_link *l = CONTAINER_OF(w, struct pg_link, again);
    l->dialling = dial_begin(&l->dial, l->loop, &l->wake);
    if (!l->dialling) {
        tell_away(l, "out of memory or threads");
        dial_later(l);
    }
}

static void on_wake(struct ev_loop *loop, struct ev_async *w, int events)
{
    (void)loop;
    (void)events;
    struct pg_link *l = CONTAINER_OF(w, struct pg_link, wake);
    char why[DIAL_WHY];
    if (!l->dialling || dial_take(l->dialling, &l->conn, why) != 0)
        return;
    l->dialling = NULL;
    if (!l->conn) {
        tell_away(l, why);
        dial_later(l);
        return;
    }
    l->away_since_ms = 0;
    l->notes->connected++;
    tell_connected(l);
    listen_for(l, false);
    pump(l);
}

/* --- Sending ------------------------------------------------------------------------------------------------------ */

static int send_step(struct pg_link *l, const struct link_step *step)
{
    int code = step->kind == ARCHIVE_PUT
                   ? sql_send_put(l->conn, (const struct archive_put *)step->req, step->from, step->n)
                   : sql_send(l->conn, step->req);
    return code != 0 ? code : PQpipelineSync(l->conn) ? 0 : ERR_IO;
}

static void flush(struct pg_link *l)
{
    int left = PQflush(l->conn);
    if (left < 0)
        lose(l, PQerrorMessage(l->conn));
    else
        listen_for(l, left == 1);
}

/* Sends what waits, as far as the pipeline may have it. */
static void pump(struct pg_link *l)
{
    if (!l->conn)
        return;
    while (l->waiting.n && l->sent.n < SENT_MAX && l->sent_bytes < SENT_BYTES_MAX) {
        struct link_step *step = steps_pop(&l->waiting);
        int code = send_step(l, step);
        if (code == ERR_NOMEM) {
            step_end(l, step, ARCHIVE_AWAY);
            continue;
        }
        if (!l->sent.n)
            l->head_since_ms = clock_mono_ms();
        steps_push(&l->sent, step);
        l->sent_bytes += step_bytes(step);
        if (code != 0) {
            lose(l, PQerrorMessage(l->conn));
            return;
        }
    }
    flush(l);
}

static void ready_pop(struct pg_link *l)
{
    while (l->ready) {
        struct archive_req *req = l->ready;
        l->ready = req->next;
        answer(l, req);
    }
}

static void on_turn(struct ev_loop *loop, struct ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    struct pg_link *l = CONTAINER_OF(w, struct pg_link, turn);
    ready_pop(l);
    pump(l);
}

/* Makes the statements of a request, in front of nobody. False: no memory, and none was made. */
static bool plan(struct pg_link *l, struct archive_req *req)
{
    struct link_steps steps;
    steps_init(&steps);
    uint32_t total = req->kind == ARCHIVE_PUT ? ((struct archive_put *)req)->n : 1;
    for (uint32_t from = 0, n; from < total; from += n) {
        n = req->kind == ARCHIVE_PUT ? sql_put_run((struct archive_put *)req, from) : 1;
        struct link_step *step = step_new(req, from, n);
        if (!step) {
            while (steps.n)
                free(steps_pop(&steps));
            req->parts = 0;
            return false;
        }
        steps_push(&steps, step);
    }
    while (steps.n)
        steps_push(&l->waiting, steps_pop(&steps));
    return true;
}

void link_post(struct pg_link *l, struct archive_req *req)
{
    l->notes->stats.waiting++;
    if ((!l->conn && req->patience_ms == 0) || l->waiting.n >= WAITING_MAX || !plan(l, req)) {
        req->status = ARCHIVE_AWAY;
        struct archive_req **end = &l->ready;
        while (*end)
            end = &(*end)->next;
        *end = req;
    }
    if (!ev_is_active(&l->turn))
        arm(l, &l->turn, 0);
    if (!ev_is_active(&l->tick))
        ev_timer_again(l->loop, &l->tick);
}

/* --- Receiving ---------------------------------------------------------------------------------------------------- */

/* The first statement's result is an error. False: the connection is given up. */
static bool failed(struct pg_link *l, const PGresult *res)
{
    enum sql_verdict verdict = sql_verdict(res);
    struct link_step *step = l->sent.head;
    if (verdict == SQL_LOST) {
        lose(l, said(res));
        return false;
    }
    l->sent_bytes -= step_bytes(step);
    (void)steps_pop(&l->sent);
    if ((verdict == SQL_SLOW || verdict == SQL_NEVER) && halve(l, step))
        return true;
    if (verdict == SQL_NEVER) {
        tell_refused(step, res);
        if (step->kind == ARCHIVE_PUT)
            ((struct archive_put *)step->req)->rows[step->from].refused = true;
        step_end(l, step, ARCHIVE_REFUSED);
        return true;
    }
    tell_failed(l, step, res);
    step_end(l, step, ARCHIVE_AWAY);
    if (verdict == SQL_SETUP)
        lose(l, said(res));
    return verdict != SQL_SETUP;
}

static void count(struct pg_link *l, const struct link_step *step)
{
    struct archive_stats *st = &l->notes->stats;
    const struct archive_req *req = step->req;
    if (req->kind == ARCHIVE_PUT)
        st->put += step->n;
    else if (req->kind == ARCHIVE_RANGE)
        st->read += ((const struct archive_range *)req)->n;
    else if (req->kind == ARCHIVE_CHANGE)
        st->changed++;
}

static void went_well(struct pg_link *l, const PGresult *res)
{
    struct link_step *step = l->sent.head;
    void *rows = NULL;
    l->sent_bytes -= step_bytes(step);
    (void)steps_pop(&l->sent);
    l->pause_ms = first_pause(l);
    l->notes->failed[step->kind].well = true;
    enum archive_status status = step->req ? sql_read(res, step->req, &rows) : ARCHIVE_OK;
    if (status == ARCHIVE_REFUSED)
        tell_refused(step, res);
    else if (step->req && status == ARCHIVE_OK)
        count(l, step);
    step_end(l, step, status);
    free(rows);
}

/* Takes one result. False: the connection is given up. */
static bool take(struct pg_link *l, const PGresult *res)
{
    ExecStatusType status = PQresultStatus(res);
    if (status == PGRES_PIPELINE_SYNC)
        return true;
    if (!l->sent.n || (status != PGRES_FATAL_ERROR && !sql_went_well(res, l->sent.head->kind))) {
        lose(l, PQstatus(l->conn) == CONNECTION_BAD ? PQerrorMessage(l->conn) : "it answers what was not asked");
        return false;
    }
    l->head_since_ms = clock_mono_ms();
    if (status == PGRES_FATAL_ERROR)
        return failed(l, res);
    went_well(l, res);
    return true;
}

static void receive(struct pg_link *l)
{
    if (!PQconsumeInput(l->conn)) {
        lose(l, PQerrorMessage(l->conn));
        return;
    }
    /* Each statement gives a result, NULL, and its Sync. Two NULLs in a row: nothing more has come. */
    for (unsigned nulls = 0; nulls < 2 && !PQisBusy(l->conn);) {
        PGresult *res = PQgetResult(l->conn);
        nulls = res ? 0 : nulls + 1;
        bool goes_on = !res || take(l, res);
        PQclear(res);
        if (!goes_on)
            return;
    }
    if (PQstatus(l->conn) == CONNECTION_BAD)
        lose(l, PQerrorMessage(l->conn));
}

static void on_io(struct ev_loop *loop, struct ev_io *w, int events)
{
    (void)loop;
    struct pg_link *l = CONTAINER_OF(w, struct pg_link, io);
    if (events & EV_READ)
        receive(l);
    pump(l);
}

/* --- Patience ----------------------------------------------------------------------------------------------------- */

/* Answers those that have waited too long, before they were sent or, where somebody waits for rows, after it. `done`
 * may hand over more meanwhile. */
static void expire(struct pg_link *l, uint64_t now)
{
    struct link_steps late, keep;
    steps_init(&late);
    steps_init(&keep);
    while (l->waiting.n) {
        struct link_step *step = steps_pop(&l->waiting);
        steps_push(now >= deadline(step->req) ? &late : &keep, step);
    }
    steps_move(&l->waiting, &keep);
    while (late.n)
        step_end(l, steps_pop(&late), ARCHIVE_AWAY);
    for (struct link_step *step = l->sent.head; step; step = step->next) {
        struct archive_req *req = step->req;
        if (!req || req->kind == ARCHIVE_PUT || req->kind == ARCHIVE_DROP || now < deadline(req))
            continue;
        step->req = NULL;
        req->status = ARCHIVE_AWAY;
        answer(l, req);
    }
}

static void on_tick(struct ev_loop *loop, struct ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    struct pg_link *l = CONTAINER_OF(w, struct pg_link, tick);
    uint64_t now = clock_mono_ms();
    uint64_t silence = l->dial.timeout_ms + l->dial.timeout_ms / 2; /* the database would have given up before */
    if (l->sent.n && now - l->head_since_ms > silence)
        lose(l, "it has stopped answering");
    expire(l, now);
    if (!l->waiting.n && !l->sent.n && !l->ready)
        ev_timer_stop(l->loop, &l->tick);
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

void link_init(struct pg_link *l, struct ev_loop *loop, struct pg_notes *notes, const struct dial_options *dial,
               uint32_t reconnect_ms)
{
    *l = (struct pg_link){.loop = loop, .notes = notes, .dial = *dial, .reconnect_ms = reconnect_ms};
    l->pause_ms = first_pause(l);
    l->away_since_ms = clock_mono_ms();
    steps_init(&l->waiting);
    steps_init(&l->sent);
    ev_io_init(&l->io, on_io, -1, 0);
    ev_async_init(&l->wake, on_wake);
    ev_timer_init(&l->again, on_again, 0, 0);
    ev_timer_init(&l->tick, on_tick, 0, tick_s);
    ev_timer_init(&l->turn, on_turn, 0, 0);
    ev_async_start(loop, &l->wake);
    ev_timer_start(loop, &l->again);
}

void link_fini(struct pg_link *l)
{
    ev_io_stop(l->loop, &l->io);
    ev_timer_stop(l->loop, &l->again);
    ev_timer_stop(l->loop, &l->tick);
    ev_timer_stop(l->loop, &l->turn);
    if (l->dialling)
        dial_abandon(l->dialling);
    ev_async_stop(l->loop, &l->wake);
    if (l->conn)
        PQfinish(l->conn);
    l->conn = NULL;
    ready_pop(l);
    while (l->sent.n)
        step_end(l, steps_pop(&l->sent), ARCHIVE_AWAY);
    while (l->waiting.n)
        step_end(l, steps_pop(&l->waiting), ARCHIVE_AWAY);
}
