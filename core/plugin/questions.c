/*
 * Questions to the same plugin on other nodes: see questions.h.
 *
 *     question   name of the plugin, NUL, body
 *     answer     A body; empty: that node has no such plugin, or it answers nobody
 */
#include "core/plugin/questions.h"

#include "core/hub/shard/nodes.h"
#include "core/plugin/asker.h"

#include <stdlib.h>

enum { BODY_MAX = 256000, TIMEOUT_MAX_MS = 10000 };

/* --- Asking ------------------------------------------------------------------------------------------------------- */

/* The node of that number; of number 0 this one. node 0: there is none. */
static struct hub_node find(const struct hub *hub, unsigned number)
{
    struct hub_node list[HUB_NODES];
    unsigned n = hub_nodes(hub, list);
    for (unsigned i = 0; i < n; i++)
        if (number ? list[i].number == number : list[i].self)
            return list[i];
    return (struct hub_node){.node = 0};
}

unsigned question_node(mp_self *p)
{
    return find(p->plugins->hub, 0).number;
}

struct asking {
    struct asker a;
    mp_node_answers_fn done;
    char body[]; /* name, NUL, body */
};

static void answered(void *ctx, const struct node_answer *answers, unsigned n)
{
    struct asking *q = ctx;
    struct mp_self *p = q->a.plugin;
    struct mp_node_answer *list = n ? calloc(n, sizeof *list) : NULL;
    for (unsigned i = 0; list && i < n; i++)
        list[i] = (struct mp_node_answer){
            .node = answers[i].number,
            .given = answers[i].given,
            .body = answers[i].given ? mp_str_of(answers[i].body.p + 1, answers[i].body.n - 1) : mp_str("")};
    struct visit v = visit_begin(q->a.home, p, "the answers of other nodes");
    q->done(q->a.home, list, list ? n : 0, q->a.ctx);
    visit_end(q->a.home, &v);
    free(list);
    free(q);
    plugin_end(p, PENDING_OPERATIONS);
}

int question_ask(mp_self *p, unsigned node, struct mp_str body, unsigned timeout_ms, mp_node_answers_fn done, void *ctx)
{
    size_t name = strlen(p->name) + 1;
    struct hub_node to = find(p->plugins->hub, node);
    int rc;
    if (!done || body.n > BODY_MAX || timeout_ms > TIMEOUT_MAX_MS)
        return MP_EINVALID;
    if (!to.node || (node && to.self))
        return MP_ENOTFOUND;
    struct asking *q = op_new(p, sizeof *q, name + body.n, &rc);
    if (!q)
        return rc;
    q->a = asker_of(p, NULL, ctx);
    q->done = done;
    memcpy(q->body, p->name, name);
    if (body.n)
        memcpy(q->body + name, body.p, body.n);
    rc = nodes_ask(p->plugins->hub, &(struct node_ask){.node = node ? to.node : 0,
                                                       .subject = NODE_PLUGIN,
                                                       .timeout_ms = timeout_ms,
                                                       .body = slice_of(q->body, name + body.n),
                                                       .done = answered,
                                                       .ctx = q});
    if (rc == 0)
        return 0;
    free(q);
    plugin_end(p, PENDING_OPERATIONS);
    return plugin_error(rc);
}

/* --- Answering ---------------------------------------------------------------------------------------------------- */

int question_answerer(mp_self *p, mp_node_asked_fn asked, void *ctx)
{
    if (!p->may_register || !asked)
        return MP_EINVALID;
    p->asked = asked;
    p->asked_ctx = ctx;
    return 0;
}

static struct mp_self *named(const struct plugins *ps, struct slice body, struct slice *rest)
{
    const char *end = body.n ? memchr(body.p, '\0', body.n) : NULL;
    struct mp_self *p = end ? ps->list : NULL;
    while (p && !(p->state == PLUGIN_RUNNING && strcmp(p->name, body.p) == 0))
        p = p->next;
    if (p)
        *rest = slice_of(end + 1, body.n - (size_t)(end + 1 - body.p));
    return p;
}

static void asked(void *ctx, struct node_question *q)
{
    struct plugins *ps = ctx;
    struct slice body = SLICE_NONE;
    struct mp_self *p = named(ps, q->body, &body);
    struct mp_out out = {.own = BUF_INIT};
    out.b = &out.own;
    if (p && p->asked && !atomic_load(&p->closing)) {
        struct visit v = visit_begin(&ps->threads[0], p, "a question of another node");
        buf_byte(out.b, 'A');
        p->asked(&ps->threads[0], str_out(body), &out, p->asked_ctx);
        visit_end(&ps->threads[0], &v);
    }
    node_answer(ps->hub, q, buf_ok(out.b) && out.b->n <= NODE_ANSWER_MAX ? buf_slice(out.b) : SLICE_NONE);
    buf_free(out.b);
}

void questions_begin(struct plugins *ps)
{
    nodes_answerer(ps->hub, NODE_PLUGIN, asked, ps);
}

void questions_end(struct plugins *ps)
{
    nodes_answerer(ps->hub, NODE_PLUGIN, NULL, NULL);
}
