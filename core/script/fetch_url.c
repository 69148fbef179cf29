#include "core/script/fetch_url.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static int hex(char c)
{
    if (is_digit(c))
        return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes the word off the front of *s, whatever the letters' case. */
static bool take(struct slice *s, const char *word)
{
    size_t n = strlen(word);
    if (s->n < n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (lower(s->p[i]) != word[i])
            return false;
    *s = slice_of(s->p + n, s->n - n);
    return true;
}

/* --- Host --------------------------------------------------------------------------------------------------------- */

/* [::1]: to the usual form, without the brackets. */
static const char *take_ipv6(struct slice *s, struct fetch_url *out)
{
    unsigned char address[16];
    const char *end = memchr(s->p, ']', s->n);
    size_t n = end ? (size_t)(end - s->p) - 1 : 0;
    if (n == 0 || n > INET6_ADDRSTRLEN)
        return "its host is no IPv6 address in brackets";
    memcpy(out->host, s->p + 1, n);
    out->host[n] = '\0';
    if (inet_pton(AF_INET6, out->host, address) != 1 || !inet_ntop(AF_INET6, address, out->host, sizeof out->host))
        return "its host is no IPv6 address in brackets";
    out->literal = true;
    *s = slice_of(end + 1, s->n - n - 2);
    return NULL;
}

/* Whether the last part of the name is a number: then some would take the whole for an address, "0x7f.1" for one. */
static bool ends_in_number(const char *host)
{
    const char *last = strrchr(host, '.');
    last = last ? last + 1 : host;
    return is_digit(last[0]) && (strspn(last, "0123456789") == strlen(last) || (last[0] == '0' && last[1] == 'x'));
}

static const char *take_host(struct slice *s, struct fetch_url *out)
{
    unsigned char address[4];
    size_t n = 0;
    if (s->n && s->p[0] == '[')
        return take_ipv6(s, out);
    while (n < s->n && (is_letter(s->p[n]) || is_digit(s->p[n]) || s->p[n] == '-' || s->p[n] == '.'))
        n++;
    if (n == 0 || n > FETCH_HOST_MAX)
        return "it has no host, or one that is too long";
    for (size_t i = 0; i < n; i++) {
        out->host[i] = lower(s->p[i]);
        if (out->host[i] == '.' && (i == 0 || out->host[i - 1] == '.'))
            return "its host has an empty part";
    }
    if (out->host[n - 1] == '.')
        return "its host ends in a dot";
    out->host[n] = '\0';
    *s = slice_of(s->p + n, s->n - n);
    out->literal = inet_pton(AF_INET, out->host, address) == 1;
    return !out->literal && ends_in_number(out->host) ? "its host is a number, but no IPv4 address" : NULL;
}

/* Whether there is an @ before the path, the query or the fragment. */
static bool has_user(struct slice s)
{
    for (size_t i = 0; i < s.n && !strchr("/?#", s.p[i]); i++)
        if (s.p[i] == '@')
            return true;
    return false;
}

static const char *take_port(struct slice *s, struct fetch_url *out)
{
    unsigned port = 0;
    size_t n = 1;
    if (!s->n || s->p[0] != ':')
        return NULL;
    while (n < s->n && n < 7 && is_digit(s->p[n]))
        port = port * 10 + (unsigned)(s->p[n++] - '0');
    if (n == 1 || port == 0 || port > 65535)
        return "its port is no number from 1 to 65535";
    out->port = (uint16_t)port;
    *s = slice_of(s->p + n, s->n - n);
    return NULL;
}

/* --- Path and query ----------------------------------------------------------------------------------------------- */

/* Bytes that a path or query is made of (RFC 3986, without the fragment). */
static bool is_plain(char c)
{
    return is_letter(c) || is_digit(c) || (c && strchr("-._~!$&'()*+,;=:@/?%", c));
}

static const char *check_bytes(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '#')
            return "it has a fragment (#)";
        if (!is_plain(s.p[i]))
            return "it has a byte that must be written as %XX";
        if (s.p[i] == '%' && (i + 2 >= s.n || hex(s.p[i + 1]) < 0 || hex(s.p[i + 2]) < 0))
            return "it has a % that is not followed by two hexadecimal digits";
    }
    return NULL;
}

/* Segments that some servers take for steps through folders. */
static const char *check_path(struct slice path)
{
    size_t dots = 0, others = 0;
    for (size_t i = 0; i <= path.n; i++) {
        if (i == path.n || path.p[i] == '/') {
            if (!others && (dots == 1 || dots == 2))
                return "its path has a segment . or ..";
            dots = others = 0;
            continue;
        }
        int c = path.p[i];
        if (c == '%') {
            c = hex(path.p[i + 1]) * 16 + hex(path.p[i + 2]);
            i += 2;
            if (c == '/' || c == '\\' || c < 0x20 || c == 0x7f)
                return "its path has %2F, %5C or a control character";
        }
        if (c == '.')
            dots++;
        else
            others++;
    }
    return NULL;
}

const char *fetch_url_parse(struct slice text, struct fetch_url *out)
{
    *out = (struct fetch_url){.port = 80};
    if (text.n > FETCH_URL_MAX)
        return "it is longer than 2048 bytes";
    if (take(&text, "https://")) {
        out->tls = true;
        out->port = 443;
    } else if (!take(&text, "http://")) {
        return "it does not begin with http:// or https://";
    }
    const char *wrong = has_user(text) ? "it has a user in front of its host" : take_host(&text, out);
    if (!wrong)
        wrong = take_port(&text, out);
    if (!wrong && text.n && text.p[0] != '/' && text.p[0] != '?' && text.p[0] != '#')
        wrong = "its host has a character that no host has";
    if (!wrong)
        wrong = check_bytes(text);
    if (wrong)
        return wrong;
    const char *mark = text.n ? memchr(text.p, '?', text.n) : NULL;
    out->path = slice_of(text.p, mark ? (size_t)(mark - text.p) : text.n);
    out->query = mark ? slice_of(mark, text.n - out->path.n) : SLICE_NONE;
    return check_path(out->path);
}

/* --- Comparing ---------------------------------------------------------------------------------------------------- */

bool fetch_url_below(const struct fetch_url *url, const struct fetch_url *prefix)
{
    if (url->tls != prefix->tls || url->port != prefix->port || strcmp(url->host, prefix->host) != 0)
        return false;
    size_t n = prefix->path.n;
    while (n && prefix->path.p[n - 1] == '/')
        n--; /* "/api/" is as "/api" */
    if (url->path.n < n || memcmp(url->path.p ? url->path.p : "", prefix->path.p ? prefix->path.p : "", n) != 0)
        return false;
    return n == 0 || url->path.n == n || url->path.p[n] == '/';
}

bool fetch_url_text(const struct fetch_url *url, char *out, size_t size)
{
    bool brackets = strchr(url->host, ':') != NULL;
    int n = snprintf(out, size, "%s://%s%s%s:%u%s%.*s%.*s", url->tls ? "https" : "http", brackets ? "[" : "", url->host,
                     brackets ? "]" : "", url->port, url->path.n ? "" : "/", (int)url->path.n,
                     url->path.p ? url->path.p : "", (int)url->query.n, url->query.p ? url->query.p : "");
    return n >= 0 && (size_t)n < size;
}
