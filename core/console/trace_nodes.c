#include "core/console/trace_nodes.h"

#include "core/base/clock.h"
#include "core/base/container.h"
#include "core/console/survey.h"
#include "core/hub/host/snapshot.h"
#include "core/hub/people/trace.h"
#include "core/hub/shard/nodes.h"
#include "core/hub/shard/shards.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    POLL_MS = 1000,      /* a question without anything to tell is answered then */
    POLL_WAIT_MS = 4000, /* so long its answer may take */
    POLL_TRIES = 3,      /* unanswered ones in a row, and it is given up */
    FORGET_MS = 20000,   /* who asks no more is not followed for any more */
    LINES_MAX = 128 << 10,
    SHOWN_MAX = 16,
    TICKET = 16
};
static const uint64_t FAR = UINT64_C(1) << 63; /* in asked_by: for another node */

/* --- Where somebody looks ----------------------------------------------------------------------------------------- */

/* One thing that one node follows for one connection to this console. */
struct far_trace {
    struct far_trace *next;
    struct console *console;
    uint64_t peer; /* its number */
    uint64_t node, ticket;
    uint16_t number;
    bool json, ended; /* not wanted any more: it goes with the next answer */
    unsigned missed;  /* questions in a row without an answer */
    char what[80];    /* "u" and an id, "c" and a handle */
};

static void poll(struct far_trace *f);

static void far_free(struct far_trace *f)
{
    struct far_trace **at = &f->console->far;
    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
    free(f);
}

static struct console_peer *peer_of(const struct far_trace *f)
{
    struct console_peer *p = f->console->first;
    while (p && p->number != f->peer)
        p = p->next;
    return p;
}

static void show(const struct far_trace *f, struct slice line)
{
    struct console_peer *p = peer_of(f);
    if (p && line.n)
        peer_event(p, line);
}

static void show_end(const struct far_trace *f)
{
    char line[128];
    int n = snprintf(line, sizeof line,
                     f->json ? "{\"what\":\"unanswered\",\"node\":%u}"
                             : "node %u does not answer: what happens there is not shown any more",
                     f->number);
    show(f, slice_of(line, (size_t)n));
}

static void show_lines(const struct far_trace *f, struct slice body)
{
    const char *at = body.p, *end = body.n ? body.p + body.n : body.p;
    while (at < end) {
        const char *lf = memchr(at, '\n', (size_t)(end - at));
        size_t n = lf ? (size_t)(lf - at) : (size_t)(end - at);
        show(f, slice_of(at, n));
        at += n + 1;
    }
}

static void ignore(void *ctx, const struct node_answer *answers, unsigned n)
{
    (void)ctx, (void)answers, (void)n;
}

static int ask(struct far_trace *f, char kind, void (*done)(void *ctx, const struct node_answer *answers, unsigned n),
               void *ctx)
{
    char body[128];
    int n =
        snprintf(body, sizeof body, "%c%016llx%c%s", kind, (unsigned long long)f->ticket, f->json ? 'j' : 't', f->what);
    return nodes_ask(f->console->hub, &(struct node_ask){.node = f->node,
                                                         .subject = NODE_TRACE,
                                                         .timeout_ms = POLL_WAIT_MS,
                                                         .body = slice_of(body, (size_t)n),
                                                         .done = done,
                                                         .ctx = ctx});
}

static void polled(void *ctx, const struct node_answer *answers, unsigned n)
{
    struct far_trace *f = ctx;
    bool given = n && answers[0].given, good = given && answers[0].body.p[0] == 'V';
    if (good && !f->ended)
        show_lines(f, slice_of(answers[0].body.p + 1, answers[0].body.n - 1));
    f->missed = good ? 0 : given ? POLL_TRIES : f->missed + 1;
    bool lost = f->missed >= POLL_TRIES && !f->ended;
    if (lost)
        show_end(f);
    if (f->ended && good)
        (void)!ask(f, 'X', ignore, NULL);
    if (f->ended || lost || f->console->stopping || !peer_of(f))
        far_free(f);
    else
        poll(f);
}

static void poll(struct far_trace *f)
{
    if (ask(f, 'P', polled, f) != 0)
        far_free(f);
}

/* Those of a connection, or of one thing that it follows. */
static void end_far(struct console *c, uint64_t peer, const char *what)
{
    for (struct far_trace *f = c->far; f; f = f->next)
        if (f->peer == peer && (!what || strcmp(f->what, what) == 0))
            f->ended = true;
}

void trace_nodes_forget(struct console *c, const struct console_peer *p)
{
    end_far(c, p->number, NULL);
}

/* A command that asks some nodes to follow. */
struct starting {
    struct command_call *call;
    unsigned waiting;
    unsigned good;
    bool one; /* a connection: that node's word is the answer */
    struct buf unanswered;
    char why[64];
};

static void start_silent(struct starting *s, uint16_t number)
{
    buf_printf(&s->unanswered, "%s%u", s->unanswered.n ? "," : "", number);
}

struct start {
    struct starting *all;
    struct far_trace *far;
};

static void start_end(struct starting *s)
{
    struct command_call *c = s->call;
    if (s->one && !s->good) {
        command_fail(c, s->unanswered.n ? "unavailable" : "not_found", "%s",
                     s->unanswered.n ? "that node did not answer in time"
                                     : "there is no such connection (any more), or as much is traced as can be");
    } else {
        if (s->unanswered.n) {
            buf_lit(&c->out, "{\"unanswered\":[");
            buf_slice_put(&c->out, buf_slice(&s->unanswered));
            buf_lit(&c->out, "]}");
        }
        command_done(c);
    }
    buf_free(&s->unanswered);
    free(s);
}

static void started(void *ctx, const struct node_answer *answers, unsigned n)
{
    struct start st = *(struct start *)ctx;
    bool given = n && answers[0].given, good = given && answers[0].body.p[0] == 'V';
    free(ctx);
    if (!given)
        start_silent(st.all, st.far->number);
    st.all->good += good;
    if (good && !st.far->ended)
        poll(st.far);
    else
        far_free(st.far);
    if (--st.all->waiting == 0)
        start_end(st.all);
}

static void start_one(struct starting *s, const struct hub_node *node, const char *what)
{
    struct console_peer *p = call_peer(s->call);
    struct console *c = ((struct console_call *)s->call)->console;
    struct far_trace *f = calloc(1, sizeof *f);
    struct start *st = f ? malloc(sizeof *st) : NULL;
    if (!st || !p) {
        free(f);
        free(st);
        start_silent(s, node->number);
        return;
    }
    *f = (struct far_trace){.next = c->far,
                            .console = c,
                            .peer = p->number,
                            .node = node->node,
                            .number = node->number,
                            .json = s->call->json,
                            .ticket = ++c->tickets};
    snprintf(f->what, sizeof f->what, "%s", what);
    c->far = f;
    *st = (struct start){s, f};
    if (ask(f, 'S', started, st) == 0) {
        s->waiting++;
        return;
    }
    far_free(f);
    free(st);
    start_silent(s, node->number);
}

static void start_on(struct command_call *c, const struct hub_node *nodes, unsigned n, bool one, const char *what)
{
    struct starting *s = calloc(1, sizeof *s);
    if (!s) {
        command_fail(c, "internal", "out of memory");
        return;
    }
    s->call = c;
    s->one = one;
    s->waiting = 1;
    for (unsigned i = 0; i < n; i++)
        if (!nodes[i].self)
            start_one(s, &nodes[i], what);
    if (--s->waiting == 0)
        start_end(s);
}

void trace_nodes_user(struct command_call *c, bool on)
{
    struct console_call *k = (struct console_call *)c;
    struct hub_node nodes[HUB_NODES];
    unsigned n = k->here ? 0 : hub_nodes(c->hub, nodes);
    char what[80];
    snprintf(what, sizeof what, "u%.*s", (int)c->argv[0].n, c->argv[0].p);
    if (k->from)
        end_far(k->console, k->from->number, what); /* once more is once */
    if (on && n > 1 && k->from)
        start_on(c, nodes, n, false, what);
    else
        command_done(c);
}

bool trace_nodes_conn(struct command_call *c)
{
    struct console_call *k = (struct console_call *)c;
    struct hub_node nodes[HUB_NODES];
    struct slice *handle = &c->argv[0];
    const char *slash = handle->n ? memchr(handle->p, '/', handle->n) : NULL;
    uint64_t number;
    unsigned n = slash ? hub_nodes(c->hub, nodes) : 0, i = 0;
    if (!n || !argument_number(slice_of(handle->p, (size_t)(slash - handle->p)), UINT16_MAX, &number))
        return false;
    while (i < n && nodes[i].number != number)
        i++;
    *handle = slice_of(slash + 1, handle->n - (size_t)(slash + 1 - handle->p));
    bool on = slice_eq(c->argv[1], SLICE_LIT("on"));
    if (i < n && nodes[i].self)
        return false;
    if (i == n || handle->n > 60) {
        command_fail(c, "not_found", "there is no such connection");
        return true;
    }
    if (!on && !slice_eq(c->argv[1], SLICE_LIT("off"))) {
        command_fail(c, "bad_request", "usage: %s %s", c->command.name, c->command.args);
        return true;
    }
    char what[80];
    snprintf(what, sizeof what, "c%.*s", (int)handle->n, handle->p);
    if (k->from) {
        end_far(k->console, k->from->number, what);
        k->from->traces = true;
    }
    if (on && k->from)
        start_on(c, &nodes[i], 1, true, what);
    else
        command_done(c);
    return true;
}

/* --- Where it happens --------------------------------------------------------------------------------------------- */

/* What is followed here for another node. */
struct shown_trace {
    struct shown_trace *next;
    struct console *console;
    struct node_question *q; /* waits for something to tell; or for the beginning; NULL: none */
    uint64_t node, ticket;   /* whose, and by what it is asked for */
    uint64_t number;         /* asked_by, with FAR */
    uint64_t asked_ms;       /* monotonic: the last question */
    uint64_t lost;           /* events that were left out */
    struct buf lines;
    struct mail mail; /* on its way to a shard and back, to begin */
    unsigned shard;
    uint32_t conn, generation;
    bool json, user, done, ended, busy;
    char id[65];
};

static void stop_shard(struct shard *s, void *ctx)
{
    trace_stop(s, *(const uint64_t *)ctx, SLICE_NONE, NONE);
}

static void stopped(void *ctx)
{
    free(ctx);
}

static void shown_free(struct shown_trace *t)
{
    struct shown_trace **at = &t->console->shown;
    uint64_t *number = malloc(sizeof *number);
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    if (number) {
        *number = t->number;
        if (hub_each(t->console->hub, stop_shard, stopped, number) != 0)
            free(number); /* what still comes finds nobody */
    }
    if (t->q)
        node_answer(t->console->hub, t->q, SLICE_LIT("E"));
    buf_free(&t->lines);
    free(t);
}

/* What has happened, if it is asked for. */
static void tell(struct shown_trace *t)
{
    struct buf b = BUF_INIT;
    if (!t->q)
        return;
    buf_byte(&b, 'V');
    buf_slice_put(&b, buf_slice(&t->lines));
    if (t->lost)
        buf_printf(&b, t->json ? "{\"what\":\"lost\",\"events\":%llu}\n" : "%llu events are left out\n",
                   (unsigned long long)t->lost);
    struct node_question *q = t->q;
    t->q = NULL;
    t->lost = 0;
    buf_reset(&t->lines);
    node_answer(t->console->hub, q, buf_ok(&b) ? buf_slice(&b) : SLICE_LIT("V"));
    buf_free(&b);
}

bool trace_nodes_event(struct console *c, const struct trace_event *e)
{
    if (!(e->asked_by & FAR))
        return false;
    struct shown_trace *t = c->shown;
    while (t && t->number != e->asked_by)
        t = t->next;
    if (!t)
        return true;
    t->lost += e->lost + (t->lines.n > LINES_MAX);
    if (t->lines.n <= LINES_MAX) {
        trace_put(&t->lines, c->hub, e, t->json);
        buf_byte(&t->lines, '\n');
    }
    tell(t);
    return true;
}

static void begin_back(void *owner, struct mail *m)
{
    struct shown_trace *t = CONTAINER_OF(m, struct shown_trace, mail);
    (void)owner;
    t->busy = false;
    if (t->done && !t->ended && !t->console->stopping) {
        tell(t);
        return;
    }
    shown_free(t);
}

static void begin_there(void *owner, struct mail *m)
{
    struct shown_trace *t = CONTAINER_OF(m, struct shown_trace, mail);
    struct shard *s = owner;
    t->done = t->user ? trace_start_user(s, t->number, slice_str(t->id))
                      : trace_start_conn(s, t->number, t->conn, t->generation);
    m->run = begin_back;
    mailbox_post(s->hub->main, m);
}

/* S ticket form what. */
static void begin(struct console *c, struct node_question *q, uint64_t ticket, struct slice rest)
{
    unsigned count = 0;
    for (const struct shown_trace *t = c->shown; t; t = t->next)
        count++;
    bool sane = rest.n > 2 && rest.n <= 2 + 64 && count < SHOWN_MAX && !c->stopping;
    struct shown_trace *t = sane ? calloc(1, sizeof *t) : NULL;
    if (t) {
        t->json = rest.p[0] == 'j';
        t->user = rest.p[1] == 'u';
        memcpy(t->id, rest.p + 2, rest.n - 2);
        sane = t->user || snapshot_handle_parse(slice_str(t->id), &t->shard, &t->conn, &t->generation);
        sane = sane && (t->user || t->shard < c->hub->shard_count);
    }
    if (!t || !sane) {
        free(t);
        node_answer(c->hub, q, SLICE_LIT("E"));
        return;
    }
    t->console = c;
    t->q = q;
    t->node = q->node;
    t->ticket = ticket;
    t->number = FAR | ++c->tickets;
    t->asked_ms = clock_mono_ms();
    t->next = c->shown;
    c->shown = t;
    t->busy = true;
    t->mail.run = begin_there;
    struct shard *to = t->user ? shard_of(c->hub, slice_str(t->id)) : c->hub->shards[t->shard];
    mailbox_post(&to->mailbox, &t->mail);
}

static void asked(void *ctx, struct node_question *q)
{
    struct console *c = ctx;
    char hex[TICKET + 1] = "";
    if (q->body.n > TICKET)
        memcpy(hex, q->body.p + 1, TICKET);
    uint64_t ticket = strtoull(hex, NULL, 16);
    char kind = q->body.n > TICKET ? q->body.p[0] : '\0';
    struct shown_trace *t = c->shown;
    while (t && !(t->node == q->node && t->ticket == ticket))
        t = t->next;
    if (kind == 'S' && !t) {
        begin(c, q, ticket, slice_of(q->body.p + 1 + TICKET, q->body.n - 1 - TICKET));
        return;
    }
    if (kind != 'P' || !t || t->q || t->busy) {
        node_answer(c->hub, q, SLICE_LIT("E"));
        if (t && kind == 'X' && !t->busy)
            shown_free(t);
        return;
    }
    t->q = q;
    t->asked_ms = clock_mono_ms();
    if (t->lines.n || t->lost)
        tell(t);
}

void trace_nodes_begin(struct console *c)
{
    nodes_answerer(c->hub, NODE_TRACE, asked, c);
}

void trace_nodes_check(struct console *c)
{
    uint64_t now = clock_mono_ms();
    for (struct shown_trace *next, *t = c->shown; t; t = next) {
        next = t->next;
        if (t->busy)
            continue;
        if (t->q && now - t->asked_ms >= POLL_MS)
            tell(t);
        else if (!t->q && now - t->asked_ms >= FORGET_MS)
            shown_free(t);
    }
}

void trace_nodes_stop(struct console *c)
{
    for (struct far_trace *f = c->far; f; f = f->next) {
        f->ended = true;
        (void)!ask(f, 'X', ignore, NULL); /* which has the question under way answered */
    }
    for (struct shown_trace *next, *t = c->shown; t; t = next) {
        next = t->next;
        t->ended = true;
        if (!t->busy)
            shown_free(t);
    }
}
