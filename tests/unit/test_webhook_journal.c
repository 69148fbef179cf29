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
    assert_int_equal(journal_lost(j), 0);
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
    put(j, 3, 20);
    struct seen s = take_all(j, 100000);
    assert_int_equal(s.count, 3);
    assert_true(s.ascending);
    journal_close(j);
}

static void passes_over_what_is_damaged(void **state)
{
    const struct place *p = *state;
    struct journal *j = open_at(p, 0);
    for (unsigned i = 1; i <= 300; i++)
        put(j, i, 10000);
    char path[4096];
    segment_path(j, j->oldest, path, sizeof path);
    journal_close(j);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "?", 1, 20000), 1); /* within the second record */
    close(fd);
    j = open_at(p, 0);
    struct seen s = {.ascending = true};
    int n = journal_peek(j, 1000000, see, &s);
    assert_true(n > 1);
    assert_int_equal(s.first, 1);
    assert_int_equal(journal_lost(j), 1); /* the rest of that segment, told as one */
    journal_close(j);
}

static void throws_away_the_oldest(void **state)
{
    const struct place *p = *state;
    struct journal *j = open_at(p, 3 << 20);
    for (unsigned i = 1; i <= 1000; i++)
        put(j, i, 10000);
    assert_true(journal_backlog(j) <= 3 << 20);
    uint64_t lost = journal_lost(j);
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
    char *large = calloc(1, RECORD_MAX + 1);
    assert_int_equal(journal_append(j, large, RECORD_MAX + 1), -1);
    free(large);
    journal_close(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keeps_order_over_restarts, make_place, drop_place),
        cmocka_unit_test_setup_teardown(cuts_a_torn_end, make_place, drop_place),
        cmocka_unit_test_setup_teardown(passes_over_what_is_damaged, make_place, drop_place),
        cmocka_unit_test_setup_teardown(throws_away_the_oldest, make_place, drop_place),
        cmocka_unit_test_setup_teardown(refuses_what_cannot_be, make_place, drop_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
