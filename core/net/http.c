#include "core/net/http.h"

#include "core/base/err.h"

#include <string.h>
#include <strings.h>

/* --- Characters --------------------------------------------------------------------------------------------------- */

/* RFC 9110 section 5.6.2: what method and field names are made of. */
static bool is_token(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* RFC 9110 section 5.5: visible characters, spaces, and bytes above ASCII. */
static bool is_value(unsigned char c)
{
    return (c >= 0x20 && c != 0x7F) || c == '\t';
}

static struct slice trim(struct slice s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = slice_of(s.p + 1, s.n - 1);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

bool http_is_token(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_token((unsigned char)s.p[i]))
            return false;
    return s.n > 0;
}

bool http_is(struct slice s, const char *text)
{
    return s.n == strlen(text) && (s.n == 0 || strncasecmp(s.p, text, s.n) == 0);
}

/* --- Fields ------------------------------------------------------------------------------------------------------- */

struct slice http_next(const struct http_head *h, const char *name, uint32_t *from)
{
    while (*from < h->field_count) {
        const struct http_field *f = &h->fields[(*from)++];
        if (http_is(f->name, name))
            return f->value;
    }
    return SLICE_NONE;
}

struct slice http_get(const struct http_head *h, const char *name, unsigned *count)
{
    uint32_t at = 0;
    struct slice first = http_next(h, name, &at);
    *count = first.p ? 1 : 0;
    while (http_next(h, name, &at).p)
        ++*count;
    return first;
}

bool http_list_next(struct slice *list, struct slice *item)
{
    if (!list->p)
        return false;
    const char *comma = list->n ? memchr(list->p, ',', list->n) : NULL;
    size_t n = comma ? (size_t)(comma - list->p) : list->n;
    *item = trim(slice_of(list->p, n));
    *list = comma ? slice_of(comma + 1, list->n - n - 1) : SLICE_NONE;
    return true;
}

bool http_has_token(const struct http_head *h, const char *name, const char *token)
{
    uint32_t at = 0;
    for (struct slice list = http_next(h, name, &at); list.p; list = http_next(h, name, &at))
        for (struct slice item; http_list_next(&list, &item);)
            if (http_is(item, token))
                return true;
    return false;
}

bool http_split_host(struct slice s, struct slice *host, struct slice *port)
{
    size_t n = 0;
    if (s.n && s.p[0] == '[') {
        for (n = 1; n < s.n && (is_hex(s.p[n]) || s.p[n] == ':' || s.p[n] == '.'); n++)
            ;
        if (n < 3 || n == s.n || s.p[n++] != ']')
            return false;
    } else {
        /* Registered names and IPv4; what else a URI would allow is no host that anybody has. */
        while (n < s.n && s.p[n] != ':') {
            char c = s.p[n++];
            if (!(is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '-' || c == '_'))
                return false;
        }
    }
    *host = slice_of(s.p, n);
    *port = SLICE_NONE;
    if (n == s.n)
        return n > 0;
    if (n == 0 || s.p[n] != ':' || s.n - n > 6)
        return false;
    *port = slice_of(s.p + n + 1, s.n - n - 1);
    for (size_t i = 0; i < port->n; i++)
        if (!is_digit(port->p[i]))
            return false;
    return true;
}

/* --- The head ----------------------------------------------------------------------------------------------------- */

static ssize_t refuse(struct http_head *h, unsigned status, const char *why)
{
    h->status = status;
    h->why = why;
    return ERR_INVALID;
}

/* "/path?query", "*", or "scheme://host/path" (which must name the same host as the Host field: *authority). */
static bool parse_target(struct http_head *h, struct slice *authority)
{
    struct slice t = h->target;
    *authority = SLICE_NONE;
    for (size_t i = 0; i < t.n; i++)
        if ((unsigned char)t.p[i] <= 0x20 || (unsigned char)t.p[i] >= 0x7F || t.p[i] == '#')
            return false;
    static const char *const schemes[] = {"http://", "https://", "ws://", "wss://"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t n = strlen(schemes[i]);
        if (t.n > n && strncasecmp(t.p, schemes[i], n) == 0) {
            const char *from = t.p + n, *end = t.p + t.n, *slash = memchr(from, '/', (size_t)(end - from));
            *authority = slice_of(from, (size_t)((slash ? slash : end) - from));
            t = slash ? slice_of(slash, (size_t)(end - slash)) : SLICE_LIT("/");
            break;
        }
    }
    if (t.n == 0 || (t.p[0] != '/' && !(t.n == 1 && t.p[0] == '*')))
        return false;
    const char *mark = memchr(t.p, '?', t.n);
    h->path = slice_of(t.p, mark ? (size_t)(mark - t.p) : t.n);
    h->query = mark ? slice_of(mark + 1, t.n - h->path.n - 1) : SLICE_NONE;
    return true;
}

/* "GET /path HTTP/1.1", with just these two spaces. */
static ssize_t parse_request_line(struct http_head *h, struct slice line, struct slice *authority)
{
    size_t n = 0;
    while (n < line.n && is_token((unsigned char)line.p[n]))
        n++;
    h->method = slice_of(line.p, n);
    if (n == 0 || n == line.n || line.p[n] != ' ')
        return refuse(h, 400, "the first line is no HTTP request");
    line = slice_of(line.p + n + 1, line.n - n - 1);
    const char *space = memchr(line.p, ' ', line.n);
    if (!space)
        return refuse(h, 400, "the first line is no HTTP request");
    h->target = slice_of(line.p, (size_t)(space - line.p));
    struct slice version = slice_of(space + 1, line.n - h->target.n - 1);
    if (version.n != 8 || memcmp(version.p, "HTTP/", 5) != 0 || !is_digit(version.p[5]) || version.p[6] != '.' ||
        !is_digit(version.p[7]))
        return refuse(h, 400, "the first line is no HTTP request");
    if (version.p[5] != '1')
        return refuse(h, 505, "HTTP/1.1 is spoken here");
    h->minor = (uint8_t)(version.p[7] - '0');
    if (!parse_target(h, authority))
        return refuse(h, 400, "the request's target is malformed");
    return 0;
}

static ssize_t parse_field(struct http_head *h, struct slice line, uint32_t fields_max)
{
    size_t n = 0;
    while (n < line.n && is_token((unsigned char)line.p[n]))
        n++;
    if (n == 0 || n == line.n || line.p[n] != ':') /* folded lines and spaces before the colon among them */
        return refuse(h, 400, "a malformed header field");
    if (h->field_count == fields_max)
        return refuse(h, 431, "too many header fields");
    h->fields[h->field_count++] =
        (struct http_field){slice_of(line.p, n), trim(slice_of(line.p + n + 1, line.n - n - 1))};
    return 0;
}

/* All fields are there: those that decide where the request ends and whom it is for. */
static ssize_t check_fields(struct http_head *h, struct slice authority)
{
    unsigned hosts, lengths, encodings;
    struct slice host = http_get(h, "host", &hosts), length = http_get(h, "content-length", &lengths), name, port;
    (void)http_get(h, "transfer-encoding", &encodings);
    if (hosts > 1 || (hosts == 0 && h->minor > 0))
        return refuse(h, 400, "one Host field is needed");
    if (hosts && !http_split_host(host, &name, &port))
        return refuse(h, 400, "the Host field is malformed");
    if (hosts && authority.p && !(authority.n == host.n && strncasecmp(authority.p, host.p, host.n) == 0))
        return refuse(h, 400, "the target and the Host field name different hosts");
    h->host = host;
    h->chunked = encodings > 0;
    if (encodings && h->minor == 0)
        return refuse(h, 400, "HTTP/1.0 knows no Transfer-Encoding");
    if (encodings && (encodings > 1 || !http_is(http_get(h, "transfer-encoding", &encodings), "chunked")))
        return refuse(h, 501, "the one Transfer-Encoding that is taken is chunked");
    if (lengths > 1 || (lengths && encodings))
        return refuse(h, 400, "the body's length is given twice");
    if (lengths && (length.n < 1 || length.n > 15))
        return refuse(h, 400, "Content-Length is malformed");
    for (size_t i = 0; i < length.n; i++) {
        if (!is_digit(length.p[i]))
            return refuse(h, 400, "Content-Length is malformed");
        h->content_length = h->content_length * 10 + (uint64_t)(length.p[i] - '0');
    }
    return 0;
}

/* The next line, without its CRLF. 1; 0: it is not complete; ERR_INVALID. What there is of it is checked, so that
 * garbage need not be waited for. */
static int next_line(const uint8_t *p, size_t n, size_t *at, struct slice *line)
{
    size_t i = *at;
    while (i < n && is_value(p[i]))
        i++;
    if (i == n)
        return 0;
    if (p[i] != '\r')
        return ERR_INVALID;
    if (i + 1 == n)
        return 0;
    if (p[i + 1] != '\n')
        return ERR_INVALID;
    *line = slice_of(p + *at, i - *at);
    *at = i + 2;
    return 1;
}

static void head_clear(struct http_head *h)
{
    h->field_count = 0;
    h->content_length = 0;
    h->minor = 0;
    h->chunked = false;
    h->status = 0;
    h->why = NULL;
    h->method = h->target = h->path = h->query = h->host = SLICE_NONE;
}

/* RFC 9112 section 2.2: an empty line before the request line is passed over. Moves *at behind such lines. */
static void skip_empty_lines(const uint8_t *p, size_t n, size_t *at)
{
    for (int i = 0; i < HTTP_EMPTY_LINES_MAX && n - *at >= 2 && p[*at] == '\r' && p[*at + 1] == '\n'; i++)
        *at += 2;
}

ssize_t http_parse(const uint8_t *p, size_t n, const struct http_limits *limits, struct http_head *h)
{
    size_t at = 0, seen = n < limits->head ? n : limits->head;
    struct slice line, authority = SLICE_NONE;
    int more;
    ssize_t rc = 0;
    head_clear(h);
    skip_empty_lines(p, seen, &at);
    /* Nothing that begins so can become a request: TLS, the TCP protocol, a line of text. */
    if (at < seen && !is_token(p[at]) && p[at] != '\r')
        return refuse(h, 400, "the first line is no HTTP request");
    for (bool first = true; (more = next_line(p, seen, &at, &line)) > 0; first = false) {
        if (!first && line.n == 0) {
            rc = check_fields(h, authority);
            return rc ? rc : (ssize_t)at;
        }
        rc = first ? parse_request_line(h, line, &authority) : parse_field(h, line, limits->fields);
        if (rc)
            return rc;
    }
    if (more < 0)
        return refuse(h, 400, "a byte that may not stand in an HTTP head");
    return n >= limits->head ? refuse(h, 431, "the request's head is too large") : 0;
}

bool http_changed(const uint8_t *p, size_t n, size_t fresh, const struct http_limits *limits)
{
    if (fresh >= n || n >= limits->head)
        return true;
    for (size_t i = n - fresh; i < n; i++)
        if (!is_value(p[i]))
            return true;
    /* Behind a CR must come an LF, and a line's first byte may tell that it is none. */
    return p[n - fresh - 1] == '\r' || p[n - fresh - 1] == '\n';
}

/* --- Chunks ------------------------------------------------------------------------------------------------------- */

/* "1a" or "1a;name=value". False: it is no size. */
static bool chunk_size(const uint8_t *p, size_t n, uint64_t *size)
{
    size_t digits = 0;
    *size = 0;
    for (; digits < n && is_hex((char)p[digits]); digits++) {
        if (digits == 8)
            return false;
        unsigned c = p[digits];
        *size = *size * 16 + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return digits > 0 && (digits == n || p[digits] == ';');
}

/* The data of a chunk, and the line's end behind it. */
static enum http_chunked chunk_data(struct http_chunks *k, uint8_t *p, size_t *to, size_t *pos, size_t end)
{
    size_t n = end - *pos;
    n = n < k->left ? n : (size_t)k->left;
    memmove(p + *to, p + *pos, n);
    *to += n;
    *pos += n;
    k->left -= n;
    if (k->left || *pos == end)
        return HTTP_CHUNKED_MORE;
    if (p[*pos] != '\r' || (end - *pos > 1 && p[*pos + 1] != '\n'))
        return HTTP_CHUNKED_BAD;
    if (end - *pos == 1)
        return HTTP_CHUNKED_MORE;
    *pos += 2;
    k->in_data = false;
    return HTTP_CHUNKED_DONE;
}

enum http_chunked http_chunks_take(struct http_chunks *k, uint8_t *p, size_t *to, size_t *pos, size_t end, size_t most)
{
    for (;;) {
        struct slice line;
        size_t from = *pos;
        enum http_chunked r = k->in_data ? chunk_data(k, p, to, pos, end) : HTTP_CHUNKED_DONE;
        if (r != HTTP_CHUNKED_DONE)
            return r;
        from = *pos;
        int more = next_line(p, end, pos, &line);
        if (more < 0 || (more > 0 ? line.n : end - from) > HTTP_CHUNK_LINE_MAX)
            return HTTP_CHUNKED_BAD;
        if (more == 0)
            return HTTP_CHUNKED_MORE;
        if (k->last) /* what stands here else would be trailers */
            return line.n ? HTTP_CHUNKED_BAD : HTTP_CHUNKED_DONE;
        if (!chunk_size((const uint8_t *)line.p, line.n, &k->left))
            return HTTP_CHUNKED_BAD;
        if (k->left > most - *to)
            return HTTP_CHUNKED_LARGE;
        k->last = k->left == 0;
        k->in_data = !k->last;
    }
}

const char *http_phrase(unsigned status)
{
    static const struct {
        unsigned status;
        const char *phrase;
    } phrases[] = {
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return "Error";
}
