/* The guarded clock: see guard.h. */
#include "storage/local/guard.h"

#include "core/base/clock.h"
#include "core/base/log.h"

static uint64_t system_wall(void *ctx)
{
    (void)ctx;
    return clock_wall_ms();
}

static uint64_t system_boot(void *ctx)
{
    (void)ctx;
    return clock_boot_ms();
}

static uint64_t apart(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

static void guard_pause(struct guard *g, const char *when, int64_t by_ms)
{
    g->paused = true;
    log_event(LOG_ERROR, "storage.clock_jump", LOG_STR("when", when), LOG_INT("by_s", by_ms / 1000),
              LOG_STR("hint", "expiry is paused; check the clock, then: storage clock accept"));
}

void guard_init(struct guard *g, const struct guard_source *source, struct expiry *expiry, uint64_t persisted_ms)
{
    *g = (struct guard){.source =
                            source && source->wall_ms ? *source : (struct guard_source){system_wall, system_boot, NULL},
                        .expiry = expiry};
    pthread_mutex_init(&g->lock, NULL);
    g->last_wall_ms = g->source.wall_ms(g->source.ctx);
    g->boot0_ms = g->last_boot_ms = g->source.boot_ms(g->source.ctx);
    g->base_ms = persisted_ms > g->last_wall_ms ? persisted_ms : g->last_wall_ms;
    if (persisted_ms && apart(persisted_ms, g->last_wall_ms) > GUARD_RESTART_JUMP_MS) {
        g->base_ms = persisted_ms;
        guard_pause(g, "restart", (int64_t)(g->last_wall_ms - persisted_ms));
    }
    atomic_store(&expiry->now_ms, g->base_ms);
}

void guard_fini(struct guard *g)
{
    pthread_mutex_destroy(&g->lock);
}

uint64_t guard_now(struct guard *g)
{
    pthread_mutex_lock(&g->lock);
    uint64_t wall = g->source.wall_ms(g->source.ctx), boot = g->source.boot_ms(g->source.ctx);
    /* The boot clock never goes back, and a month of it at once is a month's sleep or a trick: neither moves the
     * guarded clock. */
    bool leap = boot < g->last_boot_ms || boot - g->last_boot_ms > GUARD_RESTART_JUMP_MS;
    uint64_t passed = leap ? 0 : boot - g->last_boot_ms;
    if (leap) {
        g->base_ms += g->last_boot_ms - g->boot0_ms;
        g->boot0_ms = boot;
    }
    uint64_t now = g->base_ms + (boot - g->boot0_ms);
    if (!g->paused) {
        if (leap || apart(wall, g->last_wall_ms + passed) > GUARD_RUN_JUMP_MS)
            guard_pause(g, "running", (int64_t)(wall - g->last_wall_ms - passed));
        else
            atomic_store_explicit(&g->expiry->now_ms, now, memory_order_relaxed);
    }
    g->last_boot_ms = boot;
    g->last_wall_ms = wall;
    pthread_mutex_unlock(&g->lock);
    return now;
}

uint64_t guard_wall(const struct guard *g)
{
    return g->source.wall_ms(g->source.ctx);
}

bool guard_accept(struct guard *g)
{
    pthread_mutex_lock(&g->lock);
    bool was = g->paused;
    if (was) {
        g->paused = false;
        g->last_wall_ms = g->base_ms = g->source.wall_ms(g->source.ctx);
        g->last_boot_ms = g->boot0_ms = g->source.boot_ms(g->source.ctx);
        atomic_store(&g->expiry->now_ms, g->base_ms);
    }
    pthread_mutex_unlock(&g->lock);
    if (was)
        log_event(LOG_INFO, "storage.clock_accepted");
    return was;
}

bool guard_paused(struct guard *g)
{
    pthread_mutex_lock(&g->lock);
    bool paused = g->paused;
    pthread_mutex_unlock(&g->lock);
    return paused;
}
