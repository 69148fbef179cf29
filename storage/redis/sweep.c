#include "storage/redis/sweep.h"

void sweep_start(struct redis *r)
{
    (void)r;
}

void sweep_stop(struct redis *r)
{
    (void)r;
}
