/*
 * Helpers of the archive's tests: a loop that the test turns, an archive on a schema of its own in a real PostgreSQL,
 * and a proxy before it that cuts, or falls silent. Included by tests of the archive alone.
 *
 * MAGPIE_TEST_POSTGRES names the PostgreSQL, as a superuser; without it the tests skip.
 */
#ifndef MAGPIE_TEST_ARCHIVE_KIT_H
#define MAGPIE_TEST_ARCHIVE_KIT_H

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/container.h"
#include "core/base/log.h"
#include "storage/archive.h"

#include <arpa/inet.h>
#include <ev.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { KIT_PATIENCE_MS = 20000, KIT_WAIT_S = 60 };

/* One connection through the proxy. */
struct kit_pipe {
    struct kit_pipe *next;
    struct kit_proxy *proxy;
    struct ev_io io[2]; /* of the archive's side, of the database's */
};

struct kit_proxy {
    struct ev_loop *loop;
    struct ev_io accept;
    struct kit_pipe *pipes;
    uint16_t port, target;
    int direction;  /* which bytes count: 0 to the database, 1 from it */
    int64_t cut_in; /* after so many of them every connection is cut; < 0: not */
    unsigned cuts;  /* how often */
    bool silent;    /* nothing is passed on */
    uint64_t passed[2];
};

struct kit {
    struct ev_loop *loop;
    struct archive *a;
    struct archive_options o;
    char base[200], url[400]; /* the PostgreSQL; with this test's schema */
    char schema[48];
    PGconn *admin;
    struct kit_proxy proxy;
    unsigned answered; /* requests */
};

static inline bool kit_skip(void)
{
    if (getenv("MAGPIE_TEST_POSTGRES"))
        return false;
    fprintf(stderr, "skipped: MAGPIE_TEST_POSTGRES names no PostgreSQL\n");
    return true;
}

/* The loop turns until `ready` is true. */
static inline void kit_until(struct kit *k, bool (*ready)(struct kit *k, void *arg), void *arg)
{
    uint64_t end = clock_mono_ms() + KIT_WAIT_S * 1000;
    while (!ready(k, arg)) {
        if (clock_mono_ms() > end)
            fail_msg("it never came true");
        ev_run(k->loop, EVRUN_NOWAIT);
        usleep(500);
    }
}

/* --- The database, behind the archive's back ---------------------------------------------------------------------- */

/* Runs a statement as the superuser; the first value of its result, which is good until the next call. */
static inline const char *kit_sql(struct kit *k, const char *fmt, ...)
{
    static char value[4096];
    char sql[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(sql, sizeof sql, fmt, ap);
    va_end(ap);
    for (int tries = 0;; tries++) {
        PGresult *res = PQexec(k->admin, sql);
        ExecStatusType status = PQresultStatus(res);
        bool well = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
        snprintf(value, sizeof value, "%s", PQntuples(res) ? PQgetvalue(res, 0, 0) : PQerrorMessage(k->admin));
        PQclear(res);
        if (well)
            return value;
        if (PQstatus(k->admin) != CONNECTION_BAD || tries > 200)
            fail_msg("%s: %s", sql, value);
        usleep(50000); /* it recovers from a crash that the test made */
        PQreset(k->admin);
        PGresult *path = PQexec(k->admin, "set client_min_messages = error");
        PQclear(path);
        snprintf(value, sizeof value, "set search_path = %s", k->schema);
        PQclear(PQexec(k->admin, value));
    }
}

/* --- The proxy ---------------------------------------------------------------------------------------------------- */

static inline void kit_pipe_end(struct kit_pipe *p)
{
    struct kit_pipe **at = &p->proxy->pipes;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    for (int i = 0; i < 2; i++) {
        ev_io_stop(p->proxy->loop, &p->io[i]);
        close(p->io[i].fd);
    }
    free(p);
}

static inline void kit_pass(struct ev_loop *loop, struct ev_io *w, int events)
{
    struct kit_pipe *p = w->data;
    struct kit_proxy *x = p->proxy;
    int way = w == &p->io[0] ? 0 : 1;
    char bytes[16384];
    (void)loop;
    (void)events;
    if (x->silent) {
        usleep(1000);
        return;
    }
    size_t want = sizeof bytes;
    if (x->cut_in >= 0 && way == x->direction && (uint64_t)x->cut_in < want)
        want = (size_t)x->cut_in;
    ssize_t n = want ? read(w->fd, bytes, want) : 0;
    bool cut = want == 0;
    if (n <= 0 && !cut) {
        kit_pipe_end(p);
        return;
    }
    for (ssize_t sent = 0; sent < n;) {
        ssize_t m = write(p->io[!way].fd, bytes + sent, (size_t)(n - sent));
        if (m < 0) {
            kit_pipe_end(p);
            return;
        }
        sent += m;
    }
    x->passed[way] += (uint64_t)n;
    if (x->cut_in >= 0 && way == x->direction)
        x->cut_in -= n;
    if (!cut && !(x->cut_in == 0 && way == x->direction))
        return;
    x->cut_in = -1;
    x->cuts++;
    kit_pipe_end(p);
}

static inline void kit_accept(struct ev_loop *loop, struct ev_io *w, int events)
{
    struct kit_proxy *x = w->data;
    (void)events;
    int fd = accept(w->fd, NULL, NULL);
    if (fd < 0)
        return;
    int to = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(x->target)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(to, (struct sockaddr *)&address, sizeof address) != 0) {
        close(to);
        close(fd);
        return;
    }
    setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct kit_pipe *p = calloc(1, sizeof *p);
    p->proxy = x;
    p->next = x->pipes;
    x->pipes = p;
    int fds[2] = {fd, to};
    for (int i = 0; i < 2; i++) {
        ev_io_init(&p->io[i], kit_pass, fds[i], EV_READ);
        p->io[i].data = p;
        ev_io_start(loop, &p->io[i]);
    }
}

/* Opens a port on loopback; *fd listens. */
static inline uint16_t kit_listen(int *fd)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t n = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(*fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(*fd, 16), 0);
    assert_int_equal(getsockname(*fd, (struct sockaddr *)&address, &n), 0);
    return ntohs(address.sin_port);
}

/* Puts the proxy before the database: k->url goes through it. */
static inline void kit_proxy_on(struct kit *k)
{
    struct kit_proxy *x = &k->proxy;
    char *at = strrchr(k->base, '@'), host[64], rest[128];
    unsigned port;
    assert_non_null(at);
    assert_int_equal(sscanf(at + 1, "%63[^:]:%u/%127s", host, &port, rest), 3);
    int fd;
    *x = (struct kit_proxy){.loop = k->loop, .target = (uint16_t)port, .cut_in = -1};
    x->port = kit_listen(&fd);
    snprintf(k->url, sizeof k->url, "%.*s@127.0.0.1:%u/%s?options=-csearch_path%%3D%s", (int)(at - k->base), k->base,
             x->port, rest, k->schema);
    ev_io_init(&x->accept, kit_accept, fd, EV_READ);
    x->accept.data = x;
    ev_io_start(k->loop, &x->accept);
}

static inline void kit_proxy_off(struct kit *k)
{
    if (!k->proxy.loop)
        return;
    while (k->proxy.pipes)
        kit_pipe_end(k->proxy.pipes);
    ev_io_stop(k->loop, &k->proxy.accept);
    close(k->proxy.accept.fd);
    k->proxy.loop = NULL;
}

/* --- The archive -------------------------------------------------------------------------------------------------- */

static inline bool kit_is_connected(struct kit *k, void *arg)
{
    (void)arg;
    struct archive_stats st;
    archive_get_stats(k->a, &st);
    return st.connected;
}

static inline void kit_open(struct kit *k)
{
    char why[256] = "";
    k->o.url = k->url;
    if (archive_open(&k->a, k->loop, &k->o, why, sizeof why) != 0)
        fail_msg("%s", why);
}

static inline void kit_connected(struct kit *k)
{
    kit_until(k, kit_is_connected, NULL);
}

static inline int kit_setup(void **state)
{
    static unsigned number;
    if (!getenv("MAGPIE_TEST_POSTGRES"))
        return 0;
    signal(SIGPIPE, SIG_IGN);
    log_open(getenv("KIT_LOG") ? NULL : "/dev/null", LOG_TEXT, LOG_INFO);
    struct kit *k = calloc(1, sizeof *k);
    k->loop = ev_loop_new(EVFLAG_AUTO);
    snprintf(k->base, sizeof k->base, "%s", getenv("MAGPIE_TEST_POSTGRES"));
    snprintf(k->schema, sizeof k->schema, "test_%u_%u", (unsigned)getpid(), number++);
    snprintf(k->url, sizeof k->url, "%s?options=-csearch_path%%3D%s", k->base, k->schema);
    k->o.reconnect_ms = 30;
    k->o.partitions = 4;
    k->admin = PQconnectdb(k->base);
    if (PQstatus(k->admin) != CONNECTION_OK)
        fail_msg("%s", PQerrorMessage(k->admin));
    kit_sql(k, "set client_min_messages = error; create schema %s; set search_path = %s", k->schema, k->schema);
    *state = k;
    return 0;
}

/* Waits for threads that still connect: at exit() libraries clean up what they use. */
static inline void kit_left(void)
{
    for (unsigned i = 0; archive_left_behind(); i++) {
        assert_true(i < 3000);
        usleep(10000);
    }
}

static inline int kit_teardown(void **state)
{
    struct kit *k = *state;
    if (!k)
        return 0;
    if (k->a)
        archive_close(k->a);
    kit_proxy_off(k);
    kit_left();
    kit_sql(k, "drop schema if exists %s cascade", k->schema);
    PQfinish(k->admin);
    ev_loop_destroy(k->loop);
    free(k);
    return 0;
}

static inline void kit_done(void *ctx, struct archive_req *req)
{
    ((struct kit *)ctx)->answered++;
    req->ctx = NULL; /* the sign that it is done */
}

static inline bool kit_is_done(struct kit *k, void *arg)
{
    (void)k;
    return !((struct archive_req *)arg)->ctx;
}

#define KIT_REQ(k)                                                                                                     \
    {                                                                                                                  \
        .done = kit_done, .ctx = (k), .patience_ms = KIT_PATIENCE_MS                                                   \
    }

static inline enum archive_status kit_wait(struct kit *k, struct archive_req *req)
{
    kit_until(k, kit_is_done, req);
    return req->status;
}

/* A row as tests write it. */
static inline struct archive_row kit_row(const char *conv, uint64_t seq, uint32_t rev, const char *content)
{
    return (struct archive_row){.conv = slice_str(conv),
                                .seq = seq,
                                .id = 1000 + seq,
                                .created_ms = 2000 + seq,
                                .birth_ms = 3000 + seq,
                                .rev = rev,
                                .sender = SLICE_LIT("ann"),
                                .name = SLICE_LIT("Ann"),
                                .content = slice_str(content)};
}

static inline enum archive_status kit_put(struct kit *k, struct archive_row *rows, uint32_t n)
{
    struct archive_put p = {.req = KIT_REQ(k), .rows = rows, .n = n};
    archive_put(k->a, &p);
    return kit_wait(k, &p.req);
}

/* What a range returned, with its bytes. */
struct kit_page {
    enum archive_status status;
    uint32_t n;
    struct archive_row rows[ARCHIVE_ROWS_MAX];
    struct buf bytes;
};

static inline void kit_range_done(void *ctx, struct archive_req *req)
{
    struct archive_range *r = (struct archive_range *)req;
    struct kit_page *page = ctx;
    page->status = req->status;
    page->n = r->n;
    buf_reset(&page->bytes);
    for (uint32_t i = 0; i < r->n; i++) {
        page->rows[i] = r->rows[i];
        struct slice *fields[] = {&page->rows[i].sender, &page->rows[i].name, &page->rows[i].content};
        for (unsigned f = 0; f < 3; f++)
            buf_slice_put(&page->bytes, *fields[f]);
    }
    const char *at = page->bytes.p;
    for (uint32_t i = 0; i < r->n; i++) {
        struct slice *fields[] = {&page->rows[i].sender, &page->rows[i].name, &page->rows[i].content};
        for (unsigned f = 0; f < 3; f++) {
            fields[f]->p = at;
            at += fields[f]->n;
        }
    }
    req->ctx = NULL;
}

/* Freed by kit_page_free(). */
static inline struct kit_page *kit_range(struct kit *k, const char *conv, uint64_t from, uint64_t to, uint32_t limit,
                                         bool newest)
{
    struct kit_page *page = calloc(1, sizeof *page);
    struct archive_range r = {.req = {.done = kit_range_done, .ctx = page, .patience_ms = KIT_PATIENCE_MS},
                              .conv = slice_str(conv),
                              .from = from,
                              .to = to,
                              .limit = limit,
                              .newest = newest};
    archive_range(k->a, &r);
    kit_until(k, kit_is_done, &r.req);
    return page;
}

static inline void kit_page_free(struct kit_page *page)
{
    buf_free(&page->bytes);
    free(page);
}

/* How many of the newest lines of the log name that event. */
static inline unsigned kit_logged(const char *event)
{
    struct buf b = BUF_INIT;
    unsigned n = 0;
    log_tail(200, &b);
    buf_byte(&b, 0);
    for (const char *p = b.p; (p = strstr(p, event)); p++)
        n++;
    buf_free(&b);
    return n;
}

/* --- Many at once ------------------------------------------------------------------------------------------------- */

struct many {
    struct archive_put p;
    struct archive_row rows[ARCHIVE_ROWS_MAX];
    char keys[ARCHIVE_ROWS_MAX][16];
};

static inline bool all_answered(struct kit *k, void *arg)
{
    return k->answered >= *(unsigned *)arg;
}

#endif
