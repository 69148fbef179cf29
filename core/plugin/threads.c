/* Threads as plugins see them: posting, timers, watched descriptors. */
#include "core/plugin/threads.h"

#include "core/base/clock.h"
#include "core/base/utf8.h"
#include "core/plugin/plugin_private.h"
#include "storage/conv_key.h"

#include <stdlib.h>

_Static_assert((int)MP_READ == (int)EV_READ && (int)MP_WRITE == (int)EV_WRITE, "handed on as they are");

/* --- Visits ------------------------------------------------------------------------------------------------------- */

struct visit visit_begin(struct mp_thread *t, struct mp_self *p, const char *doing)
{
    struct visit before = {.in = atomic_load_explicit(&t->in, memory_order_relaxed),
                           .doing = atomic_load_explicit(&t->doing, memory_order_relaxed),
                           .since_ms = atomic_load_explicit(&t->since_ms, memory_order_relaxed),
                           .before = running_set((struct running){.kind = "plugin", .name = p->name, .doing = doing})};
    atomic_store_explicit(&t->self, (uintptr_t)pthread_self(), memory_order_relaxed);
    atomic_store_explicit(&t->doing, doing, memory_order_relaxed);
    atomic_store_explicit(&t->since_ms, clock_mono_ms(), memory_order_relaxed);
    atomic_store_explicit(&t->in, p, memory_order_release);
    return before;
}

void visit_end(struct mp_thread *t, const struct visit *before)
{
    running_set(before->before);
    atomic_store_explicit(&t->in, before->in, memory_order_relaxed);
    atomic_store_explicit(&t->doing, before->doing, memory_order_relaxed);
    atomic_store_explicit(&t->since_ms, before->since_ms, memory_order_release);
}

/* --- What is under way -------------------------------------------------------------------------------------------- */

bool plugin_begin(struct mp_self *p, enum plugin_pending kind)
{
    /* First counted, then looked: whoever closes it looks in the other order, so one of the two sees the other. */
    atomic_fetch_add(&p->pending[kind], 1);
    if (!atomic_load(&p->closing))
        return true;
    atomic_fetch_sub(&p->pending[kind], 1);
    return false;
}

void plugin_end(struct mp_self *p, enum plugin_pending kind)
{
    atomic_fetch_sub(&p->pending[kind], 1);
}

/* --- Finding threads ---------------------------------------------------------------------------------------------- */

mp_thread *threads_main(mp_self *p)
{
    return &p->plugins->threads[0];
}

unsigned threads_count(mp_self *p)
{
    return p->plugins->thread_count - 1;
}

mp_thread *threads_shard(mp_self *p, unsigned i)
{
    return i + 1 < p->plugins->thread_count ? &p->plugins->threads[i + 1] : NULL;
}

int threads_index(const mp_thread *t)
{
    return t->index;
}

mp_thread *threads_user(mp_self *p, struct mp_str id)
{
    return thread_of(p->plugins, shard_of(p->plugins->hub, slice_in(id)));
}

mp_thread *threads_channel(mp_self *p, struct mp_str name)
{
    if (!value_channel(slice_in(name)))
        return &p->plugins->threads[1];
    struct conv_key key = conv_key_channel(slice_in(name));
    return thread_of(p->plugins, shard_of(p->plugins->hub, conv_key_slice(&key)));
}

void *threads_local(mp_self *p, mp_thread *here)
{
    return p->local[here->index + 1].shard_state;
}

/* --- Posting ------------------------------------------------------------------------------------------------------ */

struct post {
    struct mail mail;
    struct mp_self *plugin;
    struct mp_thread *to;
    mp_thread_fn fn;
    void *ctx;
};

static void post_run(void *owner, struct mail *m)
{
    struct post *post = (struct post *)m;
    struct mp_self *p = post->plugin;
    (void)owner;
    struct visit v = visit_begin(post->to, p, "a post");
    post->fn(post->to, post->ctx);
    visit_end(post->to, &v);
    free(post);
    plugin_end(p, PENDING_POSTS);
}

/* Keeps it until init() and shard_init() are over. False: they are. */
static bool hold(struct mp_self *p, struct post *post)
{
    pthread_mutex_lock(&p->lock);
    bool held = atomic_load(&p->holding);
    if (held) {
        *p->held_last = &post->mail;
        p->held_last = &post->mail.next;
    }
    pthread_mutex_unlock(&p->lock);
    return held;
}

int threads_post(mp_self *p, mp_thread *to, mp_thread_fn fn, void *ctx)
{
    if (!to || !fn)
        return MP_EINVALID;
    struct post *post = calloc(1, sizeof *post);
    if (!post)
        return MP_ENOMEM;
    if (!plugin_begin(p, PENDING_POSTS)) {
        free(post);
        return MP_ECLOSED;
    }
    *post = (struct post){.mail.run = post_run, .plugin = p, .to = to, .fn = fn, .ctx = ctx};
    if (atomic_load(&p->holding) && hold(p, post))
        return 0;
    mailbox_post(to->mailbox, &post->mail);
    return 0;
}

void posts_release(struct mp_self *p)
{
    /* Posted under the lock, so that nobody's later post overtakes them. */
    pthread_mutex_lock(&p->lock);
    while (p->held) {
        struct post *post = (struct post *)p->held;
        p->held = post->mail.next;
        mailbox_post(post->to->mailbox, &post->mail);
    }
    atomic_store(&p->holding, false);
    pthread_mutex_unlock(&p->lock);
}

void posts_drop(struct mp_self *p)
{
    pthread_mutex_lock(&p->lock);
    while (p->held) {
        struct post *post = (struct post *)p->held;
        p->held = post->mail.next;
        free(post);
        plugin_end(p, PENDING_POSTS);
    }
    p->held_last = &p->held;
    pthread_mutex_unlock(&p->lock);
}

/* --- Timers and descriptors --------------------------------------------------------------------------------------- */

static void watcher_free(struct watcher *w)
{
    if (w->is_io)
        ev_io_stop(w->thread->loop, &w->io);
    else
        ev_timer_stop(w->thread->loop, &w->timer);
    *w->at = w->next;
    if (w->next)
        w->next->at = w->at;
    free(w);
}

static struct watcher *watcher_new(mp_self *p, mp_thread *here, void *ctx, uint64_t *number)
{
    struct local *l = &p->local[here->index + 1];
    struct watcher *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->plugin = p;
    w->thread = here;
    w->ctx = ctx;
    w->number = ++l->numbers;
    w->next = l->watchers;
    w->at = &l->watchers;
    if (w->next)
        w->next->at = &w->next;
    l->watchers = w;
    if (number)
        *number = w->number;
    return w;
}

static struct watcher *watcher_find(mp_self *p, mp_thread *here, uint64_t number, bool is_io)
{
    for (struct watcher *w = p->local[here->index + 1].watchers; w; w = w->next)
        if (w->number == number && w->is_io == is_io)
            return w;
    return NULL;
}

static void on_timer(struct ev_loop *loop, ev_timer *e, int events)
{
    struct watcher *w = e->data;
    struct mp_self *p = w->plugin;
    struct mp_thread *t = w->thread;
    mp_thread_fn fire = w->fire;
    void *ctx = w->ctx;
    (void)loop, (void)events;
    if (e->repeat <= 0)
        watcher_free(w);
    struct visit v = visit_begin(t, p, "a timer");
    fire(t, ctx);
    visit_end(t, &v);
}

int timer_start(mp_self *p, mp_thread *here, uint64_t first_ms, uint64_t every_ms, mp_thread_fn fn, void *ctx,
                uint64_t *timer)
{
    if (!here || !fn)
        return MP_EINVALID;
    if (atomic_load(&p->closing))
        return MP_ECLOSED;
    struct watcher *w = watcher_new(p, here, ctx, timer);
    if (!w)
        return MP_ENOMEM;
    w->fire = fn;
    ev_timer_init(&w->timer, on_timer, (double)first_ms / 1000., (double)every_ms / 1000.);
    w->timer.data = w;
    ev_timer_start(here->loop, &w->timer);
    return 0;
}

void timer_end(mp_self *p, mp_thread *here, uint64_t timer)
{
    struct watcher *w = watcher_find(p, here, timer, false);
    if (w)
        watcher_free(w);
}

static void on_io(struct ev_loop *loop, ev_io *e, int events)
{
    struct watcher *w = e->data;
    struct mp_thread *t = w->thread;
    (void)loop;
    struct visit v = visit_begin(t, w->plugin, "a descriptor");
    w->ready(t, e->fd, (unsigned)events & (MP_READ | MP_WRITE), w->ctx);
    visit_end(t, &v);
}

int io_start(mp_self *p, mp_thread *here, int fd, unsigned events, mp_io_fn fn, void *ctx, uint64_t *io)
{
    if (!here || !fn || fd < 0 || events & ~(unsigned)(MP_READ | MP_WRITE))
        return MP_EINVALID;
    if (atomic_load(&p->closing))
        return MP_ECLOSED;
    struct watcher *w = watcher_new(p, here, ctx, io);
    if (!w)
        return MP_ENOMEM;
    w->is_io = true;
    w->ready = fn;
    ev_io_init(&w->io, on_io, fd, (int)events);
    w->io.data = w;
    if (events)
        ev_io_start(here->loop, &w->io);
    return 0;
}

int io_set(mp_self *p, mp_thread *here, uint64_t io, unsigned events)
{
    struct watcher *w = watcher_find(p, here, io, true);
    if (!w)
        return MP_ENOTFOUND;
    if (events & ~(unsigned)(MP_READ | MP_WRITE))
        return MP_EINVALID;
    int fd = w->io.fd;
    ev_io_stop(here->loop, &w->io);
    ev_io_set(&w->io, fd, (int)events);
    if (events)
        ev_io_start(here->loop, &w->io);
    return 0;
}

void io_end(mp_self *p, mp_thread *here, uint64_t io)
{
    struct watcher *w = watcher_find(p, here, io, true);
    if (w)
        watcher_free(w);
}

void watchers_end(struct mp_self *p, struct mp_thread *t)
{
    while (p->local[t->index + 1].watchers)
        watcher_free(p->local[t->index + 1].watchers);
}
