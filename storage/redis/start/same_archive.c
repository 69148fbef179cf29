#include "storage/redis/start/same_archive.h"

#include "core/base/hash.h"
#include "core/base/log.h"
#include "storage/archive.h"
#include "storage/redis/nodes/node.h"
#include "storage/redis/redis_private.h"

#include <stdio.h>
#include <stdlib.h>

struct same_archive {
    struct node_once once;
    struct call call;
    char own[24]; /* NUL-terminated: "none", or a hash of the places, which have no secrets in them */
};

static void set(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    (void)r, (void)status, (void)reply; /* else the next start does it */
    free(c->ctx);
}

static void known(struct redis *r, struct node_once *o, enum store_status status, struct slice value)
{
    static const struct slice hset[] = {SLICE_LIT("HSET")};
    struct same_archive *a = o->ctx;
    if (status != STORE_OK || slice_eq(value, slice_str(a->own))) {
        free(a);
        return;
    }
    if (node_others(r)->n > 1) {
        log_event(LOG_WARN, "cluster.other_archive",
                  LOG_STR("about",
                          "cluster.archive.url of this node names none, another database than the other nodes have, or "
                          "the same by another name: give all nodes the same, or each finds other old messages"));
        free(a);
        return;
    }
    call_raw(r, &a->call, 0, true, hset, 1);
    call_key(r, &a->call, 'C', SLICE_NONE);
    call_arg(&a->call, SLICE_LIT("archive"));
    call_arg(&a->call, slice_str(a->own));
    a->call.ctx = a;
    a->call.done = set;
    call_post(r, &a->call);
}

void same_archive_look(struct redis *r)
{
    struct same_archive *a = calloc(1, sizeof *a);
    const char *url = r->options.cluster.archive.url;
    struct buf place = BUF_INIT;
    if (!a)
        return;
    if (url && *url)
        archive_place(url, &place);
    if (place.n)
        snprintf(a->own, sizeof a->own, "%016llx", (unsigned long long)hash_stable(buf_slice(&place)));
    else
        snprintf(a->own, sizeof a->own, "none");
    buf_free(&place);
    a->once.done = known;
    a->once.ctx = a;
    if (node_once(r, &a->once, SLICE_LIT("archive"), slice_str(a->own)))
        free(a);
}
