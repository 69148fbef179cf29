/* What nodes try again: sessions that cannot be taken away, but never after the user has come back; and orders. */
#include "tests/unit/redis_peer.h"

#include "storage/redis/bus/bus_private.h"
#include "storage/redis/nodes/node_private.h"

enum { OUR_INC = 7 };

/* Function names, and which: "del " and "put ", as they are run. */
static char ran[4096];

static bool ends(struct slice s, const char *with)
{
    size_t n = strlen(with);
    return s.n >= n && memcmp(s.p + s.n - n, with, n) == 0;
}

static unsigned published; /* news for the other node, over whichever master */

static void count(struct slice message)
{
    struct news_in in;
    while (news_next(&message, &in) == 1)
        published++;
}

/* What functions of session.lua say of a user without watchers. */
static bool answer(struct peer *p, const struct reply *command, struct buf *out)
{
    static const char del[] = "D\0\0\0\0\0\1\0\0\0\0";
    static const char put[] = "N\0\0\0\0\0\3\0\0\0\2\0\0\0\0\0\1\0\0\0\0\0\1\0\0\0\0\0";
    struct slice name = command->n > 1 ? command->list[1].text : SLICE_NONE;
    bool dels = ends(name, "_session_del"), puts = ends(name, "_session_put");
    (void)p;
    if (peer_is(command->list[0].text, "SPUBLISH") && ends(command->list[1].text, "}:8"))
        count(command->list[2].text);
    if (!dels && !puts)
        return false;
    strcat(ran, dels ? "del " : "put ");
    resp_put(out, dels ? slice_of(del, sizeof del - 1) : slice_of(put, sizeof put - 1));
    return true;
}

static int setup(void **state)
{
    struct world *w = malloc(sizeof *w);
    world_open(w, NULL, NULL);
    struct master *nobody = &w->r->slots.nobody;
    for (int i = 0; i < PEERS; i++)
        w->peers[i].answer = answer;
    UNTIL(w, nobody->parts == 0 && w->r->slots.masters->lanes[LANE_WRITE].link.state == LINK_READY);
    w->r->node->nodes.inc = w->r->node->nodes.newest = OUR_INC; /* as if it had joined */
    ran[0] = '\0';
    published = 0;
    *state = w;
    return 0;
}

/* An operation of the hub, whose mailbox is the test's. */
struct deed {
    union {
        struct store_op op;
        struct bus_session_del del;
        struct bus_session_put put;
        struct bus_order order;
    };
    struct mailbox mb;
    int status; /* -1: not answered */
};

static void nobody_sleeps(void *ctx)
{
    (void)ctx;
}

static void done(void *owner, struct store_op *op)
{
    struct deed *d = owner;
    d->status = (int)op->status;
}

static void hand_over(struct world *w, struct deed *d, bool put)
{
    mailbox_init(&d->mb, nobody_sleeps, NULL);
    d->status = -1;
    const struct store_op op = {.home = &d->mb, .done = done};
    if (put) {
        d->put = (struct bus_session_put){.op = op, .user = SLICE_LIT("ann"), .conn = {.conn = 1}};
        bus_session_put(&w->r->bus->base, &d->put);
    } else {
        d->del = (struct bus_session_del){.op = op, .user = SLICE_LIT("ann")};
        bus_session_del(&w->r->bus->base, &d->del);
    }
}

static bool answered(struct deed *d)
{
    (void)mailbox_run(&d->mb, d);
    return d->status != -1;
}

static void away(struct world *w, bool is)
{
    for (int i = 0; i < PEERS; i++)
        if (is)
            peer_close(&w->peers[i]);
        else
            peer_back(&w->peers[i]);
}

/* What has been run by now, and nothing more is. */
static void ran_only(struct world *w, const char *which, const char * or)
{
    world_pass(w, 15000);
    if (strcmp(ran, which) != 0 && strcmp(ran, or) != 0)
        fail_msg("%s, not %s", ran, which);
}

/* The cluster is away until the first try has been given up. */
static void try_in_vain(struct world *w, struct deed *d)
{
    away(w, true);
    hand_over(w, d, false);
    UNTIL(w, answered(d));
    assert_true(d->status == STORE_RETRY || d->status == STORE_UNKNOWN);
    assert_string_equal(ran, "");
}

static void it_is_tried_until_it_is_done(void **state)
{
    struct world *w = *state;
    struct deed first, second;
    try_in_vain(w, &first);
    hand_over(w, &second, false); /* it is being done already */
    UNTIL(w, answered(&second));
    world_pass(w, 12000); /* a second try is given up as well */
    away(w, false);
    UNTIL(w, *ran);
    ran_only(w, "del ", "del "); /* once is enough */
}

static void not_after_the_user_has_come_back(void **state)
{
    struct world *w = *state;
    struct deed go, come;
    try_in_vain(w, &go);
    away(w, false);
    hand_over(w, &come, true);
    UNTIL(w, answered(&come));
    assert_int_equal(come.status, STORE_OK);
    ran_only(w, "put ", "put ");
}

/* The second try is under way when the user comes back, and is given up or not: the user's session stands. */
static void nor_by_a_try_that_is_under_way(void **state)
{
    struct world *w = *state;
    struct deed go, come;
    try_in_vain(w, &go);
    world_pass(w, 3000); /* the second one waits for the cluster */
    hand_over(w, &come, true);
    world_pass(w, 3000);
    away(w, false);
    UNTIL(w, answered(&come));
    assert_int_equal(come.status, STORE_OK);
    ran_only(w, "del put ", "put ");
}

/* Another incarnation has other sessions: what that one had ended with it. */
static void nor_for_an_incarnation_that_has_ended(void **state)
{
    struct world *w = *state;
    struct deed go;
    try_in_vain(w, &go);
    w->r->node->nodes.inc = w->r->node->nodes.newest = OUR_INC + 1;
    world_pass(w, 12000); /* whatever was under way is given up */
    away(w, false);
    ran_only(w, "", "");
}

static void it_ends_with_the_engine(void **state)
{
    struct world *w = *state;
    struct deed go;
    try_in_vain(w, &go); /* the teardown frees what waits, or is under way */
    world_pass(w, 1500);
}

/* --- Orders ------------------------------------------------------------------------------------------------------- */

enum { OTHER_INC = OUR_INC + 1 };

/* Two masters, of which each has half. */
static int setup_two(void **state)
{
    (void)setup(state);
    struct world *w = *state;
    for (int i = 0; i < PEERS; i++) {
        struct peer *p = &w->peers[i];
        p->nodes[0] = '\0';
        peer_tell(p, &w->peers[0], i ? "master" : "myself,master", NULL, 2, "0-8191");
        peer_tell(p, &w->peers[1], i == 1 ? "myself,master" : "master", NULL, 3, "8192-16383");
        peer_tell(p, &w->peers[2], "slave", &w->peers[0], 2, "");
    }
    slots_doubt(w->r, SLICE_NONE);
    UNTIL(w, w->r->parts[0].master != w->r->parts[PARTITIONS - 1].master &&
                 w->r->parts[0].master->lanes[LANE_NEWS].link.state == LINK_READY &&
                 w->r->parts[PARTITIONS - 1].master->lanes[LANE_NEWS].link.state == LINK_READY);
    return 0;
}

static void order(struct world *w, struct deed *d)
{
    mailbox_init(&d->mb, nobody_sleeps, NULL);
    d->status = -1;
    d->order = (struct bus_order){.op = {.home = &d->mb, .done = done},
                                  .kind = ORDER_REPLACE,
                                  .user = SLICE_LIT("ann"),
                                  .conn = {.node = OTHER_INC}};
    bus_order(&w->r->bus->base, &d->order);
}

/* How often the other node was told over that master. */
static unsigned told(struct world *w, unsigned peer)
{
    unsigned n = 0;
    for (const char *p = w->peers[peer].commands; (p = strstr(p, "SPUBLISH mn{")); p++)
        n += strstr(p, "}:8 ") == strchr(p, ':') - 1;
    return n;
}

/* Nobody says that it was done: the master may have lost it, and the next one is tried, until the node is dead. */
static void an_order_goes_over_each_master(void **state)
{
    struct world *w = *state;
    struct deed d;
    order(w, &d);
    UNTIL(w, told(w, 0) + told(w, 1) >= 1);
    assert_false(answered(&d));
    UNTIL(w, told(w, 0) >= 2 && told(w, 1) >= 2);
    assert_false(answered(&d));
    w->r->node->nodes.newest = OTHER_INC; /* it is known, and not in the table: it is dead */
    UNTIL(w, answered(&d));
    assert_int_equal(d.status, STORE_OK);
    unsigned n = told(w, 0) + told(w, 1);
    world_pass(w, 3000);
    assert_int_equal(told(w, 0) + told(w, 1), n);
}

/* One that is gone is not asked while another one is well. */
static void an_order_goes_over_a_master_that_is_well(void **state)
{
    struct world *w = *state;
    struct deed d[8];
    peer_close(&w->peers[0]);
    UNTIL(w, w->r->parts[0].master->lanes[LANE_NEWS].link.state != LINK_READY);
    for (unsigned i = 0; i < 8; i++)
        order(w, &d[i]);
    SOON(w, published == 8); /* without a second try */
    w->r->node->nodes.newest = OTHER_INC;
    for (unsigned i = 0; i < 8; i++)
        UNTIL(w, answered(&d[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_is_tried_until_it_is_done, setup, world_teardown),
        cmocka_unit_test_setup_teardown(not_after_the_user_has_come_back, setup, world_teardown),
        cmocka_unit_test_setup_teardown(nor_by_a_try_that_is_under_way, setup, world_teardown),
        cmocka_unit_test_setup_teardown(nor_for_an_incarnation_that_has_ended, setup, world_teardown),
        cmocka_unit_test_setup_teardown(it_ends_with_the_engine, setup, world_teardown),
        cmocka_unit_test_setup_teardown(an_order_goes_over_each_master, setup_two, world_teardown),
        cmocka_unit_test_setup_teardown(an_order_goes_over_a_master_that_is_well, setup_two, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
