/* Groups with their WAIT, and what becomes of calls when something fails: against a fake Redis. */
#include "redis_peer.h"

static void calls_are_answered_in_order(void **state)
{
    struct world *w = *state;
    static struct try t[4];
    w->peers[0].commands[0] = '\0';
    try_post(w, &t[0], "a", FN_APPEND, 5);
    try_post(w, &t[1], "b", FN_APPEND, 9);
    try_post(w, &t[2], "c", FN_APPEND, 5);
    try_post(w, &t[3], "d", FN_APPEND, 9);
    assert_int_equal(w->answered, 0); /* never inside call_post() */
    SOON(w, w->answered == 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(t[i].status, STORE_OK);
    assert_string_equal(t[2].reply, "Nc");
    assert_string_equal(w->peers[0].done, "a c b d "); /* one partition after the other */
    assert_string_equal(w->peers[0].commands, "WAIT 2 50;");
    assert_string_equal(w->order, "a c b d ");
    assert_int_equal(atomic_load(&w->r->stats.groups), 1);
    assert_int_equal(atomic_load(&w->r->stats.repeats), 0);
}

static void a_command_is_what_redis_expects(void **state)
{
    struct world *w = *state;
    struct call c;
    struct buf out = BUF_INIT;
    char expected[256];
    call_begin(w->r, &c, FN_HEAD, 0);
    call_key(w->r, &c, 'm', SLICE_LIT("cx"));
    call_key(w->r, &c, 'g', SLICE_NONE);
    call_arg_u64(&c, 18446744073709551615u);
    call_arg(&c, SLICE_NONE);
    call_arg_open(&c, 3);
    buf_lit(&c.body, "xyz");
    call_arg_close(&c);
    call_write(w->r, &c, &out);
    snprintf(expected, sizeof expected,
             "*8\r\n$8\r\nFCALL_RO\r\n$12\r\nm%s_head\r\n$1\r\n2\r\n$11\r\nmm{3560}:cx\r\n$8\r\nmg{3560}\r\n"
             "$20\r\n18446744073709551615\r\n$0\r\n\r\n$3\r\nxyz\r\n",
             library_digits());
    assert_int_equal(out.n, strlen(expected));
    assert_memory_equal(out.p, expected, out.n);
    call_drop(w->r, &c);
    buf_free(&out);
}

static void reads_go_their_own_way_and_wait_too(void **state)
{
    struct world *w = *state;
    static struct try t;
    w->peers[0].commands[0] = '\0';
    try_post(w, &t, "r", FN_HEAD, 5);
    SOON(w, t.status >= 0);
    assert_int_equal(t.status, STORE_OK);
    assert_string_equal(w->peers[0].commands, "WAIT 2 50;");
}

static void one_group_is_under_way(void **state)
{
    struct world *w = *state;
    static struct try t[3];
    w->peers[0].frozen = true;
    try_post(w, &t[0], "a", FN_APPEND, 5);
    world_turn(w);
    try_post(w, &t[1], "b", FN_APPEND, 6); /* they gather */
    world_turn(w);
    try_post(w, &t[2], "c", FN_APPEND, 5);
    world_turn(w);
    w->peers[0].commands[0] = '\0';
    w->peers[0].frozen = false;
    SOON(w, w->answered == 3);
    assert_string_equal(w->order, "a b c ");
    assert_string_equal(w->peers[0].commands, "WAIT 2 50;WAIT 2 50;");
}

static void a_group_has_512_calls(void **state)
{
    struct world *w = *state;
    struct try *t = calloc(1100, sizeof *t);
    w->peers[0].commands[0] = '\0';
    for (int i = 0; i < 1100; i++)
        try_post(w, &t[i], "a", FN_APPEND, (unsigned)i % 40);
    SOON(w, w->answered == 1100);
    assert_string_equal(w->peers[0].commands, "WAIT 2 50;WAIT 2 50;WAIT 2 50;"); /* 512 + 512 + 76 */
    free(t);
}

static void a_group_has_256_kib(void **state)
{
    struct world *w = *state;
    static struct try t[8];
    char *big = malloc(100000);
    memset(big, 'x', 100000);
    w->peers[0].commands[0] = '\0';
    for (int i = 0; i < 8; i++) {
        try_begin(w, &t[i], "a", FN_APPEND, 7);
        call_arg(&t[i].call, slice_of(big, 100000));
        call_post(w->r, &t[i].call);
    }
    SOON(w, w->answered == 8);
    assert_string_equal(w->peers[0].commands, "WAIT 2 50;WAIT 2 50;WAIT 2 50;"); /* 3 + 3 + 2 */
    free(big);
}

static void replies_may_come_in_pieces(void **state)
{
    struct world *w = *state;
    static struct try t[3];
    w->peers[0].piece = 1;
    try_post(w, &t[0], "a", FN_APPEND, 5);
    try_post(w, &t[1], "b", FN_APPEND, 5);
    try_post(w, &t[2], "r", FN_HEAD, 5);
    for (int i = 0; i < 5000 && w->answered < 3; i++) {
        world_turn(w);
        for (unsigned j = 0; j < PEER_CONNS; j++)
            if (w->peers[0].conns[j].fd >= 0)
                peer_say(&w->peers[0].conns[j]);
    }
    assert_int_equal(w->answered, 3);
    assert_string_equal(t[1].reply, "Nb");
}

/* The order in which calls of one partition took effect last is that in which they were handed over. */
static void assert_sound(struct world *w, const struct try *t, int n)
{
    const char *last = w->peers[0].done;
    for (int i = 0; i < n; i++) {
        char word[20], *at = w->peers[0].done, *found = NULL;
        snprintf(word, sizeof word, "%s ", t[i].name);
        while ((at = strstr(at, word)))
            found = at++;
        if (t[i].status == STORE_OK) {
            assert_non_null(found);
            assert_true(found >= last);
            last = found;
        }
    }
}

static unsigned times_done(struct world *w, const char *name)
{
    unsigned n = 0;
    char word[20];
    snprintf(word, sizeof word, "%s ", name);
    for (const char *at = w->peers[0].done; (at = strstr(at, word)); at++)
        n++;
    return n;
}

/* The link ends at each byte of a group, on its way there and back; then the peer is well again. */
static void cut_everywhere(struct world *w, bool in, size_t bytes)
{
    for (size_t cut = 1; cut <= bytes; cut++) {
        struct peer *p = &w->peers[0];
        static struct try t[3];
        p->done[0] = p->commands[0] = w->order[0] = '\0';
        for (unsigned j = 0; j < PEER_CONNS; j++)
            p->conns[j].got = p->conns[j].gave = 0;
        *(in ? &p->cut_in : &p->cut_out) = cut;
        for (int i = 0; i < 3; i++) {
            try_begin(w, &t[i], (const char *[]){"a", "b", "c"}[i], FN_APPEND, 5);
            t[i].call.once = i == 1;
            call_post(w->r, &t[i].call);
        }
        struct link *l = &w->r->slots.masters->lanes[LANE_WRITE].link;
        SOON(w, l->state != LINK_READY);
        p->cut_in = p->cut_out = 0;
        UNTIL(w, t[0].status >= 0 && t[1].status >= 0 && t[2].status >= 0);
        assert_int_equal(t[0].status, STORE_OK);
        assert_int_equal(t[2].status, STORE_OK);
        assert_true(t[1].status == STORE_OK || t[1].status == STORE_UNKNOWN);
        assert_true(times_done(w, "b") <= 1); /* it must not be repeated */
        assert_true(t[1].status != STORE_OK || times_done(w, "b") == 1);
        assert_sound(w, t, 3);
        UNTIL(w, w->r->slots.masters->lanes[LANE_WRITE].link.state == LINK_READY);
    }
}

static void a_link_may_end_at_each_byte(void **state)
{
    struct world *w = *state;
    static struct try t;
    struct buf one = BUF_INIT;
    try_begin(w, &t, "a", FN_APPEND, 5);
    call_write(w->r, &t.call, &one);
    call_drop(w->r, &t.call);
    cut_everywhere(w, true, 3 * one.n + strlen("*3\r\n$4\r\nWAIT\r\n$1\r\n2\r\n$2\r\n50\r\n"));
    cut_everywhere(w, false, 3 * strlen("$2\r\nNa\r\n") + strlen(":2\r\n"));
    buf_free(&one);
}

/* --- Errors --- */

static const char *error_text;
static int error_times;

static bool answer_error(struct peer *p, const struct reply *command, struct buf *out)
{
    (void)p;
    if (command->list[0].text.p[0] != 'F' || peer_is(command->list[0].text, "FUNCTION") || !error_times)
        return false;
    error_times--;
    buf_printf(out, "-%s\r\n", error_text);
    return true;
}

static void what_was_refused_is_sent_again(void **state)
{
    struct world *w = *state;
    static const char *const errors[] = {"MOVED 80 127.0.0.1:1",
                                         "ASK 80 127.0.0.1:1",
                                         "TRYAGAIN Multiple keys request during rehashing of slot",
                                         "CLUSTERDOWN The cluster is down",
                                         "LOADING Redis is loading the dataset in memory",
                                         "READONLY You can't write against a read only replica.",
                                         "MASTERDOWN Link with MASTER is down",
                                         "BUSY Redis is busy running a script.",
                                         "ERR Function not found",
                                         "NOAUTH Authentication required."};
    w->peers[0].answer = answer_error;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        static struct try t[3];
        w->peers[0].done[0] = w->order[0] = '\0';
        error_text = errors[i];
        error_times = 3; /* all of the group */
        try_post(w, &t[0], "a", FN_APPEND, 5);
        try_post(w, &t[1], "b", FN_APPEND, 5);
        try_post(w, &t[2], "c", FN_APPEND, 5);
        UNTIL(w, t[2].status >= 0);
        assert_int_equal(t[0].status, STORE_OK);
        assert_string_equal(w->peers[0].done, "a b c ");
        assert_string_equal(w->order, "a b c ");
    }
    assert_non_null(strstr(w->peers[0].commands, "FUNCTION LOAD …;"));
}

static void refused_for_too_long_is_to_be_retried(void **state)
{
    struct world *w = *state;
    static struct try t, read;
    uint64_t begun = w->now;
    w->peers[0].answer = answer_error;
    error_text = "CLUSTERDOWN The cluster is down";
    error_times = -1;
    try_post(w, &t, "a", FN_APPEND, 5);
    try_post(w, &read, "r", FN_HEAD, 5);
    UNTIL(w, t.status >= 0 && read.status >= 0);
    assert_int_equal(t.status, STORE_RETRY);
    assert_int_equal(read.status, STORE_RETRY);
    assert_in_range(w->now - begun, 8000, 8500);
}

static void some_refusals_are_told_at_once(void **state)
{
    struct world *w = *state;
    static const char *const errors[] = {"NOREPLICAS Not enough good replicas to write.",
                                         "OOM allow-oom flag is not set on the function, can not run it when used "
                                         "memory > 'maxmemory'",
                                         "MISCONF Errors writing to the AOF file",
                                         "NOPERM this user has no permissions to run the 'fcall' command"};
    w->peers[0].answer = answer_error;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        static struct try t;
        error_text = errors[i];
        error_times = 1;
        try_post(w, &t, "a", FN_APPEND, 5);
        SOON(w, t.status >= 0);
        assert_int_equal(t.status, STORE_RETRY);
    }
}

/* What may have been done already is not "surely not done", whatever is said later. */
static void a_repeat_that_is_denied_stays_unknown(void **state)
{
    struct world *w = *state;
    static struct try t;
    w->peers[0].cut_out = 3;
    try_post(w, &t, "a", FN_APPEND, 5);
    SOON(w, times_done(w, "a") == 1);
    w->peers[0].cut_out = 0;
    w->peers[0].answer = answer_error;
    error_text = "OOM no";
    error_times = -1;
    UNTIL(w, t.status >= 0);
    assert_int_equal(t.status, STORE_UNKNOWN);
}

static void errors_of_functions_are_fatal(void **state)
{
    struct world *w = *state;
    static struct try t[2];
    w->peers[0].answer = answer_error;
    error_text = "ERR user_function:1: attempt to index a nil value";
    error_times = 1;
    try_post(w, &t[0], "a", FN_APPEND, 5);
    try_post(w, &t[1], "b", FN_APPEND, 5);
    SOON(w, w->answered == 2);
    assert_int_equal(t[0].status, STORE_FATAL);
    assert_int_equal(t[1].status, STORE_OK);
}

/* A slot that moves lets some calls through: none may be overtaken by a later one about the same. */
static void what_was_overtaken_is_not_repeated(void **state)
{
    struct world *w = *state;
    static struct try t[4];
    w->peers[0].answer = answer_error;
    error_text = "TRYAGAIN Multiple keys request during rehashing of slot";
    error_times = 2;
    for (int i = 0; i < 4; i++) {
        try_begin(w, &t[i], (const char *[]){"a", "b", "c", "d"}[i], FN_APPEND, 5);
        t[i].call.about = (uint32_t[]){7, 8, 7, 9}[i];
        call_post(w->r, &t[i].call);
    }
    SOON(w, w->answered == 3);
    assert_int_equal(t[0].status, STORE_RETRY); /* c was done, and is about the same */
    assert_int_equal(t[1].status, -1);          /* nothing about 8 was */
    assert_int_equal(t[2].status, STORE_OK);
    assert_int_equal(t[3].status, STORE_OK);
    UNTIL(w, t[1].status >= 0);
    assert_int_equal(t[1].status, STORE_OK);
    assert_string_equal(w->peers[0].done, "c d b ");
}

/* --- Copies --- */

/* What the master is asked when too few replicas have something: its replicas, by whom, and how it is. */
#define LOOK "INFO replication;TIME;CLUSTER INFO;CLUSTER NODES;"

/* The peers' replicas, one of which has these flags. */
static void world_flags(struct world *w, const char *flags)
{
    for (int i = 0; i < PEERS; i++) {
        struct peer *p = &w->peers[i];
        p->nodes[0] = '\0';
        peer_tell(p, &w->peers[0], i ? "master" : "myself,master", NULL, 1, "0-16383");
        peer_tell(p, &w->peers[1], "slave", &w->peers[0], 1, "");
        peer_tell(p, &w->peers[2], flags, &w->peers[0], 1, "");
    }
}

/* One that could be elected must have it: else a network that parts loses what was answered. */
static void a_silent_replica_is_waited_for(void **state)
{
    struct world *w = *state;
    struct peer *p = &w->peers[0];
    static struct try t, read, beat, next;
    p->copies = 1;
    world_flags(w, "slave,fail?"); /* the master alone thinks so */
    try_post(w, &t, "a", FN_APPEND, 5);
    try_post(w, &read, "r", FN_HEAD, 5);
    world_pass(w, 2500);
    assert_int_equal(t.status, -1);
    assert_int_equal(read.status, -1);
    try_begin(w, &beat, "x", FN_BEAT, 5);
    beat.call.relaxed = true;
    call_post(w->r, &beat.call);
    SOON(w, beat.status >= 0); /* or others would take this node for dead */
    assert_int_equal(beat.status, STORE_OK);
    world_flags(w, "slave,fail"); /* most masters do */
    SOON(w, t.status >= 0 && read.status >= 0);
    assert_int_equal(t.status, STORE_OK);
    assert_int_equal(read.status, STORE_OK);
    assert_string_equal(p->done, "r a x "); /* nothing was repeated */
    p->commands[0] = '\0';
    try_post(w, &next, "b", FN_APPEND, 5);
    SOON(w, next.status >= 0);
    assert_null(strstr(p->commands, "WAIT 2")); /* it is not asked for any more, … */
    p->copies = 2;
    world_flags(w, "slave");
    world_pass(w, COPIES_LOOK);
    p->commands[0] = '\0';
    try_post(w, &next, "c", FN_APPEND, 5);
    SOON(w, next.status >= 0);
    assert_string_equal(p->commands, LOOK "WAIT 1 50;"); /* until it is back */
    p->commands[0] = '\0';
    try_post(w, &next, "d", FN_APPEND, 5);
    SOON(w, next.status >= 0);
    assert_string_equal(p->commands, "WAIT 2 50;");
}

/* A replica that loads, or copies its master, cannot be waited for; nor is it elected while others are ahead. */
static void who_is_not_streamed_to_is_not_waited_for(void **state)
{
    struct world *w = *state;
    struct peer *p = &w->peers[0];
    static struct try t;
    p->copies = p->online = 1;
    p->commands[0] = '\0';
    try_post(w, &t, "a", FN_APPEND, 5);
    SOON(w, t.status >= 0);
    assert_int_equal(t.status, STORE_OK);
    assert_non_null(strstr(p->commands, "WAIT 2 50;" LOOK));
    p->commands[0] = '\0';
    try_post(w, &t, "b", FN_APPEND, 5);
    SOON(w, t.status >= 0);
    assert_string_equal(p->commands, "WAIT 1 50;");
    p->copies = p->online = 2;
    world_pass(w, COPIES_LOOK);
    try_post(w, &t, "c", FN_APPEND, 5);
    SOON(w, t.status >= 0);
    p->commands[0] = '\0';
    try_post(w, &t, "d", FN_APPEND, 5);
    SOON(w, t.status >= 0);
    assert_string_equal(p->commands, "WAIT 2 50;");
}

/* Peer 0 has two replicas that play no part, and two other masters, which it heard at `heard`. */
static void world_of_masters(struct world *w, unsigned heard, unsigned epoch)
{
    static struct peer replicas[2] = {{.id = "", .port = 1}, {.id = "", .port = 2}};
    for (int i = 0; i < 2; i++)
        memset(replicas[i].id, 'x' + i, 40);
    for (int i = 0; i < PEERS; i++) {
        struct peer *p = &w->peers[i];
        p->nodes[0] = '\0';
        p->heard = heard;
        p->epoch = epoch;
        peer_tell(p, &w->peers[0], i ? "master" : "myself,master", NULL, 1, "0-9999");
        peer_tell(p, &w->peers[1], i == 1 ? "myself,master" : "master", NULL, 2, "10000-12999");
        peer_tell(p, &w->peers[2], i == 2 ? "myself,master" : "master", NULL, 3, "13000-16383");
        for (int j = 0; j < 2; j++)
            peer_tell(p, &replicas[j], "slave", &w->peers[0], 1, "");
    }
}

/* Whose link has ended may have been elected by masters that this one did not hear. */
static void who_may_have_been_elected_counts(void **state)
{
    struct world *w = *state;
    struct peer *p = &w->peers[0];
    static struct try t, next;
    world_of_masters(w, 999, 5); /* before now, which is 1000 */
    UNTIL(w, w->r->parts[1000].master != w->r->parts[0].master);
    p->copies = p->online = 1;
    try_post(w, &t, "a", FN_APPEND, 5);
    world_pass(w, 1000);
    assert_int_equal(t.status, -1);
    char *other = strstr(p->nodes, "yyyy"); /* one of them follows whom the other elected: it says so first */
    memset(strstr(other, p->id), 'x', 40);
    world_pass(w, 500);
    assert_int_equal(t.status, -1);
    world_of_masters(w, 1000, 6); /* one more election, of whomever */
    world_pass(w, 1000);
    assert_int_equal(t.status, -1);
    world_of_masters(w, 1001, 6); /* they were heard since, and know of none that is newer */
    SOON(w, t.status >= 0);
    assert_int_equal(t.status, STORE_OK);
    p->commands[0] = '\0';
    try_post(w, &next, "b", FN_APPEND, 5);
    SOON(w, next.status >= 0);
    assert_null(strstr(p->commands, "WAIT 2"));
}

/* It has learned of its successor, and does not count it among its replicas any more. */
static void a_master_that_was_deposed_answers_nothing(void **state)
{
    struct world *w = *state;
    struct peer *p = &w->peers[0];
    static struct try t;
    p->copies = p->online = 1;
    p->deposed = true;
    world_flags(w, "slave,fail");
    try_begin(w, &t, "a", FN_APPEND, 5);
    t.call.once = true;
    call_post(w->r, &t.call);
    SOON(w, t.status >= 0);
    assert_int_equal(t.status, STORE_UNKNOWN);
}

/* A master that still serves after 4 s is not cut off from most: the silent one cannot be elected in its place. */
static void a_master_that_serves_need_not_wait_for_ever(void **state)
{
    struct world *w = *state;
    struct peer *p = &w->peers[0];
    static struct try t, cut;
    uint64_t begun = w->now;
    p->copies = 1;
    try_post(w, &t, "a", FN_APPEND, 5);
    UNTIL(w, t.status >= 0);
    assert_int_equal(t.status, STORE_OK);
    assert_in_range(w->now - begun, 4000, 4600);
    p->minority = true;
    begun = w->now;
    try_post(w, &cut, "b", FN_APPEND, 5);
    UNTIL(w, cut.status >= 0);
    assert_int_equal(cut.status, STORE_UNKNOWN);
    assert_in_range(w->now - begun, 8000, 8500);
}

/* The partition's next call must not wait for what is under way at a master that has lost it. */
static void a_group_ends_when_its_partition_moves(void **state)
{
    struct world *w = *state;
    static struct try t;
    w->peers[0].copies = 1;
    try_post(w, &t, "a", FN_APPEND, 5);
    world_pass(w, 500);
    assert_int_equal(t.status, -1);
    for (int i = 1; i < PEERS; i++) { /* the old one does not know of it */
        struct peer *p = &w->peers[i];
        p->nodes[0] = '\0';
        peer_tell(p, &w->peers[0], "master,fail", NULL, 1, "");
        peer_tell(p, &w->peers[1], "master", NULL, 2, "0-16383");
        peer_tell(p, &w->peers[2], "slave", &w->peers[1], 2, "");
    }
    UNTIL(w, t.status >= 0);
    assert_int_equal(t.status, STORE_OK);
    assert_string_equal(w->peers[1].done, "a ");
}

static void a_second_wait_may_do(void **state)
{
    struct world *w = *state;
    struct peer *p = &w->peers[0];
    static struct try t;
    p->commands[0] = '\0';
    p->waits[0] = 0;
    p->waits[1] = 2;
    p->waits_n = 2;
    try_post(w, &t, "a", FN_APPEND, 5);
    SOON(w, t.status >= 0);
    assert_int_equal(t.status, STORE_OK);
    assert_non_null(strstr(p->commands, "WAIT 2 50;" LOOK));
    assert_non_null(strstr(p->commands, "WAIT 2 150;"));
    assert_string_equal(p->done, "a ");
}

static void changes_without_copies_are_unknown(void **state)
{
    struct world *w = *state;
    struct peer *p = &w->peers[0];
    static struct try t, once, later, relaxed;
    p->copies = 0;
    uint64_t begun = w->now;
    try_post(w, &t, "a", FN_APPEND, 5);
    try_begin(w, &once, "o", FN_APPEND, 6);
    once.call.once = true;
    call_post(w->r, &once.call);
    SOON(w, once.status >= 0);
    assert_true(atomic_load(&w->r->stats.repeats) > 0);
    assert_int_equal(atomic_load(&w->r->stats.groups), 0);
    assert_int_equal(once.status, STORE_UNKNOWN); /* at once: it must not run twice */
    assert_int_equal(t.status, -1);
    world_pass(w, 1100);
    try_post(w, &later, "l", FN_APPEND, 5); /* short of copies for a second */
    SOON(w, later.status >= 0);
    assert_int_equal(later.status, STORE_RETRY);
    try_begin(w, &relaxed, "x", FN_APPEND, 8);
    relaxed.call.relaxed = true;
    call_post(w->r, &relaxed.call);
    SOON(w, relaxed.status >= 0);
    assert_int_equal(relaxed.status, STORE_OK); /* it needs none */
    UNTIL(w, t.status >= 0);
    assert_int_equal(t.status, STORE_UNKNOWN);
    assert_in_range(w->now - begun, 8000, 8500);
    assert_null(strstr(p->done, "l "));
    p->copies = 2;
    world_pass(w, 500); /* TIME and WAIT each 200 ms find that out */
    try_post(w, &t, "b", FN_APPEND, 5);
    SOON(w, t.status >= 0);
    assert_int_equal(t.status, STORE_OK);
}

/* A beat goes out at once, whatever waits for copies before it in its partition: else the other nodes would take this
 * one for dead. A change that needs no copies keeps its place all the same. */
static void beats_wait_for_nobody(void **state)
{
    struct world *w = *state;
    struct peer *p = &w->peers[0];
    static struct try t, behind, beats[2];
    p->copies = 0;
    try_begin(w, &t, "a", FN_APPEND, 5);
    t.call.about = 7;
    call_post(w->r, &t.call);
    world_pass(w, 1100);
    try_begin(w, &behind, "r", FN_APPEND, 5);
    behind.call.about = 7;
    behind.call.relaxed = true;
    call_post(w->r, &behind.call);
    for (int i = 0; i < 2; i++) {
        try_begin(w, &beats[i], i ? "y" : "x", FN_BEAT, 5);
        beats[i].call.relaxed = true;
        call_post(w->r, &beats[i].call);
        SOON(w, beats[i].status >= 0);
        assert_int_equal(beats[i].status, STORE_OK);
    }
    assert_int_equal(t.status, -1);
    assert_int_equal(behind.status, -1);
    assert_non_null(strstr(p->done, "x y "));
    assert_null(strstr(p->done, "r "));
    p->copies = 2;
    UNTIL(w, behind.status >= 0);
    assert_int_equal(t.status, STORE_OK);
    assert_int_equal(behind.status, STORE_OK);
    assert_non_null(strstr(p->done, "a r "));
    assert_int_equal(w->r->parts[5].master->bytes, 0);
}

static void a_shortage_is_watched(void **state)
{
    struct world *w = *state;
    struct peer *p = &w->peers[0];
    static struct try t;
    p->copies = 0;
    try_post(w, &t, "a", FN_APPEND, 5);
    world_pass(w, 1200);
    p->commands[0] = '\0';
    world_pass(w, 1000);
    unsigned probes = 0;
    for (const char *at = p->commands; (at = strstr(at, "TIME;WAIT 1 150;")); at++)
        probes++;
    assert_in_range(probes, 2, 6); /* reads find it out, too */
    p->copies = 1;
    UNTIL(w, t.status >= 0); /* sent again */
    assert_int_equal(t.status, STORE_OK);
}

static void reads_without_copies_wait_until_the_master_is_sure(void **state)
{
    struct world *w = *state;
    struct peer *p = &w->peers[0];
    static struct try t;
    uint64_t begun = w->now;
    p->copies = 0;
    try_post(w, &t, "r", FN_HEAD, 5);
    UNTIL(w, t.status >= 0);
    assert_int_equal(t.status, STORE_OK);
    assert_in_range(w->now - begun, 4000, 4600);
    try_post(w, &t, "s", FN_HEAD, 5); /* the next one need not wait as long */
    SOON(w, t.status >= 0);
    assert_int_equal(t.status, STORE_OK);
}

static void a_shortage_ends_with_its_link(void **state)
{
    struct world *w = *state;
    struct peer *p = &w->peers[0];
    static struct try t;
    p->copies = 0;
    try_post(w, &t, "r", FN_HEAD, 5);
    world_pass(w, 3900);
    for (unsigned j = 0; j < PEER_CONNS; j++)
        peer_hang_up(&p->conns[j]);
    world_pass(w, 1000); /* what was seen before says nothing about the process that is there now */
    assert_int_equal(t.status, -1);
    UNTIL(w, t.status >= 0);
}

static void relaxed_calls_need_no_copies(void **state)
{
    struct world *w = *state;
    static struct try t[2];
    w->peers[0].copies = 0;
    try_post(w, &t[0], "a", FN_APPEND, 5);
    try_begin(w, &t[1], "b", FN_APPEND, 5);
    t[1].call.relaxed = true;
    call_post(w->r, &t[1].call);
    SOON(w, t[1].status >= 0);
    assert_int_equal(t[0].status, -1);
    assert_int_equal(t[1].status, STORE_OK);
}

static void with_one_copy_nobody_is_asked(void **state)
{
    struct world *w = *state;
    static struct try t;
    w->r->options.cluster.copies = 1;
    w->peers[0].copies = 0;
    w->peers[0].commands[0] = '\0';
    try_post(w, &t, "a", FN_APPEND, 5);
    SOON(w, t.status >= 0);
    assert_int_equal(t.status, STORE_OK);
    assert_string_equal(w->peers[0].commands, "WAIT 0 50;");
}

#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(calls_are_answered_in_order),
        T(a_command_is_what_redis_expects),
        T(reads_go_their_own_way_and_wait_too),
        T(one_group_is_under_way),
        T(a_group_has_512_calls),
        T(a_group_has_256_kib),
        T(replies_may_come_in_pieces),
        T(a_link_may_end_at_each_byte),
        T(what_was_refused_is_sent_again),
        T(refused_for_too_long_is_to_be_retried),
        T(some_refusals_are_told_at_once),
        T(a_repeat_that_is_denied_stays_unknown),
        T(errors_of_functions_are_fatal),
        T(what_was_overtaken_is_not_repeated),
        T(a_silent_replica_is_waited_for),
        T(who_is_not_streamed_to_is_not_waited_for),
        T(who_may_have_been_elected_counts),
        T(a_master_that_was_deposed_answers_nothing),
        T(a_master_that_serves_need_not_wait_for_ever),
        T(a_group_ends_when_its_partition_moves),
        T(a_second_wait_may_do),
        T(changes_without_copies_are_unknown),
        T(beats_wait_for_nobody),
        T(a_shortage_is_watched),
        T(reads_without_copies_wait_until_the_master_is_sure),
        T(a_shortage_ends_with_its_link),
        T(relaxed_calls_need_no_copies),
        T(with_one_copy_nobody_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
