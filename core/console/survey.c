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

void survey_start(struct command_call *c, uint32_t (*visit)(struct shard *s, struct survey *v),
                  const struct survey_page *page)
{
    struct survey *v = calloc(1, sizeof *v);
    if (!v) {
        command_fail(c, "internal", "out of memory");
        return;
    }
    v->call = c;
    v->visit = visit;
    v->filter = page->filter;
    v->skip = page->skip;
    v->left = page->limit;
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

static bool holds(struct slice filter, const struct slice *texts, unsigned n)
{
    if (filter.n == 0)
        return true;
    for (unsigned i = 0; i < n; i++)
        if (texts[i].n >= filter.n && memmem(texts[i].p, texts[i].n, filter.p, filter.n))
            return true;
    return false;
}

bool survey_wants(struct survey *v, const struct slice *texts, unsigned n)
{
    if (!holds(v->filter, texts, n))
        return false;
    if (v->skip == 0)
        return true;
    v->skip--;
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

/* "limit N" or "skip N" at the end of the arguments, which get shorter by it. */
static bool take_option(struct command_call *c, unsigned first, unsigned *end, struct survey_page *page)
{
    if (*end < first + 2)
        return false;
    struct slice word = c->argv[*end - 2];
    bool limit = slice_eq(word, SLICE_LIT("limit"));
    uint64_t *to = limit ? &page->limit : &page->skip;
    if ((!limit && !slice_eq(word, SLICE_LIT("skip"))) || !argument_number(c->argv[*end - 1], UINT32_MAX, to) ||
        (limit && *to == 0))
        return false;
    *end -= 2;
    return true;
}

bool survey_arguments(struct command_call *c, unsigned first, struct survey_page *page)
{
    unsigned end = c->argc;
    *page = (struct survey_page){.filter = SLICE_NONE, .limit = UINT64_MAX};
    /* Such a word alone, or before a number at the end, is the option; else it is the filter. */
    if (take_option(c, first, &end, page))
        take_option(c, first, &end, page);
    if (end > first)
        page->filter = c->argv[first];
    if (end <= first + 1)
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
