/* The doors of the archive, and which database stands behind them. */
#include "storage/archive.h"

#include "storage/archive/pg.h"
#include "core/base/clock.h"

#include <stdio.h>
#include <string.h>

static void hand_over(struct archive *a, struct archive_req *req, enum archive_kind kind)
{
    req->next = NULL;
    req->parts = 0;
    req->status = ARCHIVE_OK;
    req->kind = (uint8_t)kind;
    req->since_ms = clock_mono_ms();
    a->engine->post(a, req);
}

void archive_put(struct archive *a, struct archive_put *p)
{
    ASSERT(p->n > 0 && p->n <= ARCHIVE_ROWS_MAX);
    for (uint32_t i = 0; i < p->n; i++)
        p->rows[i].refused = false;
    hand_over(a, &p->req, ARCHIVE_PUT);
}

void archive_range(struct archive *a, struct archive_range *r)
{
    ASSERT(r->limit > 0 && r->limit <= ARCHIVE_ROWS_MAX);
    r->rows = NULL;
    r->n = 0;
    hand_over(a, &r->req, ARCHIVE_RANGE);
}

void archive_change(struct archive *a, struct archive_change *c)
{
    hand_over(a, &c->req, ARCHIVE_CHANGE);
}

void archive_drop(struct archive *a, struct archive_drop *d)
{
    d->dropped = 0;
    d->more = false;
    hand_over(a, &d->req, ARCHIVE_DROP);
}

void archive_oldest(struct archive *a, struct archive_oldest *o)
{
    o->seq = 0;
    hand_over(a, &o->req, ARCHIVE_OLDEST);
}

void archive_heads(struct archive *a, struct archive_heads *h)
{
    ASSERT(h->limit > 0 && h->limit <= ARCHIVE_ROWS_MAX);
    h->heads = NULL;
    h->n = 0;
    hand_over(a, &h->req, ARCHIVE_HEADS);
}

int archive_open(struct archive **out, struct ev_loop *loop, const struct archive_options *options, char *why,
                 size_t why_size)
{
    *out = NULL;
    if (strncmp(options->url, "postgresql://", 13) == 0 || strncmp(options->url, "postgres://", 11) == 0)
        return archive_pg_open(out, loop, options, why, why_size);
    (void)snprintf(why, why_size, "it must begin with postgresql://");
    return ERR_INVALID;
}

void archive_close(struct archive *a)
{
    a->engine->close(a);
}

bool archive_left_behind(void)
{
    return archive_pg_left_behind();
}

void archive_get_stats(struct archive *a, struct archive_stats *out)
{
    *out = (struct archive_stats){0};
    a->engine->stats(a, out);
}

void archive_place(const char *url, struct buf *out)
{
    archive_pg_place(url, out);
}
