#include "storage/archive/setup.h"

#include "core/base/clock.h"

#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SERVER_MIN = 130000 /* PQserverVersion(): the oldest that has what the statements ask for */ };

struct setup {
    PGconn *conn;
    const struct setup_options *options;
    char *why;
    size_t why_size;
};

__attribute__((format(printf, 2, 3))) static int fail(struct setup *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(s->why, s->why_size, fmt, ap);
    va_end(ap);
    return ERR_IO;
}

/* Waits for the result of what was sent: the last one that came, or NULL when the database stopped answering. */
static PGresult *await(struct setup *s)
{
    uint64_t deadline = clock_mono_ms() + s->options->timeout_ms + 1000;
    PGresult *last = NULL;
    for (;;) {
        while (PQisBusy(s->conn)) {
            uint64_t now = clock_mono_ms();
            struct pollfd p = {.fd = PQsocket(s->conn), .events = POLLIN};
            if (now >= deadline || poll(&p, 1, (int)(deadline - now)) < 0 || !PQconsumeInput(s->conn)) {
                PQclear(last);
                return NULL;
            }
        }
        PGresult *next = PQgetResult(s->conn);
        if (!next)
            return last;
        if (last && PQresultStatus(last) == PGRES_FATAL_ERROR)
            PQclear(next); /* the first error says why */
        else {
            PQclear(last);
            last = next;
        }
    }
}

/* Runs a statement. NULL, with `why`: it failed. The caller clears the result. */
static PGresult *run(struct setup *s, const char *sql)
{
    PGresult *res = PQsendQuery(s->conn, sql) ? await(s) : NULL;
    ExecStatusType status = PQresultStatus(res); /* of NULL: PGRES_FATAL_ERROR */
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return res;
    const char *said = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    (void)fail(s, "%s", said ? said : res ? PQresultErrorMessage(res) : "it does not answer");
    PQclear(res);
    return NULL;
}

static int run_plain(struct setup *s, const char *sql)
{
    PGresult *res = run(s, sql);
    PQclear(res);
    return res ? 0 : ERR_IO;
}

/* Runs a statement that has one row of `n` columns; copies up to 63 bytes of each into out. An empty string: NULL. */
static int run_row(struct setup *s, const char *sql, unsigned n, char out[][64])
{
    PGresult *res = run(s, sql);
    if (!res)
        return ERR_IO;
    bool right = PQntuples(res) == 1 && PQnfields(res) == (int)n;
    for (unsigned i = 0; i < n; i++)
        (void)snprintf(out[i], 64, "%s", right ? PQgetvalue(res, 0, (int)i) : "");
    PQclear(res);
    return right ? 0 : fail(s, "it answers with something that no PostgreSQL says");
}

static int session(struct setup *s)
{
    char sql[512];
    /* Committed must mean kept: a database that is set to forget the last moments at a crash would lose rows that Redis
     * drops afterwards. */
    (void)snprintf(sql, sizeof sql,
                   "select set_config('statement_timeout', '%u', false), set_config('lock_timeout', '%u', false),"
                   " set_config('idle_in_transaction_session_timeout', '%u', false),"
                   " set_config('synchronous_commit', case current_setting('synchronous_commit') when 'off' then 'on'"
                   " else current_setting('synchronous_commit') end, false),"
                   " set_config('client_min_messages', 'error', false)",
                   s->options->timeout_ms, s->options->timeout_ms, s->options->timeout_ms * 2);
    return run_plain(s, sql);
}

static int server(struct setup *s)
{
    int version = PQserverVersion(s->conn);
    if (version < SERVER_MIN)
        return fail(s, "it is PostgreSQL %d; %d or newer is needed", version / 10000, SERVER_MIN / 10000);
    char got[1][64];
    if (run_row(s, "show transaction_read_only", 1, got) != 0)
        return ERR_IO;
    return strcmp(got[0], "on") == 0 ? fail(s, "it is read-only: a standby, perhaps") : 0;
}

static int make_tables(struct setup *s)
{
    /* Of several servers that start at once, one makes them. */
    if (run_plain(s, "select pg_advisory_xact_lock(7810489012301)") != 0)
        return ERR_IO;
    if (run_plain(s, "create table if not exists message (conv bytea not null, seq bigint not null, id bigint not null,"
                     " created bigint not null, birth bigint not null, ttl bigint not null, flags smallint not null,"
                     " rev int not null, edited bigint not null, sender bytea not null, name bytea not null,"
                     " content bytea not null, primary key (conv, seq)) partition by hash (conv)") != 0)
        return ERR_IO;
    for (unsigned i = 0; i < s->options->partitions; i++) {
        char sql[160];
        (void)snprintf(sql, sizeof sql,
                       "create table if not exists message_%u partition of message"
                       " for values with (modulus %u, remainder %u)",
                       i, s->options->partitions, i);
        if (run_plain(s, sql) != 0)
            return ERR_IO;
    }
    char sql[200];
    (void)snprintf(sql, sizeof sql,
                   "create table if not exists magpie_archive (format int not null);"
                   " insert into magpie_archive select %d where not exists (select from magpie_archive)",
                   SETUP_FORMAT);
    return run_plain(s, sql);
}

static int create(struct setup *s)
{
    if (run_plain(s, "begin") != 0)
        return ERR_IO;
    if (make_tables(s) == 0)
        return run_plain(s, "commit");
    char said[200];
    (void)snprintf(said, sizeof said, "%s", s->why);
    (void)run_plain(s, "rollback");
    return fail(s, "its tables cannot be made: %s", said);
}

/* Whether the tables are there: 1 or 0; ERR_IO: some that are not Magpie's. */
static int found(struct setup *s)
{
    char got[2][64];
    if (run_row(s, "select to_regclass('message'), to_regclass('magpie_archive')", 2, got) != 0)
        return ERR_IO;
    if (got[0][0] && !got[1][0])
        return fail(s, "it has a table message, but no magpie_archive: that is not Magpie's archive");
    if (!got[0][0] && got[1][0])
        return fail(s, "it has a table magpie_archive, but no message: the archive is not whole");
    return got[0][0] ? 1 : 0;
}

static int check(struct setup *s)
{
    char got[5][64];
    if (run_row(s, "select has_table_privilege('magpie_archive', 'select')", 1, got) != 0)
        return ERR_IO;
    if (got[0][0] != 't')
        return fail(s, "the role %s may not select from magpie_archive", PQuser(s->conn));
    if (run_row(s, "select max(format) from magpie_archive", 1, got) != 0)
        return ERR_IO;
    if (atoi(got[0]) != SETUP_FORMAT)
        return fail(s, "the archive has format %s; this server knows %d", got[0][0] ? got[0] : "none", SETUP_FORMAT);
    if (run_row(s,
                "select count(*) from pg_attribute a join (values ('conv', 'bytea'), ('seq', 'int8'), ('id', 'int8'),"
                " ('created', 'int8'), ('birth', 'int8'), ('ttl', 'int8'), ('flags', 'int2'), ('rev', 'int4'),"
                " ('edited', 'int8'), ('sender', 'bytea'), ('name', 'bytea'), ('content', 'bytea')) c(name, type)"
                " on a.attname = c.name and a.atttypid = to_regtype(c.type)"
                " where a.attrelid = to_regclass('message') and a.attnum > 0",
                1, got) != 0)
        return ERR_IO;
    if (strcmp(got[0], "12") != 0)
        return fail(s, "the table message has not the columns of format %d", SETUP_FORMAT);
    static const char *const rights[] = {"select", "insert", "update", "delete"};
    if (run_row(s,
                "select has_table_privilege('message', 'select'), has_table_privilege('message', 'insert'),"
                " has_table_privilege('message', 'update'), has_table_privilege('message', 'delete')",
                4, got) != 0)
        return ERR_IO;
    for (unsigned i = 0; i < 4; i++)
        if (got[i][0] != 't')
            return fail(s, "the role %s may not %s in the table message", PQuser(s->conn), rights[i]);
    return 0;
}

int setup_run(PGconn *conn, const struct setup_options *options, char *why, size_t why_size)
{
    struct setup s = {conn, options, why, why_size};
    if (server(&s) != 0 || session(&s) != 0)
        return ERR_IO;
    int there = found(&s);
    if (there < 0 || (there == 0 && create(&s) != 0))
        return ERR_IO;
    return check(&s);
}
