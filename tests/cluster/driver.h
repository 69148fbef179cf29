/* What drive.c and listen.c share: how they are called, and how they wait for answers of the Redis engine. */
#ifndef MAGPIE_TESTS_CLUSTER_DRIVER_H
#define MAGPIE_TESTS_CLUSTER_DRIVER_H

#include "core/base/hash.h"
#include "core/base/log.h"
#include "storage/conv_key.h"
#include "storage/store.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Where answers of engines come. */
struct driver {
    struct mailbox mb;
    int wake; /* an eventfd: something is in it */
};

static inline void driver_wake(void *ctx)
{
    uint64_t one = 1;
    if (write(((struct driver *)ctx)->wake, &one, sizeof one) < 0 && errno != EAGAIN)
        abort();
}

static inline void driver_init(struct driver *d)
{
    log_open(NULL, LOG_TEXT, getenv("TEST_LOG") ? LOG_DEBUG : LOG_WARN);
    hash_init();
    d->wake = eventfd(0, EFD_NONBLOCK);
    mailbox_init(&d->mb, driver_wake, d);
}

/* Waits for an answer, or, with `input`, for input, for so long at most; runs what has been answered. Whether there is
 * input. */
static inline bool driver_wait(struct driver *d, void *owner, bool input, int ms)
{
    struct pollfd fds[2] = {{.fd = d->wake, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
    uint64_t n;
    poll(fds, input ? 2 : 1, ms);
    if (fds[0].revents && read(d->wake, &n, sizeof n) < 0 && errno != EAGAIN)
        abort();
    mailbox_run(&d->mb, owner);
    return input && fds[1].revents;
}

/* Of PREFIX HOST:PORT,… [COPIES]. */
static inline struct store_options driver_options(int argc, char **argv)
{
    static const char *addresses[64];
    unsigned n = 0;
    for (char *a = strtok(argv[2], ","); a && n < 64; a = strtok(NULL, ","))
        addresses[n++] = a;
    return (struct store_options){.engine = "redis",
                                  .tiers = {[TIER_SMALL] = {0, 0, DURABILITY_COMMIT}},
                                  .dedup_window_ms = 600000,
                                  .inbox_max = 100,
                                  .cluster = {.addresses = addresses,
                                              .address_count = n,
                                              .prefix = argv[1],
                                              .copies = argc > 3 ? (uint32_t)atoi(argv[3]) : 2,
                                              .patience_ms = 8000,
                                              .isolated_ms = 15000}};
}

#endif
