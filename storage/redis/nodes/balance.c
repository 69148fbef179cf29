/* Moving masters apart: see balance.h. */
#include "storage/redis/nodes/balance.h"

#include "core/base/container.h"
#include "core/base/log.h"
#include "storage/engine.h"
#include "storage/redis/io.h"
#include "storage/redis/nodes/balance_plan.h"
#include "storage/redis/nodes/node.h"
#include "storage/redis/redis_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WELL_MS = 10000,    /* so long all must have been well, before anything is moved */
    WANTED_MS = 1000,   /* … when an operator has said so */
    AGAIN_MS = 60000,   /* between two looks that find nothing to be done */
    STEP_MS = 10000,    /* a step that has not come to an end is given up */
    PATIENCE_MS = 30000 /* so long an operator's work waits for all to be well */
};

enum step {
    STEP_NONE,
    STEP_VIEW,    /* a master is asked for the members */
    STEP_CONNECT, /* the replica is connected to */
    STEP_ASK,     /* it is asked whether it is in step */
    STEP_FAIL,    /* it is told to take over */
    STEP_WAIT     /* until it has */
};

struct balance {
    struct redis *r;
    enum step step;
    uint64_t since;      /* of the step, by redis.turn_ms, as all here */
    uint64_t well_since; /* 0: all is not well */
    uint64_t look_at;    /* when to look next */
    struct call call;
    struct link link;
    char replica[41], from[ASK_ADDRESS_MAX], to[ASK_ADDRESS_MAX];
    struct mail *works;   /* an operator's, the first of them under way; owned until answered */
    uint64_t works_since; /* when all was well last while they were under way */
    struct ev_async wake;
    pthread_mutex_t lock;
    struct mail *came; /* under lock: those that are new */
};

static struct cluster_work *work_of(struct mail *m)
{
    return CONTAINER_OF(m, struct cluster_work, op.mail);
}

static void answer(struct redis *r, struct cluster_work *w, enum store_status status)
{
    atomic_fetch_sub_explicit(&r->stats.queue, 1, memory_order_relaxed);
    w->op.status = status;
    store_answer(&w->op);
}

/* --- What an operator wants --------------------------------------------------------------------------------------- */

/* Answers all who wait for balance. why: NULL: it is done. */
static void works_end(struct balance *b, const char *why)
{
    for (struct mail *m = b->works, *next; m; m = next) {
        struct cluster_work *w = work_of(m);
        next = m->next;
        if (why)
            snprintf(w->why, sizeof w->why, "%s", why);
        answer(b->r, w, why ? STORE_RETRY : STORE_OK);
    }
    b->works = NULL;
}

static void buried(struct redis *r, void *ctx, enum store_status status)
{
    struct cluster_work *w = ctx;
    if (status == STORE_NOTFOUND)
        snprintf(w->why, sizeof w->why, "there is no node %u", w->number);
    else if (status == STORE_DENIED)
        snprintf(w->why, sizeof w->why, "node %u is this one", w->number);
    else if (status != STORE_OK)
        snprintf(w->why, sizeof w->why, "the table of nodes cannot be written now");
    answer(r, w, status == STORE_OK || status == STORE_NOTFOUND || status == STORE_DENIED ? status : STORE_RETRY);
}

static void on_wake(struct ev_loop *loop, ev_async *wake, int events)
{
    struct balance *b = CONTAINER_OF(wake, struct balance, wake);
    (void)loop, (void)events;
    pthread_mutex_lock(&b->lock);
    struct mail *m = b->came;
    b->came = NULL;
    pthread_mutex_unlock(&b->lock);
    while (m) {
        struct mail *next = m->next;
        struct cluster_work *w = work_of(m);
        if (w->kind == CLUSTER_BALANCE) {
            b->works_since = b->works ? b->works_since : b->r->turn_ms;
            m->next = b->works;
            b->works = m;
        } else if (node_bury_number(b->r, w->number, buried, w)) {
            snprintf(w->why, sizeof w->why, "another node is being buried: try again");
            answer(b->r, w, STORE_RETRY);
        }
        m = next;
    }
}

void balance_work(struct redis *r, struct cluster_work *w)
{
    struct balance *b = r->balance;
    atomic_fetch_add_explicit(&r->stats.queue, 1, memory_order_relaxed);
    pthread_mutex_lock(&b->lock);
    w->op.mail.next = b->came;
    b->came = &w->op.mail;
    pthread_mutex_unlock(&b->lock);
    ev_async_send(r->loop, &b->wake);
}

/* --- Steps -------------------------------------------------------------------------------------------------------- */

static void step_to(struct balance *b, enum step step)
{
    b->step = step;
    b->since = b->r->turn_ms;
}

/* Nothing more is to be done now. why: NULL: masters are as far apart as they can be. */
static void end(struct balance *b, const char *why)
{
    bool moving = b->step > STEP_VIEW;
    step_to(b, STEP_NONE);
    redis_link_end(&b->link, "a replica was asked to take over");
    b->look_at = b->r->turn_ms + AGAIN_MS;
    if (why && moving)
        log_event(LOG_WARN, "cluster.not_balanced", LOG_STR("from", b->from), LOG_STR("to", b->to),
                  LOG_STR("reason", why));
    works_end(b, why);
}

static void viewed(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct balance *b = r->balance;
    const struct master *m = r->parts[c->part].master;
    struct view view;
    char own[ASK_ADDRESS_MAX];
    if (b->step != STEP_VIEW)
        return;
    char *text = status == STORE_OK && reply->type == REPLY_STRING ? strndup(reply->text.p, reply->text.n) : NULL;
    snprintf(own, sizeof own, "%s:%u", m ? m->host : "", m ? m->port : 0);
    if (!text || view_parse(text, own, &view) != 0) {
        free(text);
        end(b, "no master tells the members of the cluster");
        return;
    }
    free(text);
    const struct view_member *replica = balance_plan(&view);
    struct address at;
    if (!replica) {
        view_free(&view);
        end(b, NULL);
        return;
    }
    snprintf(b->replica, sizeof b->replica, "%s", replica->id);
    snprintf(b->to, sizeof b->to, "%s", replica->address);
    for (unsigned i = 0; i < view.n; i++)
        if (strcmp(view.members[i].id, replica->master) == 0)
            snprintf(b->from, sizeof b->from, "%s", view.members[i].address);
    view_free(&view);
    step_to(b, STEP_CONNECT);
    if (slots_address(slice_str(b->to), &at) != 0) {
        end(b, "its address cannot be read");
        return;
    }
    size_t n = strlen(at.host);
    bool bracketed = n > 2 && at.host[0] == '[';
    if (bracketed)
        at.host[n - 1] = '\0';
    b->link.opened = 0;
    redis_link_open(&b->link, at.host + bracketed, at.port);
}

static void begin(struct redis *r)
{
    static const struct slice words[] = {SLICE_LIT("CLUSTER"), SLICE_LIT("NODES")};
    struct balance *b = r->balance;
    step_to(b, STEP_VIEW);
    call_raw(r, &b->call, 0, false, words, 2);
    b->call.done = viewed;
    call_post(r, &b->call);
}

static void on_ready(struct link *l)
{
    struct balance *b = CONTAINER_OF(l, struct balance, link);
    step_to(b, STEP_ASK);
    resp_command(&l->out, (struct slice[]){SLICE_LIT("INFO"), SLICE_LIT("replication")}, 2);
    redis_link_sent(l, 1);
    redis_link_flush(l);
}

static void on_reply(struct link *l, const struct reply *reply)
{
    struct balance *b = CONTAINER_OF(l, struct balance, link);
    char error[128];
    if (b->step == STEP_ASK) {
        char *info = reply->type == REPLY_STRING ? strndup(reply->text.p, reply->text.n) : NULL;
        bool up = info && strstr(info, "master_link_status:up") && strstr(info, "master_sync_in_progress:0");
        free(info);
        redis_link_forget(l);
        if (!up) {
            end(b, "the replica is not in step");
            return;
        }
        step_to(b, STEP_FAIL);
        resp_command(&l->out, (struct slice[]){SLICE_LIT("CLUSTER"), SLICE_LIT("FAILOVER")}, 2);
        redis_link_sent(l, 1);
        redis_link_flush(l);
        return;
    }
    bool taken = reply->type == REPLY_STATUS;
    snprintf(error, sizeof error, "%.*s", (int)(reply->text.n < 127 ? reply->text.n : 127), reply->text.p);
    redis_link_forget(l);
    if (taken)
        step_to(b, STEP_WAIT);
    else
        end(b, error);
}

static void on_lost(struct link *l)
{
    struct balance *b = CONTAINER_OF(l, struct balance, link);
    if (b->step == STEP_CONNECT || b->step == STEP_ASK || b->step == STEP_FAIL)
        end(b, "the replica does not answer");
}

static const struct link_events events = {on_ready, on_reply, on_lost};

/* The replica has taken over. */
static void moved(struct balance *b)
{
    log_event(LOG_INFO, "cluster.balanced", LOG_STR("from", b->from), LOG_STR("to", b->to));
    step_to(b, STEP_NONE);
    redis_link_end(&b->link, "it has taken over");
    b->well_since = 0;
    b->look_at = 0;
    b->works_since = b->r->turn_ms;
    for (struct mail *m = b->works; m; m = m->next)
        work_of(m)->moved++;
}

/* --- When --------------------------------------------------------------------------------------------------------- */

static bool is_well(const struct redis *r)
{
    unsigned wanted = r->options.cluster.copies > 1 ? r->options.cluster.copies - 1 : 0;
    if (r->slots.nobody.parts || !r->slots.viewed_at)
        return false;
    for (const struct master *m = r->slots.masters; m; m = m->next)
        if (m->parts &&
            (m->lost || m->copies.few.since || m->replicas < wanted || m->lanes[LANE_WRITE].link.state != LINK_READY))
            return false;
    return true;
}

static bool has_taken_over(const struct balance *b)
{
    for (const struct master *m = b->r->slots.masters; m; m = m->next)
        if (m->parts && strcmp(m->id, b->replica) == 0)
            return true;
    return false;
}

static void wait_on(struct balance *b)
{
    struct redis *r = b->r;
    if (b->link.state != LINK_DOWN)
        redis_link_tick(&b->link);
    if (b->step == STEP_WAIT && has_taken_over(b))
        moved(b);
    else if (b->step == STEP_WAIT)
        slots_doubt(r, SLICE_NONE);
    if (b->step != STEP_NONE && b->step != STEP_VIEW && r->turn_ms - b->since >= STEP_MS)
        end(b, "it took too long");
}

void balance_tick(struct redis *r)
{
    struct balance *b = r->balance;
    if (b->step != STEP_NONE) {
        wait_on(b);
        return;
    }
    if (!is_well(r))
        b->well_since = 0;
    else if (!b->well_since)
        b->well_since = r->turn_ms;
    uint64_t well = b->well_since ? r->turn_ms - b->well_since : 0;
    bool leads = r->options.cluster.balance && node_leads(r) && r->turn_ms >= b->look_at;
    if ((b->works && well >= WANTED_MS) || (leads && well >= WELL_MS))
        begin(r);
    else if (b->works && r->turn_ms - b->works_since >= PATIENCE_MS)
        works_end(b, "not all is well: a master is out of reach, or short of copies; see cluster status");
}

void balance_rest(struct redis *r)
{
    works_end(r->balance, "the server ends");
}

/* --- Beginning and end -------------------------------------------------------------------------------------------- */

int balance_init(struct redis *r)
{
    struct balance *b = calloc(1, sizeof *b);
    if (!b)
        return ERR_NOMEM;
    r->balance = b;
    b->r = r;
    pthread_mutex_init(&b->lock, NULL);
    redis_link_init(&b->link, r, &events);
    ev_async_init(&b->wake, on_wake);
    ev_async_start(r->loop, &b->wake);
    return 0;
}

void balance_fini(struct redis *r)
{
    if (!r->balance)
        return;
    redis_link_fini(&r->balance->link);
    pthread_mutex_destroy(&r->balance->lock);
    free(r->balance);
    r->balance = NULL;
}
