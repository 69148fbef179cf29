#include "storage/redis/time.h"

#include "core/base/clock.h"
#include "storage/redis/redis_private.h"

int time_init(struct redis *r)
{
    (void)r;
    return 0;
}

void time_fini(struct redis *r)
{
    (void)r;
}

uint64_t time_now(struct redis *r)
{
    return time_steady(r);
}

uint64_t time_steady(struct redis *r)
{
    return r->hooks.wall_ms ? r->hooks.wall_ms(r->hooks.ctx) : clock_wall_ms();
}

uint64_t time_age(struct redis *r, uint64_t stamp_ms)
{
    uint64_t now = time_steady(r);
    return now > stamp_ms ? now - stamp_ms : 0;
}

uint64_t time_date(struct redis *r)
{
    return time_steady(r);
}

void time_accept(struct redis *r)
{
    (void)r;
}

bool time_paused(struct redis *r)
{
    (void)r;
    return false;
}
