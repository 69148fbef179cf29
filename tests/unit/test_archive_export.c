/* An export of a cluster has what has left Redis for the archive. Skipped without a Redis Cluster and a PostgreSQL. */
#define UTIL_MAIN
#include "tests/unit/archive_kit.h"
#include "tests/unit/dump_kit.h"
#include "tests/unit/redis_kit.h"

#include "storage/redis/dump/heads.h"
#include "storage/redis/layout.h"

enum { MESSAGES = 700, COLD = 500 };

/* Puts the first COLD messages of the file's pair into the archive, and edits one there. */
static void archive_them(struct kit *k)
{
    struct dump_reader *in;
    struct dump_record r;
    struct conv_key pair = util_pair("ann", "bob");
    assert_int_equal(dump_open(&in, file[0], why, sizeof why), 0);
    while (dump_next(in, &r) == 1 && !(r.kind == DUMP_MESSAGE && r.message.seq > COLD)) {
        const struct dump_message *m = &r.message;
        if (r.kind != DUMP_MESSAGE)
            continue;
        struct archive_row row = {.conv = conv_key_slice(&pair),
                                  .seq = m->seq,
                                  .id = m->id,
                                  .created_ms = m->created_ms,
                                  .birth_ms = m->birth_ms,
                                  .ttl_ms = m->ttl_ms,
                                  .edited_ms = m->edited_ms,
                                  .tier = m->tier,
                                  .recalled = m->flags & DUMP_RECALLED,
                                  .sender = m->sender,
                                  .name = m->name,
                                  .content = m->content};
        assert_int_equal(kit_put(k, &row, 1), ARCHIVE_OK);
    }
    dump_reader_free(in);
}

/* Says in the pair's head that these have left Redis. */
static void leave_redis(struct world *w, uint64_t last_id)
{
    struct conv_key pair = util_pair("ann", "bob");
    struct layout_head h = {.kind = LAYOUT_PAIR,
                            .used = 1,
                            .seq = MESSAGES,
                            .low = COLD,
                            .last_id = last_id,
                            .max = 0,
                            .archived = COLD,
                            .first = 1};
    struct buf b = BUF_INIT;
    layout_head_put(&b, &h);
    cluster_set(w, partition_of(conv_key_slice(&pair)), 'm', conv_key_slice(&pair), S("h"), buf_slice(&b));
    buf_free(&b);
    for (unsigned seq = 1; seq <= COLD; seq += COLD - 1) { /* the first and the last: they are not asked for again */
        char field[8];
        snprintf(field, sizeof field, "%u", seq);
        cluster_set(w, partition_of(conv_key_slice(&pair)), 'm', conv_key_slice(&pair), S(field), SLICE_NONE);
    }
}

static void what_the_archive_has_is_in_it(void **state)
{
    struct kit *k = *state;
    struct world a, one;
    if (!k)
        skip();
    (void)redis_kit_need();
    world_init(&a, "rocksdb");
    world_init(&one, "redis");
    files_init(&a);
    a.o.tiers[TIER_DM].max = one.o.tiers[TIER_DM].max = 0;
    one.o.cluster.archive.url = k->url;
    world_open(&a);
    assert_int_equal(user_make(&a, "ann", "Ann"), STORE_OK);
    assert_int_equal(user_make(&a, "bob", "Bob"), STORE_OK);
    for (int i = 0; i < MESSAGES; i++)
        assert_int_equal(dm(&a, i % 3 ? "ann" : "bob", i % 3 ? "bob" : "ann", "text", "").op.status, STORE_OK);
    struct conv_key pair = util_pair("ann", "bob");
    struct store_recall recall = {.conv = conv_key_slice(&pair), .seq = 3};
    assert_int_equal(CALL(&a, store_recall, &recall), STORE_OK);
    struct store_edit edit = {.conv = conv_key_slice(&pair), .seq = 4, .content = S("edited")};
    assert_int_equal(CALL(&a, store_edit, &edit), STORE_OK);
    uint64_t last_id = id_of(&a, &pair);
    world_close(&a);
    (void)export_world(&a, file[0]);
    kit_open(k);
    archive_them(k);
    if (import_of(&one, file[0]))
        fail_msg("%s", why);
    leave_redis(&one, last_id);
    if (export_to(&one, file[1]))
        fail_msg("%s", why);
    same_records(file[0], file[1]);
    one.o.cluster.archive.url = "postgresql://127.0.0.1:1/away"; /* half of it would be no export */
    assert_int_equal(export_to(&one, file[1]), ERR_CLOSED);
    assert_string_equal(why, "cluster.archive.url: the archive does not answer");
    one.o.cluster.archive.url = "nonsense://";
    assert_int_equal(export_to(&one, file[1]), ERR_INVALID);
    assert_null(strstr(why, "damaged"));
    files_fini();
    world_fini(&a);
    world_fini(&one);
}

/* Rows that no node has written: ids longer than one can be, and numbers that no head has room for. */
static void heads_of_what_is_no_conversation(void **state)
{
    static const struct {
        const char *key;
        size_t n;
        uint64_t seq;
    } rows[] = {{"pann\0", 5, 1},
                {"p\0bob", 5, 1},
                {"pann\0bob", 8, 0},
                {"pann\0bob", 8, (UINT64_C(1) << 48) - 1},
                {"pann\0bob", 8, INT64_MAX},
                {"cann\0bob", 8, 1},
                {NULL, 0, 1}};
    struct kit *k = *state;
    struct world one;
    char longest[130] = "p";
    uint64_t n;
    if (!k)
        skip();
    (void)redis_kit_need();
    world_init(&one, "redis");
    one.o.cluster.archive.url = k->url;
    kit_open(k);
    memset(longest + 1, 'a', sizeof longest - 1);
    longest[sizeof longest - 2] = '\0';
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct slice key = rows[i].key ? slice_of(rows[i].key, rows[i].n) : slice_of(longest, sizeof longest);
        struct archive_row row = {.conv = key,
                                  .seq = rows[i].seq,
                                  .id = UINT64_C(1) << 40,
                                  .created_ms = 1,
                                  .birth_ms = 1,
                                  .sender = S("ann"),
                                  .name = S("Ann"),
                                  .content = S("text")};
        assert_int_equal(kit_put(k, &row, 1), ARCHIVE_OK);
        int r = redis_heads(&one.o, &n, why, sizeof why);
        (void)kit_sql(k, "delete from message");
        if (r != ERR_INVALID)
            fail_msg("row %zu: %d, %s", i, r, why);
        assert_string_equal(why, "cluster.archive.url: the archive has something that is no private conversation");
    }
    world_fini(&one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(heads_of_what_is_no_conversation, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(what_the_archive_has_is_in_it, kit_setup, kit_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
