/* Links, topology and queues: silence, failovers, what waits for too long. Against fake processes of a cluster. */
#include "redis_peer.h"

static struct link *write_link(struct world *w)
{
    return &w->r->parts[0].master->lanes[LANE_WRITE].link;
}

static unsigned times(const char *log, const char *word)
{
    unsigned n = 0;
    for (; (log = strstr(log, word)); log++)
        n++;
    return n;
}

/* --- Silence --- */

static void a_silent_process_is_left(void **state)
{
    struct world *w = *state;
    static struct try t, once, read;
    w->peers[0].mute = true;
    try_post(w, &t, "a", FN_APPEND, 5);
    try_begin(w, &once, "o", FN_APPEND, 6);
    once.call.once = true;
    call_post(w->r, &once.call);
    try_post(w, &read, "r", FN_HEAD, 5);
    world_pass(w, 1400);
    assert_int_equal(w->answered, 0);
    world_pass(w, 200);
    assert_int_equal(once.status, STORE_UNKNOWN);
    assert_int_equal(w->answered, 1);
    w->peers[0].mute = false;
    UNTIL(w, t.status >= 0 && read.status >= 0);
    assert_int_equal(t.status, STORE_OK);
    assert_int_equal(read.status, STORE_OK);
    assert_true(times(w->peers[0].done, "a ") >= 2); /* done, and given up, and repeated */
    assert_int_equal(times(w->peers[0].done, "o "), 1);
}

static void a_process_that_hangs_is_not_waited_for_for_ever(void **state)
{
    struct world *w = *state;
    static struct try t, read, later;
    uint64_t begun = w->now;
    w->peers[0].frozen = true; /* it accepts connections, as the kernel does for a stopped process */
    try_post(w, &t, "a", FN_APPEND, 5);
    try_post(w, &read, "r", FN_HEAD, 5);
    world_pass(w, 5000);
    try_post(w, &later, "l", FN_APPEND, 5);
    UNTIL(w, t.status >= 0 && read.status >= 0);
    assert_int_equal(t.status, STORE_UNKNOWN);
    assert_int_equal(read.status, STORE_RETRY); /* nothing is unknown about a read */
    assert_in_range(w->now - begun, 8000, 8500);
    UNTIL(w, later.status >= 0);
    assert_int_equal(later.status, STORE_RETRY); /* it was never sent: the process is not ready without a reply */
    assert_in_range(w->now - begun, 13000, 13500);
}

/* What a process says too late is not believed, even when it is there to be read. */
static void a_late_reply_is_not_believed(void **state)
{
    struct world *w = *state;
    static struct try read;
    w->peers[0].frozen = true;
    try_post(w, &read, "r", FN_HEAD, 5);
    world_turn(w);
    w->now += 1600; /* both slept: the reply comes before anybody has looked for silence */
    w->peers[0].frozen = false;
    for (int i = 0; i < 50; i++)
        world_turn(w);
    assert_int_equal(read.status, -1);
    UNTIL(w, read.status >= 0);
    assert_int_equal(read.status, STORE_OK);
    assert_int_equal(times(w->peers[0].done, "r "), 2);
}

static void an_idle_link_is_asked_for_the_time(void **state)
{
    struct world *w = *state;
    w->peers[0].commands[0] = '\0';
    world_pass(w, 900);
    assert_string_equal(w->peers[0].commands, "");
    world_pass(w, 200);
    assert_string_equal(w->peers[0].commands, "TIME;TIME;TIME;TIME;"); /* write, read, news, scout */
    w->peers[0].frozen = true;
    world_pass(w, 1400);
    assert_int_equal(write_link(w)->state, LINK_READY);
    world_pass(w, 200);
    assert_int_not_equal(write_link(w)->state, LINK_READY);
}

/* --- What is too old --- */

static void without_a_link_calls_wait_for_patience(void **state)
{
    struct world *w = *state;
    static struct try t, read, old;
    uint64_t begun = w->now;
    peer_close(&w->peers[0]);
    SOON(w, write_link(w)->state != LINK_READY);
    try_post(w, &t, "a", FN_APPEND, 5);
    try_post(w, &read, "r", FN_HEAD, 5);
    try_begin(w, &old, "o", FN_APPEND, 6);
    old.call.since = w->now - 5000; /* the second half of an operation that has waited already */
    call_post(w->r, &old.call);
    UNTIL(w, old.status >= 0);
    assert_int_equal(old.status, STORE_RETRY);
    assert_in_range(w->now - begun, 3000, 3500);
    UNTIL(w, t.status >= 0 && read.status >= 0);
    assert_int_equal(t.status, STORE_RETRY);
    assert_int_equal(read.status, STORE_RETRY);
    assert_in_range(w->now - begun, 8000, 8500);
}

static void patience_can_be_changed(void **state)
{
    struct world *w = *state;
    static struct try t;
    uint64_t begun = w->now;
    peer_close(&w->peers[0]);
    try_post(w, &t, "a", FN_APPEND, 5);
    world_pass(w, 500);
    w->r->options.cluster.patience_ms = 2000;
    UNTIL(w, t.status >= 0);
    assert_in_range(w->now - begun, 2000, 2500);
}

/* A process that reads nothing: what does not fit into the kernel's buffers must not go out when it is too old. */
static void nothing_old_goes_into_a_socket(void **state)
{
    struct world *w = *state;
    enum { N = 60 };
    static struct try t[N];
    size_t size = 250000;
    char *big = malloc(size);
    struct link *l = write_link(w);
    int small = 4096;
    memset(big, 'x', size);
    setsockopt(l->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    w->peers[0].frozen = true;
    for (int i = 0; i < N; i++) {
        try_begin(w, &t[i], "a", FN_APPEND, 7);
        call_arg(&t[i].call, slice_of(big, size));
        t[i].call.since = w->now - 7500; /* half a second is left */
        call_post(w->r, &t[i].call);
    }
    world_turn(w);
    bool full = l->out.n > l->out_sent;
    w->now += 700; /* less than the silence that ends a link */
    w->peers[0].frozen = false;
    UNTIL(w, w->answered == N);
    for (int i = 0; i < N; i++)
        assert_true(t[i].status == STORE_RETRY || t[i].status == STORE_UNKNOWN);
    if (full) /* or the kernel had room for all of it */
        assert_string_equal(w->peers[0].done, "");
    free(big);
}

static void a_queue_has_an_end(void **state)
{
    struct world *w = *state;
    size_t size = 1 << 20;
    static struct try t[70];
    char *big = malloc(size);
    memset(big, 'x', size);
    peer_close(&w->peers[0]);
    SOON(w, write_link(w)->state != LINK_READY);
    for (int i = 0; i < 70; i++) {
        try_begin(w, &t[i], "a", FN_APPEND, (unsigned)i);
        call_arg(&t[i].call, slice_of(big, size));
        call_post(w->r, &t[i].call);
    }
    SOON(w, w->answered == 70 - 63); /* 63 and a little are 64 MiB */
    assert_int_equal(t[62].status, -1);
    assert_int_equal(t[63].status, STORE_RETRY);
    peer_back(&w->peers[0]);
    UNTIL(w, w->answered == 70);
    assert_int_equal(t[0].status, STORE_OK);
    free(big);
}

/* --- Who we are, and what is said --- */

static void a_password_is_said_first(void **state)
{
    struct world *w = malloc(sizeof *w);
    (void)state;
    world_open(w, "magpie", "secret");
    UNTIL(w, w->r->slots.nobody.parts == 0 && write_link(w)->state == LINK_READY);
    assert_memory_equal(w->peers[0].commands, "AUTH magpie secret;TIME;", 24);
    world_teardown((void **)&w);
    w = malloc(sizeof *w);
    world_open(w, NULL, "secret");
    UNTIL(w, w->r->slots.nobody.parts == 0 && write_link(w)->state == LINK_READY);
    assert_memory_equal(w->peers[0].commands, "AUTH secret;TIME;", 17);
    world_teardown((void **)&w);
}

static bool answer_no_auth(struct peer *p, const struct reply *command, struct buf *out)
{
    (void)p;
    if (!peer_is(command->list[0].text, "AUTH"))
        return false;
    buf_lit(out, "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    return true;
}

static void a_wrong_password_makes_no_link(void **state)
{
    struct world *w = malloc(sizeof *w);
    static struct try t;
    (void)state;
    world_open(w, NULL, "wrong");
    w->peers[0].answer = answer_no_auth;
    try_post(w, &t, "a", FN_APPEND, 5);
    UNTIL(w, t.status >= 0);
    assert_int_equal(t.status, STORE_RETRY);
    assert_int_not_equal(w->r->slots.nobody.parts, 0);
    assert_in_range(w->peers[0].connects, 10, 60); /* each 200 ms */
    world_teardown((void **)&w);
}

static const char *garbage;

static bool answer_garbage(struct peer *p, const struct reply *command, struct buf *out)
{
    if (!peer_is(command->list[0].text, "WAIT"))
        return false;
    buf_str(out, garbage);
    p->answer = NULL;
    return true;
}

static void garbage_ends_a_link(void **state)
{
    struct world *w = *state;
    static const char *const all[] = {"HTTP/1.1 400 Bad Request\r\n",
                                      "*9999999\r\n",
                                      "$-5\r\n",
                                      ":2\r\n:3\r\n",
                                      "\r\n",
                                      "*2\r\n:1\r\n:2\r\n",
                                      "-ERR WAIT cannot be used with replica instances.\r\n"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        static struct try t;
        unsigned connects = w->peers[0].connects;
        garbage = all[i];
        w->peers[0].answer = answer_garbage;
        try_post(w, &t, "a", FN_APPEND, 5);
        UNTIL(w, t.status >= 0);
        assert_int_equal(t.status, STORE_OK);
        UNTIL(w, w->peers[0].connects > connects); /* what nobody asked for ends it as well */
    }
}

/* --- Topology --- */

static void a_view_is_read(void **state)
{
    struct world *w = *state;
    struct redis *r = w->r;
    struct address from = {"127.0.0.9", 7};
    /* Redis 7.0's own form: one that does not know its address, hostnames, moving slots, failed ones. */
    static const char text[] =
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa :7000@17000 myself,master - 0 0 5 connected 0-100 200 "
        "[300->-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb]\n"
        "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb ::1:7001@17001,host.example master - 0 1 6 connected 8000-16383\n"
        "cccccccccccccccccccccccccccccccccccccccc 10.0.0.3:7002@17002 slave "
        "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb 0 1 6 connected\n"
        "dddddddddddddddddddddddddddddddddddddddd 10.0.0.4:7003@17003 slave,fail "
        "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb 0 1 6 disconnected\n"
        "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee :0@0 master,noaddr - 0 1 7 disconnected 0-16383\n"
        "ffffffffffffffffffffffffffffffffffffffff 10.0.0.5:7004@17004 slave,fail? "
        "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb 0 1 6 connected\n"
        "short 10.0.0.6:1@1 master - 0 0 9 connected 0-16383\n"
        "\n garbage\n";
    slots_view(r, slice_str(text), &from);
    const struct master *a = r->parts[0].master, *b = r->parts[1000].master;
    assert_string_equal(a->host, "127.0.0.9");
    assert_int_equal(a->port, 7000);
    assert_int_equal(a->parts - 1024, (7 + 493) - 1024); /* 0, 16 … 96; the rest is as before, with the same id */
    assert_ptr_equal(r->parts[6].master, a);
    assert_string_equal(b->host, "::1");
    assert_int_equal(b->port, 7001);
    assert_int_equal(b->parts, 524);
    assert_int_equal(b->replicas, 2); /* one of which is only thought to have failed */
    assert_int_equal(a->replicas, 0);
    assert_int_equal(r->slots.known_count, 4);
    assert_true(slots_whole(r));
    assert_true(slots_part(r, 0) >= 0 && slots_part(r, 1) >= 0);
    assert_int_equal(slots_part(r, 2), -1);
}

/* Peer 1 takes over from peer 0, of which it was a replica. */
static void take_over(struct world *w, int from)
{
    for (int i = from; i < PEERS; i++) {
        struct peer *p = &w->peers[i];
        p->nodes[0] = '\0';
        peer_tell(p, &w->peers[0], from ? "master,fail" : "slave", from ? NULL : &w->peers[1], 1, "");
        peer_tell(p, &w->peers[1], "master", NULL, 2, "0-16383");
        peer_tell(p, &w->peers[2], "slave", &w->peers[1], 2, "");
    }
}

static void a_dead_master_is_followed_by_its_replica(void **state)
{
    struct world *w = *state;
    static struct try t[3], read;
    w->peers[0].mute = true; /* a is done there, and not answered */
    try_post(w, &t[0], "a", FN_APPEND, 5);
    SOON(w, times(w->peers[0].done, "a ") == 1);
    peer_close(&w->peers[0]);
    try_post(w, &t[1], "b", FN_APPEND, 5);
    try_post(w, &read, "r", FN_HEAD, 5);
    world_pass(w, 2500);
    take_over(w, 1);
    try_post(w, &t[2], "c", FN_APPEND, 5);
    UNTIL(w, w->answered == 4);
    for (int i = 0; i < 3; i++)
        assert_int_equal(t[i].status, STORE_OK);
    assert_int_equal(read.status, STORE_OK);
    assert_int_equal(times(w->peers[1].done, "r "), 1);
    char *r = strstr(w->peers[1].done, "r ");
    memmove(r, r + 2, strlen(r + 2) + 1);
    assert_string_equal(w->peers[1].done, "a b c ");
}

static bool answer_moved(struct peer *p, const struct reply *command, struct buf *out)
{
    if (*command->list[0].text.p != 'F')
        return false;
    buf_printf(out, "-MOVED 80 127.0.0.1:%d\r\n", p->waits[63]);
    return true;
}

static void a_moved_master_is_asked_where(void **state)
{
    struct world *w = *state;
    static struct try t[4];
    w->peers[0].answer = answer_moved;
    w->peers[0].waits[63] = w->peers[1].port;
    take_over(w, 1); /* the old one does not know yet */
    for (int i = 0; i < 4; i++)
        try_post(w, &t[i], (const char *[]){"a", "b", "c", "d"}[i], FN_APPEND, 5);
    uint64_t begun = w->now;
    UNTIL(w, w->answered == 4);
    assert_true(w->now - begun < 700);
    assert_string_equal(w->peers[1].done, "a b c d ");
    assert_string_equal(w->order, "a b c d ");
}

/* Who is behind says what was: it must not win partitions back for the old master. */
static void an_old_claim_is_not_believed(void **state)
{
    struct world *w = *state;
    static struct try t;
    char old[4096];
    memcpy(old, w->peers[0].nodes, sizeof old);
    take_over(w, 0);
    world_pass(w, 11000); /* looked at now and then */
    assert_int_equal(w->r->parts[0].master->port, w->peers[1].port);
    for (int i = 0; i < PEERS; i++)
        memcpy(w->peers[i].nodes, old, sizeof old);
    world_pass(w, 11000);
    assert_int_equal(w->r->parts[0].master->port, w->peers[1].port);
    assert_int_equal(w->r->parts[0].master->replicas, 2); /* nor does it know who follows the new one */
    try_post(w, &t, "a", FN_APPEND, 5);
    SOON(w, t.status >= 0);
    assert_string_equal(w->peers[1].done, "a ");
    /* … unless the new one is gone for good */
    peer_close(&w->peers[1]);
    world_pass(w, 5000);
    assert_int_equal(w->r->parts[0].master->port, w->peers[1].port);
    world_pass(w, 6000);
    assert_int_equal(w->r->parts[0].master->port, w->peers[0].port);
}

/* While calls are under way at the old master, none of that partition goes to the new one. */
static void order_is_kept_over_a_move(void **state)
{
    struct world *w = *state;
    static struct try t[3];
    w->peers[0].frozen = true; /* a is on its way */
    try_post(w, &t[0], "a", FN_APPEND, 5);
    world_turn(w);
    take_over(w, 0);
    slots_doubt(w->r, SLICE_NONE);
    struct address from = {"127.0.0.1", 1};
    slots_view(w->r, slice_str(w->peers[1].nodes), &from);
    assert_int_equal(w->r->parts[5].master->port, w->peers[1].port);
    try_post(w, &t[1], "b", FN_APPEND, 5);
    try_post(w, &t[2], "c", FN_APPEND, 6); /* another partition need not wait */
    UNTIL(w, t[2].status >= 0);
    assert_string_equal(w->peers[1].done, "c ");
    assert_int_equal(t[1].status, -1);
    UNTIL(w, w->answered == 3);
    assert_string_equal(w->peers[1].done, "c a b ");
}

static void a_start_without_anybody_goes_on_trying(void **state)
{
    struct world *w = malloc(sizeof *w);
    static struct try t;
    (void)state;
    world_open(w, NULL, NULL);
    peer_close(&w->peers[0]);
    try_post(w, &t, "a", FN_APPEND, 5);
    world_pass(w, 3000);
    assert_int_equal(t.status, -1);
    peer_back(&w->peers[0]);
    UNTIL(w, t.status >= 0);
    assert_int_equal(t.status, STORE_OK);
    world_teardown((void **)&w);
}

/* --- The end --- */

static void again_done(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    try_done(r, c, status, reply);
    static struct try more[3]; /* who posts from there is answered too */
    static int n;
    if (n < 3) {
        n++;
        try_post(((struct try *)c)->world, &more[n - 1], "m", FN_APPEND, 5);
    }
}

static void the_end_answers_everything(void **state)
{
    struct world *w = *state;
    static struct try t[4];
    w->peers[0].mute = true;
    try_post(w, &t[0], "a", FN_APPEND, 5);
    SOON(w, times(w->peers[0].done, "a ") == 1);
    try_begin(w, &t[1], "b", FN_APPEND, 5);
    t[1].call.done = again_done;
    call_post(w->r, &t[1].call);
    try_post(w, &t[2], "r", FN_HEAD, 5);
    try_post(w, &t[3], "s", FN_HEAD, 6);
    queue_stop(w->r);
    assert_int_equal(t[0].status, STORE_UNKNOWN);
    assert_int_equal(t[1].status, STORE_RETRY);
    assert_int_equal(t[2].status, STORE_RETRY);
    assert_int_equal(t[3].status, STORE_RETRY);
    assert_int_equal(w->answered, 5); /* and the one that was posted meanwhile */
}

#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_silent_process_is_left),
        T(a_process_that_hangs_is_not_waited_for_for_ever),
        T(a_late_reply_is_not_believed),
        T(an_idle_link_is_asked_for_the_time),
        T(without_a_link_calls_wait_for_patience),
        T(patience_can_be_changed),
        T(nothing_old_goes_into_a_socket),
        T(a_queue_has_an_end),
        cmocka_unit_test(a_password_is_said_first),
        cmocka_unit_test(a_wrong_password_makes_no_link),
        T(garbage_ends_a_link),
        T(a_view_is_read),
        T(a_dead_master_is_followed_by_its_replica),
        T(a_moved_master_is_asked_where),
        T(an_old_claim_is_not_believed),
        T(order_is_kept_over_a_move),
        cmocka_unit_test(a_start_without_anybody_goes_on_trying),
        T(the_end_answers_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
