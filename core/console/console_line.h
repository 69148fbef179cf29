/*
 * A line of the console, taken apart into words. Pure functions.
 *
 * Words stand between blanks. A word that begins with a double quote goes to the next one and may hold blanks; inside,
 * the backslash escapes of JSON strings hold. A backslash outside of quotes is a character like any other.
 */
#ifndef MAGPIE_CONSOLE_CONSOLE_LINE_H
#define MAGPIE_CONSOLE_CONSOLE_LINE_H

#include "core/base/slice.h"

#include <stdbool.h>

enum { CONSOLE_WORDS = 1024 };

struct console_line {
    bool json;                         /* the prefix `json` stood before */
    unsigned count;                    /* words, the prefix not counted; 0: an empty line */
    struct slice words[CONSOLE_WORDS]; /* unquoted, valid UTF-8 without U+0000; they point into the text */
};

/* Takes the n bytes at `text` apart, in place. NULL, or what is wrong with the line (a static phrase). */
const char *console_line_parse(char *text, size_t n, struct console_line *out);
/* Whether a line looks like the beginning of an HTTP request: a web page that tries its luck. */
bool console_line_is_http(struct slice line);
/* Whether the bytes, a line or (not `whole`) its beginning, are another protocol's: a TLS hello, for one, behind
 * whose first line feed anything may stand. */
bool console_line_is_binary(struct slice line, bool whole);

#endif
