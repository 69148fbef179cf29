/* The archive, with a real PostgreSQL (archive_kit.h): rows as they are put, read, changed and dropped. */
#include "tests/unit/archive_kit.h"

/* --- Rows --------------------------------------------------------------------------------------------------------- */

static void assert_row(const struct archive_row *a, const struct archive_row *b)
{
    assert_true(a->seq == b->seq && a->id == b->id && a->created_ms == b->created_ms && a->birth_ms == b->birth_ms);
    assert_true(a->ttl_ms == b->ttl_ms && a->edited_ms == b->edited_ms && a->rev == b->rev);
    assert_true(a->recalled == b->recalled && a->tier == b->tier);
    assert_true(slice_eq(a->sender, b->sender) && slice_eq(a->name, b->name) && slice_eq(a->content, b->content));
}

static void rows_come_back_as_they_were(void **state)
{
    struct kit *k = *state;
    if (!k)
        skip();
    kit_open(k);
    static char large[65536];
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (char)(i * 7);
    struct archive_row rows[] = {
        kit_row("pa", 1, 0, "hello"),
        {.conv = SLICE_LIT("pa"), .seq = 2, .sender = SLICE_LIT("\0\xff"), .content = SLICE_LIT("a\0b\0")},
        {.conv = SLICE_LIT("pa"), .seq = 3, .content = slice_of(large, sizeof large), .name = SLICE_LIT("\xc3\x28")},
        {.conv = SLICE_LIT("pa"),
         .seq = UINT64_C(1) << 47,
         .id = INT64_MAX,
         .created_ms = UINT64_C(1) << 47,
         .birth_ms = (UINT64_C(1) << 48) - 1,
         .ttl_ms = 5,
         .edited_ms = 6,
         .rev = 65535,
         .tier = 2,
         .recalled = true},
        kit_row("pa", 4, 1, "another"),
    };
    struct archive_row other[] = {{.conv = SLICE_LIT("p\0"), .seq = 1, .content = SLICE_LIT("zero in the key")},
                                  {.conv = SLICE_LIT("p"), .seq = 1, .content = SLICE_LIT("shorter")}};
    assert_int_equal(kit_put(k, rows, 5), ARCHIVE_OK);
    assert_int_equal(kit_put(k, other, 2), ARCHIVE_OK);
    struct kit_page *page = kit_range(k, "pa", 0, UINT64_MAX, 100, false);
    assert_true(page->status == ARCHIVE_OK && page->n == 5);
    const unsigned order[] = {0, 1, 2, 4, 3};
    for (unsigned i = 0; i < 5; i++)
        assert_row(&page->rows[i], &rows[order[i]]);
    kit_page_free(page);
    page = kit_range(k, "p", 0, UINT64_MAX, 100, false);
    assert_true(page->n == 1 && slice_eq(page->rows[0].content, SLICE_LIT("shorter")));
    kit_page_free(page);
    page = kit_range(k, "nobody", 0, UINT64_MAX, 100, false);
    assert_true(page->status == ARCHIVE_OK && page->n == 0);
    kit_page_free(page);
}

static void only_a_larger_rev_replaces(void **state)
{
    struct kit *k = *state;
    if (!k)
        skip();
    kit_open(k);
    static const struct {
        uint32_t rev;
        const char *content, *expected;
    } puts[] = {{1, "one", "one"},     {1, "one again", "one"}, {0, "zero", "one"},
                {3, "three", "three"}, {2, "two", "three"},     {4, "", ""}};
    for (unsigned i = 0; i < 6; i++) {
        struct archive_row row = kit_row("p", 7, puts[i].rev, puts[i].content);
        row.edited_ms = puts[i].rev;
        row.recalled = puts[i].rev == 4;
        assert_int_equal(kit_put(k, &row, 1), ARCHIVE_OK);
        struct kit_page *page = kit_range(k, "p", 7, 7, 1, true);
        assert_int_equal(page->n, 1);
        assert_true(slice_eq(page->rows[0].content, slice_str(puts[i].expected)));
        assert_int_equal(page->rows[0].recalled, i == 5);
        kit_page_free(page);
    }
}

/* Numbers that were given twice, since Redis lost messages: those of the message that is there now. */
static void a_larger_id_replaces(void **state)
{
    struct kit *k = *state;
    if (!k)
        skip();
    kit_open(k);
    struct archive_row lost = kit_row("p", 7, 9, "lost"), now = kit_row("p", 7, 0, "now");
    now.id = lost.id + 1;
    assert_int_equal(kit_put(k, &lost, 1), ARCHIVE_OK);
    assert_int_equal(kit_put(k, &now, 1), ARCHIVE_OK);
    assert_int_equal(kit_put(k, &lost, 1), ARCHIVE_OK);
    struct kit_page *page = kit_range(k, "p", 7, 7, 1, true);
    assert_true(page->n == 1 && page->rows[0].rev == 0 && slice_eq(page->rows[0].content, SLICE_LIT("now")));
    kit_page_free(page);
}

/* Which row is the first that has not ended, by its own time to live or its tier's. */
static void the_oldest_that_has_not_ended(void **state)
{
    struct kit *k = *state;
    if (!k)
        skip();
    kit_open(k);
    struct archive_row rows[4]; /* born at 3001 … 3004 */
    for (unsigned i = 0; i < 4; i++)
        rows[i] = kit_row("p", i + 1, 0, "x");
    rows[1].ttl_ms = 1000; /* until 4002 */
    rows[2].tier = 1;
    assert_int_equal(kit_put(k, rows, 4), ARCHIVE_OK);
    static const struct {
        uint64_t from, above, now, dm, small, seq;
    } cases[] = {
        {0, 0, 0, 0, 0, 1},          {2, 0, 0, 0, 0, 2},    {0, 1002, 0, 0, 0, 3},       {0, 0, 4001, 0, 0, 1},
        {0, 0, 4001, 3002, 0, 2},    {2, 0, 4002, 0, 0, 3}, {0, 0, 4002, 3002, 3004, 4}, {0, 0, 4002, 3004, 3004, 4},
        {0, 0, 4002, 3005, 3003, 3}, {5, 0, 0, 0, 0, 0},    {0, 0, 4002, 3005, 3005, 0},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct archive_oldest o = {.req = KIT_REQ(k),
                                   .conv = SLICE_LIT("p"),
                                   .from = cases[i].from,
                                   .above_id = cases[i].above,
                                   .now_ms = cases[i].now,
                                   .born_ms = {cases[i].dm, cases[i].small, 0}};
        archive_oldest(k->a, &o);
        assert_int_equal(kit_wait(k, &o.req), ARCHIVE_OK);
        if (o.seq != cases[i].seq)
            fail_msg("case %u: %u", i, (unsigned)o.seq);
    }
}

static void ranges_go_both_ways(void **state)
{
    struct kit *k = *state;
    if (!k)
        skip();
    kit_open(k);
    struct archive_row rows[100];
    for (unsigned i = 0; i < 100; i++)
        rows[i] = kit_row("p", 2 * (99 - i) + 1, 0, "x"); /* 1, 3 … 199, handed over backwards */
    assert_int_equal(kit_put(k, rows, 100), ARCHIVE_OK);
    static const struct {
        uint64_t from, to;
        uint32_t limit;
        bool newest;
        uint32_t n;
        uint64_t first, last;
    } cases[] = {
        {1, 199, 100, false, 100, 1, 199},
        {1, 199, 10, false, 10, 1, 19},
        {1, 199, 10, true, 10, 181, 199},
        {2, 2, 10, true, 0, 0, 0},
        {3, 3, 10, false, 1, 3, 3},
        {0, UINT64_MAX, 1000, true, 100, 1, 199},
        {10, 20, 3, true, 3, 15, 19},
        {10, 20, 3, false, 3, 11, 15},
        {200, 500, 5, false, 0, 0, 0},
        {20, 10, 5, false, 0, 0, 0},
        {UINT64_MAX, UINT64_MAX, 1, false, 0, 0, 0},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kit_page *page = kit_range(k, "p", cases[i].from, cases[i].to, cases[i].limit, cases[i].newest);
        if (page->n != cases[i].n ||
            (page->n && (page->rows[0].seq != cases[i].first || page->rows[page->n - 1].seq != cases[i].last)))
            fail_msg("case %u: %u rows", i, page->n);
        kit_page_free(page);
    }
}

static enum archive_status change(struct kit *k, uint64_t seq, uint32_t rev, bool recalled, const char *content)
{
    struct archive_change c = {.req = KIT_REQ(k),
                               .conv = SLICE_LIT("p"),
                               .seq = seq,
                               .id = 1000 + seq,
                               .rev = rev,
                               .recalled = recalled,
                               .edited_ms = recalled ? 0 : 99,
                               .content = slice_str(content)};
    archive_change(k->a, &c);
    return kit_wait(k, &c.req);
}

static void a_change_is_for_one_revision(void **state)
{
    struct kit *k = *state;
    if (!k)
        skip();
    kit_open(k);
    struct archive_row row = kit_row("p", 5, 2, "sent");
    row.tier = 1;
    assert_int_equal(kit_put(k, &row, 1), ARCHIVE_OK);
    assert_int_equal(change(k, 5, 1, false, "old view"), ARCHIVE_MOVED);
    assert_int_equal(change(k, 6, 0, false, "nothing there"), ARCHIVE_MOVED);
    assert_int_equal(change(k, 5, 2, false, "edited"), ARCHIVE_OK);
    assert_int_equal(change(k, 5, 2, false, "late"), ARCHIVE_MOVED); /* the same again, made late after all */
    struct archive_row late = kit_row("p", 5, 2, "a slow sweeper's");
    assert_int_equal(kit_put(k, &late, 1), ARCHIVE_OK);
    struct kit_page *page = kit_range(k, "p", 5, 5, 1, false);
    assert_true(page->rows[0].rev == 3 && page->rows[0].edited_ms == 99 && page->rows[0].tier == 1);
    assert_true(slice_eq(page->rows[0].content, SLICE_LIT("edited")) && !page->rows[0].recalled);
    kit_page_free(page);
    assert_int_equal(change(k, 5, 3, true, ""), ARCHIVE_OK);
    page = kit_range(k, "p", 5, 5, 1, false);
    assert_true(page->rows[0].rev == 4 && page->rows[0].edited_ms == 0 && page->rows[0].content.n == 0);
    assert_true(page->rows[0].recalled && page->rows[0].tier == 1 && page->rows[0].id == 1005);
    kit_page_free(page);
}

static struct archive_oldest oldest(struct kit *k, const char *conv)
{
    struct archive_oldest o = {.req = KIT_REQ(k), .conv = slice_str(conv)};
    archive_oldest(k->a, &o);
    assert_int_equal(kit_wait(k, &o.req), ARCHIVE_OK);
    return o;
}

static void drop_takes_the_oldest(void **state)
{
    struct kit *k = *state;
    if (!k)
        skip();
    kit_open(k);
    assert_true(oldest(k, "p").seq == 0);
    static struct archive_row rows[ARCHIVE_ROWS_MAX];
    for (unsigned from = 0; from < 2000; from += ARCHIVE_ROWS_MAX) {
        for (unsigned i = 0; i < ARCHIVE_ROWS_MAX; i++)
            rows[i] = kit_row("p", from + i + 1, 0, "x");
        assert_int_equal(kit_put(k, rows, ARCHIVE_ROWS_MAX), ARCHIVE_OK);
    }
    rows[0] = kit_row("q", 1, 0, "another's");
    rows[0].ttl_ms = 77;
    rows[0].tier = 2;
    assert_int_equal(kit_put(k, rows, 1), ARCHIVE_OK);
    struct archive_drop d = {.req = KIT_REQ(k), .conv = SLICE_LIT("p"), .below = 1501};
    archive_drop(k->a, &d);
    assert_int_equal(kit_wait(k, &d.req), ARCHIVE_OK);
    assert_true(d.dropped == ARCHIVE_DROP_MAX && d.more);
    assert_int_equal(oldest(k, "p").seq, 1001);
    d.req.ctx = k;
    archive_drop(k->a, &d);
    assert_int_equal(kit_wait(k, &d.req), ARCHIVE_OK);
    assert_true(d.dropped == 500 && !d.more);
    struct archive_oldest o = oldest(k, "p");
    assert_true(o.seq == 1501 && o.birth_ms == 4501 && o.ttl_ms == 0 && o.tier == 0);
    o = oldest(k, "q");
    assert_true(o.seq == 1 && o.ttl_ms == 77 && o.tier == 2);
}

/* --- Many at once ------------------------------------------------------------------------------------------------- */

/* Two sweepers with the same rows in opposite orders: none waits for the other for ever, each row is there once. */
static void two_sweepers_and_100_000_rows(void **state)
{
    struct kit *k = *state;
    if (!k)
        skip();
    kit_open(k);
    kit_connected(k);
    struct archive *first = k->a, *second;
    kit_open(k);
    second = k->a;
    kit_connected(k);
    enum { BATCHES = 100 };
    struct many *all = calloc(2 * BATCHES, sizeof *all);
    for (unsigned i = 0; i < 2 * BATCHES; i++) {
        struct many *m = &all[i];
        unsigned batch = i < BATCHES ? i : i - BATCHES;
        for (unsigned r = 0; r < ARCHIVE_ROWS_MAX; r++) {
            unsigned row = i < BATCHES ? r : ARCHIVE_ROWS_MAX - 1 - r;
            snprintf(m->keys[r], sizeof m->keys[r], "p%u", row % 10);
            m->rows[r] =
                kit_row(m->keys[r], batch * 100 + row / 10 + 1, 0, "a message of some forty bytes, as they are");
        }
        m->p = (struct archive_put){.req = KIT_REQ(k), .rows = m->rows, .n = ARCHIVE_ROWS_MAX};
        m->p.req.patience_ms = 60000;
        archive_put(i % 2 ? first : second, &m->p);
    }
    unsigned want = 2 * BATCHES;
    kit_until(k, all_answered, &want);
    for (unsigned i = 0; i < want; i++)
        assert_int_equal(all[i].p.req.status, ARCHIVE_OK);
    assert_string_equal(kit_sql(k, "select count(*) from message"), "100000");
    assert_string_equal(kit_sql(k, "select count(distinct tableoid) from message"), "4"); /* spread over partitions */
    struct archive_stats st;
    archive_get_stats(first, &st);
    assert_true(st.put == 100000 && st.waiting == 0 && st.failed == 0 && st.put_latency.count == BATCHES);
    archive_close(first);
    free(all);
}

/* --- Rows that the database will not have ------------------------------------------------------------------------- */

static void trigger(struct kit *k, const char *body)
{
    kit_sql(k, "create or replace function refuse() returns trigger language plpgsql as $$begin %s return new; end$$",
            body);
    kit_sql(k, "drop trigger if exists refuse on message; create trigger refuse before insert on message for each row"
               " execute function refuse()");
}

static void one_bad_row_stops_no_other(void **state)
{
    struct kit *k = *state;
    if (!k)
        skip();
    kit_open(k);
    kit_connected(k);
    trigger(k, "if new.seq in (13, 700) then raise exception 'unlucky'; end if;");
    static struct archive_row rows[ARCHIVE_ROWS_MAX];
    for (unsigned i = 0; i < ARCHIVE_ROWS_MAX; i++)
        rows[i] = kit_row("p", i + 1, 0, "x");
    unsigned before = kit_logged("archive.refused");
    assert_int_equal(kit_put(k, rows, ARCHIVE_ROWS_MAX), ARCHIVE_REFUSED);
    for (unsigned i = 0; i < ARCHIVE_ROWS_MAX; i++)
        assert_int_equal(rows[i].refused, i == 12 || i == 699);
    assert_string_equal(kit_sql(k, "select count(*) from message"), "998");
    assert_int_equal(kit_logged("archive.refused"), before + 2);
    trigger(k, "");
    assert_int_equal(kit_put(k, rows, ARCHIVE_ROWS_MAX), ARCHIVE_OK); /* and it is forgiven */
    assert_false(rows[12].refused);
    assert_string_equal(kit_sql(k, "select count(*) from message"), "1000");
}

static void a_message_twice_in_a_batch_is_kept(void **state)
{
    struct kit *k = *state;
    if (!k)
        skip();
    kit_open(k);
    struct archive_row rows[] = {kit_row("p", 1, 0, "x"), kit_row("p", 2, 0, "y"), kit_row("p", 1, 1, "z")};
    assert_int_equal(kit_put(k, rows, 3), ARCHIVE_OK); /* a caller's fault, and no reason to lose anything */
    assert_string_equal(kit_sql(k, "select encode(content, 'escape') from message where seq = 1"), "z");
}

static void too_slow_in_one_go_is_done_in_several(void **state)
{
    struct kit *k = *state;
    if (!k)
        skip();
    k->o.timeout_ms = 400;
    kit_open(k);
    kit_connected(k);
    trigger(k, "perform pg_sleep(0.008);");
    struct archive_row rows[100];
    for (unsigned i = 0; i < 100; i++)
        rows[i] = kit_row("p", i + 1, 0, "x");
    assert_int_equal(kit_put(k, rows, 100), ARCHIVE_OK);
    assert_string_equal(kit_sql(k, "select count(*) from message"), "100");
    trigger(k, "perform pg_sleep(5);");
    rows[0].seq = 500;
    assert_int_equal(kit_put(k, rows, 1), ARCHIVE_AWAY); /* a row alone that is too slow waits for better times */
}

static bool why_is(struct kit *k, const char *part)
{
    struct archive_stats st;
    archive_get_stats(k->a, &st);
    return *part ? strstr(st.why, part) != NULL : !*st.why;
}

/* A full disk and its like: later, and told once, whatever file it names and whether some go well; why is to be seen
 * until all have gone well for a while, and another reason is told. */
static void a_full_disk_is_told_once(void **state)
{
    struct kit *k = *state;
    if (!k)
        skip();
    kit_open(k);
    kit_connected(k);
    struct archive_row row = kit_row("p", 1, 0, "x");
    unsigned before = kit_logged("archive.failed");
    for (unsigned round = 1; round <= 2; round++) {
        for (unsigned i = 0; i < 3; i++) {
            char body[128];
            snprintf(body, sizeof body,
                     "raise exception 'could not extend file %u: No space left on device' using errcode = '53100';",
                     3 * round + i);
            trigger(k, body);
            assert_int_equal(kit_put(k, &row, 1), ARCHIVE_AWAY);
        }
        assert_int_equal(kit_logged("archive.failed"), before + 1);
        trigger(k, "");
        assert_int_equal(kit_put(k, &row, 1), ARCHIVE_OK);
        assert_true(why_is(k, "No space left"));
        for (unsigned i = 0; !why_is(k, "") && i < 100; i++)
            usleep(100000);
        assert_true(why_is(k, ""));
    }
    trigger(k, "raise exception 'out of memory' using errcode = '53200';");
    assert_int_equal(kit_put(k, &row, 1), ARCHIVE_AWAY);
    assert_int_equal(kit_logged("archive.failed"), before + 2);
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)

/* --- Conversations --- */

enum { HEADS_N = 25, HEADS_PAGE = 7 };
struct some_heads {
    unsigned n, page; /* so far; of them on the last page */
    char conv[HEADS_N + 1][8];
    uint64_t first[HEADS_N + 1], last[HEADS_N + 1], last_id[HEADS_N + 1];
};

static void heads_come(void *ctx, struct archive_req *req)
{
    const struct archive_heads *h = (const struct archive_heads *)req;
    struct some_heads *all = ctx;
    all->page = h->n;
    for (uint32_t i = 0; i < h->n && all->n <= HEADS_N; i++, all->n++) {
        snprintf(all->conv[all->n], sizeof all->conv[0], "%.*s", (int)h->heads[i].conv.n, h->heads[i].conv.p);
        all->first[all->n] = h->heads[i].first;
        all->last[all->n] = h->heads[i].last;
        all->last_id[all->n] = h->heads[i].last_id;
    }
    req->ctx = NULL;
}

static enum archive_status next_heads(struct kit *k, struct some_heads *all)
{
    struct archive_heads h = {.req = {.done = heads_come, .ctx = all, .patience_ms = KIT_PATIENCE_MS},
                              .after = slice_str(all->n ? all->conv[all->n - 1] : ""),
                              .limit = HEADS_PAGE};
    archive_heads(k->a, &h);
    return kit_wait(k, &h.req);
}

static void conversations_by_pages(void **state)
{
    struct kit *k = *state;
    if (!k)
        skip();
    static struct some_heads all;
    kit_open(k);
    kit_connected(k);
    assert_int_equal(next_heads(k, &all), ARCHIVE_OK);
    assert_int_equal(all.n, 0);
    for (unsigned i = 0; i < HEADS_N; i++) {
        char conv[8];
        snprintf(conv, sizeof conv, "p%02u", (i * 7) % HEADS_N);
        struct archive_row rows[3];
        for (unsigned j = 0; j <= i % 3; j++)
            rows[j] = kit_row(conv, 5 + i + j, 0, "x");
        assert_int_equal(kit_put(k, rows, 1 + i % 3), ARCHIVE_OK);
    }
    do
        assert_int_equal(next_heads(k, &all), ARCHIVE_OK);
    while (all.page == HEADS_PAGE);
    assert_int_equal(all.n, HEADS_N);
    for (unsigned i = 0; i < HEADS_N; i++) {
        unsigned at = i * 7 % HEADS_N;
        char want[8];
        snprintf(want, sizeof want, "p%02u", at);
        assert_string_equal(all.conv[at], want);
        assert_int_equal(all.first[at], 5 + i);
        assert_int_equal(all.last[at], 5 + i + i % 3);
        assert_int_equal(all.last_id[at], kit_row("p", 5 + i + i % 3, 0, "x").id);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(rows_come_back_as_they_were),
        WITH(only_a_larger_rev_replaces),
        WITH(a_larger_id_replaces),
        WITH(the_oldest_that_has_not_ended),
        WITH(ranges_go_both_ways),
        WITH(a_change_is_for_one_revision),
        WITH(drop_takes_the_oldest),
        WITH(two_sweepers_and_100_000_rows),
        WITH(one_bad_row_stops_no_other),
        WITH(a_message_twice_in_a_batch_is_kept),
        WITH(too_slow_in_one_go_is_done_in_several),
        WITH(a_full_disk_is_told_once),
        WITH(conversations_by_pages),
    };
    (void)kit_skip();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
