/*
 * What a new connection needs before rows go over it: the tables, made where there are none, the right version of them,
 * the rights to use them, and the settings of the session. On the thread of dial.c: it waits for the database.
 */
#ifndef MAGPIE_STORAGE_ARCHIVE_SETUP_H
#define MAGPIE_STORAGE_ARCHIVE_SETUP_H

#include "core/base/err.h"

#include <libpq-fe.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SETUP_FORMAT = 1,          /* of the tables, as magpie_archive says it */
    SETUP_PARTITIONS_MAX = 256 /* of the table */
};

struct setup_options {
    uint32_t timeout_ms; /* of each statement, here and later */
    unsigned partitions; /* of the table, where it is made */
};

/* 0; or ERR_IO and a sentence for people. */
MUST_CHECK int setup_run(PGconn *conn, const struct setup_options *options, char *why, size_t why_size);

#endif
