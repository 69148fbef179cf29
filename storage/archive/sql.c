#include "storage/archive/sql.h"

#include "core/base/buf.h"

#include <stdlib.h>
#include <string.h>

enum { PUT_BYTES = 4 << 20 /* of one statement's rows: a bound for what is lost and sent again */ };
enum { FLAG_RECALLED = 1, FLAG_TIER_SHIFT = 1, FLAG_TIER_MASK = 3 };

/* Types of PostgreSQL, by their fixed numbers (its pg_type.dat). */
enum {
    T_BYTEA = 17,
    T_INT8 = 20,
    T_INT2 = 21,
    T_INT4 = 23,
    T_INT2S = 1005,
    T_INT4S = 1007,
    T_BYTEAS = 1001,
    T_INT8S = 1016
};

/* The columns, in the order of statements. */
enum { C_CONV, C_SEQ, C_ID, C_CREATED, C_BIRTH, C_TTL, C_FLAGS, C_REV, C_EDITED, C_SENDER, C_NAME, C_CONTENT, COLUMNS };

struct column {
    Oid type, array; /* of a value, of an array of such */
    uint8_t width;   /* bytes of a number; 0: bytes of any length */
};
static const struct column columns[COLUMNS] = {
    [C_CONV] = {T_BYTEA, T_BYTEAS, 0},   [C_SEQ] = {T_INT8, T_INT8S, 8},    [C_ID] = {T_INT8, T_INT8S, 8},
    [C_CREATED] = {T_INT8, T_INT8S, 8},  [C_BIRTH] = {T_INT8, T_INT8S, 8},  [C_TTL] = {T_INT8, T_INT8S, 8},
    [C_FLAGS] = {T_INT2, T_INT2S, 2},    [C_REV] = {T_INT4, T_INT4S, 4},    [C_EDITED] = {T_INT8, T_INT8S, 8},
    [C_SENDER] = {T_BYTEA, T_BYTEAS, 0}, [C_NAME] = {T_BYTEA, T_BYTEAS, 0}, [C_CONTENT] = {T_BYTEA, T_BYTEAS, 0},
};

static const char put_sql[] =
    "insert into message (conv, seq, id, created, birth, ttl, flags, rev, edited, sender, name, content)"
    " select * from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) order by 1, 2" /* two never deadlock */
    " on conflict (conv, seq) do update set id = excluded.id, created = excluded.created, birth = excluded.birth,"
    " ttl = excluded.ttl, flags = excluded.flags, rev = excluded.rev, edited = excluded.edited,"
    " sender = excluded.sender, name = excluded.name, content = excluded.content"
    /* Another id: Redis has lost messages, and numbers were given again; those of now have larger ids. */
    " where (message.id, message.rev) < (excluded.id, excluded.rev)";

#define RANGE_SQL                                                                                                      \
    "select seq, id, created, birth, ttl, flags, rev, edited, sender, name, content from message"                      \
    " where conv = $1 and seq between $2 and $3 order by seq "
static const char oldest_sql[] = RANGE_SQL "limit $4";
static const char newest_sql[] = RANGE_SQL "desc limit $4";
static const char change_sql[] = "update message set content = $4, edited = $5, flags = (flags & ~1) | $6,"
                                 " rev = rev + 1 where conv = $1 and seq = $2 and rev = $3 and id = $7";
static const char drop_sql[] = "delete from message where conv = $1 and seq = any(array("
                               "select seq from message where conv = $1 and seq < $2 order by seq limit $3))";
static const char first_sql[] =
    "select seq, birth, ttl, flags from message where conv = $1 and seq >= $2 and id > $3 and ($4 = 0 or case"
    " when ttl > 0 then birth + ttl > $4 else birth >= case flags >> 1 & 3 when 0 then $5 when 1 then $6 else $7 end"
    " end) order by seq limit 1";

/* From one key to the next by the index: conversations are many, and rows more. */
static const char heads_sql[] =
    "with recursive c as ((select conv from message where conv > $1 order by conv limit 1) union all"
    " select (select m.conv from message m where m.conv > c.conv order by m.conv limit 1) from c where c.conv is not"
    " null) select c.conv, f.seq, l.seq, l.id from (select conv from c where conv is not null limit $2) c,"
    " lateral (select seq from message m where m.conv = c.conv order by seq limit 1) f,"
    " lateral (select seq, id from message m where m.conv = c.conv order by seq desc limit 1) l order by 1";

static int64_t clip(uint64_t v)
{
    return v > INT64_MAX ? INT64_MAX : (int64_t)v;
}

/* --- Errors ------------------------------------------------------------------------------------------------------- */

enum sql_verdict sql_verdict(const PGresult *res)
{
    static const struct {
        const char *begins; /* an SQLSTATE, or its class */
        enum sql_verdict verdict;
    } rows[] = {
        {"57014", SQL_SLOW},  {"57P", SQL_LOST}, {"57", SQL_LATER},    {"08", SQL_LOST},  {"25P03", SQL_LOST},
        {"25006", SQL_SETUP}, {"25", SQL_LOST},  {"42", SQL_SETUP},    {"3D", SQL_SETUP}, {"3F", SQL_SETUP},
        {"28", SQL_SETUP},    {"26", SQL_LOST},  {"0A", SQL_SETUP},    {"40", SQL_LATER}, {"53", SQL_LATER},
        {"55", SQL_LATER},    {"58", SQL_LATER}, {"XX000", SQL_LATER}, {"F0", SQL_LATER},
    };
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    if (!state)
        return SQL_LOST; /* libpq's own: the server said nothing */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strncmp(state, rows[i].begins, strlen(rows[i].begins)) == 0)
            return rows[i].verdict;
    return SQL_NEVER;
}

bool sql_went_well(const PGresult *res, enum archive_kind kind)
{
    bool rows = kind == ARCHIVE_RANGE || kind == ARCHIVE_OLDEST || kind == ARCHIVE_HEADS;
    return PQresultStatus(res) == (rows ? PGRES_TUPLES_OK : PGRES_COMMAND_OK);
}

/* --- Parameters --------------------------------------------------------------------------------------------------- */

static void put_number(struct buf *b, uint64_t v, unsigned width)
{
    uint8_t bytes[8];
    store_be64(bytes, v);
    buf_put(b, bytes + 8 - width, width);
}

/* A row's number in a column. */
static uint64_t number_of(const struct archive_row *r, unsigned column)
{
    switch (column) {
    case C_SEQ:
        return r->seq;
    case C_ID:
        return r->id;
    case C_CREATED:
        return r->created_ms;
    case C_BIRTH:
        return r->birth_ms;
    case C_TTL:
        return r->ttl_ms;
    case C_REV:
        return r->rev > INT32_MAX ? INT32_MAX : r->rev;
    case C_EDITED:
        return r->edited_ms;
    default:
        return (r->recalled ? FLAG_RECALLED : 0u) | (r->tier & FLAG_TIER_MASK) << FLAG_TIER_SHIFT;
    }
}

static struct slice bytes_of(const struct archive_row *r, unsigned column)
{
    return column == C_CONV ? r->conv : column == C_SENDER ? r->sender : column == C_NAME ? r->name : r->content;
}

static size_t row_bytes(const struct archive_row *r)
{
    return 120 + r->conv.n + r->sender.n + r->name.n + r->content.n;
}

uint32_t sql_put_run(const struct archive_put *p, uint32_t from)
{
    size_t bytes = 0;
    uint32_t n = 0;
    for (; from + n < p->n; n++) {
        bytes += row_bytes(&p->rows[from + n]);
        if (n && bytes > PUT_BYTES)
            break;
    }
    return n;
}

/* Appends a column of rows as an array: its header, then each value with its length. */
static void put_array(struct buf *b, const struct archive_row *rows, uint32_t n, unsigned column)
{
    const struct column *c = &columns[column];
    buf_u32(b, 1); /* dimensions */
    buf_u32(b, 0); /* no NULLs */
    buf_u32(b, c->type);
    buf_u32(b, n);
    buf_u32(b, 1); /* the first index */
    for (uint32_t i = 0; i < n; i++) {
        struct slice s = c->width ? SLICE_NONE : bytes_of(&rows[i], column);
        buf_u32(b, c->width ? c->width : (uint32_t)s.n);
        if (c->width)
            put_number(b, (uint64_t)clip(number_of(&rows[i], column)), c->width);
        else
            buf_slice_put(b, s);
    }
}

static const int binary[COLUMNS] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

int sql_send_put(PGconn *conn, const struct archive_put *p, uint32_t from, uint32_t n)
{
    struct buf b = BUF_INIT;
    size_t at[COLUMNS + 1] = {0};
    Oid types[COLUMNS];
    for (unsigned c = 0; c < COLUMNS; c++) {
        put_array(&b, p->rows + from, n, c);
        at[c + 1] = b.n;
        types[c] = columns[c].array;
    }
    int code = buf_ok(&b) ? 0 : ERR_NOMEM;
    const char *values[COLUMNS];
    int lengths[COLUMNS];
    for (unsigned c = 0; code == 0 && c < COLUMNS; c++) {
        values[c] = b.p + at[c];
        lengths[c] = (int)(at[c + 1] - at[c]);
    }
    if (code == 0 && !PQsendQueryParams(conn, put_sql, COLUMNS, types, values, lengths, binary, 1))
        code = ERR_IO;
    buf_free(&b);
    return code;
}

/* Parameters of the small statements. */
struct params {
    int n;
    Oid types[7];
    const char *values[7];
    int lengths[7];
    uint8_t numbers[7][8];
};

static void param_number(struct params *p, Oid type, uint64_t v)
{
    unsigned width = type == T_INT8 ? 8 : type == T_INT4 ? 4 : 2;
    store_be64(p->numbers[p->n], (uint64_t)clip(v));
    p->types[p->n] = type;
    p->values[p->n] = (const char *)p->numbers[p->n] + 8 - width;
    p->lengths[p->n++] = (int)width;
}

static void param_bytes(struct params *p, struct slice s)
{
    p->types[p->n] = T_BYTEA;
    p->values[p->n] = s.n ? s.p : ""; /* a null pointer would be NULL */
    p->lengths[p->n++] = (int)s.n;
}

static const char *range_params(struct params *p, const struct archive_range *r)
{
    param_bytes(p, r->conv);
    param_number(p, T_INT8, r->from);
    param_number(p, T_INT8, r->to);
    param_number(p, T_INT8, r->limit);
    return r->newest ? newest_sql : oldest_sql;
}

static const char *change_params(struct params *p, const struct archive_change *c)
{
    param_bytes(p, c->conv);
    param_number(p, T_INT8, c->seq);
    param_number(p, T_INT4, c->rev);
    param_bytes(p, c->content);
    param_number(p, T_INT8, c->edited_ms);
    param_number(p, T_INT2, c->recalled ? FLAG_RECALLED : 0);
    param_number(p, T_INT8, c->id);
    return change_sql;
}

static const char *drop_params(struct params *p, const struct archive_drop *d)
{
    param_bytes(p, d->conv);
    param_number(p, T_INT8, d->below);
    param_number(p, T_INT8, ARCHIVE_DROP_MAX);
    return drop_sql;
}

static const char *oldest_params(struct params *p, const struct archive_oldest *o)
{
    param_bytes(p, o->conv);
    param_number(p, T_INT8, o->from);
    param_number(p, T_INT8, o->above_id);
    param_number(p, T_INT8, o->now_ms);
    for (unsigned t = 0; t < 3; t++)
        param_number(p, T_INT8, o->born_ms[t]);
    return first_sql;
}

static const char *heads_params(struct params *p, const struct archive_heads *h)
{
    param_bytes(p, h->after);
    param_number(p, T_INT8, h->limit);
    return heads_sql;
}

int sql_send(PGconn *conn, const struct archive_req *req)
{
    struct params p = {0};
    const char *sql = NULL;
    if (req->kind == ARCHIVE_RANGE)
        sql = range_params(&p, (const struct archive_range *)req);
    else if (req->kind == ARCHIVE_CHANGE)
        sql = change_params(&p, (const struct archive_change *)req);
    else if (req->kind == ARCHIVE_DROP)
        sql = drop_params(&p, (const struct archive_drop *)req);
    else if (req->kind == ARCHIVE_HEADS)
        sql = heads_params(&p, (const struct archive_heads *)req);
    else
        sql = oldest_params(&p, (const struct archive_oldest *)req);
    return PQsendQueryParams(conn, sql, p.n, p.types, p.values, p.lengths, binary, 1) ? 0 : ERR_IO;
}

/* --- Results ------------------------------------------------------------------------------------------------------ */

/* A number of a result; *right becomes false where there is none of that width. */
static uint64_t read_number(const PGresult *res, int row, int column, int width, bool *right)
{
    if (PQgetisnull(res, row, column) || PQgetlength(res, row, column) != width) {
        *right = false;
        return 0;
    }
    const char *p = PQgetvalue(res, row, column);
    return width == 8 ? load_be64(p) : width == 4 ? load_be32(p) : load_be16(p);
}

static struct slice read_bytes(const PGresult *res, int row, int column)
{
    return slice_of(PQgetvalue(res, row, column), (size_t)PQgetlength(res, row, column));
}

/* The columns of RANGE_SQL are those of the table but for the first. */
static bool read_row(const PGresult *res, int row, struct archive_row *out)
{
    uint64_t n[COLUMNS] = {0};
    bool right = true;
    for (int c = C_SEQ; c < COLUMNS; c++)
        if (columns[c].width)
            n[c] = read_number(res, row, c - 1, columns[c].width, &right);
    *out = (struct archive_row){
        .seq = n[C_SEQ],
        .id = n[C_ID],
        .created_ms = n[C_CREATED],
        .birth_ms = n[C_BIRTH],
        .ttl_ms = n[C_TTL],
        .edited_ms = n[C_EDITED],
        .rev = (uint32_t)n[C_REV],
        .recalled = n[C_FLAGS] & FLAG_RECALLED,
        .tier = (uint8_t)(n[C_FLAGS] >> FLAG_TIER_SHIFT & FLAG_TIER_MASK),
        .sender = read_bytes(res, row, C_SENDER - 1),
        .name = read_bytes(res, row, C_NAME - 1),
        .content = read_bytes(res, row, C_CONTENT - 1),
    };
    return right;
}

static enum archive_status read_range(const PGresult *res, struct archive_range *r, void **memory)
{
    int n = PQntuples(res);
    if (PQnfields(res) != COLUMNS - 1)
        return ARCHIVE_REFUSED;
    struct archive_row *rows = *memory = calloc(n ? (size_t)n : 1, sizeof *rows);
    if (!rows)
        return ARCHIVE_AWAY;
    for (int i = 0; i < n; i++)
        if (!read_row(res, r->newest ? n - 1 - i : i, &rows[i]))
            return ARCHIVE_REFUSED;
    r->rows = rows;
    r->n = (uint32_t)n;
    return ARCHIVE_OK;
}

static enum archive_status read_heads(const PGresult *res, struct archive_heads *h, void **memory)
{
    int n = PQntuples(res);
    bool right = PQnfields(res) == 4;
    struct archive_head *heads = *memory = calloc(n ? (size_t)n : 1, sizeof *heads);
    if (!heads)
        return ARCHIVE_AWAY;
    for (int i = 0; right && i < n; i++)
        heads[i] = (struct archive_head){.conv = read_bytes(res, i, 0),
                                         .first = read_number(res, i, 1, 8, &right),
                                         .last = read_number(res, i, 2, 8, &right),
                                         .last_id = read_number(res, i, 3, 8, &right)};
    if (!right)
        return ARCHIVE_REFUSED;
    h->heads = heads;
    h->n = (uint32_t)n;
    return ARCHIVE_OK;
}

static enum archive_status read_oldest(const PGresult *res, struct archive_oldest *o)
{
    if (PQnfields(res) != 4)
        return ARCHIVE_REFUSED;
    if (PQntuples(res) == 0)
        return ARCHIVE_OK;
    bool right = true;
    o->birth_ms = read_number(res, 0, 1, 8, &right);
    o->ttl_ms = read_number(res, 0, 2, 8, &right);
    o->tier = (uint8_t)(read_number(res, 0, 3, 2, &right) >> FLAG_TIER_SHIFT & FLAG_TIER_MASK);
    o->seq = read_number(res, 0, 0, 8, &right);
    return right ? ARCHIVE_OK : ARCHIVE_REFUSED;
}

enum archive_status sql_read(const PGresult *res, struct archive_req *req, void **rows)
{
    uint32_t touched = (uint32_t)strtoul(PQcmdTuples((PGresult *)res), NULL, 10);
    switch ((enum archive_kind)req->kind) {
    case ARCHIVE_RANGE:
        return read_range(res, (struct archive_range *)req, rows);
    case ARCHIVE_HEADS:
        return read_heads(res, (struct archive_heads *)req, rows);
    case ARCHIVE_OLDEST:
        return read_oldest(res, (struct archive_oldest *)req);
    case ARCHIVE_CHANGE:
        return touched == 1 ? ARCHIVE_OK : ARCHIVE_MOVED;
    case ARCHIVE_DROP:
        ((struct archive_drop *)req)->dropped += touched;
        ((struct archive_drop *)req)->more = touched == ARCHIVE_DROP_MAX;
        return ARCHIVE_OK;
    default:
        return ARCHIVE_OK;
    }
}
