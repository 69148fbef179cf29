/* A full or failing disk: refuse, keep reading, come back. The writer's thread. */
#ifndef MAGPIE_STORAGE_RECOVER_H
#define MAGPIE_STORAGE_RECOVER_H

#include <stdbool.h>

struct writer;

/* The database cannot be written (or synced): all that is queued is refused from now on. what: "write" or "sync", for
 * the log. */
void recover_begin(struct writer *w, const char *what);
/* Tries to get the database back; true when writes work again. */
bool recover_try(struct writer *w);

#endif
