/* Orders and questions to other nodes: bus_order(), bus_call(). Engine's thread. */
#ifndef MAGPIE_STORAGE_REDIS_ORDER_H
#define MAGPIE_STORAGE_REDIS_ORDER_H

struct redis;
struct task;

/* As those of op.h. */
void begin_bus_order(struct redis *r, struct task *t);
void begin_bus_call(struct redis *r, struct task *t);

#endif
