/* The Redis engine with an archive beside it: private messages that have left Redis are read, recalled and edited like
 * others; whatever races with the sweeper, no old text comes back; a PostgreSQL that is away, or has lost what it had.
 * Needs MAGPIE_TEST_REDIS and MAGPIE_TEST_POSTGRES. */
#define UTIL_MAIN
#include "tests/unit/test_store_util.h"

#include "storage/redis/cold/behind.h"
#include "tests/unit/archive_kit.h"

enum { HOT = 4, HOT_AGE_MS = 60000 };

struct both {
    struct world w;
    struct kit *k; /* of it, the superuser's connection and the schema */
    char role[64], url[512];
};

static bool there_are_both(void)
{
    return redis_kit_addresses() && getenv("MAGPIE_TEST_POSTGRES");
}

static int setup(void **state)
{
    if (!there_are_both())
        return 0;
    struct both *b = calloc(1, sizeof *b);
    assert_int_equal(kit_setup((void **)&b->k), 0);
    world_init(&b->w, "redis");
    snprintf(b->role, sizeof b->role, "r%s", b->k->schema);
    kit_sql(b->k, "create role %s login password 'secret'; grant all on schema %s to %s", b->role, b->k->schema,
            b->role);
    snprintf(b->url, sizeof b->url, "postgresql://%s:secret%s?options=-csearch_path%%3D%s", b->role,
             strrchr(b->k->base, '@'), b->k->schema);
    b->w.o.cluster.archive.url = b->url;
    b->w.o.cluster.archive.hot = HOT;
    b->w.o.cluster.archive.hot_age_ms = HOT_AGE_MS;
    b->w.o.cluster.archive.cache_ms = 600000;
    b->w.o.cluster.patience_ms = 4000;
    b->w.o.inbox_max = 0;
    b->w.o.tiers[TIER_DM] = (struct store_tier_options){.durability = DURABILITY_COMMIT};
    world_open(&b->w);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct both *b = *state;
    if (!b)
        return 0;
    world_fini(&b->w);
    kit_sql(b->k, "drop schema %s cascade; drop owned by %s; drop role %s; create schema %s", b->k->schema, b->role,
            b->role, b->k->schema);
    assert_int_equal(kit_teardown((void **)&b->k), 0);
    free(b);
    return 0;
}

static struct both *need(void **state)
{
    if (!*state)
        skip();
    return *state;
}

/* --- What stands where -------------------------------------------------------------------------------------------- */

/* A number that Redis replies to a command about a conversation's key; `rest` follows the key. */
static long redis_number(struct both *b, const char *command, const struct conv_key *c, const char *rest)
{
    struct redis *r = redis_of(b->w.s);
    struct slice tag = partition_tag(&r->tags, partition_of(conv_key_slice(c)));
    char host[64], line[1024], out[256] = "";
    const char *members = redis_kit_addresses(), *colon = strchr(members, ':');
    snprintf(host, sizeof host, "%.*s", (int)(colon - members), members);
    size_t n = (size_t)snprintf(line, sizeof line, "printf '%s \"%sm{%.*s}:", command, b->w.prefix, (int)tag.n, tag.p);
    for (unsigned i = 0; i < c->n; i++)
        n += (size_t)snprintf(line + n, sizeof line - n, c->p[i] ? "%c" : "\\\\x00", c->p[i]);
    snprintf(line + n, sizeof line - n, "\" %s\\n' | redis-cli -c -h %s -p %d 2>&1", rest, host, atoi(colon + 1));
    FILE *f = popen(line, "r");
    assert_non_null(f);
    while (fgets(out, sizeof out, f)) /* the last line, after redirections */
        ;
    pclose(f);
    return atol(out);
}

/* Rows that Redis has of a conversation. */
static long in_redis(struct both *b, const struct conv_key *c)
{
    return redis_number(b, "HLEN", c, "") - redis_number(b, "HEXISTS", c, "h");
}

static long in_archive(struct both *b)
{
    return atol(kit_sql(b->k, "select coalesce((select count(*) from message), 0)"));
}

#define EVENTUALLY(b, ms, ...)                                                                                         \
    do {                                                                                                               \
        uint64_t end_ = clock_mono_ms() + 40000;                                                                       \
        while (!(__VA_ARGS__)) {                                                                                       \
            if (clock_mono_ms() > end_)                                                                                \
                fail_msg("never: %s", #__VA_ARGS__);                                                                   \
            world_pass(&(b)->w, (ms));                                                                                 \
            usleep(100000);                                                                                            \
        }                                                                                                              \
    } while (0)

static void wait_for_tables(struct both *b)
{
    EVENTUALLY(b, 0,
               kit_sql(b->k, "select to_regclass('message')")[0] &&
                   kit_sql(b->k, "select to_regclass('magpie_archive')")[0]);
}

/* n messages from ann to bob, "1" … */
static void talk(struct both *b, unsigned from, unsigned to)
{
    for (unsigned i = from; i <= to; i++) {
        char text[16];
        snprintf(text, sizeof text, "%u", i);
        struct store_append a = dm(&b->w, "ann", "bob", text, NULL);
        assert_int_equal(a.op.status, STORE_OK);
        assert_int_equal(a.seq, i);
    }
}

/* All but the newest HOT of n messages have left Redis. */
static struct conv_key cool(struct both *b, unsigned n)
{
    struct conv_key c = util_pair("ann", "bob");
    wait_for_tables(b);
    talk(b, 1, n);
    EVENTUALLY(b, 200, in_archive(b) == n);
    world_pass(&b->w, HOT_AGE_MS);
    EVENTUALLY(b, 200, in_redis(b, &c) == HOT);
    assert_int_equal(in_archive(b), n);
    return c;
}

/* The text of a message as history shows it; "(recalled)", "(none)", or "(away)". */
static const char *text_of(struct both *b, const struct conv_key *c, uint64_t seq)
{
    static char text[256];
    struct store_range q = {.conv = conv_key_slice(c),
                            .has_after = true,
                            .after = seq - 1,
                            .has_before = true,
                            .before = seq + 1,
                            .limit = 1};
    enum store_status status = CALL(&b->w, store_range, &q);
    snprintf(text, sizeof text, "%s", status == STORE_RETRY ? "(away)" : "(none)");
    if (status == STORE_OK && q.page.n) {
        assert_int_equal(q.page.messages[0].seq, seq);
        snprintf(text, sizeof text, "%.*s", (int)q.page.messages[0].content.n, q.page.messages[0].content.p);
        if (q.page.messages[0].recalled)
            snprintf(text, sizeof text, "(recalled)");
    }
    store_page_free(&q.page);
    return text;
}

static uint64_t first_of(struct both *b, const struct conv_key *c)
{
    struct store_range q = page_of(&b->w, c, -1, -1, 1);
    store_page_free(&q.page);
    return q.first;
}

static enum store_status edit(struct both *b, const struct conv_key *c, uint64_t seq, const char *who, const char *text)
{
    struct store_edit e = {.conv = conv_key_slice(c), .sender = S(who), .seq = seq, .content = S(text)};
    world_pass(&b->w, 1);
    enum store_status status = CALL(&b->w, store_edit, &e);
    if (status == STORE_OK)
        assert_true(e.id > 0 && e.edited_ms > e.created_ms && e.name_len == 4 && memcmp(e.name, "Name", 4) == 0);
    return status;
}

static enum store_status recall(struct both *b, const struct conv_key *c, uint64_t seq, const char *who, bool *again)
{
    struct store_recall q = {.conv = conv_key_slice(c), .sender = S(who), .seq = seq};
    enum store_status status = CALL(&b->w, store_recall, &q);
    if (again)
        *again = q.again;
    return status;
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

static void of_any_age(void **state)
{
    struct both *b = need(state);
    struct conv_key c = cool(b, 300);
    for (unsigned round = 0; round < 2; round++) { /* from PostgreSQL, then from what is kept in Redis */
        PAGE(&b->w, &c, -1, -1, 3, "298 299 300", 1, 300, true);
        PAGE(&b->w, &c, -1, -1, 6, "295 296 297 298 299 300", 1, 300, true); /* across the border */
        PAGE(&b->w, &c, -1, 131, 5, "126 127 128 129 130", 1, 300, true);    /* and over the border of a block */
        PAGE(&b->w, &c, -1, 4, 10, "1 2 3", 1, 300, false);
        PAGE(&b->w, &c, 0, -1, 3, "1 2 3", 1, 300, true);
        PAGE(&b->w, &c, 293, -1, 9, "294 295 296 297 298 299 300", 1, 300, false);
        PAGE(&b->w, &c, 63, 67, 9, "64 65 66", 1, 300, false);
        PAGE(&b->w, &c, 297, 500, 9, "298 299 300", 1, 300, false);
        struct store_range all = page_of(&b->w, &c, 0, -1, 1000);
        assert_int_equal(all.page.n, 300);
        for (unsigned i = 0; i < 300; i++) {
            char text[16];
            snprintf(text, sizeof text, "%u", i + 1);
            const struct store_message *m = &all.page.messages[i];
            assert_true(slice_eq(m->content, S(text)) && slice_eq(m->sender, S("ann")) && m->id && m->created_ms);
            assert_true(slice_eq(m->sender_name, S("Name")) && (!i || m->id > m[-1].id));
        }
        store_page_free(&all.page);
        all = page_of(&b->w, &c, -1, -1, 1000);
        assert_int_equal(all.page.n, 300);
        store_page_free(&all.page);
    }
    /* Kept indeed: what happens behind its back is not seen. */
    kit_sql(b->k, "update message set content = 'behind' where seq = 70");
    assert_string_equal(text_of(b, &c, 70), "70");
    struct store_conv_load l = {.conv = conv_key_slice(&c)};
    assert_int_equal(CALL(&b->w, store_conv_load, &l), STORE_OK);
    assert_true(l.seq == 300 && l.first == 1 && l.exists);
    struct store_conversations q = {.user = S("bob"), .limit = 5};
    assert_int_equal(CALL(&b->w, store_conversations, &q), STORE_OK);
    assert_true(q.n == 1 && q.list[0].unread == 300 && q.list[0].last >= 0);
    store_conversations_free(&q);
    world_restart(&b->w); /* another node knows nothing of it but what Redis and PostgreSQL have */
    PAGE(&b->w, &c, -1, 131, 5, "126 127 128 129 130", 1, 300, true);
}

static void inboxes_of_any_age(void **state)
{
    struct both *b = need(state);
    struct conv_key c = cool(b, 90);
    talk(b, 91, 95);
    assert_int_equal(recall(b, &c, 3, "ann", NULL), STORE_OK);
    struct store_inbox_peek p = {.user = S("bob"), .limit = 1000};
    assert_int_equal(CALL(&b->w, store_inbox_peek, &p), STORE_OK);
    assert_true(p.page.n == 95 && !p.more);
    for (unsigned i = 0; i < 95; i++) {
        char text[16];
        snprintf(text, sizeof text, "%u", i + 1);
        assert_int_equal(p.page.messages[i].seq, i + 1);
        assert_true(i == 2 ? p.page.messages[i].recalled : slice_eq(p.page.messages[i].content, S(text)));
    }
    struct store_inbox_ack ack = {.user = S("bob"), .up_to = p.page.messages[89].id};
    assert_int_equal(CALL(&b->w, store_inbox_ack, &ack), STORE_OK);
    assert_true(ack.removed == 90 && ack.remaining == 5);
    store_page_free(&p.page);
}

/* All that one has sent, for who deletes it: the archive is walked too, page by page. */
static void sent_at_any_age(void **state)
{
    struct both *b = need(state);
    struct conv_key c = cool(b, 200);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(dm(&b->w, "bob", "ann", "not hers", NULL).op.status, STORE_OK);
        assert_int_equal(dm(&b->w, "bob", "cid", "nor this", NULL).op.status, STORE_OK);
    }
    assert_int_equal(recall(b, &c, 9, "ann", NULL), STORE_OK);
    struct store_sent q = {.sender = S("ann"), .id_max = UINT64_MAX};
    unsigned found[201] = {0}, pages = 0, n = 0;
    do {
        assert_int_equal(CALL(&b->w, store_sent, &q), STORE_OK);
        for (uint32_t i = 0; i < q.n; i++) {
            assert_true(slice_eq(slice_of(q.list[i].conv, q.list[i].conv_n), conv_key_slice(&c)));
            assert_true(q.list[i].seq >= 1 && q.list[i].seq <= 200);
            found[q.list[i].seq]++;
            n++;
        }
    } while (q.more && ++pages < 2000);
    assert_int_equal(n, 199);
    for (unsigned i = 1; i <= 200; i++)
        assert_int_equal(found[i], i != 9);
}

/* --- Changes ------------------------------------------------------------------------------------------------------ */

static void changes_of_any_age(void **state)
{
    struct both *b = need(state);
    struct conv_key c = cool(b, 140);
    bool again;
    assert_string_equal(text_of(b, &c, 70), "70"); /* its block is kept now */
    assert_int_equal(edit(b, &c, 70, "ann", "seventy"), STORE_OK);
    assert_string_equal(text_of(b, &c, 70), "seventy");
    assert_string_equal(text_of(b, &c, 71), "71");
    assert_int_equal(edit(b, &c, 70, "ann", "once more"), STORE_OK);
    assert_string_equal(text_of(b, &c, 70), "once more");
    assert_int_equal(edit(b, &c, 70, "bob", "not mine"), STORE_DENIED);
    assert_int_equal(recall(b, &c, 70, "bob", NULL), STORE_DENIED);
    assert_int_equal(recall(b, &c, 70, "ann", &again), STORE_OK);
    assert_false(again);
    assert_string_equal(text_of(b, &c, 70), "(recalled)");
    assert_int_equal(recall(b, &c, 70, "ann", &again), STORE_OK);
    assert_true(again);
    assert_int_equal(edit(b, &c, 70, "ann", "too late"), STORE_NOTFOUND);
    assert_int_equal(recall(b, &c, 141, "ann", NULL), STORE_NOTFOUND);
    assert_int_equal(recall(b, &c, 72, "", NULL), STORE_OK); /* whoever sent it */
    struct store_recall late = {.conv = conv_key_slice(&c), .sender = S("ann"), .seq = 73, .window_ms = 1000};
    assert_int_equal(CALL(&b->w, store_recall, &late), STORE_LATE);
    struct store_edit late_edit = {
        .conv = conv_key_slice(&c), .sender = S("ann"), .seq = 73, .window_ms = 1000, .content = S("x")};
    assert_int_equal(CALL(&b->w, store_edit, &late_edit), STORE_LATE);
    assert_int_equal(edit(b, &c, 139, "ann", "young"), STORE_OK); /* one that is in Redis */
    EVENTUALLY(b, 200, strcmp(kit_sql(b->k, "select content from message where seq = 139"), "\\x796f756e67") == 0);
    assert_string_equal(kit_sql(b->k, "select string_agg(rev::text, ' ' order by seq) from message where seq in"
                                      " (70, 71, 72, 139)"),
                        "3 0 1 1");
    assert_string_equal(kit_sql(b->k, "select count(*) from message where content = '' and flags & 1 = 1"), "2");
}

/* Many who change and read the same old message at once: whoever reads after a change was answered sees it, or a later
 * one; changes are answered in the order handed over. */
static void no_kept_block_outlives_a_change(void **state)
{
    struct both *b = need(state);
    struct conv_key c = cool(b, 70);
    enum { ROUNDS = 12 };
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct store_range before[3];
        struct store_edit edits[2];
        char texts[2][16];
        for (unsigned j = 0; j < 2; j++) {
            snprintf(texts[j], sizeof texts[j], "%u.%u", i, j);
            edits[j] =
                (struct store_edit){.conv = conv_key_slice(&c), .sender = S("ann"), .seq = 9, .content = S(texts[j])};
        }
        world_pass(&b->w, 1);
        for (unsigned j = 0; j < 3; j++) {
            before[j] = (struct store_range){.conv = conv_key_slice(&c), .has_before = true, .before = 20, .limit = 15};
            util_prepare(&b->w, &before[j].op);
            store_range(b->w.s, &before[j]);
            if (j < 2) {
                util_prepare(&b->w, &edits[j].op);
                store_edit(b->w.s, &edits[j]);
            }
        }
        util_wait(&b->w, &edits[1].op);
        assert_null(edits[0].op.home); /* answered before */
        assert_true(edits[0].op.status == STORE_OK && edits[1].op.status == STORE_OK);
        assert_true(edits[1].edited_ms > edits[0].edited_ms);
        assert_string_equal(text_of(b, &c, 9), texts[1]);
        for (unsigned j = 0; j < 3; j++) {
            util_wait(&b->w, &before[j].op);
            assert_true(before[j].op.status == STORE_OK && before[j].page.n == 15);
            store_page_free(&before[j].page);
        }
        assert_string_equal(text_of(b, &c, 9), texts[1]); /* those readers have kept nothing older */
    }
    assert_string_equal(kit_sql(b->k, "select rev from message where seq = 9"), "24");
}

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

/* --- The end of messages ------------------------------------------------------------------------------------------ */

static void by_count(void **state)
{
    struct both *b = need(state);
    struct conv_key c = cool(b, 100);
    b->w.o.tiers[TIER_DM].max = 30;
    store_configure(b->w.s, &b->w.o);
    EVENTUALLY(b, 0, first_of(b, &c) == 71);
    PAGE(&b->w, &c, 0, -1, 3, "71 72 73", 71, 100, true);
    PAGE(&b->w, &c, -1, 72, 3, "71", 71, 100, false);
    assert_int_equal(recall(b, &c, 70, "ann", NULL), STORE_NOTFOUND);
    world_pass(&b->w, DAY);
    EVENTUALLY(b, 1000, in_archive(b) == 30);
    PAGE(&b->w, &c, 0, -1, 3, "71 72 73", 71, 100, true);
}

static void by_time(void **state)
{
    struct both *b = need(state);
    struct conv_key c = cool(b, 50);
    b->w.o.tiers[TIER_DM].ttl_ms = 10 * DAY;
    store_configure(b->w.s, &b->w.o);
    world_pass(&b->w, 5 * DAY);
    talk(b, 51, 60);
    EVENTUALLY(b, 200, in_archive(b) == 60);
    PAGE(&b->w, &c, 0, -1, 3, "1 2 3", 1, 60, true);
    world_pass(&b->w, 5 * DAY);
    PAGE(&b->w, &c, 49, -1, 3, "51 52 53", first_of(b, &c), 60, true);
    EVENTUALLY(b, 1000, in_archive(b) == 10);
    EVENTUALLY(b, 200, first_of(b, &c) == 51);
    PAGE(&b->w, &c, 0, -1, 3, "51 52 53", 51, 60, true);
    world_pass(&b->w, 6 * DAY);
    EVENTUALLY(b, 1000, in_archive(b) == 0);
    EVENTUALLY(b, 200, first_of(b, &c) == 61);
    talk(b, 61, 61);
    PAGE(&b->w, &c, -1, -1, 3, "61", 61, 61, false);
}

static void a_time_to_live_of_their_own(void **state)
{
    struct both *b = need(state);
    struct conv_key c = util_pair("ann", "bob");
    wait_for_tables(b);
    for (unsigned i = 0; i < 20; i++) {
        util_later(&b->w);
        struct store_append a = append_of(&c, TIER_DM, "ann", "x");
        a.ttl_ms = i % 2 ? 0 : 2 * DAY;
        assert_int_equal(CALL(&b->w, store_append, &a), STORE_OK);
    }
    EVENTUALLY(b, 200, in_archive(b) == 20);
    world_pass(&b->w, HOT_AGE_MS);
    EVENTUALLY(b, 200, in_redis(b, &c) == HOT);
    PAGE(&b->w, &c, 0, -1, 5, "1 2 3 4 5", 1, 20, true);
    world_pass(&b->w, 2 * DAY);
    PAGE(&b->w, &c, 0, -1, 5, "2 4 6 8 10", first_of(b, &c), 20, true);
    PAGE(&b->w, &c, -1, 9, 3, "4 6 8", first_of(b, &c), 20, true);
    EVENTUALLY(b, 1000, first_of(b, &c) == 2);
}

#define WITH_BOTH(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* An argument is a pattern: only tests whose names match it. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WITH_BOTH(of_any_age),
        WITH_BOTH(inboxes_of_any_age),
        WITH_BOTH(sent_at_any_age),
        WITH_BOTH(changes_of_any_age),
        WITH_BOTH(no_kept_block_outlives_a_change),
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
        WITH_BOTH(by_count),
        WITH_BOTH(by_time),
        WITH_BOTH(a_time_to_live_of_their_own),
    };
    if (!there_are_both())
        print_message("skipped: MAGPIE_TEST_REDIS and MAGPIE_TEST_POSTGRES are wanted\n");
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
