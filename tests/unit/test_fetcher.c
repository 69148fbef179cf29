/* The fetcher's thread: whatever is given to it comes home once, from any thread, also when it is stopped meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/clock.h"
#include "core/script/fetcher.h"
#include "core/script/waiting.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- A web service: each connection gets one answer, or none ------------------------------------------------------ */

struct service {
    int fd;
    uint16_t port;
    bool silent; /* takes connections, and says nothing */
    pthread_t thread;
};

static void *serve(void *arg)
{
    struct service *s = arg;
    char bytes[4096];
    int fd;
    while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
        static const char answer[] = "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
        if (s->silent)
            continue; /* it stays open until the process ends */
        if (recv(fd, bytes, sizeof bytes, 0) > 0)
            (void)!send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL);
        close(fd);
    }
    return NULL;
}

static void service_start(struct service *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&a, &n), 0);
    assert_int_equal(listen(s->fd, 1024), 0);
    s->port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void service_stop(struct service *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
}

/* --- Homes -------------------------------------------------------------------------------------------------------- */

struct home {
    struct mailbox mail;
    struct fetcher *f;
    uint16_t port;
    unsigned given, refused, answered, failed;
    char error[200]; /* of the last one that failed */
    struct waiting waiting;
};

static void came(void *owner, struct mail *m)
{
    struct home *h = owner;
    struct fetch *x = (struct fetch *)m;
    if (x->error[0]) {
        h->failed++;
        memcpy(h->error, x->error, sizeof h->error);
    } else {
        assert_int_equal(x->status, 200);
        assert_true(slice_eq(buf_slice(&x->body), SLICE_LIT("hello")));
        h->answered++;
    }
    fetch_free(x);
}

static void give(struct home *h, uint32_t timeout_ms)
{
    char url[64];
    struct fetch_request q = {.method = SLICE_LIT("GET"), .timeout_ms = timeout_ms};
    snprintf(url, sizeof url, "http://127.0.0.1:%u/x", h->port);
    assert_null(fetch_url_parse(slice_str(url), &q.url));
    struct fetch *x = fetch_new(&q);
    assert_non_null(x);
    x->mail.run = came;
    x->home = &h->mail;
    x->waiting = &h->waiting;
    if (fetcher_start(h->f, x) == 0) {
        h->given++;
    } else {
        h->refused++;
        fetch_free(x);
    }
}

static void await(struct home *h)
{
    uint64_t end = clock_mono_ms() + 20000;
    while (h->answered + h->failed < h->given && clock_mono_ms() < end) {
        mailbox_run(&h->mail, h);
        usleep(500);
    }
    assert_int_equal(h->answered + h->failed, h->given);
}

static void *ask(void *arg)
{
    struct home *h = arg;
    for (int i = 0; i < 100; i++) {
        give(h, 20000);
        mailbox_run(&h->mail, h);
    }
    await(h);
    return NULL;
}

static void from_many_threads(void **state)
{
    enum { HOMES = 4 };
    struct service s = {.fd = -1};
    struct home h[HOMES];
    pthread_t t[HOMES];
    (void)state;
    service_start(&s);
    struct fetcher *f = fetcher_new();
    assert_non_null(f);
    for (int i = 0; i < HOMES; i++) {
        h[i] = (struct home){.f = f, .port = s.port};
        mailbox_init(&h[i].mail, NULL, NULL);
        assert_int_equal(pthread_create(&t[i], NULL, ask, &h[i]), 0);
    }
    for (int i = 0; i < HOMES; i++) {
        pthread_join(t[i], NULL);
        if (h[i].answered != 100)
            fail_msg("%u answered, %u refused: %s", h[i].answered, h[i].refused, h[i].error);
        mailbox_fini(&h[i].mail);
    }
    fetcher_free(f);
    service_stop(&s);
}

/* Those that run, those that wait for a place, and those that come too late. */
static void stopped_meanwhile(void **state)
{
    struct service s = {.silent = true};
    struct home h = {.given = 0};
    (void)state;
    service_start(&s);
    h.f = fetcher_new();
    h.port = s.port;
    mailbox_init(&h.mail, NULL, NULL);
    for (int i = 0; i < 200; i++)
        give(&h, 20000);
    usleep(100000);
    uint64_t began = clock_mono_ms();
    fetcher_stop(h.f);
    assert_true(clock_mono_ms() - began < 10000);
    give(&h, 20000);
    assert_int_equal(h.refused, 1);
    mailbox_run(&h.mail, &h);
    assert_int_equal(h.failed, 200);
    assert_string_equal(h.error, "unreachable: the server is stopping");
    fetcher_free(h.f);
    mailbox_fini(&h.mail);
    service_stop(&s);
}

/* So many are taken at once; time runs for those that wait; what nobody wants any more ends early. */
static void bounds(void **state)
{
    struct service s = {.silent = true};
    struct home h = {.given = 0};
    (void)state;
    service_start(&s);
    h.f = fetcher_new();
    h.port = s.port;
    mailbox_init(&h.mail, NULL, NULL);
    for (int i = 0; i < FETCH_QUEUED + 10; i++)
        give(&h, i < 100 ? 300 : 20000);
    assert_int_equal(h.given, FETCH_QUEUED);
    assert_int_equal(h.refused, 10);
    uint64_t end = clock_mono_ms() + 20000;
    while (h.failed < 100 && clock_mono_ms() < end) {
        mailbox_run(&h.mail, &h);
        usleep(1000);
    }
    assert_true(h.failed >= 100);
    assert_string_equal(h.error, "timeout: no answer within 300 ms");
    atomic_store(&h.waiting.dropped, true);
    await(&h);
    fetcher_free(h.f);
    mailbox_fini(&h.mail);
    service_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(from_many_threads), cmocka_unit_test(stopped_meanwhile),
                                       cmocka_unit_test(bounds)};
    if (!fetcher_built())
        return 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
