#include "core/script/watchdog.h"

#include "core/base/clock.h"
#include "core/script/stack.h"

#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Ignored by default, so that one that comes late, or from elsewhere, does nothing. ThreadSanitizer holds such signals
 * back until the program calls into it, which a loop in Lua never does; some others it delivers at once. */
#if defined __SANITIZE_THREAD__
#define KILL_SIGNAL SIGTRAP
#else
#define KILL_SIGNAL SIGURG
#endif

/* How often the watchdog looks at an entry that it has seen before, and how often otherwise; after how long without any
 * entry it sleeps; and when a signal is sent once more. An entry is seen at last after LOOK_RARELY_US, and found over
 * its time LOOK_US after its budget and grace at last. */
enum { LOOK_US = 10000, LOOK_RARELY_US = 25000, SLEEP_AFTER_US = 1000000, AGAIN_US = 20000 };

/* Time that a thread is given beyond its budget: on a virtual machine the CPU clock of a thread runs on while the host
 * runs others. Far less than the 100 ms that scripts are promised to be stopped within. */
enum { GRACE_US = 30000 };

struct watchdog {
    pthread_t thread;
    pthread_mutex_t lock; /* of the list */
    struct watched *list; /* owned */
    sem_t wake;           /* posted by the first entry while it sleeps, and to stop it */
    _Atomic bool asleep;
    _Atomic bool stopping;
};

/* --- On the thread that runs Lua ---------------------------------------------------------------------------------- */

static void stop_lua(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    luaL_where(L, 0);
    const char *where = lua_tostring(L, -1);
    luaL_error(L, "%sover its CPU budget", where ? where : "");
}

/* A signal that came too late finds another entry, or none. */
__attribute__((no_sanitize("thread"))) static void on_convicted(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)context;
    if (info->si_code != SI_QUEUE || !info->si_value.sival_ptr)
        return;
    struct watched *w = info->si_value.sival_ptr;
    uint64_t entry = atomic_load_explicit(&w->entry, memory_order_relaxed);
    if (!(entry & 1) || entry != atomic_load_explicit(&w->overrun, memory_order_relaxed))
        return;
    w->killed = 1;
    lua_sethook(w->lua, stop_lua, LUA_MASKCOUNT, 1);
}

static void introduce(struct watched *w)
{
    clockid_t clock = CLOCK_THREAD_CPUTIME_ID;
    pthread_getcpuclockid(pthread_self(), &clock);
    w->thread = pthread_self();
    w->known = true;
    w->stack_bottom = stack_bottom();
    w->meter = (struct meter_thread){.tick = 0};
    atomic_store(&w->clock, clock);
    atomic_store(&w->tid, (int)syscall(SYS_gettid));
}

void watched_enter(struct watched *w, lua_State *L, uint64_t budget_us)
{
    if (!w->known || !pthread_equal(w->thread, pthread_self()))
        introduce(w);
    w->lua = L;
    atomic_store_explicit(&w->budget_us, budget_us, memory_order_relaxed);
    /* Sequentially consistent, so that either the watchdog sees the entry before it sleeps, or we see that it
     * sleeps. */
    atomic_fetch_add(&w->entry, 1);
    if (atomic_load(&w->dog->asleep) && atomic_exchange(&w->dog->asleep, false))
        sem_post(&w->dog->wake);
}

void watched_leave(struct watched *w)
{
    atomic_store_explicit(&w->entry, atomic_load_explicit(&w->entry, memory_order_relaxed) + 1, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
    if (w->killed) {
        lua_sethook(w->lua, NULL, 0, 0);
        w->killed = 0;
    }
}

/* --- The watchdog's thread ---------------------------------------------------------------------------------------- */

static uint64_t cpu_us(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t) != 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void sentence(struct watched *w, uint64_t entry, uint64_t now)
{
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_signo = KILL_SIGNAL;
    info.si_code = SI_QUEUE;
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_ptr = w;
    atomic_store(&w->overrun, entry);
    w->told_us = now;
    /* By its number, which is harmless when the thread has ended meanwhile. */
    syscall(SYS_rt_tgsigqueueinfo, getpid(), atomic_load(&w->tid), KILL_SIGNAL, &info);
}

/* What a look has seen. */
enum seen { SEEN_NOTHING, SEEN_ENTERED /* Lua has been entered since the last look */, SEEN_INSIDE /* it runs */ };

static enum seen look(struct watched *w, uint64_t now)
{
    uint64_t entry = atomic_load(&w->entry);
    if (entry != w->seen) {
        w->seen = entry;
        w->since_us = now;
        w->told_us = 0;
        if (entry & 1)
            w->cpu_us = cpu_us(atomic_load(&w->clock));
        return entry & 1 ? SEEN_INSIDE : SEEN_ENTERED;
    }
    if (!(entry & 1))
        return SEEN_NOTHING;
    uint64_t budget = atomic_load_explicit(&w->budget_us, memory_order_relaxed) + GRACE_US;
    if (now - w->since_us < budget || (w->told_us && now - w->told_us < AGAIN_US))
        return SEEN_INSIDE;
    uint64_t cpu = cpu_us(atomic_load(&w->clock));
    if (cpu - w->cpu_us >= budget && atomic_load(&w->entry) == entry)
        sentence(w, entry, now);
    return SEEN_INSIDE;
}

static void *watch(void *arg)
{
    struct watchdog *d = arg;
    uint64_t quiet_since = clock_mono_us();
    pthread_setname_np(pthread_self(), "watchdog");
    while (!atomic_load(&d->stopping)) {
        uint64_t now = clock_mono_us();
        enum seen most = SEEN_NOTHING;
        pthread_mutex_lock(&d->lock);
        for (struct watched *w = d->list; w; w = w->next) {
            enum seen seen = look(w, now);
            most = seen > most ? seen : most;
        }
        pthread_mutex_unlock(&d->lock);
        if (most)
            quiet_since = now;
        if (atomic_load(&d->asleep)) {
            /* Nobody has entered between the announcement and this look. */
            while (!most && sem_wait(&d->wake) != 0 && errno == EINTR)
                ;
            atomic_store(&d->asleep, false);
            quiet_since = clock_mono_us();
        } else if (now - quiet_since > SLEEP_AFTER_US) {
            atomic_store(&d->asleep, true);
        } else {
            nanosleep(&(struct timespec){.tv_nsec = (most == SEEN_INSIDE ? LOOK_US : LOOK_RARELY_US) * 1000}, NULL);
        }
    }
    return NULL;
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

struct watchdog *watchdog_new(void)
{
    struct watchdog *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    struct sigaction act = {.sa_sigaction = on_convicted, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigemptyset(&act.sa_mask);
    sigaction(KILL_SIGNAL, &act, NULL);
    pthread_mutex_init(&d->lock, NULL);
    sem_init(&d->wake, 0, 0);
    /* Signals are for others. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&d->thread, NULL, watch, d);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        return d;
    sem_destroy(&d->wake);
    pthread_mutex_destroy(&d->lock);
    free(d);
    return NULL;
}

void watchdog_free(struct watchdog *d)
{
    if (!d)
        return;
    atomic_store(&d->stopping, true);
    sem_post(&d->wake);
    pthread_join(d->thread, NULL);
    while (d->list) {
        struct watched *w = d->list;
        d->list = w->next;
        free(w);
    }
    sem_destroy(&d->wake);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

struct watched *watchdog_watch(struct watchdog *d)
{
    struct watched *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->dog = d;
    pthread_mutex_lock(&d->lock);
    w->next = d->list;
    d->list = w;
    pthread_mutex_unlock(&d->lock);
    return w;
}
