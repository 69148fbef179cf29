/* libmagpie-client as its users see it: core/client/magpie_client*.c, with a server of a few lines. */
#include "core/base/buf.h"
#include "core/client/magpie_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct magpie_client *client;
    struct magpie_conn *conn;
    int listener, peer;                            /* -1: none */
    char address[32];                              /* of the listener */
    unsigned opens, pushes, closes, answers, lost; /* how often each was called; lost: answers with ERR_CLOSED */
    bool close_in_answer;                          /* an answer closes the connection, twice */
    bool ask_in_close;                             /* the close handler tries a request */
    int asked;                                     /* what that gave */
    uint16_t action;                               /* of the newest push */
};

static void on_open(struct magpie_conn *conn, void *user)
{
    struct fixture *f = user;
    assert_ptr_equal(magpie_conn_user(conn), f);
    f->opens++;
}

static void on_push(struct magpie_conn *conn, void *user, uint16_t action, struct magpie_json body)
{
    struct fixture *f = user;
    (void)conn;
    (void)body;
    f->pushes++;
    f->action = action;
}

static void on_answer(struct magpie_conn *conn, void *arg, int status, struct magpie_json body)
{
    struct fixture *f = arg;
    (void)body;
    f->answers++;
    f->lost += status == MAGPIE_ERR_CLOSED;
    if (f->close_in_answer) {
        magpie_conn_close(conn);
        if (status == MAGPIE_ERR_CLOSED) /* the connection is going, and still there for this call */
            magpie_conn_close(conn);
    }
}

static void on_close(struct magpie_conn *conn, void *user, int code, const char *why)
{
    struct fixture *f = user;
    assert_true(code < 0);
    assert_non_null(why);
    f->closes++;
    if (f->ask_in_close) {
        f->asked = magpie_ping(conn, on_answer, f);
        magpie_conn_close(conn);
    }
}

static const struct magpie_handlers handlers = {on_open, on_push, on_close};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;

    assert_non_null(f);
    f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(f->listener, 1), 0);
    assert_int_equal(getsockname(f->listener, (struct sockaddr *)&a, &n), 0);
    snprintf(f->address, sizeof f->address, "localhost:%u", ntohs(a.sin_port));
    f->peer = -1;
    f->client = magpie_client_new();
    assert_non_null(f->client);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    magpie_client_free(f->client);
    close(f->listener);
    if (f->peer >= 0)
        close(f->peer);
    free(f);
    return 0;
}

/* Turns until the counter is at `n`. */
static void until(struct fixture *f, const unsigned *counter, unsigned n)
{
    for (int i = 0; i < 500 && *counter < n; i++)
        assert_int_equal(magpie_client_run(f->client, 20), 0);
    assert_int_equal(*counter, n);
}

static void connected(struct fixture *f)
{
    const char *why;
    f->conn = magpie_connect(f->client, f->address, &handlers, f, &why);
    assert_non_null(f->conn);
    assert_int_equal(magpie_ping(f->conn, NULL, NULL), MAGPIE_ERR_AGAIN);
    until(f, &f->opens, 1);
    f->peer = accept(f->listener, NULL, NULL);
    assert_true(f->peer >= 0);
}

static void peer_frame(struct fixture *f, uint16_t action, uint16_t seq, const char *body)
{
    char frame[256];
    size_t n = 8 + strlen(body);
    store_be32(frame, (uint32_t)n);
    store_be16(frame + 4, action);
    store_be16(frame + 6, seq);
    memcpy(frame + 8, body, n - 8);
    assert_int_equal(send(f->peer, frame, n, MSG_NOSIGNAL), n);
}

/* The body that the peer gets. */
static void expect(struct fixture *f, int rc, const char *body)
{
    char bytes[512];
    size_t n = 8 + strlen(body);
    assert_int_equal(rc, 0);
    assert_int_equal(magpie_client_run(f->client, 0), 0);
    assert_int_equal(recv(f->peer, bytes, n, MSG_WAITALL), n);
    assert_int_equal(load_be32(bytes), n);
    assert_memory_equal(bytes + 8, body, n - 8);
}

static void requests_are_as_the_protocol_has_them(void **state)
{
    struct fixture *f = *state;
    struct magpie_conn *c;
    const char *ids[] = {"a", "b"};

    connected(f);
    c = f->conn;
    expect(f, magpie_login(c, "A\"\n", NULL, "d", true, NULL, NULL),
           "{\"name\":\"A\\\"\\n\",\"device\":\"d\",\"accept\":[\"merge\"]}");
    expect(f, magpie_subscribe(c, "x", "all", true, NULL, NULL), "{\"name\":\"x\",\"push\":\"all\",\"events\":true}");
    expect(f, magpie_edit(c, "x", NULL, 7, "new", NULL, NULL), "{\"channel\":\"x\",\"seq\":7,\"content\":\"new\"}");
    expect(f, magpie_recall(c, NULL, "p", 7, NULL, NULL), "{\"peerId\":\"p\",\"seq\":7}");
    expect(f, magpie_watch(c, ids, 2, true, NULL, NULL), "{\"ids\":[\"a\",\"b\"],\"watch\":true}");
    expect(f, magpie_history(c, NULL, "p", 0, 3, 10, NULL, NULL), "{\"peerId\":\"p\",\"after\":3,\"limit\":10}");
    expect(f, magpie_inbox_ack_ids(c, ids, 1, NULL, NULL), "{\"ids\":[\"a\"]}");
    expect(f, magpie_conversations(c, 5, NULL, NULL, NULL), "{\"limit\":5}");
    expect(f, magpie_block(c, "a", false, NULL, NULL), "{\"id\":\"a\",\"blocked\":false}");
    expect(f, magpie_logout(c, NULL, NULL), "");
    assert_int_equal(magpie_send_user(c, "a", "\xFF", NULL, NULL, NULL), MAGPIE_ERR_INVALID);
    assert_int_equal(magpie_conn_pending(c), 10);
}

static void answers_and_pushes_come(void **state)
{
    struct fixture *f = *state;

    connected(f);
    expect(f, magpie_ping(f->conn, on_answer, f), "");
    peer_frame(f, MAGPIE_PUSH_PRESENCE, 0, "{}");
    peer_frame(f, MAGPIE_PING, 1, "{\"time\":1}");
    until(f, &f->answers, 1);
    assert_int_equal(f->pushes, 1);
    assert_int_equal(f->action, MAGPIE_PUSH_PRESENCE);
    magpie_conn_close(f->conn);
    assert_int_equal(magpie_client_count(f->client), 0);
    assert_int_equal(f->closes, 0);
}

/* Whoever closes in the middle of the end: nothing is called or freed twice. */
static void closing_in_callbacks(void **state)
{
    struct fixture *f = *state;

    f->close_in_answer = true;
    connected(f);
    expect(f, magpie_ping(f->conn, on_answer, f), "");
    expect(f, magpie_ping(f->conn, on_answer, f), "");
    peer_frame(f, MAGPIE_PING, 1, "{}"); /* its answer closes, which answers the other */
    until(f, &f->answers, 2);
    assert_int_equal(f->lost, 1);
    assert_int_equal(f->closes, 0);
    assert_int_equal(magpie_client_count(f->client), 0);
}

static void closing_while_the_server_closes(void **state)
{
    struct fixture *f = *state;

    f->close_in_answer = true;
    connected(f);
    expect(f, magpie_ping(f->conn, on_answer, f), "");
    close(f->peer);
    f->peer = -1;
    until(f, &f->lost, 1);
    assert_int_equal(f->closes, 0);
    assert_int_equal(magpie_client_count(f->client), 0);
}

static void what_is_gone_takes_nothing(void **state)
{
    struct fixture *f = *state;

    f->ask_in_close = true;
    connected(f);
    close(f->peer);
    f->peer = -1;
    until(f, &f->closes, 1);
    assert_int_equal(f->asked, MAGPIE_ERR_CLOSED);
}

static void nobody_there(void **state)
{
    struct fixture *f = *state;
    const char *why = NULL;
    static const char *const wrong[] = {"",      ":1",    "a:",          "a:b:1",     "[::1]",
                                        "unix:", "ws://", "ws://a\tb/x", "http://a:1"};

    close(f->listener);
    f->listener = -1;
    f->conn = magpie_connect(f->client, f->address, &handlers, f, &why); /* NULL where it is refused at once */
    if (f->conn)
        until(f, &f->closes, 1);
    assert_int_equal(f->opens, 0);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        why = NULL;
        assert_null(magpie_connect(f->client, wrong[i], &handlers, f, &why));
        assert_non_null(why);
    }
    assert_int_equal(magpie_client_run(f->client, -1), 0); /* nothing to wait for */
}

static struct magpie_json json(const char *text)
{
    return (struct magpie_json){text, strlen(text)};
}

static void pushes_are_read(void **state)
{
    struct magpie_push *p = magpie_push_read(json(
        "{\"channel\":\"t\\u0065a\",\"seq\":4,\"id\":\"9\",\"content\":\"x\\n\",\"sender\":{\"id\":\"a\",\"name\":"
        "\"Ada\"},\"editedAt\":7,\"recalled\":true,\"change\":\"left\",\"members\":3,\"messages\":[{\"seq\":1},2]}"));
    size_t at = 0;
    struct magpie_json item;
    int64_t seq;
    (void)state;

    assert_non_null(p);
    assert_string_equal(p->channel, "tea");
    assert_string_equal(p->sender_name, "Ada");
    assert_string_equal(p->content, "x\n");
    assert_string_equal(p->change, "left");
    assert_null(p->peer);
    assert_int_equal(p->seq, 4);
    assert_int_equal(p->edited_at, 7);
    assert_int_equal(p->members, 3);
    assert_true(p->recalled && !p->online);
    assert_int_equal(magpie_json_next(p->messages, &at, &item), 1);
    assert_int_equal(magpie_json_int(magpie_json_get(item, "seq"), &seq), 0);
    assert_int_equal(seq, 1);
    assert_int_equal(magpie_json_next(p->messages, &at, &item), 1);
    assert_int_equal(magpie_json_next(p->messages, &at, &item), 0);
    magpie_push_free(p);
    assert_null(magpie_push_read(json("[]")));
    assert_null(magpie_push_read(json("{\"id\":\"\\x\"}")));
    magpie_push_free(NULL);
}

static void values_are_read(void **state)
{
    struct magpie_json body = json("{\"a\":{\"b\":{\"c\":\"d\"}},\"n\":null,\"t\":true}");
    char *text = magpie_json_string(magpie_json_get(body, "a.b.c"));
    int64_t n;
    (void)state;

    assert_non_null(text);
    assert_string_equal(text, "d");
    free(text);
    assert_null(magpie_json_get(body, "a.x.c").p);
    assert_null(magpie_json_get(body, "n").p);
    assert_null(magpie_json_get(json(""), "n").p);
    assert_null(magpie_json_string(magpie_json_get(body, "t")));
    assert_true(magpie_json_true(magpie_json_get(body, "t")));
    assert_int_equal(magpie_json_int(magpie_json_get(body, "t"), &n), MAGPIE_ERR_INVALID);
    struct magpie_refusal refusal;
    magpie_refusal_read(json("{\"error\":{\"code\":\"quota\",\"message\":\"m\",\"retryAfter\":5}}"), &refusal);
    assert_string_equal(refusal.code, "quota");
    assert_int_equal(refusal.retry_after_ms, 5);
    assert_string_equal(magpie_error_text(MAGPIE_ERR_NOMEM), "out of memory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(requests_are_as_the_protocol_has_them, setup, teardown),
        cmocka_unit_test_setup_teardown(answers_and_pushes_come, setup, teardown),
        cmocka_unit_test_setup_teardown(closing_in_callbacks, setup, teardown),
        cmocka_unit_test_setup_teardown(closing_while_the_server_closes, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_gone_takes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_there, setup, teardown),
        cmocka_unit_test(pushes_are_read),
        cmocka_unit_test(values_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
