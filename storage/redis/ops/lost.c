#include "storage/redis/ops/lost.h"

#include "core/base/log.h"
#include "storage/redis/redis_private.h"

void lost_tell(struct redis *r, struct slice conv, uint64_t had, uint64_t has)
{
    atomic_fetch_add(&r->stats.lost, 1);
    log_event(LOG_ERROR, "cluster.lost", LOG_SLICE("conversation", conv), LOG_INT("had", had), LOG_INT("has", has),
              LOG_STR("about", "Redis has lost what it had acknowledged; numbers go on above those that were told"));
}
