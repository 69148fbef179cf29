/* magpiectl's connection: lines out, replies in. */
#include "core/tools/ctl_conn.h"

#include "core/tools/ctl.h"
#include "core/tools/ctl_tls.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int fail(struct ctl *c, const char *what)
{
    snprintf(c->why, sizeof c->why, "%s: %s", c->address, what);
    return -1;
}

/* The connection is lost: `bytes` is what send() or recv() gave, with errno. */
static int lost(struct ctl *c, ssize_t bytes)
{
    bool closed = bytes == 0 || errno == EPIPE || errno == ECONNRESET;
    if (!closed && c->refused) /* why is known */
        return -1;
    return fail(c, closed ? "the server closed the connection" : strerror(errno));
}

static int connect_unix(struct ctl *c, const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof a.sun_path)
        return fail(c, "the path is too long");
    strcpy(a.sun_path, path);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd >= 0 && connect(c->fd, (struct sockaddr *)&a, sizeof a) == 0)
        return 0;
    c->error = errno;
    return fail(c, strerror(c->error));
}

static const char tls_prefix[] = "tls:";

static bool is_tls(const struct ctl *c)
{
    return strncmp(c->address, tls_prefix, sizeof tls_prefix - 1) == 0;
}

/* HOST:PORT, [IPv6]:PORT; the host is told as well. */
static int connect_inet(struct ctl *c, char host[256])
{
    const char *address = c->address + (is_tls(c) ? sizeof tls_prefix - 1 : 0), *colon = strrchr(address, ':');
    size_t n = colon ? (size_t)(colon - address) : 0;
    if (n == 0 || n >= 256)
        return fail(c, "expected HOST:PORT, tls:HOST:PORT or unix:PATH");
    bool bracketed = address[0] == '[' && address[n - 1] == ']';
    snprintf(host, 256, "%.*s", (int)(bracketed ? n - 2 : n), address + bracketed);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    int rc = getaddrinfo(host, colon + 1, &hints, &list);
    if (rc != 0)
        return fail(c, gai_strerror(rc));
    errno = ECONNREFUSED;
    for (struct addrinfo *a = list; a && c->fd < 0; a = a->ai_next) {
        c->fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (c->fd >= 0 && connect(c->fd, a->ai_addr, a->ai_addrlen) != 0) {
            int e = errno;
            close(c->fd);
            c->fd = -1;
            errno = e;
        }
    }
    c->error = errno;
    freeaddrinfo(list);
    return c->fd >= 0 ? 0 : fail(c, strerror(c->error));
}

static void put_quoted(struct buf *out, const char *word)
{
    static const char hex[] = "0123456789abcdef";
    buf_byte(out, '"');
    for (; *word; word++) {
        unsigned char b = (unsigned char)*word;
        if (b == '"' || b == '\\') {
            buf_byte(out, '\\');
            buf_byte(out, b);
        } else if (b < 0x20 || b == 0x7F) {
            buf_lit(out, "\\u00");
            buf_byte(out, (uint8_t)hex[b >> 4]);
            buf_byte(out, (uint8_t)hex[b & 15]);
        } else {
            buf_byte(out, b);
        }
    }
    buf_byte(out, '"');
}

void ctl_join(struct buf *out, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        bool plain = argv[i][0] && !strpbrk(argv[i], " \t\r\n\"");
        if (i)
            buf_byte(out, ' ');
        if (plain || argc == 1)
            buf_str(out, argv[i]);
        else
            put_quoted(out, argv[i]);
    }
    buf_byte(out, '\0');
}

/* To c->address. 0, or -1 with c->why and c->error. */
static int reach(struct ctl *c)
{
    char host[256];
    c->fd = -1;
    c->error = 0;
    int rc = strncmp(c->address, "unix:", 5) == 0 ? connect_unix(c, c->address + 5) : connect_inet(c, host);
    return rc == 0 && is_tls(c) ? ctl_tls_connect(c, host) : rc;
}

/* To the first of the usual addresses where a console listens. One that is there and turns us away ends the search: it
 * is the one that was meant, and the next address could be anybody's. */
static int reach_usual(struct ctl *c)
{
    struct buf tried = BUF_INIT;
    int rc = -1;
    for (const char *const *address = c->usual; *address; address++) {
        c->address = *address;
        rc = reach(c);
        if (rc == 0 || (c->error != ENOENT && c->error != ENOTDIR && c->error != ECONNREFUSED))
            break;
        buf_printf(&tried, "%s%s (%s)", tried.n ? " nor at " : "no console at ", c->address, strerror(c->error));
        ctl_close(c);
        if (!address[1])
            snprintf(c->why, sizeof c->why, "%.*s; does magpied run? -s or $MAGPIE_CONSOLE names another address",
                     (int)tried.n, tried.p ? tried.p : "");
    }
    if (rc != 0 && c->error == EACCES)
        snprintf(c->why, sizeof c->why,
                 "%s: permission denied; its owner may, and root: sudo magpiectl, or sudo -u magpie magpiectl",
                 c->address);
    buf_free(&tried);
    return rc;
}

int ctl_connect(struct ctl *c)
{
    int rc = c->usual ? reach_usual(c) : reach(c);
    if (rc != 0 || !c->password)
        return rc;
    struct buf line = BUF_INIT;
    struct ctl_reply r;
    buf_lit(&line, "auth ");
    put_quoted(&line, c->password);
    buf_byte(&line, '\0');
    rc = buf_ok(&line) ? ctl_ask(c, line.p, &r, NULL, NULL) : fail(c, "out of memory");
    if (line.p)
        explicit_bzero(line.p, line.n);
    buf_free(&line);
    if (rc == 0 && !r.ok)
        rc = fail(c, r.status.p);
    if (rc == 0)
        ctl_reply_free(&r);
    return rc;
}

ssize_t ctl_recv(struct ctl *c, void *p, size_t n)
{
    return c->ssl ? ctl_tls_recv(c, p, n) : recv(c->fd, p, n, 0);
}

void ctl_close(struct ctl *c)
{
    ctl_tls_close(c);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    buf_free(&c->in);
    c->in_at = 0;
}

static int send_all(struct ctl *c, const char *p, size_t n)
{
    while (n) {
        ssize_t sent = c->ssl ? ctl_tls_send(c, p, n) : send(c->fd, p, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return lost(c, sent);
        p += sent;
        n -= (size_t)sent;
    }
    return 0;
}

/* The next line, without its end; borrowed until the next call. False: the connection ended. */
static bool take_line(struct ctl *c, struct slice *out)
{
    size_t looked = c->in_at;
    for (;;) {
        char *end = c->in.n > looked ? memchr(c->in.p + looked, '\n', c->in.n - looked) : NULL;
        if (end) {
            *out = slice_of(c->in.p + c->in_at, (size_t)(end - (c->in.p + c->in_at)));
            c->in_at = (size_t)(end - c->in.p) + 1;
            return true;
        }
        if (c->in_at) {
            memmove(c->in.p, c->in.p + c->in_at, c->in.n - c->in_at);
            c->in.n -= c->in_at;
            c->in_at = 0;
        }
        looked = c->in.n;
        char *to = buf_reserve(&c->in, 65536);
        if (!to) {
            fail(c, "out of memory");
            return false;
        }
        ssize_t n = ctl_recv(c, to, 65536);
        if (n < 0 && errno == EINTR && !(c->stop && *c->stop))
            continue;
        if (n <= 0) {
            lost(c, n);
            return false;
        }
        c->in.n += (size_t)n;
    }
}

void ctl_reply_free(struct ctl_reply *r)
{
    buf_free(&r->status);
    buf_free(&r->body);
}

/* Whether the line is a traced frame rather than a part of a reply. */
static bool is_event(struct slice line)
{
    return line.n >= 2 && line.p[0] == '*' && line.p[1] == ' ';
}

int ctl_ask(struct ctl *c, const char *command, struct ctl_reply *r, void (*line)(void *ctx, struct slice text),
            void *ctx)
{
    struct slice s;
    *r = (struct ctl_reply){.ok = false};
    if (send_all(c, command, strlen(command)) != 0 || send_all(c, "\n", 1) != 0)
        return -1;
    do {
        if (!take_line(c, &s))
            return -1;
    } while (is_event(s));
    r->ok = slice_eq(s, SLICE_LIT("OK"));
    if (!r->ok && (s.n < 4 || memcmp(s.p, "ERR ", 4) != 0))
        return fail(c, "that is no console of Magpie");
    buf_put(&r->status, r->ok ? s.p : s.p + 4, r->ok ? s.n : s.n - 4);
    buf_byte(&r->status, '\0');
    for (;;) {
        if (!take_line(c, &s)) {
            ctl_reply_free(r);
            return -1;
        }
        if (s.n && s.p[0] == '.') {
            if (s.n == 1)
                return 0;
            s = slice_of(s.p + 1, s.n - 1);
        }
        if (line && r->ok) {
            line(ctx, s);
        } else {
            buf_slice_put(&r->body, s);
            buf_byte(&r->body, '\n');
        }
    }
}

struct cJSON *ctl_ask_json(struct ctl *c, const char *command)
{
    struct buf line = BUF_INIT;
    struct ctl_reply r;
    struct cJSON *tree = NULL;
    buf_printf(&line, "json %s", command);
    buf_byte(&line, '\0');
    if (buf_ok(&line) && ctl_ask(c, line.p, &r, NULL, NULL) == 0) {
        if (r.ok && buf_ok(&r.body))
            tree = cJSON_ParseWithLength(r.body.p ? r.body.p : "", r.body.n);
        if (!tree)
            fail(c, r.ok ? "the answer is no JSON" : buf_ok(&r.status) ? r.status.p : "out of memory");
        ctl_reply_free(&r);
    }
    buf_free(&line);
    return tree;
}

int ctl_follow(struct ctl *c)
{
    struct slice s;
    while (take_line(c, &s)) {
        if (is_event(s))
            s = slice_of(s.p + 2, s.n - 2);
        fwrite(s.p, 1, s.n, stdout);
        putchar('\n');
        if (fflush(stdout) != 0)
            return 0;
    }
    return -1;
}

/* --- One line, printed -------------------------------------------------------------------------------------------- */

static void print_line(void *ctx, struct slice s)
{
    (void)ctx;
    fwrite(s.p, 1, s.n, stdout);
    putchar('\n');
}

bool ctl_is_trace(const char *command)
{
    size_t n = strlen(command);
    while (n && command[n - 1] == ' ')
        n--;
    return strncmp(command, "trace ", 6) == 0 && n > 9 && strncmp(command + n - 3, " on", 3) == 0;
}

int ctl_run(struct ctl *c, const char *command)
{
    struct buf line = BUF_INIT;
    struct ctl_reply r;
    buf_printf(&line, "%s%s", c->json ? "json " : "", command);
    buf_byte(&line, '\0');
    int rc = buf_ok(&line) ? ctl_ask(c, line.p, &r, print_line, NULL) : fail(c, "out of memory");
    buf_free(&line);
    if (rc != 0) {
        fprintf(stderr, "magpiectl: %s\n", c->why);
        return -1;
    }
    if (!r.ok) {
        fflush(stdout);
        fprintf(stderr, "magpiectl: %s\n", r.status.p);
        fwrite(r.body.p ? r.body.p : "", 1, r.body.n, stdout);
    }
    rc = r.ok ? 0 : 1;
    ctl_reply_free(&r);
    return fflush(stdout) == 0 ? rc : 1;
}
