#include "core/hub/talk/news_gap.h"

#include "core/base/fault.h"
#include "core/hub/shard/op.h"

#include <stdlib.h>

enum {
    TRIES = 3, /* how often a gap is read again, where the store could not answer */
    WAITS = 30 /* how often it waits for NEWS_WAIT_MS for one's own that is with the store */
};

struct filling {
    struct store_range op;
    uint32_t conv; /* pinned */
    uint32_t life; /* heard.life when it was asked */
    uint64_t upto; /* the last seq of the gap */
};

void gap_over(struct shard *s, struct heard *h)
{
    ev_timer_stop(s->loop, &h->messages.patience);
    h->filled = h->tries = 0;
    h->waits = 0;
}

/* What is left of it is left out: members see the jump in seq. So where more was there, no arrival counts as heard. */
static void jump(struct heard *h, uint64_t upto, bool more)
{
    if (more)
        h->since = upto + 1;
    if (h->messages.number < upto)
        h->messages.number = upto;
    h->filled = h->tries = 0;
}

static void fill(struct shard *s, uint32_t conv);

static void filled(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct filling *f = OP_END(owner, op, struct filling, op.op);
    struct conv *v = conv_at(s, f->conv);
    struct heard *h = v->heard;
    h->reading = false;
    uint32_t n = op->status == STORE_OK && f->life == h->life ? f->op.page.n : 0;
    /* What the page has behind the gap says that the rest of the gap is not there: expired, or lost. */
    bool beyond = n && f->op.page.messages[n - 1].seq > f->upto;
    for (uint32_t i = 0; i < n; i++) {
        const struct store_message *m = &f->op.page.messages[i];
        news_give(s, f->conv); /* what has come meanwhile */
        if (m->seq <= h->messages.number || m->seq > f->upto)
            continue;
        h->filled++;
        news_give_read(s, f->conv, m);
    }
    bool again = op->status != STORE_OK && op->status != STORE_NOTFOUND && op->status != STORE_FATAL &&
                 ++h->tries < TRIES && s->net;
    bool more = n && f->op.more && !beyond && h->messages.number < f->upto && h->filled < NEWS_FILL;
    if (f->life == h->life && more)
        fill(s, f->conv);
    else if (f->life == h->life && !again)
        jump(h, f->upto, op->status != STORE_OK || (f->op.more && !beyond));
    news_go_on(s, f->conv);
    conv_at(s, f->conv)->pins--;
    store_page_free(&f->op.page);
    free(f);
}

/* Asks for what is missing before the first message that waits, or up to the newest that is known of. */
static void fill(struct shard *s, uint32_t conv)
{
    struct conv *v = conv_at(s, conv);
    struct heard *h = v->heard;
    uint64_t upto = h->target, from = h->messages.number;
    for (const struct held *x = h->messages.first; x; x = x->next) {
        if (x->news->kind == NEWS_MESSAGE) {
            upto = x->news->seq - 1;
            break;
        }
    }
    if (upto <= from)
        return;
    struct filling *f = s->net && !fault("repair") ? calloc(1, sizeof *f) : NULL;
    if (!f) {
        jump(h, upto, true);
        return;
    }
    uint64_t missing = upto - from, most = NEWS_FILL - h->filled;
    f->conv = conv;
    f->life = h->life;
    f->upto = upto;
    f->op = (struct store_range){.conv = conv_slice(v),
                                 .has_after = true,
                                 .after = from,
                                 .limit = (uint32_t)(missing < most ? missing : most),
                                 .page_bytes = s->opt->page_max};
    v->pins++;
    h->reading = true;
    op_begin(s, &f->op.op, filled);
    store_range(s->store, &f->op);
}

void gap_due(struct ev_loop *loop, ev_timer *w, int events)
{
    struct heard *h = w->data;
    (void)events;
    if ((int32_t)(h->due - h->sent) > 0 && h->waits < WAITS) {
        h->waits++;
        ev_timer_set(w, NEWS_WAIT_MS / 1000., 0.);
        ev_timer_start(loop, w);
        return;
    }
    h->waits = 0;
    conv_at(h->shard, h->conv)->pins++;
    news_begin(h);
    news_give(h->shard, h->conv);
    fill(h->shard, h->conv);
    news_go_on(h->shard, h->conv);
    conv_at(h->shard, h->conv)->pins--;
}

void gap_wait(struct shard *s, uint32_t conv)
{
    struct heard *h = conv_at(s, conv)->heard;
    if (h->reading)
        return;
    if (h->messages.count >= NEWS_HELD) {
        ev_timer_stop(s->loop, &h->messages.patience);
        news_begin(h);
        fill(s, conv);
        if (!h->reading)
            news_give(s, conv);
    } else if (!ev_is_active(&h->messages.patience)) {
        h->due = h->sends;
        ev_timer_set(&h->messages.patience, NEWS_WAIT_MS / 1000., 0.);
        ev_timer_start(s->loop, &h->messages.patience);
    }
}
