#include "storage/archive/pg.h"

#include "core/base/clock.h"
#include "core/base/container.h"
#include "storage/archive/dial.h"
#include "storage/archive/link.h"
#include "storage/archive/setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TIMEOUT_MS = 10000,
    RECONNECT_MS = 5000,
    PARTITIONS = 16,
    WHY_MS = 3000 /* a failure is told for so long: on a full disk, what needs no new page goes well in between */
};

/* Batches, changes and reads have a connection each: no change waits for a batch, and no reader for a row that somebody
 * else has locked. */
enum { LINK_WRITE, LINK_CHANGE, LINK_READ, LINKS };

struct pg {
    struct archive base; /* the first member */
    char *url;
    struct pg_notes notes;
    struct pg_link links[LINKS];
};

static struct pg *pg_of(struct archive *a)
{
    return CONTAINER_OF(a, struct pg, base);
}

static void pg_post(struct archive *a, struct archive_req *req)
{
    static const uint8_t links[ARCHIVE_KINDS] = {[ARCHIVE_RANGE] = LINK_READ,
                                                 [ARCHIVE_OLDEST] = LINK_READ,
                                                 [ARCHIVE_HEADS] = LINK_READ,
                                                 [ARCHIVE_CHANGE] = LINK_CHANGE}; /* the others: LINK_WRITE */
    link_post(&pg_of(a)->links[links[req->kind]], req);
}

/* Empty: requests of that kind do not fail. */
static const char *failing(const struct pg_failed *f)
{
    return f->well && clock_mono_ms() - f->ms >= WHY_MS ? "" : f->why;
}

static void pg_stats(struct archive *a, struct archive_stats *out)
{
    struct pg *pg = pg_of(a);
    *out = pg->notes.stats;
    out->connected = pg->notes.connected == LINKS;
    for (unsigned i = 0; i < LINKS; i++) {
        uint64_t since = pg->links[i].away_since_ms;
        if (since && (!out->away_since_ms || since < out->away_since_ms))
            out->away_since_ms = since;
    }
    latency_read(&pg->notes.put_latency, &out->put_latency);
    const char *why = pg->notes.away;
    for (unsigned i = 0; i < ARCHIVE_KINDS && !*why; i++)
        why = failing(&pg->notes.failed[i]);
    (void)snprintf(out->why, sizeof out->why, "%s", why);
}

static void pg_close(struct archive *a)
{
    struct pg *pg = pg_of(a);
    for (unsigned i = 0; i < LINKS; i++)
        link_fini(&pg->links[i]);
    free(pg->url);
    free(pg);
}

static const struct archive_engine pg_engine = {pg_post, pg_stats, pg_close};

/* Whether libpq takes the URL. What it says may quote a password: only its words before any quotation are passed on. */
static int check_url(const char *url, char *why, size_t why_size)
{
    char *said = NULL;
    PQconninfoOption *options = PQconninfoParse(url, &said);
    if (options) {
        PQconninfoFree(options);
        return 0;
    }
    int n = said ? (int)strcspn(said, "\"\n:") : 0;
    while (n && said[n - 1] == ' ')
        n--;
    (void)snprintf(why, why_size, "libpq does not understand it: %.*s", n, said ? said : "");
    PQfreemem(said);
    return ERR_INVALID;
}

bool archive_pg_left_behind(void)
{
    return dial_left();
}

void archive_pg_place(const char *url, struct buf *out)
{
    static const char *const names[] = {"host", "hostaddr", "port", "dbname"};
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    for (size_t i = 0; options && i < sizeof names / sizeof *names; i++)
        for (const PQconninfoOption *o = options; o->keyword; o++)
            if (strcmp(o->keyword, names[i]) == 0 && o->val)
                buf_printf(out, "%s=%s ", o->keyword, o->val);
    PQconninfoFree(options);
}

int archive_pg_open(struct archive **out, struct ev_loop *loop, const struct archive_options *options, char *why,
                    size_t why_size)
{
    if (check_url(options->url, why, why_size) != 0)
        return ERR_INVALID;
    struct pg *pg = calloc(1, sizeof *pg);
    char *url = pg ? strdup(options->url) : NULL;
    if (!url) {
        free(pg);
        (void)snprintf(why, why_size, "out of memory");
        return ERR_NOMEM;
    }
    pg->base.engine = &pg_engine;
    pg->url = url;
    pg->notes.links = LINKS;
    unsigned partitions = options->partitions ? options->partitions : PARTITIONS;
    struct dial_options dial = {
        .url = url,
        .timeout_ms = options->timeout_ms ? options->timeout_ms : TIMEOUT_MS,
        .partitions = partitions > SETUP_PARTITIONS_MAX ? SETUP_PARTITIONS_MAX : partitions,
    };
    uint32_t reconnect = options->reconnect_ms ? options->reconnect_ms : RECONNECT_MS;
    for (unsigned i = 0; i < LINKS; i++)
        link_init(&pg->links[i], loop, &pg->notes, &dial, reconnect);
    *out = &pg->base;
    return 0;
}
