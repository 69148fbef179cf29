/* Heads above what the archive has: see heads.h. */
#include "storage/redis/dump/heads.h"

#include "storage/archive.h"
#include "storage/redis/dump/import_private.h"
#include "storage/redis/redis_private.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAGE = 256,      /* conversations of one page of the archive */
    WAIT_MS = 10000, /* that a page may take, the first one with the connection */
    /* Numbers that are left out: what was acknowledged in the seconds before Redis was lost, and had not reached the
     * archive, had these. No number is given twice. */
    LEFT_OUT = 1000,
    USER_MAX = (CONV_KEY_MAX - 2) / 2 /* bytes of an id */
};
#define SEQ_MAX ((UINT64_C(1) << 48) - 1)

/* A page, as it is taken out of the archive's memory. */
struct page {
    struct archive_heads ask;
    bool done;
    int code;
    uint32_t n;
    struct found {
        struct conv_key conv;
        uint64_t first, last, last_id;
    } found[PAGE];
};

struct heads {
    struct importer im; /* the first member */
    struct archive *archive;
    struct page page;
    uint64_t n; /* conversations so far */
    bool away;  /* the archive does not answer */
};

/* Whether it is a private conversation, as conv_key_pair() makes their keys, with numbers that a head has room for. */
static bool is_pair(const struct found *f)
{
    struct slice key = conv_key_slice(&f->conv), lo, hi;
    if (key.n < 4 || key.p[0] != 'p')
        return false;
    conv_pair_users(key, &lo, &hi);
    return lo.n >= 1 && lo.n <= USER_MAX && hi.n >= 1 && hi.n <= USER_MAX && f->first >= 1 && f->first <= f->last &&
           f->last <= SEQ_MAX - LEFT_OUT;
}

/* A conversation: all that it has is in the archive. */
static int head_put(struct importer *im, const struct found *f)
{
    struct slice key = conv_key_slice(&f->conv), users[2];
    uint64_t seq = f->last + LEFT_OUT;
    struct dump_conv c = {.key = key, .seq = seq, .given = seq, .low = seq, .last_id = f->last_id};
    int r = import_conv(im, &c);
    im->head.used = 1u << TIER_DM;
    im->head.flags |= TIER_DM * LAYOUT_TIER;
    im->head.max = im->s->r->options.tiers[TIER_DM].max;
    im->head.archived = seq;
    im->head.first = f->first;
    r = r ? r : import_conv_end(im);
    r = r ? r : import_look(im, (f->last_id >> 22) + LAYOUT_YEAR_2020); /* what has ended leaves the archive */
    conv_pair_users(key, &users[0], &users[1]);
    for (unsigned i = 0; !r && i < 2 && (i == 0 || !slice_eq(users[0], users[1])); i++)
        r = import_pair(im, &(struct dump_pair){.user = users[i], .conv = key, .read = seq});
    return r;
}

static void page_done(void *ctx, struct archive_req *req)
{
    struct page *p = ctx;
    p->done = true;
    p->code = req->status == ARCHIVE_OK ? 0 : ERR_CLOSED;
    p->n = 0;
    for (uint32_t i = 0; !p->code && i < p->ask.n; i++) {
        const struct archive_head *h = &p->ask.heads[i];
        struct found *f = &p->found[p->n];
        if (h->conv.n > CONV_KEY_MAX) {
            p->code = ERR_INVALID;
            return;
        }
        f->conv.n = (uint8_t)h->conv.n;
        memcpy(f->conv.p, h->conv.p, h->conv.n);
        f->first = h->first;
        f->last = h->last;
        f->last_id = h->last_id;
        p->n++;
    }
}

/* The conversations behind those of the page that is there. */
static int page_next(struct heads *h)
{
    struct page *p = &h->page;
    struct conv_key after = {.n = 0};
    if (p->n)
        after = p->found[p->n - 1].conv;
    p->done = false;
    p->ask = (struct archive_heads){.req = {.done = page_done, .ctx = p, .patience_ms = WAIT_MS},
                                    .after = p->n ? conv_key_slice(&after) : SLICE_LIT(""),
                                    .limit = PAGE};
    archive_heads(h->archive, &p->ask);
    while (!p->done)
        ev_run(h->im.s->r->loop, EVRUN_ONCE);
    h->away = p->code == ERR_CLOSED;
    return p->code;
}

static int heads_take(struct importer *im)
{
    struct heads *h = (struct heads *)im;
    int r = page_next(h);
    while (!r && h->page.n) {
        for (uint32_t i = 0; !r && i < h->page.n; i++) {
            const struct found *f = &h->page.found[i];
            if (!is_pair(f))
                r = ERR_INVALID;
            r = r ? r : head_put(im, f);
            h->n++;
        }
        r = r ? r : page_next(h);
    }
    /* Time goes on behind the newest message. */
    im->store.clock_ms = im->store.steady_ms = (im->last_id >> 22) + LAYOUT_YEAR_2020;
    if (!r && !h->n)
        r = ERR_NOTFOUND;
    return r ? r : still_wait(im->s);
}

static void tell(const struct heads *h, int r, char *why, size_t why_size)
{
    if (h->away)
        snprintf(why, why_size, "cluster.archive.url: the archive does not answer");
    else if (r == ERR_NOTFOUND)
        snprintf(why, why_size, "cluster.archive.url: the archive has no messages");
    else if (r == ERR_INVALID)
        snprintf(why, why_size, "cluster.archive.url: the archive has something that is no private conversation");
}

int redis_heads(const struct store_options *options, uint64_t *n, char *why, size_t why_size)
{
    struct still s;
    const struct archive_options archive = {.url = options->cluster.archive.url};
    *n = 0;
    if (!archive.url || !*archive.url) {
        snprintf(why, why_size, "cluster.archive.url: there is no archive whose conversations could go on");
        return ERR_INVALID;
    }
    struct heads *h = calloc(1, sizeof *h);
    snprintf(why, why_size, "out of memory");
    if (!h)
        return ERR_NOMEM;
    int r = still_open(&s, options, why, why_size);
    if (!r) {
        char said[200] = "";
        h->im.s = &s;
        r = archive_open(&h->archive, s.r->loop, &archive, said, sizeof said);
        if (r)
            snprintf(why, why_size, "cluster.archive.url: %s", said);
        r = r ? r : import_fill(&h->im, heads_take, why, why_size);
        if (r)
            tell(h, r, why, why_size);
        if (h->archive)
            archive_close(h->archive);
        still_close(&s);
    }
    *n = h->n;
    free(h);
    return r;
}
