/* What the connections of one loop share: see client.h. */
#include "core/base/random.h"
#include "core/client/client_conn.h"
#include "core/client/client_gzip.h"
#include "core/client/client_private.h"
#include "core/client/client_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    READ_BUF = 262144, /* bytes; grows when a frame is larger */
    EVENTS = 512       /* connections looked at in one loop iteration */
};

static void epoll_ready(struct ev_loop *loop, struct ev_io *io, int revents)
{
    struct client *client = io->data;
    struct epoll_event events[EVENTS];
    int n = epoll_wait(client->epoll_fd, events, EVENTS, 0);

    (void)loop;
    (void)revents;
    for (int i = 0; i < n; i++) {
        /* A connection that an earlier one's handler closed is marked gone, and freed only later. */
        client_conn_event(events[i].data.ptr, events[i].events);
    }
}

void client_flush(struct client *client)
{
    /* Handlers run by failing writes may list more: until nothing is left. */
    while (client->list) {
        struct client_conn *conn = client->list;
        client->list = NULL;
        while (conn) {
            struct client_conn *next = conn->next;
            conn->listed = false;
            if (conn->state == CLIENT_GONE)
                free(conn);
            else
                client_conn_write(conn);
            conn = next;
        }
    }
}

static void before_wait(struct ev_loop *loop, struct ev_prepare *prepare, int revents)
{
    (void)loop;
    (void)revents;
    client_flush(prepare->data);
}

void client_list(struct client *client, struct client_conn *conn)
{
    if (!conn->listed) {
        conn->listed = true;
        conn->next = client->list;
        client->list = conn;
    }
}

struct client *client_new(struct ev_loop *loop)
{
    struct client *client = calloc(1, sizeof(*client));

    if (!client)
        return NULL;
    client->loop = loop;
    client->read_cap = READ_BUF;
    client->read_buf = malloc(client->read_cap);
    client->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!client->read_buf || client->epoll_fd < 0)
        goto fail;
    random_bytes(&client->mask_state, sizeof(client->mask_state));
    client->mask_state |= 1;
    ev_io_init(&client->io, epoll_ready, client->epoll_fd, EV_READ);
    client->io.data = client;
    ev_io_start(loop, &client->io);
    ev_prepare_init(&client->prepare, before_wait);
    client->prepare.data = client;
    ev_prepare_start(loop, &client->prepare);
    return client;

fail:
    if (client->epoll_fd >= 0)
        close(client->epoll_fd);
    free(client->read_buf);
    free(client);
    return NULL;
}

void client_free(struct client *client)
{
    if (!client)
        return;
    ASSERT(client->count == 0);
    client_flush(client);
    ev_io_stop(client->loop, &client->io);
    ev_prepare_stop(client->loop, &client->prepare);
    close(client->epoll_fd);
    buf_free(&client->body);
    client_gzip_free(client);
    client_tls_free(client);
    free(client->read_buf);
    free(client);
}

uint64_t client_read_us(const struct client *client)
{
    return client->read_us;
}
void client_accept_gzip(struct client *client, bool accept)
{
    client->gzip = accept;
}
size_t client_count(const struct client *client)
{
    return client->count;
}
uint64_t client_strays(const struct client *client)
{
    return client->strays;
}

struct buf *client_body(struct client *client)
{
    buf_reset(&client->body);
    return &client->body;
}

static int target_unix(struct client_target *target, const char *path, const char **why)
{
    struct sockaddr_un *address = (struct sockaddr_un *)&target->address;
    size_t n = strlen(path);

    if (n == 0 || n >= sizeof(address->sun_path)) {
        *why = n ? "the socket's path is too long" : "the socket's path is missing";
        return ERR_INVALID;
    }
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, n + 1);
    target->address_len = (socklen_t)sizeof(*address);
    memcpy(target->host, "localhost", 10);
    return 0;
}

/* Splits at the last colon, and takes the brackets off an IPv6 address. */
static int host_split(const char *address, char *host, size_t cap, const char **port)
{
    const char *colon = strrchr(address, ':');
    if (!colon || colon == address || !colon[1])
        return ERR_INVALID;
    const char *start = address;
    size_t n = (size_t)(colon - address);
    if (start[0] == '[' && start[n - 1] == ']') {
        start++;
        n -= 2;
    } else if (memchr(start, ':', n)) {
        return ERR_INVALID;
    }
    if (n == 0 || n >= cap)
        return ERR_INVALID;
    memcpy(host, start, n);
    host[n] = '\0';
    *port = colon + 1;
    return 0;
}

int client_target_set(struct client_target *target, enum client_transport transport, const char *address,
                      const char **why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char host[sizeof(target->host)];
    const char *port;

    memset(target, 0, sizeof(*target));
    target->transport = transport;
    target->path = "/";
    if (strncmp(address, "unix:", 5) == 0)
        return target_unix(target, address + 5, why);
    if (strlen(address) >= sizeof(target->host) || host_split(address, host, sizeof(host), &port) < 0) {
        *why = "expected HOST:PORT, [IPv6]:PORT or unix:PATH";
        return ERR_INVALID;
    }
    int status = getaddrinfo(host, port, &hints, &found);
    if (status != 0) {
        *why = gai_strerror(status);
        return ERR_INVALID;
    }
    memcpy(&target->address, found->ai_addr, found->ai_addrlen);
    target->address_len = found->ai_addrlen;
    freeaddrinfo(found);
    memcpy(target->host, address, strlen(address) + 1);
    return 0;
}
