#include "core/net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Connections that may wait to be accepted; the kernel caps it at net.core.somaxconn. */
enum { BACKLOG = 65535 };

static const char unix_prefix[] = "unix:", tls_prefix[] = "tls:";

/* An address, taken apart. */
struct place {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un un;
    } a;
    socklen_t size; /* of what is used of a */
    bool both;      /* "*": IPv4 too */
};

/* --- Addresses as text -------------------------------------------------------------------------------------------- */

/* A port from 0 to 65535, digits only. */
static bool port_parse(const char *text, uint16_t *port)
{
    unsigned n = 0;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 5 || text[digits])
        return false;
    for (size_t i = 0; i < digits; i++)
        n = n * 10 + (unsigned)(text[i] - '0');
    *port = (uint16_t)n;
    return n <= UINT16_MAX;
}

static bool unix_parse(const char *path, struct place *p, char *why, size_t why_size)
{
    size_t n = strlen(path);
    if (n == 0) {
        snprintf(why, why_size, "the path is missing");
        return false;
    }
    if (n >= sizeof p->a.un.sun_path) {
        snprintf(why, why_size, "the path is longer than %zu bytes", sizeof p->a.un.sun_path - 1);
        return false;
    }
    p->a.un.sun_family = AF_UNIX;
    memcpy(p->a.un.sun_path, path, n + 1);
    p->size = (socklen_t)sizeof p->a.un;
    return true;
}

static bool ip_parse(const char *host, uint16_t port, bool bracketed, struct place *p)
{
    if (strcmp(host, "*") == 0 && !bracketed) {
        p->both = true;
        p->a.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = in6addr_any};
        p->size = sizeof p->a.v6;
        return true;
    }
    if (bracketed) {
        p->a.v6.sin6_family = AF_INET6;
        p->a.v6.sin6_port = htons(port);
        p->size = sizeof p->a.v6;
        return inet_pton(AF_INET6, host, &p->a.v6.sin6_addr) == 1;
    }
    p->a.v4.sin_family = AF_INET;
    p->a.v4.sin_port = htons(port);
    p->size = sizeof p->a.v4;
    return inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &p->a.v4.sin_addr) == 1;
}

bool listener_is_tls(const char *address)
{
    return strncmp(address, tls_prefix, sizeof tls_prefix - 1) == 0;
}

static bool place_parse(const char *address, struct place *p, char *why, size_t why_size)
{
    memset(p, 0, sizeof *p);
    if (listener_is_tls(address)) {
        address += sizeof tls_prefix - 1;
        if (strncmp(address, unix_prefix, sizeof unix_prefix - 1) == 0 || listener_is_tls(address)) {
            snprintf(why, why_size, "behind \"tls:\" there is an IP address and a port");
            return false;
        }
    }
    if (strncmp(address, unix_prefix, sizeof unix_prefix - 1) == 0)
        return unix_parse(address + sizeof unix_prefix - 1, p, why, why_size);
    char host[INET6_ADDRSTRLEN + 2];
    const char *colon = strrchr(address, ':');
    size_t n = colon ? (size_t)(colon - address) : 0;
    uint16_t port;
    bool bracketed = n > 2 && address[0] == '[' && colon[-1] == ']';
    if (!colon || !port_parse(colon + 1, &port)) {
        snprintf(why, why_size, "the port is no number from 0 to 65535");
        return false;
    }
    snprintf(why, why_size, "that is no IP address");
    if (n == 0 || n >= sizeof host)
        return false;
    snprintf(host, sizeof host, "%.*s", (int)(bracketed ? n - 2 : n), address + bracketed);
    return ip_parse(host, port, bracketed, p);
}

bool listener_check(const char *address, char *why, size_t why_size)
{
    struct place p;
    return place_parse(address, &p, why, why_size);
}

bool listener_is_local(const char *address)
{
    struct place p;
    char why[128];
    if (!place_parse(address, &p, why, sizeof why) || p.both)
        return false;
    if (p.a.any.sa_family == AF_UNIX)
        return true;
    if (p.a.any.sa_family == AF_INET)
        return ntohl(p.a.v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return IN6_IS_ADDR_LOOPBACK(&p.a.v6.sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&p.a.v6.sin6_addr) && p.a.v6.sin6_addr.s6_addr[12] == IN_LOOPBACKNET);
}

/* --- Opening ------------------------------------------------------------------------------------------------------ */

/* errno as a sentence's end. */
static int fail(const char *address, char *why, size_t why_size)
{
    snprintf(why, why_size, "%s: %s", address, errno == EADDRINUSE ? "address already in use" : strerror(errno));
    return ERR_IO;
}

static int socket_new(int family)
{
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* A socket bound to the place, or -1. `shared`: with SO_REUSEPORT. */
static int socket_bound(struct place *p, bool shared)
{
    int on = 1, off = 0, fd = socket_new(p->a.any.sa_family);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0)
        goto fail;
    if (p->a.any.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, p->both ? &off : &on, sizeof on);
    if (bind(fd, &p->a.any, p->size) == 0)
        return fd;
fail:;
    int e = errno;
    close(fd);
    errno = e;
    return -1;
}

/* A machine without IPv6 still has "*". */
static int probe_bind(struct place *p)
{
    int fd = socket_bound(p, false);
    if (fd >= 0 || !p->both || (errno != EAFNOSUPPORT && errno != EADDRNOTAVAIL))
        return fd;
    in_port_t port = p->a.v6.sin6_port;
    p->both = false;
    p->a.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_ANY)};
    p->size = sizeof p->a.v4;
    return socket_bound(p, false);
}

/* Notes the address with the port that the kernel gave; later sockets bind to that. */
static void name_bound(struct listener *l, struct place *p, int fd)
{
    char host[INET6_ADDRSTRLEN] = "*";
    bool v6 = p->a.any.sa_family == AF_INET6;
    socklen_t size = p->size;
    (void)!getsockname(fd, &p->a.any, &size);
    if (!p->both)
        inet_ntop(p->a.any.sa_family, v6 ? (const void *)&p->a.v6.sin6_addr : (const void *)&p->a.v4.sin_addr, host,
                  sizeof host);
    snprintf(l->name, sizeof l->name, v6 && !p->both ? "[%s]:%u" : "%s:%u", host,
             ntohs(v6 ? p->a.v6.sin6_port : p->a.v4.sin_port));
}

static int open_inet(struct listener *l, struct place *p, const char *address, unsigned shards, char *why,
                     size_t why_size)
{
    int probe = probe_bind(p);
    if (probe < 0)
        return fail(address, why, why_size);
    name_bound(l, p, probe);
    close(probe);
    for (; l->count < shards; l->count++) {
        l->fds[l->count] = socket_bound(p, true);
        if (l->fds[l->count] < 0)
            return fail(address, why, why_size);
    }
    for (unsigned i = 0; i < shards; i++)
        if (listen(l->fds[i], BACKLOG) != 0)
            return fail(address, why, why_size);
    return 0;
}

/* Whether nobody answers at the socket file any more. */
static bool unix_is_stale(const struct place *p)
{
    int fd = socket_new(AF_UNIX);
    bool stale = fd >= 0 && connect(fd, &p->a.any, p->size) != 0 && errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return stale;
}

static int open_unix(struct listener *l, struct place *p, const char *address, mode_t mode, char *why, size_t why_size)
{
    const char *path = p->a.un.sun_path;
    struct stat st;
    if (lstat(path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode)) {
            snprintf(why, why_size, "%s: there is a file of that name which is no socket", address);
            return ERR_IO;
        }
        if (!unix_is_stale(p)) {
            snprintf(why, why_size, "%s: address already in use", address);
            return ERR_IO;
        }
        unlink(path);
    }
    snprintf(l->name, sizeof l->name, "%s", address);
    l->unix_path = strdup(path);
    if (!l->unix_path) {
        snprintf(why, why_size, "%s: out of memory", address);
        return ERR_NOMEM;
    }
    /* The file must not be there with more rights for a moment either. */
    mode_t before = umask(0777 & ~mode);
    int fd = socket_bound(p, false);
    umask(before);
    if (fd < 0) {
        free(l->unix_path);
        l->unix_path = NULL;
        return fail(address, why, why_size);
    }
    l->fds[l->count++] = fd;
    return listen(fd, BACKLOG) == 0 ? 0 : fail(address, why, why_size);
}

int listener_open(struct listener *l, const char *address, unsigned shards, mode_t mode, char *why, size_t why_size)
{
    struct place p;
    memset(l, 0, sizeof *l);
    if (!place_parse(address, &p, why, why_size))
        return ERR_IO;
    l->tls = listener_is_tls(address);
    l->fds = calloc(shards, sizeof *l->fds);
    if (!l->fds) {
        snprintf(why, why_size, "%s: out of memory", address);
        return ERR_NOMEM;
    }
    int rc = p.a.any.sa_family == AF_UNIX ? open_unix(l, &p, address, mode, why, why_size)
                                          : open_inet(l, &p, address, shards, why, why_size);
    if (rc != 0)
        listener_close(l);
    return rc;
}

void listener_close(struct listener *l)
{
    for (unsigned i = 0; i < l->count; i++)
        if (l->fds[i] >= 0)
            close(l->fds[i]);
    if (l->unix_path)
        unlink(l->unix_path);
    free(l->fds);
    free(l->unix_path);
    memset(l, 0, sizeof *l);
}
