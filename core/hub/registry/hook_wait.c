#include "core/hub/registry/hook_wait.h"

#include "core/hub/registry/tables.h"
#include "core/hub/shard/shard.h"

#include <stdio.h>
#include <stdlib.h>

struct hook_wait {
    struct mail mail; /* the answer's way to the shard */
    struct hook_call h;
    struct hook_place place;          /* of the hook that waits */
    const struct hook_waiter *waiter; /* NULL: nobody waits any more */
    void *ctx;                        /* of waiter */
    struct hook_answer answer;
    char texts[]; /* of h */
};

static struct slice *text_of(struct hook_call *h, unsigned i)
{
    struct slice *const all[] = {&h->user,  &h->user_name, &h->channel, &h->peer,  &h->content,
                                 &h->token, &h->device,    &h->ip,      &h->claims};
    return i < sizeof all / sizeof all[0] ? all[i] : NULL;
}

struct hook_wait *hook_later(struct hook_call *h)
{
    size_t n = 0;
    if (!h->may_wait || h->wait)
        return NULL;
    for (unsigned i = 0; text_of(h, i); i++)
        n += text_of(h, i)->n;
    struct hook_wait *w = malloc(sizeof *w + n);
    if (!w)
        return NULL;
    *w = (struct hook_wait){.h = *h};
    w->h.wait = NULL;
    char *at = w->texts;
    for (unsigned i = 0; text_of(&w->h, i); i++) {
        struct slice *s = text_of(&w->h, i);
        if (s->n)
            memcpy(at, s->p, s->n);
        *s = slice_of(at, s->n);
        at += s->n;
    }
    h->wait = w;
    return w;
}

static void wait_free(struct hook_wait *w)
{
    buf_free(&w->answer.content);
    free(w);
}

/* The rest of the chain, or what the hook has decided alone. */
static enum hook_verdict go_on(struct hook_wait *w)
{
    struct hook_call *h = &w->h;
    struct hook_answer *a = &w->answer;
    uint32_t max = h->shard->opt->content_max;
    if (a->verdict == HOOK_REJECT) {
        h->code = a->code;
        h->retry_after_ms = a->retry_after_ms;
        h->message = a->message[0] ? a->message : "refused";
        return HOOK_REJECT;
    }
    if (!buf_ok(&a->content) || (max && a->content.n > max)) {
        h->code = CODE_INTERNAL;
        h->message = buf_ok(&a->content) ? "the content that took its place is over limits.content" : "out of memory";
        return HOOK_REJECT;
    }
    if (a->content.n)
        h->content = buf_slice(&a->content);
    if (a->verdict != HOOK_PASS)
        return a->verdict;
    h->bucket = NULL;
    if (w->waiter->refresh)
        w->waiter->refresh(h, w->ctx);
    return hooks_run_behind(&w->place, h);
}

static void wait_arrive(void *owner, struct mail *m)
{
    struct hook_wait *w = (struct hook_wait *)m;
    (void)owner;
    const struct hook_waiter *waiter = w->waiter;
    enum hook_verdict verdict = waiter ? go_on(w) : HOOK_PASS;
    if (waiter && verdict == HOOK_LATER)
        hook_wait_for(w->h.wait, waiter, w->ctx);
    else if (waiter)
        waiter->resume(&w->h, verdict, w->ctx);
    wait_free(w);
}

void hook_answer(struct hook_wait *w, const struct hook_answer *answer)
{
    w->answer = *answer;
    w->mail.run = wait_arrive;
    mailbox_post(&w->h.shard->mailbox, &w->mail);
}

void hook_wait_for(struct hook_wait *w, const struct hook_waiter *waiter, void *ctx)
{
    w->waiter = waiter;
    w->ctx = ctx;
}

void hook_wait_drop(struct hook_wait *w)
{
    w->waiter = NULL;
}

void hook_wait_place(struct hook_wait *w, const struct hook_place *place)
{
    w->place = *place;
}
