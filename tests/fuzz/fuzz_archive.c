/*
 * What PostgreSQL sends back for a page of rows or of conversations, and for the oldest row. Whatever the columns are,
 * NULL, of other widths or too few, no byte is read outside of them, and rows are taken whole or not at all. A result
 * is made of the input: which request, columns, rows; then for each value its length (255: NULL) and bytes.
 */
#include "storage/archive/sql.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { COLUMNS = 16, ROWS = 64 };

static void must(bool holds)
{
    if (!holds)
        abort();
}

static uint8_t take(const uint8_t **p, const uint8_t *end)
{
    return *p < end ? *(*p)++ : 0;
}

/* NULL: out of memory. */
static PGresult *result_make(const uint8_t *p, const uint8_t *end, int columns, int rows)
{
    static char name[] = "column";
    PGresAttDesc attributes[COLUMNS];
    PGresult *res = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    for (int c = 0; c < columns; c++)
        attributes[c] = (PGresAttDesc){.name = name, .format = 1, .typid = 17, .typlen = -1, .atttypmod = -1};
    bool good = res && PQsetResultAttrs(res, columns, attributes);
    for (int row = 0; good && row < rows; row++)
        for (int c = 0; good && c < columns; c++) {
            uint8_t n = take(&p, end);
            size_t there = (size_t)(end - p);
            int length = n == 255 ? -1 : (int)(n < there ? n : there);
            good = PQsetvalue(res, row, c, (char *)(uintptr_t)p, length);
            p += length > 0 ? length : 0;
        }
    if (good)
        return res;
    PQclear(res);
    return NULL;
}

/* Whether these are the bytes of a value of the result. */
static void is_value(const PGresult *res, struct slice s, int row, int column)
{
    must(s.n == (size_t)PQgetlength(res, row, column) && (s.n == 0 || s.p == PQgetvalue(res, row, column)));
}

static void range(const PGresult *res, bool newest)
{
    struct archive_range r = {.req = {.kind = ARCHIVE_RANGE}, .limit = ROWS, .newest = newest};
    void *memory = NULL;
    if (sql_read(res, &r.req, &memory) == ARCHIVE_OK) {
        const struct archive_row *rows = r.rows;
        must(r.n == (uint32_t)PQntuples(res) && rows == memory);
        for (uint32_t i = 0; i < r.n; i++) {
            int row = (int)(newest ? r.n - 1 - i : i);
            must(rows[i].tier <= 3);
            is_value(res, rows[i].sender, row, 8);
            is_value(res, rows[i].name, row, 9);
            is_value(res, rows[i].content, row, 10);
        }
    } else {
        must(r.n == 0 && !r.rows);
    }
    free(memory);
}

static void oldest(const PGresult *res)
{
    struct archive_oldest o = {.req = {.kind = ARCHIVE_OLDEST}};
    void *memory = NULL;
    (void)sql_read(res, &o.req, &memory);
    must(!memory && o.tier <= 3);
}

static void heads(const PGresult *res)
{
    struct archive_heads h = {.req = {.kind = ARCHIVE_HEADS}, .limit = ROWS};
    void *memory = NULL;
    if (sql_read(res, &h.req, &memory) == ARCHIVE_OK) {
        must(h.n == (uint32_t)PQntuples(res) && h.heads == memory);
        for (uint32_t i = 0; i < h.n; i++)
            is_value(res, h.heads[i].conv, (int)i, 0);
    } else {
        must(h.n == 0 && !h.heads);
    }
    free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *p = data, *end = data + size;
    uint8_t kind = take(&p, end);
    int columns = take(&p, end) % (COLUMNS + 1), rows = take(&p, end) % (ROWS + 1);
    PGresult *res = result_make(p, end, columns, rows);
    if (!res)
        return 0;
    if (kind == 'o')
        oldest(res);
    else if (kind == 'h')
        heads(res);
    else
        range(res, kind == 'n');
    PQclear(res);
    return 0;
}
