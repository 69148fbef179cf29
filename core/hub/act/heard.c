#include "core/hub/act/heard.h"

#include "core/hub/shard/shard.h"
#include "storage/bus.h"

#include <stdlib.h>

void user_heard(struct shard *s, struct bus_news *n)
{
    (void)s;
    free(n);
}
