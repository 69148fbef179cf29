/* Relations between the values of a config. */
#include "core/config/config_check.h"

#include "core/config/config.h"
#include "core/config/config_read.h"
#include "core/net/http.h"
#include "core/net/listener.h"
#include "core/net/proxy.h"

#include <stdlib.h>
#include <string.h>

/*
 * What a send has around its content: the header of the frame (8), {"receiverId":"…","content":"…","clientId":"…"} with
 * 64 bytes of each. Content that JSON must escape needs more, and then the frame is what bounds it.
 */
enum { SEND_OVERHEAD = 192 };

static void check_content(struct config_reader *r)
{
    struct config *c = r->c;
    if (c->limits.content + SEND_OVERHEAD <= c->limits.frame)
        return;
    if (!config_read_given(r, "limits.content")) {
        /* Only the frame was given, and it is small: the default content follows. */
        c->limits.content = c->limits.frame > 2 * SEND_OVERHEAD ? c->limits.frame - SEND_OVERHEAD : c->limits.frame / 4;
        return;
    }
    config_error(r, "limits.content",
                 "must fit in limits.frame with %d bytes around it, but %llu + %d is more than %llu%s", SEND_OVERHEAD,
                 (unsigned long long)c->limits.content, SEND_OVERHEAD, (unsigned long long)c->limits.frame,
                 config_read_given(r, "limits.frame") ? "" : " (the default)");
}

static const struct {
    const char *path;
    size_t offset; /* of a struct config_strings */
    bool clients;  /* users log in here */
    bool tls;
} listens[] = {
    {"listen.tcp", offsetof(struct config, listen.tcp), true, false},
    {"listen.websocket", offsetof(struct config, listen.websocket), true, false},
    {"listen.tcps", offsetof(struct config, listen.tcps), true, true},
    {"listen.wss", offsetof(struct config, listen.wss), true, true},
    {"listen.metrics", offsetof(struct config, listen.metrics), false, false},
    {"listen.console", offsetof(struct config, listen.console), false, false}, /* the last one: settle_console() */
};
#define LISTENS (sizeof listens / sizeof listens[0])

static const struct config_strings *addresses_of(const struct config *c, size_t i)
{
    return (const struct config_strings *)((const char *)c + listens[i].offset);
}

/* A port of 0 is another port each time. */
static bool any_port(const char *address)
{
    size_t n = strlen(address);
    return strncmp(address, "unix:", 5) != 0 && n >= 2 && strcmp(address + n - 2, ":0") == 0;
}

/* The first other listener with this address, or NULL. */
static const char *listed_before(const struct config *c, size_t upto, const char *address)
{
    for (size_t i = 0; i < upto; i++)
        for (uint32_t j = 0; j < addresses_of(c, i)->n; j++)
            if (strcmp(addresses_of(c, i)->v[j], address) == 0)
                return listens[i].path;
    return NULL;
}

static void check_address(struct config_reader *r, size_t i, const char *address)
{
    const struct config *c = r->c;
    bool over_tls = listener_is_tls(address);
    if (over_tls && i != LISTENS - 1)
        config_error(r, listens[i].path, "%s: \"tls:\" is for consoles; clients have listen.tcps and listen.wss",
                     address);
    if (over_tls && !c->tls.certificate.n)
        config_error(r, listens[i].path, "%s needs tls.certificate and tls.key", address);
    const char *other = any_port(address) ? NULL : listed_before(c, i, address);
    if (other)
        config_error(r, listens[i].path, "%s is the address of %s already", address, other);
    if (listener_is_local(address))
        return;
    if (listens[i].clients && strcmp(c->auth.mode, "open") == 0 && !c->auth.allow_open)
        config_error(r, listens[i].path,
                     "%s can be reached by others, and auth.mode \"open\" lets anybody in; set auth.allow_open = true "
                     "if that is meant",
                     address);
    if (i == LISTENS - 1 && !c->console.password && !(over_tls && c->tls.client_ca))
        config_error(r, listens[i].path,
                     "%s can be reached by others: set console.password, or listen on \"tls:\" with tls.client_ca",
                     address);
}

/* The console's default address gives way: who puts a client port there need not know about it. */
static void settle_console(struct config_reader *r)
{
    struct config_strings *console = &r->c->listen.console;
    if (config_read_given(r, "listen.console") || console->n != 1 || !listed_before(r->c, LISTENS - 1, console->v[0]))
        return;
    free(console->v[0]);
    console->v[0] = NULL;
    console->n = 0;
}

static void check_listen(struct config_reader *r)
{
    const struct config *c = r->c;
    settle_console(r);
    bool tls = c->tls.certificate.n && c->tls.key.n;
    uint32_t clients = 0;
    for (size_t i = 0; i < LISTENS; i++) {
        const struct config_strings *list = addresses_of(c, i);
        clients += listens[i].clients ? list->n : 0;
        if (listens[i].tls && list->n && !tls)
            config_error(r, listens[i].path, "needs tls.certificate and tls.key");
        for (uint32_t j = 0; j < list->n; j++)
            check_address(r, i, list->v[j]);
    }
    /* With errors above, the addresses may have been among them. */
    if (clients == 0 && r->error_count == 0)
        config_error(r, "listen", "no address for clients: set listen.tcp or listen.websocket");
}

static void check_tls(struct config_reader *r)
{
    const struct config *c = r->c;
    uint32_t certificates = c->tls.certificate.n, keys = c->tls.key.n;
    if (!certificates != !keys)
        config_error(r, keys ? "tls.key" : "tls.certificate", "needs %s too", keys ? "tls.certificate" : "tls.key");
    else if (certificates != keys)
        config_error(r, "tls.key", "expected a key for each of the %u certificates, found %u", certificates, keys);
}

/* The hub keeps the mode in a fixed field. */
static void check_auth(struct config_reader *r)
{
    if (strlen(r->c->auth.mode) > 31)
        config_error(r, "auth.mode", "expected a name of at most 31 bytes");
}

static void check_origins(struct config_reader *r)
{
    for (uint32_t i = 0; i < r->c->origins.n; i++) {
        const char *origin = r->c->origins.v[i];
        const char *host = strstr(origin, "://");
        if (!host || host == origin || host[3] == '\0' || strchr(host + 3, '/'))
            config_error(
                r, "origins",
                "expected \"SCHEME://HOST\" or \"SCHEME://HOST:PORT\" without a path, found \"%.60s\" as entry %u",
                origin, i + 1);
    }
}

/* A probe that comes when the connection is closed already asks nobody. */
static void check_timeouts(struct config_reader *r)
{
    struct config *c = r->c;
    if (c->timeouts.ping <= 0 || c->timeouts.idle <= 0 || c->timeouts.ping < c->timeouts.idle)
        return;
    if (config_read_given(r, "timeouts.ping"))
        config_error(r, "timeouts.ping",
                     "must be less than timeouts.idle, or nobody is asked before being closed, but %g is not less than "
                     "%g%s",
                     c->timeouts.ping, c->timeouts.idle, config_read_given(r, "timeouts.idle") ? "" : " (the default)");
    else
        c->timeouts.ping = c->timeouts.idle / 2;
}

static void check_proxies(struct config_reader *r)
{
    const struct config_strings *list = &r->c->listen.proxy;
    struct proxies known = {.count = 0};
    for (uint32_t i = 0; i < list->n; i++)
        if (!proxies_add(&known, list->v[i]))
            config_error(r, "listen.proxy", "expected %s, found \"%.60s\" as entry %u",
                         known.count == PROXIES_MAX ? "256 entries at most"
                                                    : "an IP address, a network (\"10.0.0.0/8\") or \"unix:\"",
                         list->v[i], i + 1);
}

/* RFC 6455 section 4.1: a subprotocol's name is a token. */
static void check_protocols(struct config_reader *r)
{
    const struct config_strings *list = &r->c->listen.protocols;
    enum { PROTOCOL_MAX = 128 };
    for (uint32_t i = 0; i < list->n; i++) {
        size_t n = strlen(list->v[i]);
        if (n == 0 || n > PROTOCOL_MAX || !http_is_token(slice_str(list->v[i])))
            config_error(r, "listen.protocols",
                         "expected the name of a subprotocol (\"chat.v1\": letters, digits and !#$%%&'*+-.^_`|~, %d at "
                         "most), found \"%.60s\" as entry %u",
                         (int)PROTOCOL_MAX, list->v[i], i + 1);
    }
}

/* "HOST:PORT" or "[IPv6]:PORT". */
static bool is_host_port(const char *s)
{
    const char *colon = strrchr(s, ':');
    if (!colon || colon == s)
        return false;
    size_t host = (size_t)(colon - s), digits = strspn(colon + 1, "0123456789");
    bool bracketed = s[0] == '[' && s[host - 1] == ']' && host > 2;
    if (digits == 0 || digits > 5 || colon[1 + digits] || strpbrk(s, " \t/@,\"'"))
        return false;
    if (!bracketed && (s[0] == '[' || memchr(s, ':', host)))
        return false;
    unsigned long port = strtoul(colon + 1, NULL, 10);
    return port > 0 && port <= 65535;
}

static void check_cluster(struct config_reader *r)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-";
    enum { PREFIX_MAX = 16 };
    const struct config *c = r->c;
    for (uint32_t i = 0; i < c->cluster.redis.n; i++)
        if (!is_host_port(c->cluster.redis.v[i]))
            config_error(r, "cluster.redis", "expected \"HOST:PORT\" or \"[IPv6]:PORT\", found \"%.60s\" as entry %u",
                         c->cluster.redis.v[i], i + 1);
    size_t n = strlen(c->cluster.prefix);
    if (n > PREFIX_MAX || strspn(c->cluster.prefix, letters) != n)
        config_error(r, "cluster.prefix", "expected 1 to %d of letters, digits and _ . : - , found \"%.60s\"",
                     (int)PREFIX_MAX, c->cluster.prefix);
    if (c->cluster.username && !c->cluster.password)
        config_error(r, "cluster.username", "needs cluster.password");
    const char *url = c->cluster.archive.url;
    if (url && strncmp(url, "postgresql://", 13) != 0 && strncmp(url, "postgres://", 11) != 0)
        config_error(r, "cluster.archive.url", "expected \"postgresql://USER:PASSWORD@HOST/DATABASE\"");
    /* Who writes these means a cluster; without it, everything would quietly be kept on this machine alone. */
    static const char *const clustered[] = {"cluster.username", "cluster.password", "cluster.archive.url"};
    for (size_t i = 0; i < sizeof clustered / sizeof *clustered; i++)
        if (!c->cluster.redis.n && config_read_given(r, clustered[i]))
            config_error(r, clustered[i], "needs cluster.redis: without it this server stands alone");
}

void config_check_relations(struct config_reader *r)
{
    check_content(r);
    check_tls(r);
    check_listen(r);
    check_auth(r);
    check_origins(r);
    check_protocols(r);
    check_proxies(r);
    check_timeouts(r);
    check_cluster(r);
}
