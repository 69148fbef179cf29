/* Requests as statements of PostgreSQL, in its binary format, and results read back. */
#ifndef MAGPIE_STORAGE_ARCHIVE_SQL_H
#define MAGPIE_STORAGE_ARCHIVE_SQL_H

#include "storage/archive.h"

#include <libpq-fe.h>

/* What an error means for the request that met it. */
enum sql_verdict {
    SQL_LOST,  /* the connection goes, or is none any more: again over the next one */
    SQL_SETUP, /* the tables are not as they were when it connected: connect anew, which says why */
    SQL_SLOW,  /* it took too long: less at once may do */
    SQL_LATER, /* not now: disk full, memory short, a lock that did not come */
    SQL_NEVER  /* not this row, however often it is tried */
};
enum sql_verdict sql_verdict(const PGresult *res);

/* Whether a result is what the kind of request has when it went well. */
bool sql_went_well(const PGresult *res, enum archive_kind kind);

/* How many rows from `from` on make one statement: bounded by their bytes. */
uint32_t sql_put_run(const struct archive_put *p, uint32_t from);

/* Send a request; put: rows [from, from + n) of it. 0; ERR_NOMEM; ERR_IO: the connection is not well. */
MUST_CHECK int sql_send_put(PGconn *conn, const struct archive_put *p, uint32_t from, uint32_t n);
MUST_CHECK int sql_send(PGconn *conn, const struct archive_req *req);

/* Reads the result of a request that went well into it; put: nothing. Range and heads: what they have is malloc'd, in
 * *rows, and borrows from `res`. ARCHIVE_OK, ARCHIVE_MOVED, or ARCHIVE_REFUSED: these are no rows of an archive;
 * ARCHIVE_AWAY: out of memory. */
enum archive_status sql_read(const PGresult *res, struct archive_req *req, void **rows);

#endif
