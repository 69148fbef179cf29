/* What cannot be read: see broken.h. */
#include "storage/redis/client/broken.h"

#include "core/base/log.h"
#include "storage/redis/client/link.h"
#include "storage/redis/redis_private.h"

/* Whether a minute has passed since the last line. */
static bool again(struct redis *r, uint64_t *told_ms)
{
    if (*told_ms && r->turn_ms < *told_ms + BROKEN_AGAIN)
        return false;
    *told_ms = r->turn_ms ? r->turn_ms : 1;
    return true;
}

void broken_record(struct redis *r, const char *kind, struct slice key, uint64_t seq)
{
    if (again(r, &r->broken_record_ms))
        log_event(LOG_ERROR, "store.bad_record", LOG_STR("kind", kind), LOG_SLICE("key", key), LOG_INT("seq", seq),
                  LOG_STR("effect", "it is left out wherever it would stand; others may be, too"));
}

void broken_reply(struct redis *r, const struct link *l, const char *why)
{
    if (again(r, &r->broken_reply_ms))
        log_event(LOG_WARN, "cluster.bad_reply", LOG_STR("host", l->host), LOG_INT("port", l->port),
                  LOG_STR("because", why), LOG_STR("hint", "is that a Redis?"));
}
