/* What the writer asks of append.c before a group, beside apply_append(). */
#ifndef MAGPIE_STORAGE_APPEND_H
#define MAGPIE_STORAGE_APPEND_H

#include "storage/local/writer.h"

/* Looks the client ids of the appends among slots[0, n) up in the database. */
void append_prefetch(struct writer *w, struct slot *slots, uint32_t n);

#endif
