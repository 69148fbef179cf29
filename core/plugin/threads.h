/* Posts, timers, watched descriptors. Private to core/plugin. */
#ifndef MAGPIE_PLUGIN_THREADS_H
#define MAGPIE_PLUGIN_THREADS_H

#include "core/plugin/plugin_private.h"

struct visit visit_begin(struct mp_thread *t, struct mp_self *p, const char *doing);
void visit_end(struct mp_thread *t, const struct visit *before);
/* Counts something as under way; false (and not counted) when the plugin is closing. */
bool plugin_begin(struct mp_self *p, enum plugin_pending kind);
void plugin_end(struct mp_self *p, enum plugin_pending kind);
mp_thread *threads_main(mp_self *p);
unsigned threads_count(mp_self *p);
mp_thread *threads_shard(mp_self *p, unsigned i);
int threads_index(const mp_thread *t);
mp_thread *threads_user(mp_self *p, struct mp_str id);
mp_thread *threads_channel(mp_self *p, struct mp_str name);
void *threads_local(mp_self *p, mp_thread *here);
int threads_post(mp_self *p, mp_thread *to, mp_thread_fn fn, void *ctx);
int timer_start(mp_self *p, mp_thread *here, uint64_t first_ms, uint64_t every_ms, mp_thread_fn fn, void *ctx,
                uint64_t *timer);
void timer_end(mp_self *p, mp_thread *here, uint64_t timer);
int io_start(mp_self *p, mp_thread *here, int fd, unsigned events, mp_io_fn fn, void *ctx, uint64_t *io);
int io_set(mp_self *p, mp_thread *here, uint64_t io, unsigned events);
void io_end(mp_self *p, mp_thread *here, uint64_t io);
/* init() and shard_init() were right: what they posted and gave to workers begins. */
void posts_release(struct mp_self *p);
/* They were not: nobody hears of it. */
void posts_drop(struct mp_self *p);
/* Ends all timers and watched descriptors on that thread. */
void watchers_end(struct mp_self *p, struct mp_thread *t);

#endif
