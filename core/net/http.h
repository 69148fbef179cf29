/*
 * The head of an HTTP/1 request (RFC 9112), strictly: lines end with CRLF, nothing is folded, nothing is guessed. Pure
 * functions over bytes; what they return points into them.
 */
#ifndef MAGPIE_NET_HTTP_H
#define MAGPIE_NET_HTTP_H

#include "core/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    HTTP_HEAD_MIN = 1024,      /* bytes: the least that a limit for heads may be */
    HTTP_HEAD_MAX = 32 * 1024, /* and the most */
    HTTP_HEAD_USUAL = 16 * 1024,
    HTTP_FIELDS_MIN = 16, /* the same for the number of header fields */
    HTTP_FIELDS_MAX = 256,
    HTTP_FIELDS_USUAL = 100,
    HTTP_EMPTY_LINES_MAX = 3 /* before the request line: some clients end the request before it with a line too many */
};

struct http_limits {
    uint32_t head;   /* bytes of a head, its empty line included; HTTP_HEAD_MIN to HTTP_HEAD_MAX */
    uint32_t fields; /* header fields; HTTP_FIELDS_MIN to HTTP_FIELDS_MAX */
};

struct http_field {
    struct slice name;  /* as it came; compare with http_is() */
    struct slice value; /* without the spaces around it */
};

struct http_head {
    struct slice method;     /* "GET": a token */
    struct slice target;     /* as it came */
    struct slice path;       /* of the target, with its leading "/" (or "*"), not decoded, without the query */
    struct slice query;      /* behind the "?" */
    struct slice host;       /* of the Host field, port and all; empty only in HTTP/1.0 */
    uint8_t minor;           /* 1 of HTTP/1.1 */
    bool chunked;            /* the body comes in chunks; its length is not known */
    uint64_t content_length; /* 0: absent or 0 */
    uint32_t field_count;    /* in fields */
    struct http_field fields[HTTP_FIELDS_MAX];
    unsigned status; /* of a head that is refused: 400, 431, 501, 505 */
    const char *why; /* the same for people; static */
};

/* Takes the head off p[0..n). Its size; 0: it is not complete; ERR_INVALID: status and why tell, and are told as
 * soon as they can be known. */
ssize_t http_parse(const uint8_t *p, size_t n, const struct http_limits *limits, struct http_head *h);
/* Whether http_parse() may say something new now that `fresh` of the n bytes have come behind an incomplete head:
 * not where they only make a line longer. A head that comes byte by byte would else be read as many times as it has
 * bytes. */
bool http_changed(const uint8_t *p, size_t n, size_t fresh, const struct http_limits *limits);

/* Where the reader of a chunked body (RFC 9112 section 7.1) stands. All 0 at first. */
struct http_chunks {
    uint64_t left; /* bytes of the chunk under way that have not come */
    bool in_data;  /* of a chunk, or of the line's end behind it; else a line with a size is awaited */
    bool last;     /* the chunk of size 0 has come: the empty line behind it is awaited */
};

enum http_chunked { HTTP_CHUNKED_MORE, HTTP_CHUNKED_DONE, HTTP_CHUNKED_BAD, HTTP_CHUNKED_LARGE };
enum { HTTP_CHUNK_LINE_MAX = 256 }; /* bytes of a size and the extensions behind it, which are passed over */

/* Takes what is whole of p[*pos, end), and moves the data of chunks to p + *to, not beyond p + most. *to <= *pos; both
 * move on. Strictly: sizes of 8 digits at most, lines end with CRLF, no trailers. */
enum http_chunked http_chunks_take(struct http_chunks *k, uint8_t *p, size_t *to, size_t *pos, size_t end, size_t most);

/* Whether it is a token (RFC 9110 section 5.6.2): what methods, field names and the like are made of. */
bool http_is_token(struct slice s);
/* ASCII text, its case aside. */
bool http_is(struct slice s, const char *text);
/* The value of the first field of that name at or behind *from, which moves behind it; p is NULL when there is none. */
struct slice http_next(const struct http_head *h, const char *name, uint32_t *from);
/* The value of the field; p is NULL when it is absent. *count: how many there are. */
struct slice http_get(const struct http_head *h, const char *name, unsigned *count);
/* Whether the comma-separated list that all fields of that name make together holds the token. */
bool http_has_token(const struct http_head *h, const char *name, const char *token);
/* Takes the next element off a comma-separated list, without the spaces around it; it may be empty. False: the list is
 * at its end (its p is NULL then). */
bool http_list_next(struct slice *list, struct slice *item);
/* Cuts "host:port" in two; the brackets of an IPv6 address stay. False: it is no such thing. */
bool http_split_host(struct slice s, struct slice *host, struct slice *port);

/* "Bad Request"; "Error" when it is not known here. */
const char *http_phrase(unsigned status);

#endif
