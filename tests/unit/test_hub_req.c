/* From a frame to its answer: who may, the order of complaints, the fields of bodies (field.c), error codes
 * (code.c). */
#include "hub_kit.h"

#include "core/hub/registry/action.h"
#include "core/hub/people/req.h"

/* Before login `unauthorized` comes before every other complaint. */
static void strangers_are_told_to_log_in(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 1);
    struct peer *a = peer_open(&k, 0);
    fails(peer_ask(a, 2, "not json"), "unauthorized");
    fails(peer_ask(a, 77, "{}"), "unauthorized");
    fails(peer_ask(a, 0x8001, "{}"), "unauthorized"); /* gzip, and not agreed upon */
    fails(peer_ask(a, 16, "{}"), "unauthorized");
    has(peer_ask(a, 9, "%s", ""), "\"time\":");
    fails(peer_ask(a, 9, "[]"), "bad_request");
    fails(peer_ask(a, 1, "{\"token\":5}"), "bad_request");
    fails(peer_ask(a, 1, "{\"token\":\"\"}"), "unauthorized");
    has(peer_ask(a, 1, "{\"token\":\"ann\"}"), "\"id\":\"ann\",\"name\":\"ann\"");
    fails(peer_ask(a, 1, "{\"token\":\"ann\"}"), "forbidden");
    peer_close(a);
    kit_end(&k);
}

static void frames_that_cannot_be_served(void **state)
{
    static const struct {
        uint16_t action;
        const char *body, *code, *part;
    } cases[] = {
        {77, "not json", "unknown_action", "77"},
        {0, "{}", "unknown_action", ""},
        {1999, "{}", "unknown_action", ""},
        {2000, "{}", "unknown_action", ""},
        {0x7fff, "{}", "unknown_action", ""},
        {2, "not json", "bad_request", "valid JSON"},
        {2, "[]", "bad_request", "object"},
        {2, "\"x\"", "bad_request", ""},
        {2, "{\"a\":1,\"a\":2}", "bad_request", "duplicate"},
        {2, "{} {}", "bad_request", ""},
        {2, "{\"content\":\"\\ud800\",\"receiverId\":\"bob\"}", "bad_request", ""},
        {2, "{\"content\":\"x\\u0000\",\"receiverId\":\"bob\"}", "bad_request", ""},
        {0x8002, "{}", "bad_request", "gzip"},
    };
    struct kit k;
    (void)state;
    kit_begin(&k, 1);
    struct peer *a = peer_login(&k, "ann", 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint16_t seq = peer_put(a, cases[i].action, "%s", cases[i].body);
        const char *answer = peer_answer(a, cases[i].action & 0x7fff, seq);
        fails(answer, cases[i].code);
        has(answer, cases[i].part);
    }
    has(peer_ask(a, 9, "%s", ""), "time"); /* it costs the connection nothing */
    peer_close(a);
    kit_end(&k);
}

/* Every complaint names its field. */
static void fields_are_named(void **state)
{
    static const struct {
        uint16_t action;
        const char *body, *code, *field;
    } cases[] = {
        {2, "{\"content\":\"x\"}", "bad_request", "receiverId: missing"},
        {2, "{\"receiverId\":null,\"content\":\"x\"}", "bad_request", "receiverId: missing"},
        {2, "{\"receiverId\":7,\"content\":\"x\"}", "bad_request", "receiverId: "},
        {2, "{\"receiverId\":\"a b\",\"content\":\"x\"}", "bad_request", "receiverId: "},
        {2, "{\"receiverId\":\"\",\"content\":\"x\"}", "bad_request", "receiverId: "},
        {2, "{\"receiverId\":\"ann\"}", "bad_request", "content: missing"},
        {2, "{\"receiverId\":\"ann\",\"content\":\"\"}", "bad_request", "content: "},
        {2, "{\"receiverId\":\"ann\",\"content\":true}", "bad_request", "content: "},
        {2, "{\"receiverId\":\"ann\",\"content\":\"12345678901234567\"}", "too_large", "content: 17 bytes"},
        {2, "{\"receiverId\":\"ann\",\"content\":\"x\",\"clientId\":\"\"}", "bad_request", "clientId: "},
        {2, "{\"receiverId\":\"ann\",\"content\":\"x\",\"clientId\":1}", "bad_request", "clientId: "},
        {3, "{}", "bad_request", "name: missing"},
        {3, "{\"name\":\" a\"}", "bad_request", "name: "},
        {3, "{\"name\":\"a\",\"push\":\"some\"}", "bad_request", "push: "},
        {3, "{\"name\":\"a\",\"push\":\"\"}", "bad_request", "push: "},
        {3, "{\"name\":\"a\",\"push\":1}", "bad_request", "push: "},
        {4, "{\"channel\":\"a\\u0007\",\"content\":\"x\"}", "bad_request", "channel: "},
        {5, "{}", "bad_request", "channel, peerId: "},
        {5, "{\"channel\":\"a\",\"peerId\":\"b\"}", "bad_request", "channel, peerId: "},
        {5, "{\"channel\":[]}", "bad_request", "channel: "},
        {5, "{\"peerId\":{}}", "bad_request", "peerId: "},
        {5, "{\"peerId\":\"b\",\"limit\":0}", "bad_request", "limit: "},
        {5, "{\"peerId\":\"b\",\"limit\":1.5}", "bad_request", "limit: "},
        {5, "{\"peerId\":\"b\",\"limit\":\"5\"}", "bad_request", "limit: "},
        {5, "{\"peerId\":\"b\",\"after\":-1}", "bad_request", "after: "},
        {5, "{\"peerId\":\"b\",\"before\":-1}", "bad_request", "before: "},
        {7, "{\"after\":\"5\"}", "bad_request", "after: "},
        {7, "{\"after\":\"9999999999999999999\"}", "bad_request", "after: "},
        {7, "{\"after\":\"123456789012345678x\"}", "bad_request", "after: "},
        {8, "{}", "bad_request", "upTo, ids: "},
        {8, "{\"ids\":[\"1\"]}", "bad_request", "ids: "},
        {8, "{\"ids\":[],\"upTo\":\"0000000000000000001\"}", "bad_request", "upTo, ids: "},
        {8, "{\"ids\":5}", "bad_request", "ids: "},
        {10, "{\"cursor\":\"\"}", "bad_request", "cursor: "},
        {10, "{\"cursor\":\"nonsense\"}", "bad_request", "cursor: "},
        {11, "{\"peerId\":\"b\"}", "bad_request", "seq: missing"},
        {12, "{}", "bad_request", "ids: missing"},
        {12, "{\"ids\":[\"a b\"]}", "bad_request", "ids: "},
        {12, "{\"ids\":[5]}", "bad_request", "ids: "},
        {13, "{\"name\":\"a\",\"cursor\":\"a b\"}", "bad_request", "cursor: "},
        {14, "{\"peerId\":\"b\",\"seq\":0}", "bad_request", "seq: "},
        {15, "{\"id\":\"b\"}", "bad_request", "blocked: "},
        {15, "{\"id\":\"b\",\"blocked\":1}", "bad_request", "blocked: "},
        {15, "{\"id\":\"ann\",\"blocked\":true}", "bad_request", "id: "},
    };
    struct kit k;
    (void)state;
    kit_open(&k, 1);
    k.opt.content_max = 16;
    kit_start(&k);
    struct peer *a = peer_login(&k, "ann", 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *answer = peer_ask(a, cases[i].action, "%s", cases[i].body);
        fails(answer, cases[i].code);
        has(answer, cases[i].field);
    }
    peer_close(a);
    kit_end(&k);
}

/* limit: 200 at most, 50 without. */
static void limits_have_a_default_and_a_cap(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 1);
    struct peer *a = peer_login(&k, "ann", 0);
    for (int i = 0; i < 210; i++)
        works(peer_ask(a, 2, "{\"receiverId\":\"ann\",\"content\":\"m\"}"));
    static const struct {
        const char *limit;
        unsigned first;
    } cases[] = {{"", 161},
                 {",\"limit\":1", 210},
                 {",\"limit\":200", 11},
                 {",\"limit\":201", 11},
                 {",\"limit\":4294967297", 11}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(number(peer_ask(a, 5, "{\"peerId\":\"ann\"%s}", cases[i].limit), "seq"), cases[i].first);
    peer_close(a);
    kit_end(&k);
}

/* --- Over WebSocket, as text -------------------------------------------------------------------------------------- */

static int upgrade(struct kit *k)
{
    static const char head[] = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                               "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    char answer[512] = "";
    size_t n = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&k->address[1][0], sizeof k->address[1][0]), 0);
    assert_int_equal(send(fd, head, sizeof head - 1, 0), sizeof head - 1);
    while (!strstr(answer, "\r\n\r\n")) {
        ssize_t got = recv(fd, answer + n, sizeof answer - 1 - n, MSG_DONTWAIT);
        assert_true(got != 0);
        n += got > 0 ? (size_t)got : 0;
        kit_turn(k);
    }
    has(answer, "101");
    return fd;
}

static void put_text(int fd, const char *text)
{
    uint8_t frame[256] = {0x81, (uint8_t)(0x80 | strlen(text))}; /* masked with zeros */
    assert_true(strlen(text) < 126);
    memcpy(frame + 6, text, strlen(text));
    assert_int_equal(send(fd, frame, 6 + strlen(text), MSG_NOSIGNAL), (ssize_t)(6 + strlen(text)));
}

static void take_text(struct kit *k, int fd, char out[1024])
{
    uint8_t bytes[1024];
    size_t n = 0, want = 2;
    while (n < want) {
        ssize_t got = recv(fd, bytes + n, want - n, MSG_DONTWAIT);
        assert_true(got != 0);
        n += got > 0 ? (size_t)got : 0;
        if (n == 2)
            want = 2 + (size_t)(bytes[1] < 126 ? bytes[1] : 2);
        if (n >= 4 && bytes[1] == 126)
            want = 4 + (size_t)load_be16(bytes + 2);
        assert_true(want < sizeof bytes);
        kit_turn(k);
    }
    assert_int_equal(bytes[0], 0x81);
    size_t head = bytes[1] == 126 ? 4 : 2;
    memcpy(out, bytes + head, n - head);
    out[n - head] = 0;
}

static void text_messages(void **state)
{
    static const struct {
        const char *say, *hear;
    } cases[] = {
        {"{\"action\":2,\"seq\":5,\"body\":{}}",
         "{\"action\":2,\"seq\":5,\"body\":{\"error\":{\"code\":\"unauthorized\""},
        {"nonsense", "{\"action\":0,\"seq\":0,\"body\":{\"error\":{\"code\":\"bad_request\""},
        {"[]", "{\"action\":0,\"seq\":0,"},
        {"{\"seq\":9}", "{\"action\":0,\"seq\":9,\"body\":{\"error\":{\"code\":\"bad_request\""},
        {"{\"action\":-1,\"seq\":9}", "{\"action\":0,\"seq\":9,"},
        {"{\"action\":65536}", "{\"action\":0,\"seq\":0,"},
        {"{\"action\":9,\"seq\":65536}", "{\"action\":0,\"seq\":0,"},
        {"{\"action\":9,\"body\":[]}", "{\"action\":0,\"seq\":0,"},
        {"{\"action\":9}", "{\"action\":9,\"seq\":0,\"body\":{\"time\":"},
        {"{\"action\":1,\"seq\":7,\"body\":{\"token\":\"ann\"}}", "{\"action\":1,\"seq\":7,\"body\":{\"id\":\"ann\""},
        {"{\"action\":3,\"seq\":8,\"body\":{\"name\":\"room\"}}",
         "{\"action\":3,\"seq\":8,\"body\":{\"name\":\"room\""},
        {"{\"action\":4,\"seq\":9,\"body\":{\"channel\":\"room\"}}",
         "{\"action\":4,\"seq\":9,\"body\":{\"error\":{\"code\":\"bad_request\""},
    };
    struct kit k;
    char text[1024];
    (void)state;
    kit_begin(&k, 2);
    int fd = upgrade(&k);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put_text(fd, cases[i].say);
        take_text(&k, fd, text);
        has(text, cases[i].hear);
    }
    /* A frame that is held keeps its form. */
    gate_hold(OP_APPEND);
    put_text(fd, "{\"action\":4,\"seq\":1,\"body\":{\"channel\":\"room\",\"content\":\"x\"}}");
    put_text(fd, "{\"action\":5,\"seq\":2,\"body\":{\"channel\":\"room\"}}");
    kit_settle(&k);
    gate_open(OP_APPEND);
    take_text(&k, fd, text);
    has(text, "{\"action\":4,\"seq\":1,");
    take_text(&k, fd, text);
    has(text, "{\"action\":102,\"seq\":0,\"body\":{\"id\":");
    take_text(&k, fd, text);
    has(text, "{\"action\":5,\"seq\":2,\"body\":{\"messages\":[{");
    close(fd);
    kit_end(&k);
}

/* --- Actions of others -------------------------------------------------------------------------------------------- */

static void handle_close(struct call *c)
{
    struct slice id = call_user_id(c);
    conn_close(c->shard->net, c->conn, CLOSE_KICKED, "as you like", 0);
    /* The caller is still there to be answered, although its connection is not. */
    assert_true(slice_eq(call_user_id(c), id));
    struct req *r = req_begin(c, sizeof *r);
    assert_non_null(r);
    req_done(c->shard, r);
}

static void register_close(struct hub *hub, void *ctx)
{
    static const struct action closes = {.number = 1000, .name = "close", .class = CLASS_ALONE, .handle = handle_close};
    struct action other = closes;
    (void)ctx;
    assert_int_equal(action_register(hub, &closes), 0);
    assert_int_equal(action_register(hub, &closes), ERR_EXISTS);
    other.number = 2000;
    assert_int_equal(action_register(hub, &other), ERR_INVALID);
}

static void a_handler_may_close_its_connection(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 1);
    kit_tables(&k, register_close, NULL);
    assert_int_equal(action_register(k.hub, &(struct action){.number = 300, .handle = handle_close}),
                     ERR_INVALID); /* no draft */
    struct peer *a = peer_login(&k, "ann", 0);
    peer_put(a, 1000, "{}");
    has(peer_push(a, 105), "as you like");
    peer_end(a);
    peer_close(a);
    kit_settle(&k);
    kit_end(&k);
}

static void codes_have_their_names(void **state)
{
    (void)state;
    assert_string_equal(code_name(CODE_OK), "ok");
    assert_string_equal(code_name(CODE_RATE_LIMITED), "rate_limited");
    assert_string_equal(code_name((enum code)CODE_COUNT), "internal");
    assert_string_equal(code_name((enum code) - 1), "internal");
    for (int i = 0; i < CODE_COUNT; i++)
        assert_true(strlen(code_name((enum code)i)) > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strangers_are_told_to_log_in),
        cmocka_unit_test(frames_that_cannot_be_served),
        cmocka_unit_test(fields_are_named),
        cmocka_unit_test(limits_have_a_default_and_a_cap),
        cmocka_unit_test(text_messages),
        cmocka_unit_test(a_handler_may_close_its_connection),
        cmocka_unit_test(codes_have_their_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
