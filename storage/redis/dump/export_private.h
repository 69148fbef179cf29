/* What the files of a cluster's export share. */
#ifndef MAGPIE_STORAGE_REDIS_EXPORT_PRIVATE_H
#define MAGPIE_STORAGE_REDIS_EXPORT_PRIVATE_H

#include "storage/archive.h"
#include "storage/dump.h"
#include "storage/redis/dump/still.h"
#include "storage/redis/rule.h"

struct exporter {
    struct still *s;
    struct dump_writer *out;
    struct layout_rule rule; /* what is visible */
    uint64_t clock_ms;       /* the largest time that the nodes have told */
    struct archive *archive; /* NULL: there is none; owned */
};

/* Digits of a number; anything else ends it. */
uint64_t export_number(struct slice text);

/* For still_scan(): puts conversations with their messages and blocks. */
int export_convs(void *ctx, const struct still_key *keys, uint32_t n);
/* Opens the archive, if the options name one. ERR_INVALID; `why` gets a sentence. */
MUST_CHECK int export_open_archive(struct exporter *e, char *why, size_t why_size);
void export_close_archive(struct exporter *e);

#endif
