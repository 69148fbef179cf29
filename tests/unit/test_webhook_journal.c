/* The journal of plugins/webhook: order, restart, torn ends, limits. */
#include "plugins/webhook/journal.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct place {
    char directory[64];
};

static int make_place(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    assert_non_null(p);
    snprintf(p->directory, sizeof p->directory, "/tmp/magpie-journal-XXXXXX");
    assert_non_null(mkdtemp(p->directory));
    *state = p;
    return 0;
}

static int drop_place(void **state)
{
    struct place *p = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", p->directory);
    int rc = system(command);
    free(p);
    return rc;
}

static struct journal *open_at(const struct place *p, uint64_t limit)
{
    char why[200] = "";
    struct journal *j = journal_open(p->directory, limit, why, sizeof why);
    assert_non_null(j);
    return j;
}

struct seen {
    unsigned count, first, last;
    bool ascending;
};

static void see(void *ctx, const void *p, size_t n)
{
    struct seen *s = ctx;
    char text[32];
    snprintf(text, sizeof text, "%.*s", (int)(n < 31 ? n : 31), (const char *)p);
    unsigned number = (unsigned)strtoul(text, NULL, 10);
    if (!s->count)
        s->first = number;
    else
        s->ascending = s->ascending && number == s->last + 1;
    s->last = number;
    s->count++;
}

static void put(struct journal *j, unsigned number, size_t size)
{
    char *text = calloc(1, size + 16);
    int n = snprintf(text, 16, "%u ", number);
    memset(text + n, 'x', size);
    assert_int_equal(journal_append(j, text, (size_t)n + size), 0);
    free(text);
}

/* Takes all, in batches. */
static struct seen take_all(struct journal *j, size_t batch)
{
    struct seen s = {.ascending = true};
    int n;
    while ((n = journal_peek(j, batch, see, &s)) > 0)
        assert_int_equal(journal_advance(j), 0);
    assert_int_equal(n, 0);
    return s;
}

/* What was lost since it was last asked. */
static void lost(struct journal *j, uint64_t over_limit, uint64_t damaged)
{
    struct journal_loss loss = journal_lost(j);
    assert_int_equal(loss.over_limit, over_limit);
    assert_int_equal(loss.damaged, damaged);
    assert_true((loss.bytes > 0) == (damaged > 0));
    assert_false(loss.cursor);
}

/* Other bytes at a place of a file. */
static void damage(const char *path, uint64_t at, size_t n)
{
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    for (; n; n--, at++) {
        unsigned char c;
        assert_int_equal(pread(fd, &c, 1, (off_t)at), 1);
        c ^= 0x41;
        assert_int_equal(pwrite(fd, &c, 1, (off_t)at), 1);
    }
    close(fd);
}

static void keeps_order_over_restarts(void **state)
{
    const struct place *p = *state;
    struct journal *j = open_at(p, 0);
    for (unsigned i = 1; i <= 500; i++)
        put(j, i, 10000); /* several segments */
    assert_int_equal(journal_sync(j), 0);
    struct seen s = {.ascending = true};
    int n = journal_peek(j, 50000, see, &s);
    assert_int_equal(n, 4);
    assert_int_equal(journal_advance(j), 0);
    /* Looked at, and not advanced: comes again. */
    struct seen again = {.ascending = true};
    assert_true(journal_peek(j, 100000, see, &again) > 0);
    assert_int_equal(again.first, 5);
    journal_close(j);
    j = open_at(p, 0);
    put(j, 501, 10);
    s = take_all(j, 200000);
    assert_int_equal(s.first, 5);
    assert_int_equal(s.last, 501);
    assert_true(s.ascending);
    assert_int_equal(journal_backlog(j), 0);
    lost(j, 0, 0);
    journal_close(j);
    /* What was delivered is gone from the disk. */
    j = open_at(p, 0);
    assert_int_equal(j->oldest, j->newest);
    assert_int_equal(journal_peek(j, 1000, see, &s), 0);
    journal_close(j);
}

static void cuts_a_torn_end(void **state)
{
    const struct place *p = *state;
    struct journal *j = open_at(p, 0);
    for (unsigned i = 1; i <= 3; i++)
        put(j, i, 100);
    char path[4096];
    segment_path(j, j->newest, path, sizeof path);
    uint64_t end = j->end;
    journal_close(j);
    assert_int_equal(truncate(path, (off_t)end - 50), 0);
    j = open_at(p, 0);
    lost(j, 0, 1);
    put(j, 3, 20);
    struct seen s = take_all(j, 100000);
    assert_int_equal(s.count, 3);
    assert_true(s.ascending);
    lost(j, 0, 0);
    journal_close(j);
}

/* One wrong byte, wherever it stands, costs its own record alone, before a restart and after. */
static void one_byte_costs_one_record(void **state)
{
    enum { N = 5, SIZE = HEAD + 102 };
    const struct place *p = *state;
    for (unsigned at = 0; at < N * SIZE; at++) {
        bool reopened = at % 2;
        struct journal *j = open_at(p, 0);
        char path[4096];
        segment_path(j, j->newest, path, sizeof path);
        uint64_t start = j->end;
        for (unsigned i = 1; i <= N; i++)
            put(j, i, 100);
        assert_int_equal(j->end - start, N * SIZE);
        damage(path, start + at, 1);
        if (reopened) {
            journal_close(j);
            j = open_at(p, 0);
        }
        /* Looked at often, counted once. */
        struct seen s = {.count = 0};
        for (unsigned i = 0; i < 3; i++)
            (void)journal_peek(j, 100000, see, &s);
        s = take_all(j, 250);
        assert_int_equal(s.count, N - 1);
        assert_int_equal(s.first, at < SIZE ? 2 : 1);
        assert_int_equal(s.last, at < (N - 1) * SIZE ? 5 : 4);
        lost(j, 0, 1);
        assert_int_equal(journal_backlog(j), 0);
        put(j, 6, 10);
        s = take_all(j, 250);
        assert_int_equal(s.count, 1);
        lost(j, 0, 0);
        journal_close(j);
    }
}

static void passes_over_what_is_damaged(void **state)
{
    const struct place *p = *state;
    struct journal *j = open_at(p, 0);
    for (unsigned i = 1; i <= 500; i++)
        put(j, i, 10000);
    char path[4096];
    segment_path(j, j->oldest, path, sizeof path);
    assert_true(j->newest - j->oldest >= 4);
    damage(path, 20010, 1);     /* the second record */
    damage(path, 35000, 300);   /* in the fourth */
    damage(path, 60000, 20000); /* the sixth to the eighth: told as one */
    segment_path(j, j->oldest + 1, path, sizeof path);
    uint64_t size = segment_size(j, j->oldest + 1);
    assert_int_equal(truncate(path, (off_t)size - 5000), 0); /* its last one */
    segment_path(j, j->oldest + 2, path, sizeof path);
    assert_int_equal(unlink(path), 0); /* told as one */
    uint64_t missing = segment_size(j, j->oldest) / 10000;
    journal_close(j);
    j = open_at(p, 0);
    struct seen s = take_all(j, 100000);
    assert_int_equal(s.first, 1);
    assert_int_equal(s.last, 500);
    assert_int_equal(s.count, 500 - 1 - 1 - 3 - 1 - missing);
    struct journal_loss loss = journal_lost(j);
    assert_int_equal(loss.damaged, 5);
    assert_true(loss.bytes > 40000);
    journal_close(j);
}

static void nothing_but_damage(void **state)
{
    const struct place *p = *state;
    struct journal *j = open_at(p, 0);
    char path[4096];
    struct seen s = {.count = 0};
    segment_path(j, j->newest, path, sizeof path);
    put(j, 1, 900000);
    put(j, 2, 900000); /* in the next segment */
    assert_int_equal(journal_peek(j, 1, see, &s), 1);
    assert_int_equal(journal_advance(j), 0);
    segment_path(j, j->newest, path, sizeof path);
    damage(path, 500000, 1);
    assert_int_equal(journal_peek(j, 1, see, &s), 0);
    assert_int_equal(journal_backlog(j), 0);
    lost(j, 0, 1);
    put(j, 3, 10);
    s = take_all(j, 100);
    assert_int_equal(s.last, 3);
    /* A tail of zeros, as a power loss leaves it. */
    uint64_t end = j->end;
    segment_path(j, j->newest, path, sizeof path);
    journal_close(j);
    assert_int_equal(truncate(path, (off_t)end + 70000), 0);
    j = open_at(p, 0);
    assert_int_equal(j->end, end);
    lost(j, 0, 1);
    journal_close(j);
}

/* The last record, delivered already, is damaged: what takes its place is none that was delivered. */
static void a_cursor_behind_a_cut_end(void **state)
{
    const struct place *p = *state;
    char path[128];
    struct journal *j = open_at(p, 0);
    for (unsigned i = 1; i <= 3; i++)
        put(j, i, 100);
    assert_int_equal(take_all(j, 100000).last, 3);
    segment_path(j, j->newest, path, sizeof path);
    damage(path, j->end - 1, 1);
    journal_close(j);
    j = open_at(p, 0);
    lost(j, 0, 1);
    put(j, 4, 250); /* beyond where the cursor was */
    put(j, 5, 100);
    journal_close(j); /* nothing was delivered meanwhile */
    j = open_at(p, 0);
    struct seen s = take_all(j, 100000);
    assert_int_equal(s.count, 2);
    assert_int_equal(s.first, 4);
    lost(j, 0, 0);
    journal_close(j);
}

static void a_damaged_cursor_is_known(void **state)
{
    const struct place *p = *state;
    char path[128], text[64] = "";
    struct journal *j = open_at(p, 0);
    struct seen s = {.count = 0};
    for (unsigned i = 1; i <= 9; i++)
        put(j, i, 100);
    assert_int_equal(journal_peek(j, 250, see, &s), 2);
    assert_int_equal(journal_advance(j), 0);
    journal_close(j);
    snprintf(path, sizeof path, "%s/cursor", p->directory);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    fclose(f);
    for (size_t i = 0; text[i] != '\n'; i++) {
        damage(path, i, 1);
        j = open_at(p, 0);
        assert_true(journal_lost(j).cursor);
        assert_int_equal(journal_peek(j, 1, see, &(struct seen){.count = 0}), 1);
        assert_int_equal(j->next, HEAD + 102); /* from the start */
        journal_close(j);
        damage(path, i, 1);
    }
    /* One without a checksum is of an older version. */
    *strrchr(text, ' ') = '\0';
    f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "%s\n", text);
    fclose(f);
    j = open_at(p, 0);
    s = take_all(j, 1000);
    assert_int_equal(s.first, 3);
    assert_int_equal(s.last, 9);
    lost(j, 0, 0);
    journal_close(j);
}

static void large_records(void **state)
{
    const struct place *p = *state;
    struct journal *j = open_at(p, 0);
    put(j, 1, 10);
    put(j, 2, JOURNAL_RECORD_MAX - 2);
    put(j, 3, 10);
    journal_close(j);
    j = open_at(p, 0);
    struct seen s = take_all(j, 1000);
    assert_int_equal(s.count, 3);
    assert_true(s.ascending);
    lost(j, 0, 0);
    journal_close(j);
}

static void throws_away_the_oldest(void **state)
{
    const struct place *p = *state;
    struct journal *j = open_at(p, 3 << 20);
    for (unsigned i = 1; i <= 1000; i++)
        put(j, i, 10000);
    assert_true(journal_backlog(j) <= 3 << 20);
    struct journal_loss loss = journal_lost(j);
    uint64_t lost = loss.over_limit;
    assert_int_equal(loss.damaged, 0);
    assert_true(lost > 500 && lost < 1000);
    struct seen s = take_all(j, 1 << 20);
    assert_int_equal(s.first, lost + 1);
    assert_int_equal(s.last, 1000);
    assert_true(s.ascending);
    journal_close(j);
}

static void refuses_what_cannot_be(void **state)
{
    const struct place *p = *state;
    char why[200] = "";
    assert_null(journal_open("/proc/no/such", 0, why, sizeof why));
    assert_non_null(strstr(why, "/proc/no/such"));
    struct journal *j = open_at(p, 0);
    assert_int_equal(journal_append(j, "", 0), -1);
    char *large = calloc(1, JOURNAL_RECORD_MAX + 1);
    assert_int_equal(journal_append(j, large, JOURNAL_RECORD_MAX + 1), -1);
    free(large);
    journal_close(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keeps_order_over_restarts, make_place, drop_place),
        cmocka_unit_test_setup_teardown(cuts_a_torn_end, make_place, drop_place),
        cmocka_unit_test_setup_teardown(one_byte_costs_one_record, make_place, drop_place),
        cmocka_unit_test_setup_teardown(passes_over_what_is_damaged, make_place, drop_place),
        cmocka_unit_test_setup_teardown(nothing_but_damage, make_place, drop_place),
        cmocka_unit_test_setup_teardown(a_cursor_behind_a_cut_end, make_place, drop_place),
        cmocka_unit_test_setup_teardown(a_damaged_cursor_is_known, make_place, drop_place),
        cmocka_unit_test_setup_teardown(large_records, make_place, drop_place),
        cmocka_unit_test_setup_teardown(throws_away_the_oldest, make_place, drop_place),
        cmocka_unit_test_setup_teardown(refuses_what_cannot_be, make_place, drop_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
