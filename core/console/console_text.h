/*
 * Answers as text for people, made from their JSON: strings as lines, objects as "key: value" lines, arrays of objects
 * as tables. Moments are dates in text, for people: numbers whose key is `until`, or ends with `At` or `Until`, and
 * which are milliseconds since 1970 of this age. JSON keeps the numbers.
 *
 * What users named themselves cannot act on a terminal or begin a line of its own: control characters (C0, DEL, C1),
 * line and paragraph separators and the marks that reorder text are written as escapes, in text and in JSON.
 */
#ifndef MAGPIE_CONSOLE_CONSOLE_TEXT_H
#define MAGPIE_CONSOLE_CONSOLE_TEXT_H

#include "core/base/buf.h"
#include "core/base/slice.h"

#include <stdbool.h>

enum { CONSOLE_COLUMNS = 24 }; /* of a table; more are left out */

/* The columns of a table, kept from piece to piece. All zero at first. */
struct console_table {
    unsigned count;                   /* columns; 0: the first rows have not come */
    char keys[CONSOLE_COLUMNS][32];   /* raw JSON text of the keys, without quotes */
    unsigned widths[CONSOLE_COLUMNS]; /* characters */
};

/* One JSON value (empty: null) as text, ending in a line break unless it is empty. False: it is no JSON. */
bool console_text_value(struct buf *out, struct slice json);
/* Some elements of an array, separated by commas, as rows of a table (or, when they are no objects, a line each).
 * False: it is no JSON. */
bool console_text_rows(struct buf *out, struct slice elements, struct console_table *table);
/* JSON text as JSON text, with the characters above escaped inside of its strings. */
void console_text_json(struct buf *out, struct slice json);
/* Plain text (valid UTF-8 or not), with those characters escaped. Line breaks too, unless `lines`. */
void console_text_safe(struct buf *out, struct slice text, bool lines);

#endif
