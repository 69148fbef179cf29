/*
 * What other nodes want this one to do, or to know: their orders and questions, each once, however often it comes. And
 * the replies to ours. Engine's thread, unless it says otherwise.
 */
#ifndef MAGPIE_STORAGE_REDIS_ERRAND_IN_H
#define MAGPIE_STORAGE_REDIS_ERRAND_IN_H

#include "core/base/err.h"
#include "storage/bus.h"

struct news_more;
struct redis;

/* ERR_NOMEM. */
MUST_CHECK int errands_in_init(struct redis *r);
/* Orders that have no receipt yet are freed. */
void errands_in_fini(struct redis *r);
/* Now and then: forgets those that cannot come again. */
void errands_in_tick(struct redis *r);

/* An order, a question, a receipt or an answer has come. */
void errand_heard(struct redis *r, const struct news_more *m);

/* As those of struct bus_ops. Any thread. */
void errand_receipt(struct bus *b, struct bus_order *o);
void errand_answer(struct bus *b, struct bus_called *c, struct slice body);

#endif
