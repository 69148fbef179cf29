#include "core/console/survey.h"

#include <stdlib.h>

enum { PIECE = 32 << 10 }; /* bytes of rows that one step brings */

/* --- Walks -------------------------------------------------------------------------------------------------------- */

static void survey_free(struct survey *v)
{
    buf_free(&v->rows);
    free(v);
}

static void survey_send(struct survey *v);

static void survey_resume(struct command_call *c)
{
    struct survey *v = c->state;
    if (!c->gone) {
        survey_send(v);
        return;
    }
    survey_free(v);
    command_done(c);
}

/* Main thread. */
static void survey_back(void *owner, struct mail *m)
{
    (void)owner;
    struct survey *v = (struct survey *)m;
    struct command_call *c = v->call;
    buf_slice_put(&c->out, buf_slice(&v->rows));
    c->out.oom = c->out.oom || v->rows.oom;
    buf_reset(&v->rows);
    if (v->at == NONE) {
        v->at = 0;
        v->shard++;
    }
    if (c->gone || v->left == 0 || v->shard == c->hub->shard_count) {
        survey_free(v);
        command_done(c);
        return;
    }
    command_more(c, survey_resume);
}

static void survey_arrive(void *owner, struct mail *m)
{
    struct survey *v = (struct survey *)m;
    v->at = v->visit(owner, v);
    v->mail.run = survey_back;
    mailbox_post(v->call->hub->main, &v->mail);
}

static void survey_send(struct survey *v)
{
    v->mail.run = survey_arrive;
    mailbox_post(&v->call->hub->shards[v->shard]->mailbox, &v->mail);
}

void survey_start(struct command_call *c, uint32_t (*visit)(struct shard *s, struct survey *v), struct slice filter,
                  uint64_t limit)
{
    struct survey *v = calloc(1, sizeof *v);
    if (!v) {
        command_fail(c, "internal", "out of memory");
        return;
    }
    v->call = c;
    v->visit = visit;
    v->filter = filter;
    v->left = limit;
    c->state = v;
    c->rows = true;
    survey_send(v);
}

bool survey_row(struct survey *v)
{
    if (v->left == 0 || v->rows.n >= PIECE)
        return false;
    v->left--;
    /* Every row but the first of a piece has a comma before it. */
    if (v->rows.n)
        buf_byte(&v->rows, ',');
    return true;
}

bool survey_wants(const struct survey *v, const struct slice *texts, unsigned n)
{
    if (v->filter.n == 0)
        return true;
    for (unsigned i = 0; i < n; i++)
        if (texts[i].n >= v->filter.n && memmem(texts[i].p, texts[i].n, v->filter.p, v->filter.n))
            return true;
    return false;
}

bool argument_number(struct slice text, uint64_t max, uint64_t *out)
{
    uint64_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9' || n > max / 10)
            return false;
        n = n * 10 + (uint64_t)(text.p[i] - '0');
    }
    *out = n;
    return text.n > 0 && n <= max;
}

bool survey_arguments(struct command_call *c, struct slice *filter, uint64_t *limit)
{
    return survey_arguments_from(c, 0, filter, limit);
}

bool survey_arguments_from(struct command_call *c, unsigned first, struct slice *filter, uint64_t *limit)
{
    unsigned at = first;
    *filter = SLICE_NONE;
    *limit = UINT64_MAX;
    /* "limit" alone, or before a number at the end, is the word; else it is the filter. */
    if (c->argc > at && !(slice_eq(c->argv[at], SLICE_LIT("limit")) && c->argc - at == 2))
        *filter = c->argv[at++];
    if (c->argc == at)
        return true;
    if (c->argc - at == 2 && slice_eq(c->argv[at], SLICE_LIT("limit")) &&
        argument_number(c->argv[at + 1], UINT32_MAX, limit) && *limit)
        return true;
    command_fail(c, "bad_request", "usage: %s %s", c->command.name, c->command.args);
    return false;
}

/* --- Errands ------------------------------------------------------------------------------------------------------ */

struct errand {
    struct mail mail;
    struct command_call *call;
    void (*there)(struct shard *s, struct command_call *c);
    void (*back)(struct command_call *c);
};

static void errand_back(void *owner, struct mail *m)
{
    (void)owner;
    struct errand e = *(struct errand *)m;
    free(m);
    e.back(e.call);
}

static void errand_arrive(void *owner, struct mail *m)
{
    struct errand *e = (struct errand *)m;
    struct shard *s = owner;
    e->there(s, e->call);
    e->mail.run = errand_back;
    mailbox_post(s->hub->main, &e->mail);
}

void errand_start(struct command_call *c, struct shard *to, void (*there)(struct shard *s, struct command_call *c),
                  void (*back)(struct command_call *c))
{
    struct errand *e = malloc(sizeof *e);
    if (!e) {
        command_fail(c, "internal", "out of memory");
        return;
    }
    *e = (struct errand){.mail.run = errand_arrive, .call = c, .there = there, .back = back};
    mailbox_post(&to->mailbox, &e->mail);
}
