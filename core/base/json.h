/*
 * Strict JSON (RFC 8259) over cJSON, which alone is too lenient: it takes trailing bytes and invalid UTF-8, cuts
 * strings at \u0000 and rounds integers above 2^53.
 *
 * json_parse() first checks the text exactly: grammar, UTF-8, escapes, depth (JSON_DEPTH), and that nothing comes after
 * the value. Escapes make neither lone surrogates nor \u0000; numbers are finite, integers within ±(2^53 - 1). Then
 * cJSON builds the tree, which is checked for duplicate keys.
 */
#ifndef MAGPIE_BASE_JSON_H
#define MAGPIE_BASE_JSON_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum { JSON_DEPTH = 32 }; /* arrays and objects inside one another, the outermost counted */

struct cJSON;

/* Parses one value. Empty text is ERR_INVALID here (callers treat an empty body as {} themselves).
 * On failure returns NULL and sets *why to a static phrase that says what is wrong ("duplicate key", "invalid UTF-8").
 * The tree is freed with json_free(). */
struct cJSON *json_parse(struct slice text, const char **why);
void json_free(struct cJSON *value);

/* What json_parse_open() has to say beside the tree. */
struct json_verdict {
    const char *why; /* why there is no tree; NULL: there is one. Static */
    bool json;       /* without a tree: as far as it was read it is JSON, and only our rules refuse it */
    bool rounded;    /* with one: it has integers beyond ±(2^53 - 1), which it holds rounded */
};

/* json_parse() for requests, which may be nested `depth` deep, 64 at most. A field that nobody knows may hold an
 * integer that a double cannot: json_get_int() takes it for none. To know of all members ask json_rounded(). */
struct cJSON *json_parse_open(struct slice text, unsigned depth, struct json_verdict *v);
/* Whether there is a number beyond ±(2^53 - 1) in the value. */
bool json_rounded(const struct cJSON *value);
/* The whole number from 0 to 65535 of a member of the outermost object, in a text that could not be parsed: only where
 * its key stands there once. False: it is not readable, and *out is as before. */
bool json_peek(struct slice text, const char *key, uint16_t *out);

/* The check alone, without building a tree (duplicate keys not looked for). NULL when the text is fine, else the
 * phrase. */
const char *json_check(struct slice text);

/*
 * Reads without a tree: the sink is told of everything in the order of the text. For callers that build values of
 * another kind. Each function returns NULL, or a static phrase that ends the reading; it may leave by longjmp, since
 * nothing is allocated here. Duplicate keys are the sink's to find.
 *
 * json_read() returns NULL, or what is wrong; then the sink has been told of what stood before that.
 */
struct json_sink {
    const char *(*open)(void *ctx, bool object); /* an object or array begins: at most JSON_DEPTH inside one another */
    const char *(*close)(void *ctx, bool object);
    const char *(*key)(void *ctx, struct slice raw);    /* of the member that follows; see json_unescape() */
    const char *(*string)(void *ctx, struct slice raw); /* what is between the quotes, as written */
    const char *(*number)(void *ctx, double value);
    const char *(*word)(void *ctx, char first); /* 't' true, 'f' false, 'n' null */
};
const char *json_read(struct slice text, const struct json_sink *sink, void *ctx);
/* What a string read by json_read() means; `out` has room for raw.n bytes. Returns how many it is. */
size_t json_unescape(struct slice raw, char *out);

/* Member `key` of an object; NULL when absent or null (the protocol treats null as absent). Borrowed. */
const struct cJSON *json_get(const struct cJSON *object, const char *key);

/* Typed members. Each returns 1 when present and right, 0 when absent (or null), ERR_INVALID when of another type.
 * Strings: out borrows from the tree. Integers: whole numbers only. */
int json_get_string(const struct cJSON *object, const char *key, struct slice *out);
int json_get_int(const struct cJSON *object, const char *key, int64_t *out);
int json_get_bool(const struct cJSON *object, const char *key, bool *out);
int json_get_array(const struct cJSON *object, const char *key, const struct cJSON **out);
int json_get_object(const struct cJSON *object, const char *key, const struct cJSON **out);

/* --- Paths like "limits.frame"; no part is longer than 63 bytes --- */

/* What stands at the path; the root itself for an empty one, NULL where there is nothing. Borrows. */
const struct cJSON *json_at(const struct cJSON *root, const char *path);
/* The object that the last part of the path stands in, made on the way; *word: that part. NULL: out of memory, or no
 * such path can be. */
struct cJSON *json_parent(struct cJSON *root, const char *path, const char **word);

#endif
