/* Clients and connections of libmagpie-client, by those of client.h: see magpie_client.h. */
#include "core/client/magpie_client.h"

#include "core/client/client_private.h"
#include "core/client/magpie_client_private.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>

_Static_assert((int)MAGPIE_ERR_INVALID == (int)ERR_INVALID && (int)MAGPIE_ERR_CLOSED == (int)ERR_CLOSED, "passed on");
_Static_assert((int)MAGPIE_ERR_NOTFOUND == (int)ERR_NOTFOUND && (int)MAGPIE_ERR_FULL == (int)ERR_FULL, "passed on");
_Static_assert((int)MAGPIE_PUSH_MEMBERSHIP == (int)CLIENT_PUSH_MEMBERSHIP, "numbers of the protocol");

struct magpie_client {
    struct ev_loop *loop;      /* runs `inner`; owned */
    struct client *inner;      /* owned */
    struct magpie_conn *conns; /* those that are not gone */
    bool secure;               /* there are authorities for TLS */
};

struct magpie_conn {
    struct magpie_client *client;           /* borrowed */
    struct magpie_conn *prev, *next;        /* in the client's list */
    struct client_conn *inner;              /* NULL once it is gone */
    const struct magpie_handlers *handlers; /* the caller's, borrowed */
    void *user;                             /* the caller's */
    struct addrinfo *addresses;             /* of the host; owned; NULL for a Unix socket */
    struct addrinfo *untried;               /* the next of them; NULL: none is left */
    struct client_target target;            /* the one that is tried */
    char *path;                             /* of a WebSocket's request; owned */
    bool opened;                            /* `open` was called */
    bool closed;                            /* by the caller: no handler is called any more */
};

/* A request's callback and what it is for. */
struct asked {
    struct magpie_conn *conn; /* borrowed */
    magpie_answer_fn *answer; /* the caller's */
    void *arg;                /* its argument */
};

/* --- Clients ------------------------------------------------------------------------------------------------------ */

struct magpie_client *magpie_client_new(void)
{
    struct magpie_client *client = calloc(1, sizeof *client);

    if (!client)
        return NULL;
    client->loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    client->inner = client->loop ? client_new(client->loop) : NULL;
    if (client->inner)
        return client;
    if (client->loop)
        ev_loop_destroy(client->loop);
    free(client);
    return NULL;
}

void magpie_client_free(struct magpie_client *client)
{
    if (!client)
        return;
    while (client->conns)
        magpie_conn_close(client->conns);
    client_free(client->inner);
    ev_loop_destroy(client->loop);
    free(client);
}

size_t magpie_client_count(const struct magpie_client *client)
{
    return client_count(client->inner);
}

int magpie_client_fd(const struct magpie_client *client)
{
    return client->inner->epoll_fd;
}

void magpie_client_flush(struct magpie_client *client)
{
    client_flush(client->inner);
}

int magpie_client_run(struct magpie_client *client, int timeout_ms)
{
    struct pollfd wait = {.fd = client->inner->epoll_fd, .events = POLLIN};

    client_flush(client->inner); /* a write that fails ends a connection, so there may be nothing to wait for */
    if (client_count(client->inner) == 0 && timeout_ms < 0)
        return 0;
    int n = poll(&wait, 1, timeout_ms);
    if (n < 0)
        return errno == EINTR ? 0 : MAGPIE_ERR_IO;
    if (n > 0)
        ev_run(client->loop, EVRUN_NOWAIT);
    client_flush(client->inner);
    return 0;
}

int magpie_client_secure(struct magpie_client *client, const char *authority, const char **why)
{
    int rc = client_secure(client->inner, authority ? authority : "", false, why);
    client->secure = client->secure || rc == 0;
    return rc;
}

/* --- Connections -------------------------------------------------------------------------------------------------- */

static void conn_free(struct magpie_conn *conn)
{
    if (conn->next)
        conn->next->prev = conn->prev;
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        conn->client->conns = conn->next;
    if (conn->addresses)
        freeaddrinfo(conn->addresses);
    free(conn->path);
    free(conn);
}

static const struct client_handlers inner_handlers;

/* Tries the host's next address. False: none is left, and errno tells of the last. */
static bool conn_try(struct magpie_conn *conn)
{
    while (conn->untried) {
        struct addrinfo *address = conn->untried;
        conn->untried = address->ai_next;
        memcpy(&conn->target.address, address->ai_addr, address->ai_addrlen);
        conn->target.address_len = address->ai_addrlen;
        conn->inner = client_conn_open(conn->client->inner, &conn->target, &inner_handlers, conn);
        if (conn->inner)
            return true;
    }
    return false;
}

static void on_open(struct client_conn *inner, void *user)
{
    struct magpie_conn *conn = user;
    (void)inner;
    conn->opened = true;
    if (conn->handlers->open)
        conn->handlers->open(conn, conn->user);
}

static void on_push(struct client_conn *inner, void *user, uint16_t action, struct slice body)
{
    struct magpie_conn *conn = user;
    (void)inner;
    if (conn->handlers->push)
        conn->handlers->push(conn, conn->user, action, magpie_json_of(body));
}

static void on_close(struct client_conn *inner, void *user, int code, const char *why)
{
    struct magpie_conn *conn = user;
    (void)inner;
    conn->inner = NULL;
    if (!conn->closed && !conn->opened && conn_try(conn))
        return;
    if (!conn->closed && conn->handlers->close) {
        conn->closed = true; /* what the handler says of it has no effect any more */
        conn->handlers->close(conn, conn->user, code, why);
    }
    conn_free(conn);
}

static const struct client_handlers inner_handlers = {on_open, on_push, on_close};

/* Takes the "HOST[:PORT][/PATH]" of a WebSocket apart: the address into `rest`, of the size of the target's host. */
static int url_split(struct magpie_conn *conn, const char *url, char *rest, size_t cap, const char **why)
{
    size_t n = strcspn(url, "/?#");
    bool port = n && memchr(url, ':', n) && url[n - 1] != ']';

    if (n == 0 || n + sizeof ":443" > cap) {
        *why = n ? "the host's name is too long" : "expected ws://HOST:PORT/ or wss://HOST/";
        return ERR_INVALID;
    }
    memcpy(rest, url, n);
    strcpy(rest + n, port ? "" : conn->target.tls ? ":443" : ":80");
    conn->path = strdup(url[n] == '/' ? url + n : "/");
    if (!conn->path) {
        *why = err_str(ERR_NOMEM);
        return ERR_NOMEM;
    }
    conn->path[strcspn(conn->path, "#")] = '\0';
    for (const char *p = conn->path; *p; p++) {
        if (*p <= ' ' || *p == 0x7F) { /* it could end the request's line */
            *why = "the path of a ws:// address has no blanks or control characters";
            return ERR_INVALID;
        }
    }
    return 0;
}

/* "HOST:PORT" as host and port; `host` is of the size of the target's. */
static int host_port(const char *address, char *host, const char **port)
{
    const char *colon = strrchr(address, ':');
    size_t n = colon ? (size_t)(colon - address) : 0;
    bool bracketed = n > 2 && address[0] == '[' && address[n - 1] == ']';

    if (n == 0 || !colon[1] || n >= sizeof(((struct client_target *)0)->host))
        return ERR_INVALID;
    if (!bracketed && memchr(address, ':', n))
        return ERR_INVALID;
    n -= bracketed ? 2 : 0;
    memcpy(host, address + bracketed, n);
    host[n] = '\0';
    *port = colon + 1;
    return 0;
}

/* Fills the target, and the addresses that are to be tried. */
static int conn_resolve(struct magpie_conn *conn, const char *address, const char **why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct client_target *target = &conn->target;
    char rest[sizeof target->host], host[sizeof target->host];
    const char *scheme = strstr(address, "://"), *port;

    if (strncmp(address, "unix:", 5) == 0)
        return client_target_set(target, CLIENT_TCP, address, why);
    size_t n = scheme ? (size_t)(scheme - address) : 0;
    bool wss = n == 3 && memcmp(address, "wss", 3) == 0;
    target->tls = wss || (n == 4 && memcmp(address, "tcps", 4) == 0);
    target->transport = wss || (n == 2 && memcmp(address, "ws", 2) == 0) ? CLIENT_WEBSOCKET : CLIENT_TCP;
    if (n && target->transport == CLIENT_TCP && !target->tls && !(n == 3 && memcmp(address, "tcp", 3) == 0)) {
        *why = "expected ws://, wss://, tcp:// or tcps://";
        return ERR_INVALID;
    }
    address += scheme ? n + 3 : 0;
    if (target->transport == CLIENT_WEBSOCKET) {
        if (url_split(conn, address, rest, sizeof rest, why) < 0)
            return ERR_INVALID;
        address = rest;
    }
    if (strlen(address) >= sizeof target->host || host_port(address, host, &port) < 0) {
        *why = "expected HOST:PORT, [IPv6]:PORT, unix:PATH, ws://HOST:PORT/, wss://HOST/ or tcps://HOST:PORT";
        return ERR_INVALID;
    }
    target->path = conn->path ? conn->path : "/";
    memcpy(target->host, address, strlen(address) + 1);
    memcpy(target->name, host, strlen(host) + 1);
    if (target->tls && !conn->client->secure && magpie_client_secure(conn->client, NULL, why) < 0)
        return ERR_INVALID;
    int status = getaddrinfo(host, port, &hints, &conn->addresses);
    if (status != 0)
        *why = status == EAI_SYSTEM ? strerror(errno) : gai_strerror(status);
    conn->untried = status == 0 ? conn->addresses : NULL;
    return status == 0 ? 0 : ERR_INVALID;
}

struct magpie_conn *magpie_connect(struct magpie_client *client, const char *address,
                                   const struct magpie_handlers *handlers, void *user, const char **why)
{
    struct magpie_conn *conn = calloc(1, sizeof *conn);

    *why = err_str(ERR_NOMEM);
    if (!conn)
        return NULL;
    conn->client = client;
    conn->handlers = handlers;
    conn->user = user;
    conn->next = client->conns;
    if (conn->next)
        conn->next->prev = conn;
    client->conns = conn;
    if (conn_resolve(conn, address, why) < 0)
        goto fail;
    errno = ENOMEM;
    if (!conn->addresses) /* a Unix socket */
        conn->inner = client_conn_open(client->inner, &conn->target, &inner_handlers, conn);
    else
        (void)conn_try(conn);
    if (conn->inner)
        return conn;
    *why = strerror(errno);
fail:
    conn_free(conn);
    return NULL;
}

void magpie_conn_close(struct magpie_conn *conn)
{
    if (conn->closed)
        return;
    conn->closed = true;
    if (conn->inner->state == CLIENT_GONE) /* its requests are being answered; on_close() comes and frees it */
        return;
    client_conn_close(conn->inner);
    conn_free(conn);
}

void *magpie_conn_user(const struct magpie_conn *conn)
{
    return conn->user;
}

uint32_t magpie_conn_pending(const struct magpie_conn *conn)
{
    return conn->inner ? client_conn_pending(conn->inner) : 0;
}

/* --- Requests ----------------------------------------------------------------------------------------------------- */

static void on_answer(struct client_conn *inner, void *arg, int status, struct slice body)
{
    struct asked asked = *(struct asked *)arg;
    (void)inner;
    free(arg);
    asked.answer(asked.conn, asked.arg, status, magpie_json_of(body));
}

int magpie_client_request(struct magpie_conn *conn, uint16_t action, struct slice body, magpie_answer_fn *answer,
                          void *arg)
{
    struct asked *asked = NULL;

    if (conn->closed || !conn->inner)
        return MAGPIE_ERR_CLOSED;
    if (answer) {
        asked = malloc(sizeof *asked);
        if (!asked)
            return MAGPIE_ERR_NOMEM;
        *asked = (struct asked){conn, answer, arg};
    }
    int rc = client_request(conn->inner, action, body, asked ? on_answer : NULL, asked);
    if (rc < 0)
        free(asked);
    return rc;
}

int magpie_request(struct magpie_conn *conn, uint16_t action, const char *body, magpie_answer_fn *answer, void *arg)
{
    return magpie_client_request(conn, action, slice_str(body), answer, arg);
}

const char *magpie_error_text(int code)
{
    return err_str(code);
}

const char *magpie_client_version(void)
{
    return MAGPIE_CLIENT_VERSION;
}
