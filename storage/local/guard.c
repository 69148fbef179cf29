/* The guarded clock and the steady one: see guard.h. */
#include "storage/local/guard.h"

#include "core/base/buf.h"
#include "core/base/log.h"

#include <string.h>

/* Of the record: offsets of fixed fields. */
enum {
    AT_GUARDED = 0,
    AT_STEADY = 8,
    AT_BOOT = 16,
    AT_PAUSED_FROM = 24,
    AT_BOOT_ID = 32,
    AT_FLAGS = AT_BOOT_ID + CLOCK_BOOT_ID_SIZE, /* u8 paused · u8 unsure · u8 number of moves · 5 zeros */
    AT_MOVES = AT_FLAGS + 8
};

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

/* `same_ms`: stamps of before may be of this millisecond. Then the steady clock goes on by one, which tells them from
 * those of the pause. */
static void guard_pause(struct guard *g, const char *when, int64_t by_ms, uint64_t now_ms, bool same_ms)
{
    g->paused = true;
    g->steady_by_ms += same_ms;
    g->paused_from_ms = now_ms + g->steady_by_ms;
    log_event(LOG_ERROR, "storage.clock_jump", LOG_STR("when", when), LOG_INT("by_s", by_ms / 1000),
              LOG_STR("hint", "expiry is paused; check the clock, then: storage clock accept"));
}

/* --- Starting ----------------------------------------------------------------------------------------------------- */

/* What the last run left. */
struct left {
    uint64_t guarded_ms, steady_ms;
    uint64_t boot_passed_ms; /* since then, by CLOCK_BOOTTIME */
    bool same_boot;          /* that can be told */
    bool paused, unsure;
    uint64_t paused_from_ms;
};

static struct left left_read(struct guard *g, struct slice r)
{
    struct left l = {.guarded_ms = load_be64(r.p + AT_GUARDED)};
    l.steady_ms = l.guarded_ms; /* as before there was such a clock */
    if (r.n < AT_MOVES)
        return l;
    static const uint8_t none[CLOCK_BOOT_ID_SIZE];
    uint64_t boot = load_be64(r.p + AT_BOOT);
    l.steady_ms = load_be64(r.p + AT_STEADY);
    l.boot_passed_ms = g->last_boot_ms - boot;
    /* More than a month at once is a trick, as while running: the wall clock is asked then. */
    l.same_boot = memcmp(g->boot_id, none, sizeof none) != 0 &&
                  memcmp(g->boot_id, r.p + AT_BOOT_ID, sizeof none) == 0 && g->last_boot_ms >= boot &&
                  l.boot_passed_ms <= GUARD_RESTART_JUMP_MS;
    l.paused = r.p[AT_FLAGS] != 0;
    l.unsure = r.p[AT_FLAGS + 1] != 0;
    l.paused_from_ms = load_be64(r.p + AT_PAUSED_FROM);
    size_t moves = (uint8_t)r.p[AT_FLAGS + 2] * (size_t)CLOCK_MOVE_SIZE, there = r.n - AT_MOVES;
    clock_moves_decode(&g->moves, slice_of(r.p + AT_MOVES, moves < there ? moves : there));
    return l;
}

/* Sets both clocks on from where the last run left them. */
static void left_continue(struct guard *g, const struct left *l)
{
    uint64_t wall = g->last_wall_ms, boot = l->same_boot ? l->boot_passed_ms : 0;
    uint64_t by_wall = wall > l->guarded_ms ? wall - l->guarded_ms : 0;
    bool jumped = apart(l->guarded_ms + boot, wall) > GUARD_RESTART_JUMP_MS;
    bool agree = l->same_boot && apart(l->guarded_ms + boot, wall) <= GUARD_SMALL_JUMP_MS;
    uint64_t guarded = jumped || agree ? boot : by_wall > boot ? by_wall : boot;
    uint64_t steady = l->same_boot || jumped ? boot : by_wall;
    g->base_ms = l->guarded_ms + guarded;
    g->steady_by_ms = l->steady_ms + steady - g->base_ms;
    if (!jumped)
        return;
    guard_pause(g, "restart", (int64_t)(wall - g->base_ms), g->base_ms, steady == 0 && !l->paused);
    g->unsure = !l->same_boot || (l->paused && l->unsure);
    if (l->paused) /* what was stamped since then was stamped in doubt */
        g->paused_from_ms = l->paused_from_ms;
}

void guard_init(struct guard *g, const struct guard_source *source, struct expiry *expiry, struct slice persisted)
{
    *g = (struct guard){.expiry = expiry};
    if (source && source->wall_ms) {
        g->source = *source;
        if (source->boot_id)
            memcpy(g->boot_id, source->boot_id, sizeof g->boot_id);
    } else {
        g->source = (struct guard_source){.wall_ms = system_wall, .boot_ms = system_boot};
        (void)clock_boot_id(g->boot_id);
    }
    pthread_mutex_init(&g->lock, NULL);
    g->last_wall_ms = g->base_ms = g->source.wall_ms(g->source.ctx);
    g->boot0_ms = g->last_boot_ms = g->source.boot_ms(g->source.ctx);
    if (persisted.n >= 8) {
        struct left l = left_read(g, persisted);
        left_continue(g, &l);
    }
    atomic_store(&expiry->now_ms, g->base_ms);
}

void guard_fini(struct guard *g)
{
    pthread_mutex_destroy(&g->lock);
}

/* --- Running ------------------------------------------------------------------------------------------------------ */

/* Under the lock. */
static uint64_t look(struct guard *g)
{
    uint64_t wall = g->source.wall_ms(g->source.ctx), boot = g->source.boot_ms(g->source.ctx);
    bool leap = clock_leaps(g->last_boot_ms, boot); /* which does not move the guarded clock */
    uint64_t passed = leap ? 0 : boot - g->last_boot_ms;
    if (leap) {
        g->base_ms += g->last_boot_ms - g->boot0_ms;
        g->boot0_ms = boot;
    }
    uint64_t now = g->base_ms + (boot - g->boot0_ms);
    if (!g->paused) {
        if (leap || apart(wall, g->last_wall_ms + passed) > GUARD_RUN_JUMP_MS)
            guard_pause(g, "running", (int64_t)(wall - g->last_wall_ms - passed), now, passed == 0);
        else
            atomic_store_explicit(&g->expiry->now_ms, now, memory_order_relaxed);
    }
    g->last_boot_ms = boot;
    g->last_wall_ms = wall;
    return now;
}

uint64_t guard_now(struct guard *g)
{
    pthread_mutex_lock(&g->lock);
    uint64_t now = look(g);
    pthread_mutex_unlock(&g->lock);
    return now;
}

/* Under the lock. look() may move steady_by_ms, so it comes first. */
static uint64_t look_steady(struct guard *g)
{
    uint64_t now = look(g);
    return now + g->steady_by_ms;
}

uint64_t guard_steady(struct guard *g)
{
    pthread_mutex_lock(&g->lock);
    uint64_t now = look_steady(g);
    pthread_mutex_unlock(&g->lock);
    return now;
}

uint64_t guard_age(struct guard *g, uint64_t stamp_ms)
{
    pthread_mutex_lock(&g->lock);
    uint64_t age = clock_moves_age(&g->moves, look_steady(g), stamp_ms);
    pthread_mutex_unlock(&g->lock);
    return age;
}

uint64_t guard_date(struct guard *g)
{
    pthread_mutex_lock(&g->lock);
    uint64_t now = look(g), date = g->paused && g->unsure ? g->last_wall_ms : now;
    pthread_mutex_unlock(&g->lock);
    return date;
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
        uint64_t now = look(g), steady = now + g->steady_by_ms, wall = g->last_wall_ms;
        if (wall > now)
            clock_moves_add(&g->moves, g->paused_from_ms, wall - now);
        g->paused = g->unsure = false;
        g->base_ms = wall;
        g->boot0_ms = g->last_boot_ms;
        g->steady_by_ms = steady - wall;
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

void guard_read(struct guard *g, struct guard_state *out)
{
    pthread_mutex_lock(&g->lock);
    uint64_t now = look(g);
    *out = (struct guard_state){.guarded_ms = now,
                                .steady_ms = now + g->steady_by_ms,
                                .boot_ms = g->last_boot_ms,
                                .paused_from_ms = g->paused_from_ms,
                                .paused = g->paused,
                                .unsure = g->unsure,
                                .moves = g->moves};
    memcpy(out->boot_id, g->boot_id, sizeof out->boot_id);
    pthread_mutex_unlock(&g->lock);
}

size_t guard_state_encode(const struct guard_state *s, char out[GUARD_SIZE])
{
    memset(out, 0, GUARD_SIZE);
    store_be64(out + AT_GUARDED, s->guarded_ms);
    store_be64(out + AT_STEADY, s->steady_ms);
    store_be64(out + AT_BOOT, s->boot_ms);
    store_be64(out + AT_PAUSED_FROM, s->paused_from_ms);
    memcpy(out + AT_BOOT_ID, s->boot_id, sizeof s->boot_id);
    out[AT_FLAGS] = s->paused;
    out[AT_FLAGS + 1] = s->unsure;
    out[AT_FLAGS + 2] = (char)s->moves.n;
    return AT_MOVES + clock_moves_encode(&s->moves, out + AT_MOVES);
}

size_t guard_encode(struct guard *g, char out[GUARD_SIZE])
{
    struct guard_state s;
    guard_read(g, &s);
    return guard_state_encode(&s, out);
}
