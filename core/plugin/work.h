/* Worker threads. Private to core/plugin. */
#ifndef MAGPIE_PLUGIN_WORK_H
#define MAGPIE_PLUGIN_WORK_H

#include "core/plugin/plugin_private.h"

int work_start(mp_self *p, void (*run)(void *ctx), mp_thread *home, mp_thread_fn done, void *ctx);
void work_release(struct mp_self *p);
/* Takes works that have not begun out of the queue, without calling anything. */
void work_cancel(struct mp_self *p);
/* Ends the worker threads, which must be idle. */
void workers_end(struct plugins *ps);

#endif
