/* The Redis engine with an archive beside it: whatever races with the sweeper, no old text comes back; a PostgreSQL
 * that is away, or has lost what it had. Needs MAGPIE_TEST_REDIS and MAGPIE_TEST_POSTGRES. */
#define UTIL_MAIN
#include "tests/unit/store_archive_kit.h"

/* --- Between the sweeper's read, put and word to the head --------------------------------------------------------- */

/* Waits until the archive's put waits for a lock that the test holds. */
static void put_waits(struct both *b)
{
    EVENTUALLY(
        b, 200,
        atoi(kit_sql(b->k, "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and usename = '%s'",
                     b->role)) > 0);
}

static PGconn *second_admin(struct both *b)
{
    PGconn *c = PQconnectdb(b->k->base);
    char sql[128];
    assert_int_equal(PQstatus(c), CONNECTION_OK);
    snprintf(sql, sizeof sql, "set search_path = %s", b->k->schema);
    PQclear(PQexec(c, sql));
    return c;
}

static void changed_while_it_is_put(struct both *b, bool recalled, bool inserted)
{
    struct conv_key c = util_pair("ann", "bob");
    wait_for_tables(b);
    PGconn *other = second_admin(b);
    if (inserted) /* the rows are in the table, and not committed */
        kit_sql(b->k, "create or replace function hang() returns trigger language plpgsql as $$begin"
                      " perform pg_advisory_xact_lock(4711); return null; end$$;"
                      "create trigger hang after insert on message for each statement execute function hang();");
    PQclear(PQexec(other, inserted ? "begin; select pg_advisory_xact_lock(4711)"
                                   : "begin; lock table message in exclusive mode"));
    talk(b, 1, 10);
    put_waits(b); /* which the sweeper has read as they were sent */
    assert_int_equal(recalled ? recall(b, &c, 5, "ann", NULL) : edit(b, &c, 5, "ann", "edited"), STORE_OK);
    PQclear(PQexec(other, "commit"));
    PQfinish(other);
    const char *is = recalled ? "" : "\\x656469746564";
    EVENTUALLY(b, 200,
               in_archive(b) == 10 &&
                   strcmp(kit_sql(b->k, "select content from message where seq = 5"), recalled ? "\\x" : is) == 0);
    world_pass(&b->w, HOT_AGE_MS);
    EVENTUALLY(b, 200, in_redis(b, &c) == HOT);
    assert_string_equal(text_of(b, &c, 5), recalled ? "(recalled)" : "edited");
    assert_string_equal(text_of(b, &c, 4), "4");
}

static void recalled_between_read_and_put(void **state)
{
    changed_while_it_is_put(need(state), true, false);
}

static void recalled_between_put_and_told(void **state)
{
    changed_while_it_is_put(need(state), true, true);
}

static void edited_between_read_and_put(void **state)
{
    changed_while_it_is_put(need(state), false, false);
}

static void edited_between_put_and_told(void **state)
{
    changed_while_it_is_put(need(state), false, true);
}

static const char *row_lock = "begin; select from message where seq = 9 for update";

/* A reader that keeps what it has read while the change of it is under way. */
static void read_while_it_is_changed(void **state)
{
    struct both *b = need(state);
    struct conv_key c = cool(b, 70);
    PGconn *other = second_admin(b);
    PQclear(PQexec(other, row_lock));
    struct store_edit e = {.conv = conv_key_slice(&c), .sender = S("ann"), .seq = 9, .content = S("nine")};
    util_prepare(&b->w, &e.op);
    store_edit(b->w.s, &e);
    put_waits(b);
    assert_string_equal(text_of(b, &c, 9), "9");
    assert_string_equal(text_of(b, &c, 9), "9");
    PQclear(PQexec(other, "commit"));
    PQfinish(other);
    util_wait(&b->w, &e.op);
    assert_int_equal(e.op.status, STORE_OK);
    assert_string_equal(text_of(b, &c, 9), "nine");
}

/* A change of which nobody knows: it is made when the node has given it up. What was kept before does not hide it. */
static void a_change_that_comes_late(void **state)
{
    struct both *b = need(state);
    struct conv_key c = cool(b, 70);
    b->w.o.cluster.patience_ms = 500;
    store_configure(b->w.s, &b->w.o);
    assert_string_equal(text_of(b, &c, 9), "9"); /* which is kept */
    PGconn *other = second_admin(b);
    PQclear(PQexec(other, row_lock));
    assert_int_equal(edit(b, &c, 9, "ann", "nine"), STORE_UNKNOWN);
    PQclear(PQexec(other, "commit"));
    PQfinish(other);
    EVENTUALLY(b, 0, strcmp(kit_sql(b->k, "select rev from message where seq = 9"), "1") == 0);
    assert_string_equal(text_of(b, &c, 9), "nine");
    assert_int_equal(edit(b, &c, 9, "ann", "again"), STORE_OK);
    assert_string_equal(text_of(b, &c, 9), "again");
}

/* A second sweeper that was slow: its rows, as they were before a change, come when the message has long left Redis. */
static void a_slow_sweepers_late_put(void **state)
{
    struct both *b = need(state);
    struct conv_key c = cool(b, 20);
    kit_sql(b->k, "create table late as select * from message");
    assert_int_equal(edit(b, &c, 5, "ann", "edited"), STORE_OK);
    assert_int_equal(recall(b, &c, 6, "ann", NULL), STORE_OK);
    kit_open(b->k); /* the schema's tables, as another node has them */
    kit_connected(b->k);
    struct archive_row rows[20];
    for (uint64_t i = 0; i < 20; i++) {
        rows[i] = (struct archive_row){
            .conv = conv_key_slice(&c), .seq = i + 1, .sender = S("ann"), .name = S("Name"), .content = S("old")};
        rows[i].id = strtoull(kit_sql(b->k, "select id from late where seq = %u", (unsigned)i + 1), NULL, 10);
    }
    assert_int_equal(kit_put(b->k, rows, 20), ARCHIVE_OK);
    archive_close(b->k->a);
    b->k->a = NULL;
    assert_string_equal(text_of(b, &c, 5), "edited");
    assert_string_equal(text_of(b, &c, 6), "(recalled)");
    assert_string_equal(text_of(b, &c, 7), "7");
}

/* Two nodes that sweep everything, both, while messages are sent, edited and recalled and leave Redis: after each
 * change it is what is read, and in the end all is as it was said last. */
static void two_sweepers_and_many_changes(void **state)
{
    struct both *b = need(state);
    struct world *w = &b->w;
    struct conv_key c = util_pair("ann", "bob");
    enum { STEPS = 250 };
    char model[STEPS + 1][32];
    struct store *second;
    unsigned said = 0, seed = (unsigned)getpid();
    wait_for_tables(b);
    world_close(w);
    w->redis_hooks.sweep_all = true;
    w->o.cluster.archive.hot_age_ms = 1000;
    world_open(w);
    w->o.node++;
    w->o.path = NULL; /* that is the first one's */
    if (redis_open_hooked(&second, &w->o, &w->redis_hooks, w->why, sizeof w->why))
        fail_msg("%s", w->why);
    for (unsigned step = 0; step < STEPS; step++) {
        world_pass(w, 30);
        if (step == STEPS / 2) /* now nearly all of them are in the archive alone, and changed there */
            EVENTUALLY(b, 200, in_redis(b, &c) == HOT);
        if (said < 20 || rand_r(&seed) % 3 == 0) {
            snprintf(model[said + 1], sizeof model[0], "%u", said + 1);
            talk(b, said + 1, said + 1);
            said++;
            continue;
        }
        unsigned seq = 1 + (unsigned)rand_r(&seed) % said;
        bool gone = strcmp(model[seq], "(recalled)") == 0;
        if (rand_r(&seed) % 4 == 0) {
            assert_int_equal(recall(b, &c, seq, "ann", NULL), STORE_OK);
            snprintf(model[seq], sizeof model[0], "(recalled)");
        } else {
            char text[32];
            snprintf(text, sizeof text, "%u at %u", seq, step);
            assert_int_equal(edit(b, &c, seq, "ann", text), gone ? STORE_NOTFOUND : STORE_OK);
            if (!gone)
                memcpy(model[seq], text, sizeof text);
        }
        assert_string_equal(text_of(b, &c, seq), model[seq]);
        usleep(10000);
    }
    EVENTUALLY(b, 200, in_redis(b, &c) == HOT);
    for (unsigned seq = 1; seq <= said; seq++)
        assert_string_equal(text_of(b, &c, seq), model[seq]);
    store_close(second);
}

/* --- A database that is away, or refuses, or has forgotten -------------------------------------------------------- */

static void go_away(struct both *b, bool away)
{
    kit_sql(b->k, "alter role %s %s", b->role, away ? "nologin" : "login");
    if (away)
        kit_sql(b->k, "select pg_terminate_backend(pid) from pg_stat_activity where usename = '%s'", b->role);
}

static void away_and_back(void **state)
{
    struct both *b = need(state);
    struct conv_key c = cool(b, 100);
    b->w.o.cluster.patience_ms = 1000;
    store_configure(b->w.s, &b->w.o);
    go_away(b, true);
    talk(b, 101, 110); /* messages flow */
    PAGE(&b->w, &c, -1, -1, 8, "103 104 105 106 107 108 109 110", 1, 110, true);
    assert_string_equal(text_of(b, &c, 20), "(away)");
    assert_int_equal(recall(b, &c, 20, "ann", NULL), STORE_RETRY);
    assert_int_equal(edit(b, &c, 20, "ann", "x"), STORE_RETRY);
    struct store_inbox_peek p = {.user = S("bob"), .limit = 1000};
    assert_int_equal(CALL(&b->w, store_inbox_peek, &p), STORE_RETRY);
    store_page_free(&p.page);
    assert_int_equal(edit(b, &c, 105, "ann", "edited"), STORE_OK);
    EVENTUALLY(b, 5000, behind_ms(redis_of(b->w.s)) > 100000); /* the gauge */
    assert_int_equal(in_redis(b, &c), HOT + 10);               /* nothing leaves that is not archived */
    go_away(b, false);
    EVENTUALLY(b, 200, in_archive(b) == 110);
    EVENTUALLY(b, 200, behind_ms(redis_of(b->w.s)) < 10000);
    EVENTUALLY(b, 200, strcmp(text_of(b, &c, 20), "20") == 0);
    assert_string_equal(text_of(b, &c, 105), "edited");
    assert_int_equal(CALL(&b->w, store_inbox_peek, &p), STORE_OK);
    assert_int_equal(p.page.n, 110);
    store_page_free(&p.page);
    assert_int_equal(recall(b, &c, 20, "ann", NULL), STORE_OK);
}

/* Connections that end in the middle of writing behind: each message is in the archive once, in the end. */
static void connections_that_end(void **state)
{
    struct both *b = need(state);
    wait_for_tables(b);
    for (unsigned round = 0; round < 10; round++) {
        talk(b, round * 20 + 1, round * 20 + 20);
        world_pass(&b->w, 2000);
        usleep(200000);
        kit_sql(b->k, "select pg_terminate_backend(pid) from pg_stat_activity where usename = '%s'", b->role);
    }
    EVENTUALLY(b, 200, in_archive(b) == 200);
    struct conv_key c = util_pair("ann", "bob");
    world_pass(&b->w, HOT_AGE_MS);
    EVENTUALLY(b, 200, in_redis(b, &c) == HOT);
    assert_string_equal(text_of(b, &c, 1), "1");
}

/* One row that the database will not have keeps no other conversation waiting, and stays in Redis with those behind. */
static void a_refused_row(void **state)
{
    struct both *b = need(state);
    struct conv_key c = util_pair("ann", "bob");
    wait_for_tables(b);
    kit_sql(b->k,
            "create function refuse() returns trigger language plpgsql as $$begin if new.content = '5' then"
            " raise exception 'unlucky'; end if; return new; end$$; create trigger refuse before insert on message"
            " for each row execute function refuse()");
    talk(b, 1, 10);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(dm(&b->w, "cid", "dan", "x", NULL).op.status, STORE_OK);
    EVENTUALLY(b, 200, in_archive(b) == 19);
    world_pass(&b->w, HOT_AGE_MS);
    EVENTUALLY(b, 200, in_redis(b, &c) == 6);
    PAGE(&b->w, &c, 0, -1, 20, "1 2 3 4 5 6 7 8 9 10", 1, 10, false);
}

/* A database that was put back to an older state: what had not left Redis goes there once more before it does. */
static void what_the_archive_has_forgotten(void **state)
{
    struct both *b = need(state);
    struct conv_key c = util_pair("ann", "bob");
    wait_for_tables(b);
    talk(b, 1, 40);
    EVENTUALLY(b, 200, in_archive(b) == 40);
    assert_int_equal(edit(b, &c, 7, "ann", "seven"), STORE_OK);
    EVENTUALLY(b, 200, strcmp(kit_sql(b->k, "select rev from message where seq = 7"), "1") == 0);
    kit_sql(b->k, "delete from message where seq > 20; update message set rev = 0, content = 'old' where seq = 7");
    world_pass(&b->w, HOT_AGE_MS);
    EVENTUALLY(b, 200, in_redis(b, &c) == HOT);
    struct store_range all = page_of(&b->w, &c, 0, -1, 100);
    assert_int_equal(all.page.n, 40);
    store_page_free(&all.page);
    assert_string_equal(text_of(b, &c, 7), "seven");
}

#define WITH_BOTH(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* An argument is a pattern: only tests whose names match it. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WITH_BOTH(recalled_between_read_and_put),
        WITH_BOTH(recalled_between_put_and_told),
        WITH_BOTH(edited_between_read_and_put),
        WITH_BOTH(edited_between_put_and_told),
        WITH_BOTH(read_while_it_is_changed),
        WITH_BOTH(a_change_that_comes_late),
        WITH_BOTH(a_slow_sweepers_late_put),
        WITH_BOTH(two_sweepers_and_many_changes),
        WITH_BOTH(away_and_back),
        WITH_BOTH(connections_that_end),
        WITH_BOTH(a_refused_row),
        WITH_BOTH(what_the_archive_has_forgotten),
    };
    if (!there_are_both())
        print_message("skipped: MAGPIE_TEST_REDIS and MAGPIE_TEST_POSTGRES are wanted\n");
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
