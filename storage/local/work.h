/* Work on the database as a whole: each on a thread of its own, so that no other operation waits for it. */
#ifndef MAGPIE_STORAGE_WORK_H
#define MAGPIE_STORAGE_WORK_H

#include "storage/store.h"

struct local;

/* Hands work over. Any thread. */
void work_post(struct local *s, struct store_work *w);
/* Refuses more, and waits for what is under way, which gives up early. */
void work_end(struct local *s);

#endif
