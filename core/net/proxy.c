#include "core/net/proxy.h"

#include "core/net/http.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* --- Whom to believe ---------------------------------------------------------------------------------------------- */

bool proxies_add(struct proxies *list, const char *entry)
{
    if (strcmp(entry, "unix:") == 0) {
        list->unix_peers = true;
        return true;
    }
    if (list->count == PROXIES_MAX || !network_parse(slice_str(entry), &list->nets[list->count]))
        return false;
    list->count++;
    return true;
}

bool proxies_have(const struct proxies *list, const struct address *a)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (network_has(&list->nets[i], a))
            return true;
    return false;
}

/* --- The PROXY protocol, version 1 -------------------------------------------------------------------------------- */

static ssize_t refuse(const char **why, const char *text)
{
    *why = text;
    return ERR_INVALID;
}

/* Cuts the next word off a line: up to a space, or its end. */
static struct slice word(struct slice *line)
{
    const char *space = line->n ? memchr(line->p, ' ', line->n) : NULL;
    size_t n = space ? (size_t)(space - line->p) : line->n;
    struct slice w = slice_of(line->p, n);
    *line = space ? slice_of(space + 1, line->n - n - 1) : SLICE_NONE;
    return w;
}

/* Decimal, 0 to 65535, without leading zeros. */
static bool is_port(struct slice s)
{
    unsigned v = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        v = v * 10 + (unsigned)(s.p[i] - '0');
    }
    return s.n > 0 && s.n <= 5 && v <= UINT16_MAX && !(s.n > 1 && s.p[0] == '0');
}

/* "TCP4 192.0.2.1 192.0.2.2 56324 443", "UNKNOWN" and anything behind it. */
static bool line_parse(struct slice line, struct proxy_header *h)
{
    struct address destination;
    struct slice family = word(&line);
    if (slice_eq(family, SLICE_LIT("UNKNOWN")))
        return true;
    bool v4 = slice_eq(family, SLICE_LIT("TCP4"));
    if (!v4 && !slice_eq(family, SLICE_LIT("TCP6")))
        return false;
    struct slice from = word(&line), to = word(&line), from_port = word(&line), to_port = word(&line);
    h->named = true;
    /* An IPv4 address is no IPv6 one; ::ffff:192.0.2.1 is. */
    return !line.p && address_parse(from, &h->source) && address_parse(to, &destination) &&
           v4 == !memchr(from.p, ':', from.n) && v4 == !memchr(to.p, ':', to.n) && is_port(from_port) &&
           is_port(to_port);
}

static ssize_t parse_v1(const uint8_t *p, size_t n, size_t lead, struct proxy_header *h, const char **why)
{
    const uint8_t *end = memchr(p, '\n', n < PROXY_LINE_MAX ? n : PROXY_LINE_MAX);
    if (!end)
        return n < PROXY_LINE_MAX ? 0 : refuse(why, "a PROXY line has 107 bytes at most");
    size_t size = (size_t)(end - p) + 1;
    if (p[size - 2] != '\r' || !line_parse(slice_of(p + lead, size - 2 - lead), h))
        return refuse(why, "a malformed PROXY line");
    return (ssize_t)size;
}

/* --- Version 2 ---------------------------------------------------------------------------------------------------- */

enum {
    V2_HEAD = 16, /* signature, version and command, family, length of what follows */
    V2_LOCAL = 0x20,
    V2_PROXY = 0x21,
    V2_UNSPEC = 0x00,
    V2_TCP4 = 0x11,
    V2_UDP4 = 0x12,
    V2_TCP6 = 0x21,
    V2_UDP6 = 0x22,
    V2_UNIX = 0x31,
    V2_UNIX_DGRAM = 0x32,
    V2_TLV = 3 /* type, and length of what follows */
};

/* Bytes of the two ends of a family, or -1. */
static int ends_of(uint8_t family)
{
    switch (family) {
    case V2_UNSPEC:
        return 0;
    case V2_TCP4:
    case V2_UDP4:
        return 12;
    case V2_TCP6:
    case V2_UDP6:
        return 36;
    case V2_UNIX:
    case V2_UNIX_DGRAM:
        return 216;
    default:
        return -1;
    }
}

/* Whether extensions fill the bytes exactly. What they say is passed over. */
static bool tlvs_good(const uint8_t *p, size_t n)
{
    size_t at = 0;
    while (n - at >= V2_TLV && n - at - V2_TLV >= (size_t)(p[at + 1] << 8 | p[at + 2]))
        at += V2_TLV + (size_t)(p[at + 1] << 8 | p[at + 2]);
    return at == n;
}

static ssize_t parse_v2(const uint8_t *p, size_t n, struct proxy_header *h, const char **why)
{
    /* As soon as it can be known. */
    if (n > 12 && p[12] != V2_LOCAL && p[12] != V2_PROXY)
        return refuse(why, "a PROXY header of an unknown version or command");
    int ends = n > 13 ? ends_of(p[13]) : 0;
    if (n > 13 && p[12] == V2_PROXY && ends < 0)
        return refuse(why, "a PROXY header of an unknown family");
    if (n < V2_HEAD)
        return 0;
    size_t length = (size_t)(p[14] << 8 | p[15]);
    if (V2_HEAD + length > PROXY_HEADER_MAX)
        return refuse(why, "a PROXY header has 4096 bytes at most");
    if (p[12] == V2_PROXY && length < (size_t)ends)
        return refuse(why, "a PROXY header that is shorter than its addresses");
    if (n < V2_HEAD + length)
        return 0;
    /* LOCAL: the proxy's own, a health check for one; what follows means nothing. */
    if (p[12] == V2_LOCAL)
        return (ssize_t)(V2_HEAD + length);
    const uint8_t *at = p + V2_HEAD;
    if (p[13] != V2_UNSPEC && !tlvs_good(at + ends, length - (size_t)ends))
        return refuse(why, "a PROXY header whose extensions do not fill it");
    h->named = p[13] == V2_TCP4 || p[13] == V2_TCP6;
    if (p[13] == V2_TCP4)
        h->source = address_v4(at);
    else if (p[13] == V2_TCP6)
        memcpy(h->source.b, at, ADDRESS_BYTES);
    return (ssize_t)(V2_HEAD + length);
}

const char proxy_stranger[] = "a PROXY header, from a peer that the config does not list (listen.proxy)";

static const char v1[] = "PROXY ", v2[] = "\r\n\r\n\0\r\nQUIT\n";
enum { V1 = sizeof v1 - 1, V2 = sizeof v2 - 1 };

bool proxy_begins(const uint8_t *p, size_t n)
{
    enum { LEAST = 4 };
    return n >= LEAST && (memcmp(p, v1, n < V1 ? n : V1) == 0 || memcmp(p, v2, n < V2 ? n : V2) == 0);
}

ssize_t proxy_parse(const uint8_t *p, size_t n, struct proxy_header *h, const char **why)
{
    *h = (struct proxy_header){.named = false};
    if (n > 0 && memcmp(p, v1, n < V1 ? n : V1) == 0)
        return n < V1 ? 0 : parse_v1(p, n, V1, h, why);
    if (n > 0 && memcmp(p, v2, n < V2 ? n : V2) == 0)
        return n < V2 ? 0 : parse_v2(p, n, h, why);
    return n > 0 ? ERR_NOTFOUND : 0;
}

/* --- Forwarded, X-Forwarded-For ----------------------------------------------------------------------------------- */

/* A list of those that a request came by, read from its beginning: the client first, the nearest proxy's peer last. */
struct walk {
    const struct proxies *list;
    struct address found;
    bool have;   /* found is somebody */
    bool client; /* and no proxy of the list */
};

/* known false: who that was is not said, and so nobody answers for what stands before it. */
static void walk_take(struct walk *w, bool known, const struct address *a)
{
    if (!known) {
        w->have = w->client = false;
        return;
    }
    bool client = !proxies_have(w->list, a);
    if (!client && w->have)
        return;
    w->found = *a;
    w->have = true;
    w->client = client;
}

/* "192.0.2.1", "192.0.2.1:4711", "[2001:db8::1]", "[2001:db8::1]:4711"; bare IPv6 as well, which X-Forwarded-For has.
 * The port may be one that hides it ("_x", RFC 7239 section 6.3). */
static bool node_parse(struct slice s, struct address *out)
{
    struct slice host = s;
    const char *colon = s.n ? memchr(s.p, ':', s.n) : NULL;
    bool bracketed = s.n > 0 && s.p[0] == '[';
    if (bracketed) {
        const char *end = memchr(s.p, ']', s.n);
        if (!end)
            return false;
        host = slice_of(s.p + 1, (size_t)(end - s.p) - 1);
        colon = (size_t)(end - s.p) + 1 < s.n ? end + 1 : NULL;
        if ((colon && *colon != ':') || !memchr(host.p, ':', host.n))
            return false;
    } else if (colon && memchr(colon + 1, ':', s.n - (size_t)(colon - s.p) - 1)) {
        colon = NULL;
    } else if (colon) {
        host.n = (size_t)(colon - s.p);
    }
    if (colon) {
        struct slice port = slice_of(colon + 1, s.n - (size_t)(colon - s.p) - 1);
        if (!is_port(port) && !(port.n > 1 && port.p[0] == '_'))
            return false;
    }
    return address_parse(host, out);
}

static void walk_x_forwarded_for(struct walk *w, struct slice value)
{
    struct address a;
    for (struct slice item; http_list_next(&value, &item);)
        if (item.n)
            walk_take(w, node_parse(item, &a), &a);
}

static void skip_blanks(struct slice *s)
{
    while (s->n && (*s->p == ' ' || *s->p == '\t'))
        *s = slice_of(s->p + 1, s->n - 1);
}

/* The longest node is "[", an IPv6 address, "]:" and a port. */
enum { NODE_MAX = 80 };

/* A value: a token, or a text in quotes, whose backslashes are undone; what does not fit in `out` names no address, and
 * is cut. False: it is neither. */
static bool value_take(struct slice *s, char out[NODE_MAX], size_t *n)
{
    size_t i = 0;
    bool quoted = s->n && *s->p == '"';
    *n = 0;
    for (i += quoted; i < s->n && (quoted ? s->p[i] != '"' : http_is_token(slice_of(s->p + i, 1))); i++) {
        if (quoted && s->p[i] == '\\' && ++i == s->n)
            return false;
        if (*n < NODE_MAX)
            out[(*n)++] = s->p[i];
    }
    if (quoted ? i == s->n : i == 0)
        return false;
    i += quoted;
    *s = slice_of(s->p + i, s->n - i);
    return true;
}

/* "for=192.0.2.60;proto=http" up to a comma or the end, which is not taken. The node of `for`, or nothing (*n 0).
 * False: malformed. */
static bool element_take(struct slice *s, char node[NODE_MAX], size_t *n)
{
    bool seen = false;
    *n = 0;
    for (;;) {
        char value[NODE_MAX];
        size_t name = 0, value_n;
        skip_blanks(s);
        while (name < s->n && http_is_token(slice_of(s->p + name, 1)))
            name++;
        bool is_for = http_is(slice_of(s->p, name), "for");
        if (name == 0 || name == s->n || s->p[name] != '=' || (is_for && seen))
            return false;
        *s = slice_of(s->p + name + 1, s->n - name - 1);
        if (!value_take(s, value, &value_n))
            return false;
        if (is_for) {
            seen = true;
            memcpy(node, value, value_n);
            *n = value_n;
        }
        skip_blanks(s);
        if (s->n == 0 || *s->p == ',')
            return true;
        if (*s->p != ';')
            return false;
        *s = slice_of(s->p + 1, s->n - 1);
    }
}

static bool walk_forwarded(struct walk *w, struct slice s)
{
    for (;;) {
        char node[NODE_MAX];
        size_t n;
        struct address a;
        skip_blanks(&s);
        if (s.n && *s.p != ',') {
            if (!element_take(&s, node, &n))
                return false;
            walk_take(w, node_parse(slice_of(node, n), &a), &a);
        }
        if (s.n == 0)
            return true;
        s = slice_of(s.p + 1, s.n - 1);
    }
}

int proxy_forwarded(const struct http_head *h, const struct proxies *list, struct address *out, const char **why)
{
    uint32_t at = 0;
    struct walk new = {.list = list}, old = {.list = list};
    for (struct slice v = http_next(h, "forwarded", &at); v.p; v = http_next(h, "forwarded", &at))
        /* A text in quotes that a client opens could swallow what its proxy says behind it. */
        if (!walk_forwarded(&new, v))
            return (int)refuse(why, "the Forwarded field is malformed");
    at = 0;
    for (struct slice v = http_next(h, "x-forwarded-for", &at); v.p; v = http_next(h, "x-forwarded-for", &at))
        walk_x_forwarded_for(&old, v);
    if (new.have && old.have &&memcmp(&new.found, &old.found, sizeof new.found) != 0)
        return (int)refuse(why, "Forwarded and X-Forwarded-For name different clients: the proxy should send one of "
                                "them and drop the other");
    if (!new.have && !old.have)
        return 0;
    *out = new.have ? new.found : old.found;
    return 1;
}

bool proxy_in_head(const struct http_head *h)
{
    static const char *const names[] = {"forwarded", "via", "x-real-ip", "cf-connecting-ip", "true-client-ip"};
    static const char prefix[] = "x-forwarded";
    unsigned count;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (http_get(h, names[i], &count).p)
            return true;
    for (uint32_t i = 0; i < h->field_count; i++)
        if (h->fields[i].name.n >= sizeof prefix - 1 &&
            strncasecmp(h->fields[i].name.p, prefix, sizeof prefix - 1) == 0)
            return true;
    /* nginx asks so unless it is told otherwise: by HTTP/1.0, or as in every example for WebSockets. */
    return h->minor == 0 || (http_has_token(h, "connection", "upgrade") && !http_get(h, "upgrade", &count).p);
}
