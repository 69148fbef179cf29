#include "core/console/console_order.h"

#include "core/base/json.h"
#include "core/console/console_call.h"

#include <stdio.h>
#include <stdlib.h>

struct order {
    struct order *next, **at; /* list of the console */
    struct console *console;
    struct console_call *call;  /* NULL: it has ended, or never was */
    struct command_order asked; /* its texts are not kept */
    struct buf answer;          /* JSON so far */
    const char *code;           /* how it has ended; static, or `code_text`; NULL: well */
    char code_text[32], message[512];
    bool ended;
    bool too_large; /* the answer is not kept any more */
    ev_timer turn;  /* goes on in the loop, where nothing of the caller is on the stack */
};

/* Tells the one who asked, and frees it. */
static void tell(struct order *o)
{
    *o->at = o->next;
    if (o->next)
        o->next->at = o->at;
    ev_timer_stop(o->console->loop, &o->turn);
    o->asked.done(o->asked.ctx, o->code, o->message, buf_slice(&o->answer));
    buf_free(&o->answer);
    free(o);
}

static void on_turn(struct ev_loop *loop, ev_timer *w, int events)
{
    struct order *o = w->data;
    (void)loop, (void)events;
    if (o->ended) {
        tell(o);
        return;
    }
    void (*resume)(struct command_call * c) = o->call->resume;
    o->call->resume = NULL;
    if (resume)
        resume(&o->call->c);
}

static void turn_soon(struct order *o)
{
    ev_timer_set(&o->turn, 0., 0.);
    ev_timer_start(o->console->loop, &o->turn);
}

static void fail(struct order *o, const char *code, const char *message)
{
    snprintf(o->code_text, sizeof o->code_text, "%s", code);
    snprintf(o->message, sizeof o->message, "%s", message);
    o->code = o->code_text;
}

/* Appends what the call has written; of a list, its elements. */
static void take(struct order *o, struct command_call *c)
{
    if (c->rows)
        buf_str(&o->answer, o->answer.n == 0 ? "[" : c->out.n && o->answer.n > 1 ? "," : "");
    buf_slice_put(&o->answer, buf_slice(&c->out));
    o->answer.oom = o->answer.oom || c->out.oom;
    buf_reset(&c->out);
    if (o->answer.n <= ORDER_ANSWER_MAX)
        return;
    o->too_large = true;
    buf_free(&o->answer);
}

void order_more(struct command_call *c, void (*resume)(struct command_call *c))
{
    struct console_call *k = (struct console_call *)c;
    struct order *o = k->order;
    take(o, c);
    if (c->gone) {
        resume(c);
        return;
    }
    c->gone = o->too_large;
    k->resume = resume;
    turn_soon(o);
}

void order_end(struct command_call *c, const char *code, const char *message)
{
    struct console_call *k = (struct console_call *)c;
    struct order *o = k->order;
    if (code)
        buf_reset(&o->answer); /* only details of the error stay */
    if (!code || !c->rows)
        take(o, c);
    if (!code && c->rows && !o->too_large)
        buf_byte(&o->answer, ']');
    if (code)
        fail(o, code, message);
    else if (o->too_large)
        fail(o, "too_large", "the answer is too long; ask for less");
    else if (!buf_ok(&o->answer))
        fail(o, "internal", "out of memory");
    else if (c->gone)
        fail(o, "unavailable", "the server stops");
    else if (o->answer.n == 0)
        buf_lit(&o->answer, "null");
    if (!o->code && json_check(buf_slice(&o->answer)))
        fail(o, "internal", "the command's answer is no JSON");
    if (o->code && (!buf_ok(&o->answer) || (o->answer.n && json_check(buf_slice(&o->answer)))))
        buf_free(&o->answer);
    o->call = NULL;
    o->ended = true;
    struct console *console = o->console;
    call_free(k);
    if (console->stopping)
        tell(o);
    else
        turn_soon(o);
}

int order_begin(void *ctx, const struct command_order *asked)
{
    static struct console_line line; /* the main thread's */
    struct console *console = ctx;
    struct call_error e = {.code = "bad_request"};
    const char *why = asked->line.n > LINE_MAX_BYTES ? "the line is too long" : NULL;
    struct order *o = console->stopping ? NULL : calloc(1, sizeof *o);
    char *text = o ? strndup(asked->line.n ? asked->line.p : "", asked->line.n) : NULL;
    if (!text) {
        free(o);
        return console->stopping ? ERR_CLOSED : ERR_NOMEM;
    }
    o->console = console;
    o->asked = *asked;
    o->asked.who = NULL;
    o->asked.line = SLICE_NONE;
    ev_init(&o->turn, on_turn);
    o->turn.data = o;
    o->next = console->orders;
    o->at = &console->orders;
    if (o->next)
        o->next->at = &o->next;
    console->orders = o;
    if (!why && (strlen(text) != asked->line.n || strpbrk(text, "\r\n")))
        why = "the line has control characters; write them as escapes in quotes";
    if (!why)
        why = console_line_parse(text, asked->line.n, &line);
    if (!why && line.count == 0)
        why = "the line is empty";
    if (why)
        free(text);
    else
        o->call = call_new(console, text, &line, asked->who, true, false, &e);
    if (!o->call) {
        fail(o, e.code, why ? why : e.text);
        o->ended = true;
        turn_soon(o);
        return 0;
    }
    o->call->order = o;
    o->call->c.json = true;
    call_run(o->call);
    return 0;
}

void orders_stop(struct console *c)
{
    for (struct order *o = c->orders, *next; o; o = next) {
        next = o->next;
        void (*resume)(struct command_call * k) = o->call ? o->call->resume : NULL;
        if (o->ended) {
            tell(o);
        } else if (resume) {
            o->call->resume = NULL;
            o->call->c.gone = true;
            resume(&o->call->c);
        } else {
            o->call->c.gone = true;
        }
    }
}
