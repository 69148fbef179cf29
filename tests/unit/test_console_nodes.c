/* Commands over the nodes of a cluster: two servers in one process, which ask each other by a bus that is none. */
#include "hub_kit.h"

#include "core/base/json.h"
#include "core/console/console.h"
#include "core/console/remote.h"
#include "core/hub/registry/command.h"
#include "core/hub/shard/why.h"

/* --- The other node: what it says to a line ----------------------------------------------------------------------- */

enum { SAYS = 8 };
static struct {
    const char *line, *answer; /* the answer as remote_answer.c writes it, NULs as ^ */
} says[SAYS];
static char asked[2048]; /* what the other nodes were asked, a line each */

/* Of `why`: what was asked, and what is answered, of each of its two questions. */
static struct {
    char body[4096];
    size_t n;
} why_asks[2], why_answers[2];

static size_t reply_why(struct slice body, char *out)
{
    unsigned i = body.p[1] == '1' ? 0 : 1;
    memcpy(why_asks[i].body, body.p, body.n);
    why_asks[i].n = body.n;
    memcpy(out, why_answers[i].body, why_answers[i].n);
    return why_answers[i].n;
}

static size_t reply(struct test_bus *t, unsigned node, const struct bus_call *c, char *out)
{
    char text[512];
    (void)t;
    snprintf(text, sizeof text, "%.*s", (int)c->body.n, c->body.p);
    const char *lf = strchr(text, '\n'), *line = lf ? lf + 1 : text;
    if (node == 1)
        return 0; /* node 3 never answers */
    if (c->what == CALL_CONSOLE && c->body.n > 1 && c->body.p[0] == REMOTE_WHY)
        return reply_why(c->body, out);
    size_t at = strlen(asked);
    snprintf(asked + at, sizeof asked - at, "%s;", line);
    for (unsigned i = 0; i < SAYS && says[i].line; i++) {
        if (strcmp(says[i].line, line) != 0)
            continue;
        size_t n = strlen(says[i].answer);
        memcpy(out, says[i].answer, n);
        for (size_t k = 0; k < n; k++)
            out[k] = out[k] == '^' ? '\0' : out[k];
        return n;
    }
    return 0;
}

/* --- Orders to this one ------------------------------------------------------------------------------------------- */

static struct ev_loop *loop;
static struct console *console;
static struct {
    bool done;
    char code[32], message[256], json[65536];
} got;

static void told(void *ctx, const char *code, const char *message, struct slice json)
{
    (void)ctx;
    got.done = true;
    snprintf(got.code, sizeof got.code, "%s", code ? code : "");
    snprintf(got.message, sizeof got.message, "%s", code ? message : "");
    snprintf(got.json, sizeof got.json, "%.*s", (int)json.n, json.n ? json.p : "");
}

static const char *give(struct kit *k, const char *line)
{
    asked[0] = '\0';
    memset(&got, 0, sizeof got);
    assert_int_equal(command_order(k->hub, &(struct command_order){.who = "test", .line = S(line), .done = told}), 0);
    uint64_t end = clock_mono_ms() + 20000;
    while (!got.done && clock_mono_ms() < end) {
        kit_turn(k);
        ev_run(loop, EVRUN_NOWAIT);
    }
    assert_true(got.done);
    return got.json;
}

static void has_text(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no %s in %s", part, text);
}

static void begin(struct kit *k, unsigned others)
{
    memset(says, 0, sizeof says);
    kit_open(k, 2);
    k->clustered = true;
    kit_start(k);
    kit_bus.node_count = others;
    kit_bus.reply = reply;
    loop = ev_loop_new(EVFLAG_AUTO);
    console = console_new(loop, k->hub);
    assert_non_null(console);
}

static void end(struct kit *k)
{
    console_stop(console);
    kit_settle(k);
    hub_stop(k->hub);
    mailbox_run(&k->main, k);
    assert_false(console_busy(console));
    console_free(console);
    ev_loop_destroy(loop);
    kit_end(k);
}

static struct peer *newcomer(struct kit *k, const char *id)
{
    struct peer *p = peer_login(k, id, 0);
    test_bus_line(&kit_bus);
    return p;
}

/* --- Lists -------------------------------------------------------------------------------------------------------- */

static void a_list_is_that_of_each_node(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 1);
    struct peer *a = newcomer(&k, kit_id(&k, "ann", 0));
    says[0].line = "list users";
    says[0].answer = "R{\"user\":\"bob\",\"name\":\"a{,\\\"b\"},{\"user\":\"cat\"}";
    const char *json = give(&k, "list users");
    has_text(json, "{\"node\":1,\"user\":\"ann");
    has_text(json, "{\"node\":2,\"user\":\"bob\",\"name\":\"a{,\\\"b\"},{\"node\":2,\"user\":\"cat\"}]");
    assert_string_equal(asked, "list users;");
    /* Limits count over all. */
    says[0].line = "list users limit 2";
    json = give(&k, "list users limit 1 skip 1");
    assert_string_equal(json, "[{\"node\":2,\"user\":\"bob\",\"name\":\"a{,\\\"b\"}]");
    /* The name of a connection has its node. */
    says[0].line = "list connections \"bob\"";
    says[0].answer = "R{\"connection\":\"0.1.2\",\"user\":\"bob\"}";
    assert_string_equal(give(&k, "list connections bob"), "[{\"node\":2,\"connection\":\"2/0.1.2\",\"user\":\"bob\"}]");
    /* This node alone; and what is stored, which is everybody's. */
    json = give(&k, "list users --here");
    assert_null(strstr(json, "node"));
    has_text(json, "ann");
    give(&k, "list users all");
    assert_string_equal(asked, "");
    give(&k, "list users limit");
    assert_string_equal(got.code, "");
    give(&k, "list users a b c");
    assert_string_equal(got.code, "bad_request");
    peer_close(a);
    end(&k);
}

static void long_lists_go_on(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 1);
    says[0].line = "list slow";
    says[0].answer = "M00000000000000a1{\"user\":\"u1\"}";
    says[1].line = "C00000000000000a1";
    says[1].answer = "R{\"user\":\"u2\"}";
    says[2].line = "X00000000000000a1";
    says[2].answer = "Eended^^";
    assert_string_equal(give(&k, "list slow"), "[{\"node\":2,\"user\":\"u1\"},{\"node\":2,\"user\":\"u2\"}]");
    assert_string_equal(asked, "list slow;C00000000000000a1;");
    says[0].line = "list slow limit 1";
    assert_string_equal(give(&k, "list slow limit 1"), "[{\"node\":2,\"user\":\"u1\"}]");
    assert_string_equal(asked, "list slow limit 1;X00000000000000a1;");
    /* It breaks off: what came is told, and who is missing. */
    says[0].line = "list slow";
    says[1].line = NULL;
    assert_string_equal(give(&k, "list slow"),
                        "[{\"node\":2,\"user\":\"u1\"},{\"node\":2,\"error\":\"it did not answer in time\"}]");
    end(&k);
}

static void who_does_not_answer_comes_first(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    says[0].line = "list slow";
    says[0].answer = "R{\"user\":\"u1\"}";
    assert_string_equal(give(&k, "list slow"),
                        "[{\"node\":3,\"error\":\"it did not answer in time\"},{\"node\":2,\"user\":\"u1\"}]");
    says[0].answer = "Eunavailable^the store is away^";
    has_text(give(&k, "list slow"), "{\"node\":2,\"error\":\"the store is away\"}");
    end(&k);
}

/* One that begins to serve is asked too; what does not serve yet is missed by nobody. */
/* A page of a list is the same, whichever node is asked: rows come in the order of the nodes' numbers. */
static void a_list_has_one_order(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 1);
    struct peer *a = newcomer(&k, kit_id(&k, "ann", 0));
    kit_bus.number = 5;
    says[0].line = "list users";
    says[0].answer = "R{\"user\":\"bob\"},{\"user\":\"cat\"}";
    has_text(give(&k, "list users"),
             "[{\"node\":2,\"user\":\"bob\"},{\"node\":2,\"user\":\"cat\"},{\"node\":5,\"user\":\"ann");
    says[0].line = "list users limit 3";
    has_text(give(&k, "list users limit 2 skip 1"), "[{\"node\":2,\"user\":\"cat\"},{\"node\":5,\"user\":\"ann");
    peer_close(a);
    end(&k);
}

static void who_joins_is_not_waited_for(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    kit_bus.joining = 3; /* node 3 never answers */
    says[0].line = "list slow";
    says[0].answer = "R{\"user\":\"u1\"}";
    assert_string_equal(give(&k, "list slow"), "[{\"node\":2,\"user\":\"u1\"}]");
    assert_null(strstr(give(&k, "status"), "unanswered"));
    says[1].line = "log \"error\"";
    says[1].answer = "V";
    give(&k, "log error");
    assert_string_equal(got.code, "");
    assert_string_equal(asked, "log \"error\";");
    give(&k, "show connection 3/0.0.1");
    assert_string_equal(got.code, "unavailable");
    end(&k);
}

/* --- Sums --------------------------------------------------------------------------------------------------------- */

static void figures_are_added_up(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    struct peer *a = newcomer(&k, kit_id(&k, "ann", 0));
    says[0].line = "status";
    says[0].answer = "V{\"version\":\"9\",\"pid\":7,\"state\":\"draining\",\"connections\":41,\"users\":5}";
    says[1].line = "show memory";
    says[1].answer = "V{\"rss\":1000000000000,\"heap\":{\"used\":1000000000000}}";
    says[2].line = "show metrics";
    says[2].answer = "R{\"name\":\"magpie_connections\",\"labels\":\"\",\"value\":41,\"kind\":\"gauge\"},"
                     "{\"name\":\"x_total\",\"labels\":\"{a=\\\"b\\\"}\",\"value\":3,\"kind\":\"counter\"},"
                     "{\"name\":\"magpie_store_failing\",\"labels\":\"\",\"value\":1,\"kind\":\"gauge\"}";
    const char *json = give(&k, "status");
    has_text(json, "\"connections\":42");
    has_text(json, "\"users\":6");
    has_text(json, "\"nodes\":[{\"node\":1,\"host\":\"host1\"");
    has_text(
        json,
        "{\"node\":2,\"host\":\"host2\",\"version\":\"9\",\"state\":\"draining\",\"connections\":41,\"users\":5}]");
    has_text(json, "\"unanswered\":[3]}");
    json = give(&k, "show memory");
    has_text(json, "\"rss\":10000");
    json = give(&k, "show metrics");
    has_text(json, "{\"name\":\"magpie_connections\",\"labels\":\"\",\"value\":42,");
    has_text(json, "{\"name\":\"x_total\",\"labels\":\"{a=\\\"b\\\"}\",\"value\":3,");
    has_text(json, "{\"name\":\"magpie_store_failing\",\"labels\":\"\",\"value\":1,");
    peer_close(a);
    end(&k);
}

/* Without Redis there is no such command's answer: two of them, merged. */
static void views_of_the_cluster(void **state)
{
    static const char here[] = "{\"state\":\"good\",\"swept\":500,\"away\":0,\"nodes\":[{\"node\":1},{\"node\":2},"
                               "{\"node\":3},{\"node\":9}]}";
    static const char there[] = "{\"state\":\"isolated\",\"swept\":524,\"away\":20.5,\"repeats\":1,\"unknown\":2}";
    struct part parts[3] = {{.node = {.number = 1, .self = true}, .came = true},
                            {.node = {.number = 2, .leader = true}, .came = true},
                            {.node = {.number = 3}}};
    struct buf out = BUF_INIT;
    (void)state;
    buf_str(&parts[0].out, here);
    buf_str(&parts[1].out, there);
    merge_views(&out, parts, 3);
    buf_byte(&out, '\0');
    has_text(out.p, "{\"node\":1,\"leader\":false,\"sees\":\"good\",\"swept\":500,\"away\":0,");
    has_text(out.p, "{\"node\":2,\"leader\":true,\"sees\":\"isolated\",\"swept\":524,\"away\":20.5,\"repeats\":1,"
                    "\"unknown\":2}");
    has_text(out.p, "{\"node\":3,\"leader\":false,\"sees\":\"no answer\",\"swept\":null,");
    has_text(out.p, "{\"node\":9}],\"unanswered\":[3]}");
    for (unsigned i = 0; i < 3; i++)
        buf_free(&parts[i].out);
    buf_free(&out);
}

/* --- One thing ---------------------------------------------------------------------------------------------------- */

static void a_user_has_connections_everywhere(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 0);
    struct peer *a = newcomer(&k, ann);
    char line[80], sent[80];
    snprintf(line, sizeof line, "show user %s", ann);
    snprintf(sent, sizeof sent, "show user \"%s\"", ann);
    says[0].line = sent;
    says[0].answer = "V{\"user\":\"x\",\"online\":true,\"connections\":[{\"connection\":\"1.2.3\",\"ip\":\"::1\"}]}";
    const char *json = give(&k, line);
    has_text(json, "\"connections\":[{\"connection\":\"1/");
    has_text(json, "{\"connection\":\"2/1.2.3\",\"ip\":\"::1\"}]");
    has_text(json, "\"unanswered\":[3]}");
    give(&k, "show user nobody");
    assert_string_equal(got.code, "not_found");
    peer_close(a);
    end(&k);
}

static void a_connection_is_looked_at_where_it_is(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    says[0].line = "show connection \"1.2.3\"";
    says[0].answer = "V{\"connection\":\"1.2.3\",\"user\":\"bob\"}";
    says[1].line = "kick connection \"1.2.3\" \"be off\"";
    says[1].answer = "V{\"connections\":1}";
    assert_string_equal(give(&k, "show connection 2/1.2.3"),
                        "{\"node\":2,\"connection\":\"2/1.2.3\",\"user\":\"bob\"}");
    assert_string_equal(give(&k, "kick connection 2/1.2.3 be off"), "{\"node\":2,\"connections\":1}");
    give(&k, "show connection 3/1.2.3");
    assert_string_equal(got.code, "unavailable");
    assert_string_equal(got.message, "node 3: it did not answer in time");
    give(&k, "show connection 9/1.2.3");
    assert_string_equal(got.message, "there is no node 9");
    give(&k, "show connection 1/1.2.3");
    assert_string_equal(got.code, "not_found");
    assert_string_equal(asked, "");
    give(&k, "show connection 1.2.3");
    assert_string_equal(got.code, "not_found");
    end(&k);
}

static void a_change_is_made_everywhere(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 1);
    says[0].line = "log \"error\"";
    says[0].answer = "V";
    assert_string_equal(give(&k, "log error"), "null");
    assert_string_equal(asked, "log \"error\";");
    says[0].answer = "Ebad_request^what is error?^";
    give(&k, "log error");
    assert_string_equal(got.code, "bad_request");
    assert_string_equal(got.message, "node 2: what is error?");
    kit_bus.node_count = 2; /* each that is at fault is named */
    give(&k, "log error");
    assert_string_equal(got.code, "bad_request");
    assert_string_equal(got.message, "node 2: what is error?; node 3: it did not answer in time");
    says[0].line = NULL;
    give(&k, "log error");
    assert_string_equal(got.code, "unavailable");
    assert_string_equal(got.message, "node 2: it did not answer in time; node 3: it did not answer in time");
    kit_bus.node_count = 1;
    give(&k, "log loud"); /* wrong here: nobody else is asked */
    assert_string_equal(got.code, "bad_request");
    assert_string_equal(asked, "");
    give(&k, "log error --here");
    assert_string_equal(got.code, "");
    assert_string_equal(asked, "");
    end(&k);
}

/* --- The other side ----------------------------------------------------------------------------------------------- */

static const char *question(struct kit *k, const char *text)
{
    uint32_t before = kit_bus.answered;
    test_bus_ask(&kit_bus, CALL_CONSOLE, S(text));
    KIT_UNTIL(k, kit_bus.answered > before);
    return kit_bus.answer;
}

/* Five wrong passwords a minute from an address are five wherever they are given. */
static void guesses_count_everywhere(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 1);
    console_set_password(console, "right-one");
    assert_int_equal(command_password(k.hub, "192.0.2.1", S("wrong")), PASSWORD_WRONG);
    kit_settle(&k);
    assert_string_equal(asked, "G+192.0.2.1;");
    for (unsigned i = 0; i < 4; i++)
        assert_string_equal(question(&k, "G+192.0.2.1"), "V");
    assert_int_equal(command_password(k.hub, "192.0.2.1", S("right-one")), PASSWORD_LIMITED);
    assert_int_equal(command_password(k.hub, "192.0.2.2", S("right-one")), PASSWORD_RIGHT);
    kit_settle(&k);
    assert_string_equal(asked, "G+192.0.2.1;"); /* who was right at once is no news */
    /* Somebody who is right elsewhere begins anew, and so here. */
    assert_string_equal(question(&k, "G0192.0.2.1"), "V");
    assert_int_equal(command_password(k.hub, "192.0.2.1", S("wrong")), PASSWORD_WRONG);
    assert_int_equal(command_password(k.hub, "192.0.2.1", S("right-one")), PASSWORD_RIGHT);
    kit_settle(&k);
    assert_string_equal(asked, "G+192.0.2.1;G+192.0.2.1;G0192.0.2.1;");
    assert_int_equal(command_password(k.hub, "unix", S("wrong")), PASSWORD_WRONG); /* which is of one machine */
    assert_string_equal(question(&k, "G"), "V");
    assert_string_equal(asked, "G+192.0.2.1;G+192.0.2.1;G0192.0.2.1;");
    asked[0] = '\0';
    end(&k);
}

static void lines_of_others_are_run(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    struct peer *a = newcomer(&k, kit_id(&k, "ann", 0));
    has_text(question(&k, "Lunix uid 0\nlist users"), "{\"user\":\"ann");
    has_text(question(&k, "Lunix uid 0\nversion"), "V{\"name\":\"magpied\"");
    assert_string_equal(question(&k, "Lunix uid 0\nlist nothing"), "Ebad_request");
    assert_string_equal(question(&k, "Lunix uid 0\ntrace user ann on"), "Ebad_request"); /* no connection to show it */
    assert_string_equal(question(&k, "Lunix uid 0"), "Ebad_request");
    assert_string_equal(question(&k, "L\n\n"), "Ebad_request");
    assert_string_equal(question(&k, "C0000000000000077"), "Enot_found");
    assert_string_equal(question(&k, "C"), "Enot_found");
    assert_string_equal(question(&k, "?"), "");
    assert_string_equal(question(&k, "W1"), "");
    assert_string_equal(question(&k, ""), "");
    assert_string_equal(asked, ""); /* it is not passed on */
    peer_close(a);
    end(&k);
}

/* A list that nobody fetches ends; one that is fetched is whole. */
static void lists_wait_for_their_reader(void **state)
{
    struct kit k;
    enum { PEERS = 3 };
    struct peer *p[PEERS];
    (void)state;
    begin(&k, 1);
    for (unsigned i = 0; i < PEERS; i++)
        p[i] = newcomer(&k, kit_id(&k, "ann", i % 2));
    const char *first = question(&k, "Lme\nlist users");
    assert_int_equal(first[0], 'M'); /* two shards, a step each */
    char next[20];
    snprintf(next, sizeof next, "C%.16s", first + 1);
    unsigned pieces = 0;
    const char *answer = first;
    while (answer[0] == 'M' && pieces++ < 10)
        answer = question(&k, next);
    assert_int_equal(answer[0], 'R');
    assert_string_equal(question(&k, next), "Enot_found");
    first = question(&k, "Lme\nlist users");
    next[0] = 'X';
    memcpy(next + 1, first + 1, 16);
    assert_string_equal(question(&k, next), "Eended");
    assert_int_equal(question(&k, "Lme\nlist users")[0], 'M'); /* left alone: the console's end ends it */
    for (unsigned i = 0; i < PEERS; i++)
        peer_close(p[i]);
    end(&k);
}

/* --- why, trace --------------------------------------------------------------------------------------------------- */

/* What this node answers to a question of its own, as if it knew nothing of the message itself. */
static void answer_why(struct kit *k, unsigned i, size_t known)
{
    uint32_t before = kit_bus.answered;
    memset(why_asks[i].body + why_asks[i].n - 8 * 15 * 8 + known, 0, 8 * 15 * 8 - known);
    test_bus_ask(&kit_bus, CALL_CONSOLE, slice_of(why_asks[i].body, why_asks[i].n));
    KIT_UNTIL(k, kit_bus.answered > before);
    memcpy(why_answers[i].body, kit_bus.answer, kit_bus.answer_n);
    why_answers[i].n = kit_bus.answer_n;
    assert_true(why_answers[i].n > 8 * 15 * 8);
}

/* One node stored and pushed it; the one that is asked remembers nothing, and finds the same. */
static void why_is_asked_of_all(void **state)
{
    struct kit k;
    char line[96], line_bob[128];
    (void)state;
    memset(why_answers, 0, sizeof why_answers);
    begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 0), *bob = kit_id(&k, "bob", 1);
    struct peer *a = newcomer(&k, ann), *b = newcomer(&k, bob);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    works(peer_ask(b, 3, "{\"name\":\"room\"}"));
    const char *sent = peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"hello\"}"), *id = strstr(sent, "\"id\":\"");
    assert_non_null(id);
    snprintf(line, sizeof line, "why %s %.19s", bob, id + 6);
    snprintf(line_bob, sizeof line_bob, "%s --here", line);
    peer_push(b, 102);
    has_text(give(&k, line), "\"verdict\":\"queued and written");
    has_text(got.json, "\"unanswered\":[2,3]}");
    kit_bus.status = STORE_RETRY; /* none can be asked */
    has_text(give(&k, line), "\"unanswered\":[2,3]}");
    kit_bus.status = STORE_OK;
    answer_why(&k, 0, 0);
    kit_bus.joining = 1;       /* as a node that serves only since its newest beat: it is asked all the same */
    answer_why(&k, 1, 15 * 8); /* it is told who stored it */
    for (unsigned i = 0; i < k.shards; i++) {
        why_free(kit_shard(&k, i));
        kit_shard(&k, i)->why = NULL;
    }
    give(&k, line_bob);
    assert_string_equal(got.code, "not_found");
    has_text(give(&k, line), "\"verdict\":\"queued and written");
    has_text(got.json, "\"channel\":\"room\"");
    has_text(got.json, "\"unanswered\":[3]}");
    peer_close(a);
    peer_close(b);
    end(&k);
}

static const char *trace_question(struct kit *k, const char *text)
{
    uint32_t before = kit_bus.answered;
    test_bus_ask(&kit_bus, CALL_TRACE, S(text));
    uint64_t end_ms = clock_mono_ms() + 20000;
    while (kit_bus.answered == before && clock_mono_ms() < end_ms) {
        kit_turn(k);
        ev_run(loop, EVRUN_NOWAIT); /* whose timer answers a question with nothing to tell */
    }
    assert_true(kit_bus.answered > before);
    return kit_bus.answer;
}

static void others_trace_here(void **state)
{
    struct kit k;
    char start[80];
    (void)state;
    begin(&k, 1);
    const char *ann = kit_id(&k, "ann", 0);
    struct peer *a = newcomer(&k, ann);
    snprintf(start, sizeof start, "S00000000000000a1tu%s", ann);
    assert_string_equal(trace_question(&k, "P00000000000000a1"), "E"); /* nothing of it has begun */
    assert_string_equal(trace_question(&k, start), "V");
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    has_text(trace_question(&k, "P00000000000000a1"), " in action=3 subscribe ");
    has_text(kit_bus.answer, "V");
    has_text(kit_bus.answer, " 1/");                                   /* the node is in the handle */
    assert_string_equal(trace_question(&k, "P00000000000000a1"), "V"); /* nothing has happened for a second */
    assert_string_equal(trace_question(&k, "X00000000000000a1"), "E");
    assert_string_equal(trace_question(&k, "P00000000000000a1"), "E");
    assert_string_equal(trace_question(&k, "S00000000000000a2tc0.9.9"), "E"); /* there is no such connection */
    assert_string_equal(trace_question(&k, "S00000000000000a3tcx"), "E");
    assert_string_equal(trace_question(&k, "S"), "E");
    assert_string_equal(trace_question(&k, "?"), "E");
    assert_string_equal(trace_question(&k, start), "V"); /* and is still followed at the end */
    peer_close(a);
    end(&k);
}

static void only_known_commands_are_spread(void **state)
{
    (void)state;
    assert_int_equal(spread_of("status")->how, SPREAD_SUM);
    assert_null(spread_of("drain"));
    assert_null(spread_of("shutdown"));
    assert_null(spread_of("announce"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_is_that_of_each_node),
        cmocka_unit_test(long_lists_go_on),
        cmocka_unit_test(who_does_not_answer_comes_first),
        cmocka_unit_test(a_list_has_one_order),
        cmocka_unit_test(who_joins_is_not_waited_for),
        cmocka_unit_test(figures_are_added_up),
        cmocka_unit_test(views_of_the_cluster),
        cmocka_unit_test(a_user_has_connections_everywhere),
        cmocka_unit_test(a_connection_is_looked_at_where_it_is),
        cmocka_unit_test(a_change_is_made_everywhere),
        cmocka_unit_test(guesses_count_everywhere),
        cmocka_unit_test(lines_of_others_are_run),
        cmocka_unit_test(lists_wait_for_their_reader),
        cmocka_unit_test(why_is_asked_of_all),
        cmocka_unit_test(others_trace_here),
        cmocka_unit_test(only_known_commands_are_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
