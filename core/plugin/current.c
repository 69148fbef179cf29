/*
 * Values in force (struct mp_current of the ABI): what every thread reads and the main thread replaces.
 *
 * A new value is seen everywhere at once. The one before stays until no thread can be reading it: each thread runs
 * callbacks one after the other, so a mail that was posted after the exchange comes when every callback that saw the
 * old value has returned.
 */
#include "core/plugin/current.h"

#include "core/base/log.h"
#include "core/plugin/plugin_private.h"
#include "core/plugin/threads.h"

#include <stdlib.h>

/* A thread's word that it no longer reads a value. */
struct pass {
    struct mail mail;
    struct mp_held *held;
};

/* A value with those who may read it. */
struct mp_held {
    struct mp_held *next;       /* in mp_current.retired */
    struct mp_current *current; /* NULL: its plugin is gone. Main thread writes it */
    void *value;
    _Atomic uint32_t refs;    /* holders, and one for all threads together */
    _Atomic uint32_t threads; /* whose pass has not run yet */
    struct mail last;         /* to the main thread, when there are no users left */
    struct pass passes[];     /* one a thread; used once, when another value has come into force */
};

struct mp_current {
    struct mp_current *next; /* in mp_self.currents */
    struct mp_self *plugin;
    void (*drop)(void *value);
    _Atomic(struct mp_held *) now; /* in force; written on the main thread */
    struct mp_held *prepared;      /* main thread; NULL: none */
    struct mp_held *retired;       /* main thread: no longer in force, and not dropped yet */
};

/* --- The end of a value: main thread --------------------------------------------------------------------------- */

static void drop(struct mp_held *h)
{
    struct mp_self *p = h->current->plugin;
    struct visit v = visit_begin(&p->plugins->threads[0], p, "the drop of a value");
    h->current->drop(h->value);
    visit_end(&p->plugins->threads[0], &v);
    h->current = NULL;
}

static void unlink_retired(struct mp_held *h)
{
    struct mp_held **at = &h->current->retired;
    while (*at != h)
        at = &(*at)->next;
    *at = h->next;
}

static void last_run(void *owner, struct mail *m)
{
    struct mp_held *h = (struct mp_held *)((char *)m - offsetof(struct mp_held, last));
    (void)owner;
    if (h->current) {
        struct mp_self *p = h->current->plugin;
        unlink_retired(h);
        drop(h);
        plugin_end(p, PENDING_VALUES);
    }
    free(h);
}

/* Whoever holds a value now will never let go of it: no code of the plugin runs any more. Returns how many do. */
static unsigned end_held(struct mp_held *h, bool in_force)
{
    uint32_t refs = atomic_load(&h->refs);
    drop(h);
    if (refs == 0)
        return 0; /* last_run() is on its way, and frees it */
    free(h);
    return in_force ? refs - 1 : refs;
}

void currents_free(struct mp_self *p)
{
    unsigned left = 0;
    while (p->currents) {
        struct mp_current *c = p->currents;
        struct mp_held *now = atomic_load(&c->now);
        p->currents = c->next;
        if (c->prepared)
            left += end_held(c->prepared, true);
        if (now)
            left += end_held(now, true);
        while (c->retired) {
            struct mp_held *h = c->retired;
            c->retired = h->next;
            left += end_held(h, false);
        }
        free(c);
    }
    if (left)
        log_event(LOG_WARN, "plugin.leak", LOG_STR("plugin", p->name), LOG_INT("held_values", left));
}

/* --- What plugins call ----------------------------------------------------------------------------------------- */

mp_current *current_new(mp_self *p, void (*drop_fn)(void *value))
{
    struct mp_current *c = p->may_register && drop_fn ? calloc(1, sizeof *c) : NULL;
    if (!c)
        return NULL;
    c->plugin = p;
    c->drop = drop_fn;
    c->next = p->currents;
    p->currents = c;
    return c;
}

void held_release(mp_held *h)
{
    if (!h || atomic_fetch_sub(&h->refs, 1) != 1)
        return;
    struct mp_self *p = h->current->plugin;
    atomic_fetch_add(&p->pending[PENDING_VALUES], 1);
    mailbox_post(p->plugins->threads[0].mailbox, &h->last);
}

static void pass_run(void *owner, struct mail *m)
{
    struct mp_held *h = ((struct pass *)m)->held;
    struct mp_self *p = h->current->plugin;
    (void)owner;
    if (atomic_fetch_sub(&h->threads, 1) != 1)
        return;
    held_release(h);
    plugin_end(p, PENDING_VALUES);
}

int current_prepare(mp_current *c, void *value)
{
    unsigned threads = c->plugin->plugins->thread_count;
    if (!value)
        return MP_EINVALID;
    struct mp_held *h = calloc(1, sizeof *h + threads * sizeof h->passes[0]);
    if (!h) {
        c->drop(value);
        return MP_ENOMEM;
    }
    h->current = c;
    h->value = value;
    h->last.run = last_run;
    atomic_init(&h->refs, 1);
    atomic_init(&h->threads, threads);
    for (unsigned i = 0; i < threads; i++)
        h->passes[i] = (struct pass){.mail.run = pass_run, .held = h};
    if (c->prepared)
        (void)end_held(c->prepared, true);
    c->prepared = h;
    return MP_OK;
}

/* Nothing is allocated here: it must not fail. */
void current_commit(mp_current *c)
{
    struct mp_held *h = c->prepared;
    struct plugins *ps = c->plugin->plugins;
    if (!h)
        return;
    c->prepared = NULL;
    struct mp_held *before = atomic_exchange(&c->now, h);
    if (!before)
        return;
    before->next = c->retired;
    c->retired = before;
    atomic_fetch_add(&c->plugin->pending[PENDING_VALUES], 1);
    for (unsigned i = 0; i < ps->thread_count; i++)
        mailbox_post(ps->threads[i].mailbox, &before->passes[i].mail);
}

void *current_get(mp_current *c, mp_thread *here)
{
    const struct mp_held *h = atomic_load(&c->now);
    (void)here;
    return h ? h->value : NULL;
}

mp_held *current_hold(mp_current *c, mp_thread *here)
{
    struct mp_held *h = atomic_load(&c->now);
    (void)here;
    /* This thread's pass is still to come, so the threads' use of it has not ended. */
    if (h)
        atomic_fetch_add(&h->refs, 1);
    return h;
}

void *held_value(const mp_held *h)
{
    return h->value;
}

bool held_in_force(const mp_held *h)
{
    return atomic_load(&h->current->now) == h;
}
