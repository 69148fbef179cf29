/*
 * The other side of remote.c: a line that another node's operator gave, run here. A list that is longer than one piece
 * waits until that node fetches the next one.
 *
 *     question   L who LF line | C ticket | X ticket
 *     answer     V value | R elements | M ticket elements: there is more | E code NUL message NUL details
 */
#include "core/base/clock.h"
#include "core/base/container.h"
#include "core/console/console_call.h"
#include "core/console/remote.h"
#include "core/console/trace_nodes.h"

#include <stdio.h>
#include <stdlib.h>

enum { TICKET = 16, WAIT_MS = 30000, WAITING_MAX = 64 };

struct remote_wait {
    struct remote_wait *next; /* list of the console */
    struct console *console;
    struct node_question *q; /* to be answered; NULL: the next one is waited for */
    struct console_call *call;
    void (*resume)(struct command_call *c);
    uint64_t ticket;
    uint64_t since_ms; /* it waits for the other node; monotonic */
};

/* --- Answers ------------------------------------------------------------------------------------------------------ */

static void tell(struct console *c, struct node_question *q, struct buf *b)
{
    static const char lost[] = "Einternal\0out of memory\0";
    static const char large[] = "Etoo_large\0the answer is too long for another node; ask that node itself\0";
    if (!buf_ok(b))
        node_answer(c->hub, q, slice_of(lost, sizeof lost - 1));
    else if (b->n > NODE_ANSWER_MAX)
        node_answer(c->hub, q, slice_of(large, sizeof large - 1));
    else
        node_answer(c->hub, q, buf_slice(b));
    buf_free(b);
}

static void refuse(struct console *c, struct node_question *q, const char *code, const char *message)
{
    struct buf b = BUF_INIT;
    buf_byte(&b, 'E');
    buf_put(&b, code, strlen(code) + 1);
    buf_put(&b, message, strlen(message) + 1);
    tell(c, q, &b);
}

static bool take_text(struct slice *rest, char *out, size_t size)
{
    const char *end = rest->n ? memchr(rest->p, '\0', rest->n) : NULL;
    if (!end)
        return false;
    snprintf(out, size, "%s", rest->p);
    *rest = slice_of(end + 1, rest->n - (size_t)(end + 1 - rest->p));
    return true;
}

static bool take_ticket(struct slice *rest, uint64_t *out)
{
    char text[TICKET + 1], *end;
    if (rest->n < TICKET)
        return false;
    memcpy(text, rest->p, TICKET);
    text[TICKET] = '\0';
    *out = strtoull(text, &end, 16);
    *rest = slice_of(rest->p + TICKET, rest->n - TICKET);
    return *end == '\0';
}

bool remote_read(struct slice body, struct part *p)
{
    char kind = body.n ? body.p[0] : '\0';
    struct slice rest = body.n ? slice_of(body.p + 1, body.n - 1) : SLICE_NONE;
    p->failed = kind == 'E';
    p->rows = kind == 'R' || kind == 'M';
    p->more = kind == 'M';
    buf_reset(&p->out);
    if (p->failed && !(take_text(&rest, p->code, sizeof p->code) && take_text(&rest, p->message, sizeof p->message)))
        return false;
    if (p->more && !take_ticket(&rest, &p->ticket))
        return false;
    buf_slice_put(&p->out, rest);
    return kind && strchr("VRME", kind) && buf_ok(&p->out);
}

/* --- Running ------------------------------------------------------------------------------------------------------ */

static void forget(struct remote_wait *w)
{
    struct remote_wait **at = &w->console->waits;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    w->console->wait_count--;
    free(w);
}

static void ended(struct console_call *k, const char *code, const char *message)
{
    struct remote_wait *w = k->sink_ctx;
    struct buf b = BUF_INIT;
    buf_byte(&b, code ? 'E' : k->c.rows ? 'R' : 'V');
    if (code) {
        buf_put(&b, code, strlen(code) + 1);
        buf_put(&b, message, strlen(message) + 1);
    }
    if (!code || !k->c.rows)
        buf_slice_put(&b, buf_slice(&k->c.out));
    b.oom = b.oom || k->c.out.oom;
    if (w->q)
        tell(w->console, w->q, &b);
    buf_free(&b);
    forget(w);
    call_free(k);
}

static void goes_on(struct console_call *k, void (*resume)(struct command_call *c))
{
    struct remote_wait *w = k->sink_ctx;
    struct buf b = BUF_INIT;
    if (k->c.gone || w->console->stopping || !w->q) {
        k->c.gone = true;
        resume(&k->c);
        return;
    }
    buf_printf(&b, "M%016llx", (unsigned long long)w->ticket);
    buf_slice_put(&b, buf_slice(&k->c.out));
    b.oom = b.oom || k->c.out.oom;
    buf_reset(&k->c.out);
    struct node_question *q = w->q;
    w->q = NULL;
    w->resume = resume;
    w->since_ms = clock_mono_ms();
    tell(w->console, q, &b);
}

static const struct call_sink sink = {ended, goes_on};

static void run_line(struct console *c, struct node_question *q, struct slice body)
{
    static struct console_line line; /* the main thread's */
    const char *lf = body.n ? memchr(body.p, '\n', body.n) : NULL;
    struct call_error e = {.code = "bad_request", .text = "another node asks for what is no line"};
    char who[128];
    char *text = lf ? strndup(lf + 1, body.n - (size_t)(lf + 1 - body.p)) : NULL;
    struct remote_wait *w = text && c->wait_count < WAITING_MAX ? calloc(1, sizeof *w) : NULL;
    if (!w) {
        free(text);
        refuse(c, q, lf ? "quota" : e.code, lf ? "too much is asked of this node at once" : e.text);
        return;
    }
    snprintf(who, sizeof who, "node %u: %.*s", q->number, (int)(lf - body.p), body.p);
    const char *why = console_line_parse(text, strlen(text), &line);
    if (!why && line.count == 0)
        why = e.text;
    if (why)
        free(text);
    struct console_call *k = why ? NULL : call_new(c, text, &line, who, true, false, &e);
    if (!k) {
        free(w);
        refuse(c, q, e.code, why ? why : e.text);
        return;
    }
    *w = (struct remote_wait){.next = c->waits, .console = c, .q = q, .call = k, .ticket = ++c->tickets};
    c->waits = w;
    c->wait_count++;
    k->c.json = true;
    k->sink = &sink;
    k->sink_ctx = w;
    k->here = true;
    call_run(k);
}

/* --- Going on ----------------------------------------------------------------------------------------------------- */

static void resume(struct remote_wait *w, bool gone)
{
    void (*fn)(struct command_call * c) = w->resume;
    w->resume = NULL;
    w->call->c.gone = gone;
    fn(&w->call->c);
}

static void go_on(struct console *c, struct node_question *q, struct slice rest, bool end)
{
    uint64_t ticket;
    struct remote_wait *w = take_ticket(&rest, &ticket) ? c->waits : NULL;
    while (w && (w->ticket != ticket || !w->resume))
        w = w->next;
    if (!w) {
        refuse(c, q, "not_found", "that list is not waited for any more");
        return;
    }
    if (end)
        refuse(c, q, "ended", "");
    else
        w->q = q;
    resume(w, end);
}

static void asked(void *ctx, struct node_question *q)
{
    struct console *c = ctx;
    struct slice rest = q->body.n ? slice_of(q->body.p + 1, q->body.n - 1) : SLICE_NONE;
    switch (q->body.n ? q->body.p[0] : '\0') {
    case REMOTE_LINE:
        run_line(c, q, rest);
        break;
    case REMOTE_NEXT:
    case REMOTE_END:
        go_on(c, q, rest, q->body.p[0] == REMOTE_END);
        break;
    case REMOTE_WHY:
        why_asked(c, q);
        break;
    case REMOTE_GUESS:
        guess_heard(c, q);
        break;
    default: /* of a later version */
        node_answer(c->hub, q, SLICE_NONE);
    }
}

void remote_begin(struct console *c)
{
    nodes_answerer(c->hub, NODE_CONSOLE, asked, c);
    trace_nodes_begin(c);
}

static void end_older(struct console *c, uint64_t than_ms)
{
    for (struct remote_wait *next, *w = c->waits; w; w = next) {
        next = w->next;
        if (w->resume && w->since_ms <= than_ms)
            resume(w, true);
    }
}

void remote_check(struct console *c)
{
    trace_nodes_check(c);
    uint64_t now = clock_mono_ms();
    if (c->waits && now > WAIT_MS)
        end_older(c, now - WAIT_MS);
}

void remote_stop(struct console *c)
{
    trace_nodes_stop(c);
    end_older(c, UINT64_MAX);
}
