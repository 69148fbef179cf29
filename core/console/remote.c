/*
 * Commands over several nodes. The line is run here as a call of its own, and asked of the others; when all have
 * answered, or have not for long enough, their answers become one.
 */
#include "core/console/remote.h"

#include "core/base/container.h"
#include "core/console/console_call.h"
#include "core/console/survey.h"

#include <stdio.h>
#include <stdlib.h>

enum { PATIENCE_MS = 2000 };

/* --- A call over several nodes ------------------------------------------------------------------------------------ */

struct over {
    struct mail mail; /* this node's part has come */
    struct mail none; /* others could not be asked: `unasked` times */
    unsigned unasked;
    struct console_call *outer;
    const struct spread_row *row;
    struct buf line;  /* what each node runs */
    unsigned count;   /* parts; the first is this node's, or for CONN the one that has it */
    unsigned waiting; /* answers that have not come: this node's, and those of the others together */
    unsigned at;      /* ROWS: whose rows are being told */
    uint64_t skip, left;
    struct part parts[];
};

static void over_free(struct over *o)
{
    for (unsigned i = 0; i < o->count; i++)
        buf_free(&o->parts[i].out);
    buf_free(&o->line);
    free(o);
}

static void over_end(struct over *o)
{
    struct command_call *c = &o->outer->c;
    over_free(o);
    command_done(c);
}

static const char silence[] = "it did not answer in time";

/* What went wrong on each node, its number in front where that is another one. The code and the details are those of
 * the first that said anything: that is what is to be mended. */
static void over_fail(struct over *o)
{
    struct command_call *c = &o->outer->c;
    struct buf text = BUF_INIT;
    char code[sizeof o->parts[0].code] = "unavailable";
    bool said = false;
    for (unsigned i = 0; i < o->count; i++) {
        const struct part *p = &o->parts[i];
        if (p->came && !p->failed)
            continue;
        buf_str(&text, text.n ? "; " : "");
        if (!p->node.self)
            buf_printf(&text, "node %u: ", p->node.number);
        buf_str(&text, p->came ? p->message : silence);
        if (!p->came || said)
            continue;
        said = true;
        snprintf(code, sizeof code, "%s", p->code);
        buf_slice_put(&c->out, buf_slice(&p->out));
    }
    over_free(o);
    if (buf_ok(&text))
        command_fail(c, code, "%.*s", (int)text.n, text.p);
    else
        command_fail(c, "internal", "out of memory");
    buf_free(&text);
}

/* What this node said, or the one that a connection is of. */
static void own_fail(struct over *o)
{
    for (unsigned i = 1; i < o->count; i++)
        buf_free(&o->parts[i].out);
    o->count = 1;
    over_fail(o);
}

static void finish(struct over *o);

static void part_came(struct over *o)
{
    if (--o->waiting == 0)
        finish(o);
}

/* --- This node's part --------------------------------------------------------------------------------------------- */

static void own_came(void *owner, struct mail *m)
{
    (void)owner;
    part_came((struct over *)m);
}

static void own_post(struct over *o)
{
    o->mail.run = own_came;
    mailbox_post(hub_main(o->outer->c.hub), &o->mail);
}

/* The first one, until a list is told in the order of nodes. */
static struct part *own_part(struct over *o)
{
    unsigned i = 0;
    while (!o->parts[i].node.self)
        i++;
    return &o->parts[i];
}

static void take_out(struct part *p, struct command_call *c)
{
    buf_reset(&p->out);
    buf_slice_put(&p->out, buf_slice(&c->out));
    p->out.oom = p->out.oom || c->out.oom;
    buf_reset(&c->out);
}

static void own_ended(struct console_call *k, const char *code, const char *message)
{
    struct over *o = k->sink_ctx;
    struct part *p = own_part(o);
    p->came = true;
    p->more = false;
    p->call = NULL;
    p->rows = k->c.rows;
    p->failed = code != NULL;
    if (code) {
        snprintf(p->code, sizeof p->code, "%s", code);
        snprintf(p->message, sizeof p->message, "%s", message);
    }
    if (!code || !k->c.rows)
        take_out(p, &k->c);
    else
        buf_reset(&p->out);
    call_free(k);
    own_post(o);
}

static void own_goes_on(struct console_call *k, void (*resume)(struct command_call *c))
{
    struct over *o = k->sink_ctx;
    struct part *p = own_part(o);
    if (k->c.gone) {
        resume(&k->c);
        return;
    }
    p->came = p->rows = p->more = true;
    p->resume = resume;
    p->call = k;
    take_out(p, &k->c);
    own_post(o);
}

static const struct call_sink own_sink = {own_ended, own_goes_on};

static void own_begin(struct over *o)
{
    static struct console_line line; /* the main thread's */
    struct console_call *outer = o->outer;
    struct call_error e = {.code = "internal", .text = "out of memory"};
    char *text = strndup(o->line.p, o->line.n);
    const char *why = text ? console_line_parse(text, o->line.n, &line) : e.text;
    if (why)
        free(text);
    struct console_call *k = why ? NULL : call_new(outer->console, text, &line, outer->who, true, false, &e);
    if (!k) {
        struct part *p = &o->parts[0];
        p->came = p->failed = true;
        snprintf(p->code, sizeof p->code, "%s", e.code);
        snprintf(p->message, sizeof p->message, "%s", why ? why : e.text);
        own_post(o);
        return;
    }
    k->c.json = true;
    k->here = k->logged = true;
    k->sink = &own_sink;
    k->sink_ctx = o;
    call_run(k);
}

/* --- The others' parts -------------------------------------------------------------------------------------------- */

static struct part *part_of(struct over *o, uint64_t node)
{
    for (unsigned i = 0; i < o->count; i++)
        if (o->parts[i].node.node == node)
            return &o->parts[i];
    return NULL;
}

static void others_came(void *ctx, const struct node_answer *answers, unsigned n)
{
    struct over *o = ctx;
    for (unsigned i = 0; i < n; i++) {
        struct part *p = answers[i].given ? part_of(o, answers[i].node) : NULL;
        if (p)
            p->came = remote_read(answers[i].body, p);
    }
    part_came(o);
}

static uint32_t patience_of(const struct over *o)
{
    return o->row->patience_ms ? o->row->patience_ms : PATIENCE_MS;
}

static void others_none(void *owner, struct mail *m)
{
    struct over *o = CONTAINER_OF(m, struct over, none);
    unsigned n = o->unasked;
    (void)owner;
    o->unasked = 0;
    o->waiting -= n - 1;
    part_came(o);
}

/* As if nobody had answered. */
static void others_fail(struct over *o)
{
    o->none.run = others_none;
    if (o->unasked++ == 0)
        mailbox_post(hub_main(o->outer->c.hub), &o->none);
}

static void others_ask(struct over *o, uint64_t node, struct slice body, uint32_t patience)
{
    if (nodes_ask(o->outer->c.hub, &(struct node_ask){.node = node,
                                                      .subject = NODE_CONSOLE,
                                                      .timeout_ms = patience,
                                                      .body = body,
                                                      .done = others_came,
                                                      .ctx = o}) != 0)
        others_fail(o);
}

/* Those that did not answer do not serve yet: nothing is missing without them. */
static void joining_drop(struct over *o)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < o->count; i++) {
        struct part *p = &o->parts[i];
        if (p->node.joining && !p->node.self && !p->came)
            buf_free(&p->out);
        else
            o->parts[kept++] = *p;
    }
    o->count = kept;
}

/* The line, with who gives it in front. */
static void others_begin(struct over *o, uint64_t node)
{
    struct buf b = BUF_INIT;
    buf_printf(&b, "%c%s\n", REMOTE_LINE, o->outer->who);
    buf_slice_put(&b, buf_slice(&o->line));
    if (buf_ok(&b))
        others_ask(o, node, buf_slice(&b), patience_of(o));
    else
        others_fail(o);
    buf_free(&b);
}

/* --- Lists -------------------------------------------------------------------------------------------------------- */

static void rows_next(struct over *o);

static void rows_resume(struct command_call *c)
{
    rows_next(c->state);
}

/* What it has still to tell is not wanted. */
static void part_drop(struct over *o, struct part *p)
{
    if (!p->came || p->failed || !p->more)
        return;
    p->more = false;
    if (p->call) {
        struct console_call *k = p->call;
        p->call = NULL;
        o->waiting++; /* it ends by mail, as it always does */
        k->c.gone = true;
        p->resume(&k->c);
        return;
    }
    char body[20];
    snprintf(body, sizeof body, "%c%016llx", REMOTE_END, (unsigned long long)p->ticket);
    o->waiting++;
    others_ask(o, p->node.node, slice_str(body), patience_of(o));
}

static void rows_drop(struct over *o)
{
    o->at = o->count;
    o->waiting = 1;
    for (unsigned i = 0; i < o->count; i++)
        part_drop(o, &o->parts[i]);
    part_came(o);
}

/* Asks for the next rows of the part whose turn it is. */
static void part_next(struct over *o, struct part *p)
{
    o->waiting = 1;
    if (p->call) {
        struct console_call *k = p->call;
        p->call = NULL;
        p->resume(&k->c);
        return;
    }
    char body[20];
    snprintf(body, sizeof body, "%c%016llx", REMOTE_NEXT, (unsigned long long)p->ticket);
    p->came = false;
    others_ask(o, p->node.node, slice_str(body), patience_of(o));
}

static void put_failure(struct over *o, const struct part *p)
{
    struct buf *b = &o->outer->c.out;
    buf_printf(b, "%s{\"node\":%u,\"error\":", b->n ? "," : "", p->node.number);
    buf_json_string(b, slice_str(p->came ? p->message : silence));
    buf_byte(b, '}');
}

static int by_number(const void *a, const void *b)
{
    return (int)((const struct part *)a)->node.number - (int)((const struct part *)b)->node.number;
}

/* Who fails comes first, while the columns of a table are still open; then the rows of each, in the order of nodes: so
 * that the next page is the next one, whichever node is asked for it. */
static void rows_begin(struct over *o)
{
    struct command_call *c = &o->outer->c;
    c->rows = true;
    c->state = o;
    qsort(o->parts, o->count, sizeof o->parts[0], by_number);
    for (unsigned i = 0; i < o->count; i++)
        if (!o->parts[i].came || o->parts[i].failed)
            put_failure(o, &o->parts[i]);
    rows_next(o);
}

static void rows_next(struct over *o)
{
    struct command_call *c = &o->outer->c;
    while (o->at < o->count && !c->gone && o->left) {
        struct part *p = &o->parts[o->at];
        bool good = p->came && !p->failed;
        if (good && p->out.n) {
            merge_rows(&c->out, buf_slice(&p->out), p->node.number, &o->skip, &o->left);
            buf_reset(&p->out);
            command_more(c, rows_resume);
            return;
        }
        if (good && p->more) {
            part_next(o, p);
            return;
        }
        o->at++;
    }
    if (o->at < o->count)
        rows_drop(o);
    else
        over_end(o);
}

/* --- The end ------------------------------------------------------------------------------------------------------ */

static bool any_failure(const struct over *o)
{
    for (unsigned i = 0; i < o->count; i++)
        if (!o->parts[i].came || o->parts[i].failed)
            return true;
    return false;
}

/* ALL: done here; now everywhere. */
static void finish_all(struct over *o)
{
    struct command_call *c = &o->outer->c;
    if (o->at == 0 && !o->parts[0].failed) {
        o->at = 1;
        o->waiting = 1;
        others_begin(o, 0);
        return;
    }
    if (o->at == 0)
        o->count = 1; /* the others have not been asked */
    if (any_failure(o)) {
        over_fail(o);
        return;
    }
    c->rows = o->parts[0].rows;
    buf_slice_put(&c->out, buf_slice(&o->parts[0].out));
    over_end(o);
}

static void finish(struct over *o)
{
    struct command_call *c = &o->outer->c;
    if (c->state != o && !(o->row->how == SPREAD_ALL && o->at == 0))
        joining_drop(o);
    const struct part *own = &o->parts[0];
    if (o->row->how == SPREAD_ROWS) {
        if (c->state == o) {
            const struct part *p = o->at < o->count ? &o->parts[o->at] : own;
            if (!p->came || p->failed)
                put_failure(o, p);
            rows_next(o);
        } else if (own->failed)
            own_fail(o); /* the line is wrong, and so everywhere */
        else
            rows_begin(o);
        return;
    }
    if (o->row->how == SPREAD_ALL) {
        finish_all(o);
        return;
    }
    if (!own->came || own->failed) {
        own_fail(o);
        return;
    }
    if (o->row->how == SPREAD_SUM)
        merge_sum(&c->out, o->parts, o->count, o->row->added);
    else if (o->row->how == SPREAD_SERIES)
        merge_series(&c->out, o->parts, o->count);
    else if (o->row->how == SPREAD_VIEWS)
        merge_views(&c->out, o->parts, o->count);
    else if (o->row->how == SPREAD_JOIN)
        merge_join(&c->out, o->parts, o->count);
    else
        merge_rows(&c->out, buf_slice(&own->out), own->node.number, &o->skip, &o->left);
    c->rows = own->rows;
    over_end(o);
}

/* --- The beginning ------------------------------------------------------------------------------------------------ */

static void put_word(struct buf *b, struct slice word)
{
    if (b->n)
        buf_byte(b, ' ');
    buf_json_string(b, word);
}

/* The call's line again, with other arguments where they are limits that count over all nodes. */
static bool put_line(struct over *o)
{
    struct command_call *c = &o->outer->c;
    struct survey_page page;
    struct buf *b = &o->line;
    buf_str(b, c->command.name);
    if (!o->row->page) {
        for (unsigned i = 0; i < c->argc; i++)
            put_word(b, c->argv[i]);
        return true;
    }
    if (!survey_arguments(c, 0, &page))
        return false;
    o->skip = page.skip;
    o->left = page.limit;
    if (page.filter.n)
        put_word(b, page.filter);
    if (page.limit < UINT32_MAX - page.skip)
        buf_printf(b, " limit %llu", (unsigned long long)(page.limit + page.skip));
    return true;
}

static struct over *over_new(struct console_call *k, const struct spread_row *row, unsigned n)
{
    struct over *o = calloc(1, sizeof *o + n * sizeof o->parts[0]);
    if (!o)
        return NULL;
    o->outer = k;
    o->row = row;
    o->left = UINT64_MAX;
    o->count = n;
    return o;
}

static void over_begin(struct console_call *k, const struct spread_row *row, const struct hub_node *nodes, unsigned n)
{
    struct over *o = over_new(k, row, n);
    unsigned at = 1;
    for (unsigned i = 0; o && i < n; i++)
        o->parts[nodes[i].self ? 0 : at++].node = nodes[i];
    if (o && !put_line(o)) { /* which has ended the call */
        over_free(o);
        return;
    }
    if (!o || !buf_ok(&o->line)) {
        if (o)
            over_free(o);
        command_fail(&k->c, "internal", "out of memory");
        return;
    }
    o->waiting = 1;
    if (row->how == SPREAD_ALL) {
        own_begin(o);
        return;
    }
    o->waiting++;
    own_begin(o);
    others_begin(o, 0);
}

/* NODE/HANDLE: of another node, it goes there, without the number. False: it is of this one, or of none. */
static bool take_connection(struct console_call *k, const struct spread_row *row, const struct hub_node *nodes,
                            unsigned n)
{
    struct slice *handle = &k->c.argv[0];
    const char *slash = handle->n ? memchr(handle->p, '/', handle->n) : NULL;
    uint64_t number;
    if (!slash || !argument_number(slice_of(handle->p, (size_t)(slash - handle->p)), UINT16_MAX, &number))
        return false;
    const struct hub_node *to = NULL;
    for (unsigned i = 0; i < n; i++)
        if (nodes[i].number == number)
            to = &nodes[i];
    if (!to) {
        command_fail(&k->c, "not_found", "there is no node %llu", (unsigned long long)number);
        return true;
    }
    *handle = slice_of(slash + 1, handle->n - (size_t)(slash + 1 - handle->p));
    if (to->self)
        return false;
    struct over *o = over_new(k, row, 1);
    if (!o || !put_line(o) || !buf_ok(&o->line)) {
        if (o)
            over_free(o);
        command_fail(&k->c, "internal", "out of memory");
        return true;
    }
    o->parts[0].node = *to;
    o->waiting = 1;
    others_begin(o, to->node);
    return true;
}

bool remote_take(struct console_call *k)
{
    const struct spread_row *row = k->here ? NULL : spread_of(k->c.command.name);
    struct hub_node nodes[HUB_NODES];
    unsigned n = row ? hub_nodes(k->c.hub, nodes) : 0;
    if (row && row->how == SPREAD_CONN)
        return n && take_connection(k, row, nodes, n);
    bool self = false;
    for (unsigned i = 0; i < n; i++)
        self |= nodes[i].self;
    if (!row || row->how == SPREAD_HERE || n < 2 || !self)
        return false;
    /* What is stored is everybody's. */
    if (row->page && k->c.argc && slice_eq(k->c.argv[0], SLICE_LIT("all")))
        return false;
    over_begin(k, row, nodes, n);
    return true;
}
