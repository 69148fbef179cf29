/* The archive and a PostgreSQL that is not as it should be, or away: what it says of that, and that nothing is lost. */
#include "tests/unit/archive_kit.h"

/* --- A database that is not as it should be ----------------------------------------------------------------------- */

static bool says(struct kit *k, void *arg)
{
    struct archive_stats st;
    archive_get_stats(k->a, &st);
    return strstr(st.why, arg) != NULL;
}

/* Sets the database up with `sql`, and expects that sentence; then mends it, and expects a connection. */
static void expect(struct kit *k, const char *sql, const char *sentence, const char *mend)
{
    kit_sql(k, "%s", sql);
    unsigned before = kit_logged("archive.away");
    kit_open(k);
    kit_until(k, says, (void *)(uintptr_t)sentence);
    struct archive_row row = kit_row("p", 1, 0, "x");
    struct archive_put p = {.req = KIT_REQ(k), .rows = &row, .n = 1};
    p.req.patience_ms = 200;
    archive_put(k->a, &p);
    assert_int_equal(kit_wait(k, &p.req), ARCHIVE_AWAY);
    assert_int_equal(kit_logged("archive.away"), before + 1);
    kit_sql(k, "%s", mend);
    kit_connected(k);
    assert_int_equal(kit_put(k, &row, 1), ARCHIVE_OK);
    archive_close(k->a);
    k->a = NULL;
}

static void each_wrong_state_has_its_sentence(void **state)
{
    struct kit *k = *state;
    if (!k)
        skip();
    expect(k, "create table message (a int)",
           "it has a table message, but no magpie_archive: that is not Magpie's archive", "drop table message");
    expect(k, "update magpie_archive set format = 2", "the archive has format 2; this server knows 1",
           "update magpie_archive set format = 1");
    expect(k, "delete from magpie_archive", "the archive has format none; this server knows 1",
           "insert into magpie_archive values (1)");
    expect(k, "alter table message rename to elsewhere", "but no message: the archive is not whole",
           "alter table elsewhere rename to message");
    expect(k, "alter table message rename content to body", "the table message has not the columns of format 1",
           "alter table message rename body to content");
}

/* Opens as another role, or at another address. */
static void expect_url(struct kit *k, const char *url, const char *sentence)
{
    char keep[sizeof k->url];
    snprintf(keep, sizeof keep, "%s", k->url);
    snprintf(k->url, sizeof k->url, "%s", url);
    kit_open(k);
    kit_until(k, says, (void *)(uintptr_t)sentence);
    archive_close(k->a);
    k->a = NULL;
    snprintf(k->url, sizeof k->url, "%s", keep);
}

static void who_may_not_is_told_why(void **state)
{
    struct kit *k = *state;
    if (!k)
        skip();
    char url[400], host[200];
    const char *at = strrchr(k->base, '@');
    snprintf(host, sizeof host, "%s", at + 1);
    char role[64];
    snprintf(role, sizeof role, "clerk_%u", (unsigned)getpid());
    kit_sql(k, "create role %s login password 'secret'; grant usage on schema %s to %s", role, k->schema, role);
    snprintf(url, sizeof url, "postgresql://%s:wrong@%s", role, host);
    expect_url(k, url, "password authentication failed for user \"clerk");
    snprintf(url, sizeof url, "postgresql://%s:secret@%.*s/nowhere", role, (int)strcspn(host, "/"), host);
    expect_url(k, url, "database \"nowhere\" does not exist");
    snprintf(url, sizeof url, "postgresql://%s:secret@%s?options=-csearch_path%%3D%s", role, host, k->schema);
    expect_url(k, url, "its tables cannot be made: permission denied for schema");
    kit_open(k); /* the superuser makes them */
    kit_connected(k);
    archive_close(k->a);
    k->a = NULL;
    expect_url(k, url, "may not select from magpie_archive");
    kit_sql(k, "grant select on magpie_archive to %s; grant select, insert, update on message to %s", role, role);
    expect_url(k, url, "may not delete in the table message");
    kit_sql(k, "grant delete on message to %s", role);
    snprintf(k->url, sizeof k->url, "%s", url); /* no more than that is needed */
    kit_open(k);
    struct archive_row row = kit_row("p", 1, 0, "x");
    assert_int_equal(kit_put(k, &row, 1), ARCHIVE_OK);
    kit_sql(k, "revoke insert on message from %s", role); /* meanwhile */
    row.seq = 2;
    assert_int_equal(kit_put(k, &row, 1), ARCHIVE_AWAY);
    kit_until(k, says, (void *)(uintptr_t) "may not insert in the table message");
    kit_sql(k, "grant insert on message to %s", role);
    assert_int_equal(kit_put(k, &row, 1), ARCHIVE_OK);
    archive_close(k->a);
    k->a = NULL;
    kit_sql(k, "drop owned by %s; drop role %s", role, role);
}

static void a_standby_is_not_written_to(void **state)
{
    struct kit *k = *state;
    if (!k)
        skip();
    char url[500];
    snprintf(url, sizeof url, "%s%%20-cdefault_transaction_read_only%%3Don", k->url);
    expect_url(k, url, "session is read-only");
    snprintf(url, sizeof url, "%s%%20-cdefault_transaction_read_only%%3Don&target_session_attrs=any", k->url);
    expect_url(k, url, "it is read-only: a standby, perhaps");
}

/* Two servers that start at once on an empty database. */
static void tables_are_made_once(void **state)
{
    struct kit *k = *state;
    if (!k)
        skip();
    struct archive *all[4];
    for (unsigned i = 0; i < 4; i++) {
        kit_open(k);
        all[i] = k->a;
    }
    for (unsigned i = 0; i < 4; i++) {
        k->a = all[i];
        kit_connected(k);
    }
    for (unsigned i = 1; i < 4; i++)
        archive_close(all[i]);
    k->a = all[0];
    assert_string_equal(kit_sql(k, "select count(*) from magpie_archive"), "1");
    assert_string_equal(kit_sql(k, "select count(*) from pg_inherits where inhparent = 'message'::regclass"), "4");
}

static void words_of_urls(void **state)
{
    (void)state;
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    static const struct {
        const char *url, *why;
    } cases[] = {
        {"mysql://a", "it must begin with postgresql://"},
        {"", "it must begin with postgresql://"},
        {"postgresql://u:p%zz@h/d", "libpq does not understand it: invalid percent-encoded token"},
        {"postgresql://u:hunter2@h/d?hunter=2", "libpq does not understand it: invalid URI query parameter"},
        {"postgresql://[::1/d", "libpq does not understand it: end of string reached when looking for matching"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct archive *a;
        char why[256];
        struct archive_options o = {.url = cases[i].url};
        assert_int_equal(archive_open(&a, loop, &o, why, sizeof why), ERR_INVALID);
        assert_null(a);
        assert_string_equal(why, cases[i].why);
    }
    ev_loop_destroy(loop);
}

/* --- Away --------------------------------------------------------------------------------------------------------- */

/* Nobody listens there: requests wait no longer than they may, and who has no patience not at all. */
static void nobody_there(void **state)
{
    (void)state;
    struct kit k = {.loop = ev_loop_new(EVFLAG_AUTO), .o.reconnect_ms = 20};
    int fd;
    uint16_t port = kit_listen(&fd);
    close(fd);
    snprintf(k.url, sizeof k.url, "postgresql://u:p@127.0.0.1:%u/d", port);
    log_open("/dev/null", LOG_TEXT, LOG_INFO);
    unsigned before = kit_logged("archive.away");
    kit_open(&k);
    struct archive_row row = kit_row("p", 1, 0, "x");
    struct archive_put p = {.req = KIT_REQ(&k), .rows = &row, .n = 1};
    p.req.patience_ms = 0;
    archive_put(k.a, &p);
    assert_non_null(p.req.ctx); /* never inside the call */
    assert_int_equal(kit_wait(&k, &p.req), ARCHIVE_AWAY);
    uint64_t began = clock_mono_ms();
    p = (struct archive_put){.req = KIT_REQ(&k), .rows = &row, .n = 1};
    p.req.patience_ms = 500;
    archive_put(k.a, &p);
    assert_int_equal(kit_wait(&k, &p.req), ARCHIVE_AWAY);
    assert_true(clock_mono_ms() - began >= 500);
    struct archive_stats st;
    archive_get_stats(k.a, &st);
    assert_true(!st.connected && st.away_since_ms > 0 && st.failed == 2 && st.waiting == 0);
    assert_non_null(strstr(st.why, "Connection refused"));
    assert_int_equal(kit_logged("archive.away"), before + 1);
    p = (struct archive_put){.req = KIT_REQ(&k), .rows = &row, .n = 1};
    archive_put(k.a, &p);
    archive_close(k.a); /* answers it */
    assert_true(!p.req.ctx && p.req.status == ARCHIVE_AWAY);
    ev_loop_destroy(k.loop);
}

/* Somebody takes the connection and says nothing: the loop goes on, and closing does not wait either. */
static void a_port_that_says_nothing(void **state)
{
    (void)state;
    struct kit k = {.loop = ev_loop_new(EVFLAG_AUTO)};
    int fd;
    snprintf(k.url, sizeof k.url, "postgresql://u:p@127.0.0.1:%u/d?connect_timeout=2", kit_listen(&fd));
    kit_open(&k);
    struct archive_row row = kit_row("p", 1, 0, "x");
    struct archive_put p = {.req = KIT_REQ(&k), .rows = &row, .n = 1};
    p.req.patience_ms = 100;
    archive_put(k.a, &p);
    assert_int_equal(kit_wait(&k, &p.req), ARCHIVE_AWAY);
    uint64_t began = clock_mono_ms();
    archive_close(k.a);
    assert_true(clock_mono_ms() - began < 1000); /* it would be 2 s, were the dial awaited */
    ev_loop_destroy(k.loop);
    /* Its thread is inside libpq: whoever exits now must not clean up what that uses. */
    assert_true(archive_left_behind());
    close(fd);
    kit_left();
}

/* Requests that wait while the archive connects for the first time are done then. */
static void what_waits_is_done(void **state)
{
    struct kit *k = *state;
    if (!k)
        skip();
    kit_open(k);
    struct archive_row row = kit_row("p", 1, 0, "x");
    assert_int_equal(kit_put(k, &row, 1), ARCHIVE_OK);
}

struct load {
    struct many *all;
    unsigned n;
};

static void load_begin(struct kit *k, struct load *l, unsigned batches, unsigned rows)
{
    l->n = batches;
    l->all = calloc(batches, sizeof *l->all);
    k->answered = 0;
    for (unsigned i = 0; i < batches; i++) {
        struct many *m = &l->all[i];
        for (unsigned r = 0; r < rows; r++)
            m->rows[r] = kit_row("p", i * rows + r + 1, 0, "a message of some forty bytes, as they are");
        m->p = (struct archive_put){.req = KIT_REQ(k), .rows = m->rows, .n = rows};
        m->p.req.patience_ms = 60000;
        archive_put(k->a, &m->p);
    }
}

static void load_end(struct kit *k, struct load *l)
{
    kit_until(k, all_answered, &l->n);
    for (unsigned i = 0; i < l->n; i++)
        assert_int_equal(l->all[i].p.req.status, ARCHIVE_OK);
    free(l->all);
}

static bool some_answered(struct kit *k, void *arg)
{
    (void)arg;
    return k->answered >= 3;
}

/* Connections that the database ends under load, and a kill -9 of a backend, after which all of PostgreSQL recovers. */
static void killed_backends(void **state)
{
    struct kit *k = *state;
    if (!k)
        skip();
    kit_open(k);
    kit_connected(k);
    struct load l;
    load_begin(k, &l, 40, 500);
    for (unsigned i = 0; i < 3; i++) {
        kit_until(k, some_answered, NULL);
        kit_sql(k, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'magpied'");
    }
    load_end(k, &l);
    kit_connected(k); /* all of them, and not one too many */
    assert_string_equal(kit_sql(k, "select count(*) from message"), "20000");
    load_begin(k, &l, 40, 500);
    kit_until(k, some_answered, NULL);
    const char *pid = kit_sql(k, "select pid from pg_stat_activity where application_name = 'magpied' limit 1");
    if (kill((pid_t)atoi(pid), SIGKILL) != 0)
        print_message("not root: no kill -9\n");
    load_end(k, &l);
    kit_connected(k);
    assert_string_equal(kit_sql(k, "select count(*) from message"), "20000");
}

static void somebody_drops_the_tables(void **state)
{
    struct kit *k = *state;
    if (!k)
        skip();
    kit_open(k);
    struct archive_row row = kit_row("p", 1, 0, "x");
    assert_int_equal(kit_put(k, &row, 1), ARCHIVE_OK);
    kit_sql(k, "drop table message, magpie_archive");
    assert_int_equal(kit_put(k, &row, 1), ARCHIVE_AWAY);
    enum archive_status status = ARCHIVE_AWAY;
    for (unsigned i = 0; i < 20 && status == ARCHIVE_AWAY; i++) /* on a busy machine it may be away for longer */
        status = kit_put(k, &row, 1);
    assert_int_equal(status, ARCHIVE_OK); /* made anew: what Redis still has comes back by itself */
}

/* A connection that is cut at each of many bytes, in both directions, while a put, a change and a range are under way:
 * each is answered once, as if nothing had been. */
static void cut_at(struct kit *k, int direction, int64_t bytes, unsigned number)
{
    char conv[32];
    snprintf(conv, sizeof conv, "p%u", number);
    struct archive_row row = kit_row("x", 1, 0, "sent"), first = kit_row("x", 2, 0, "first");
    row.conv = first.conv = slice_str(conv);
    assert_int_equal(kit_put(k, &first, 1), ARCHIVE_OK);
    k->proxy.direction = direction;
    k->proxy.cut_in = bytes;
    struct archive_put p = {.req = KIT_REQ(k), .rows = &row, .n = 1};
    struct archive_change c = {
        .req = KIT_REQ(k), .conv = slice_str(conv), .seq = 2, .id = 1002, .content = SLICE_LIT("changed")};
    archive_put(k->a, &p);
    archive_change(k->a, &c);
    struct kit_page *page = kit_range(k, conv, 1, 10, 10, false);
    assert_int_equal(page->status, ARCHIVE_OK);
    assert_true(page->n >= 1); /* the change's row, at least */
    kit_page_free(page);
    assert_int_equal(kit_wait(k, &p.req), ARCHIVE_OK);
    enum archive_status changed = kit_wait(k, &c.req);
    assert_true(changed == ARCHIVE_OK || changed == ARCHIVE_MOVED); /* MOVED: its answer was lost */
    k->proxy.cut_in = -1;
    page = kit_range(k, conv, 1, 10, 10, false);
    assert_true(page->n == 2 && slice_eq(page->rows[0].content, SLICE_LIT("sent")));
    assert_true(slice_eq(page->rows[1].content, SLICE_LIT("changed")) && page->rows[1].rev == 1);
    kit_page_free(page);
}

static void cut_at_every_step(void **state)
{
    struct kit *k = *state;
    if (!k)
        skip();
    k->o.reconnect_ms = 10;
    kit_proxy_on(k);
    kit_open(k);
    kit_connected(k);
    unsigned number = 0;
    for (int64_t bytes = 0; bytes < 1700; bytes += 61)
        cut_at(k, 0, bytes, number++);
    for (int64_t bytes = 0; bytes < 700; bytes += 23)
        cut_at(k, 1, bytes, number++);
    assert_true(k->proxy.cuts > number * 2 / 3); /* or the proxy proves nothing */
}

/* The way to the database swallows everything: who reads is answered when its patience is over, the connection is given
 * up, and what was to be kept is kept over the next one. */
static void a_way_that_swallows(void **state)
{
    struct kit *k = *state;
    if (!k)
        skip();
    k->o.timeout_ms = 800;
    kit_proxy_on(k);
    kit_open(k);
    kit_connected(k);
    k->proxy.silent = true;
    struct archive_row row = kit_row("p", 1, 0, "x");
    struct archive_put p = {.req = KIT_REQ(k), .rows = &row, .n = 1};
    archive_put(k->a, &p);
    struct archive_oldest o = {.req = KIT_REQ(k), .conv = SLICE_LIT("p")};
    o.req.patience_ms = 300;
    archive_oldest(k->a, &o);
    assert_int_equal(kit_wait(k, &o.req), ARCHIVE_AWAY);
    assert_non_null(p.req.ctx);
    kit_until(k, says, (void *)(uintptr_t) "it has stopped answering");
    k->proxy.silent = false;
    while (k->proxy.pipes)
        kit_pipe_end(k->proxy.pipes);
    assert_int_equal(kit_wait(k, &p.req), ARCHIVE_OK);
    assert_string_equal(kit_sql(k, "select count(*) from message"), "1");
}

static void closing_answers_all(void **state)
{
    struct kit *k = *state;
    if (!k)
        skip();
    kit_open(k);
    kit_connected(k);
    struct load l;
    load_begin(k, &l, 100, 10);
    ev_run(k->loop, EVRUN_NOWAIT);
    archive_close(k->a);
    k->a = NULL;
    assert_int_equal(k->answered, 100);
    for (unsigned i = 0; i < 100; i++)
        assert_true(l.all[i].p.req.status == ARCHIVE_AWAY || l.all[i].p.req.status == ARCHIVE_OK);
    free(l.all);
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_of_urls),
        cmocka_unit_test(nobody_there),
        cmocka_unit_test(a_port_that_says_nothing),
        WITH(each_wrong_state_has_its_sentence),
        WITH(who_may_not_is_told_why),
        WITH(a_standby_is_not_written_to),
        WITH(tables_are_made_once),
        WITH(what_waits_is_done),
        WITH(killed_backends),
        WITH(somebody_drops_the_tables),
        WITH(cut_at_every_step),
        WITH(a_way_that_swallows),
        WITH(closing_answers_all),
    };
    (void)kit_skip();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
