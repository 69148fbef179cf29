/* What magpie.store keeps: over restarts, in order, bounded, whatever the disk does. */
#include "hub_kit.h"

#include "core/script/script_store.h"

enum { LIMIT = 1 << 20 };

struct fixture {
    char folder[64];
    struct store_options opt;
    struct gate_store gate;
    struct hub *hub;
    struct mailbox main;
    struct script_store *store;
};

static void open_all(struct fixture *f)
{
    char why[256] = "";
    struct store *behind;
    struct hub_options options = {.slice_ms = 200, .slice_max = 20, .net = {.frame = 65536, .connections = 10}};
    strcpy(options.auth_mode, "open");
    if (store_open(&behind, &f->opt, why, sizeof why) != 0)
        fail_msg("%s", why);
    gate_store_init(&f->gate, behind);
    mailbox_init(&f->main, NULL, NULL);
    f->hub = hub_new(2, &f->gate.base, &options);
    assert_non_null(f->hub);
    hub_set_main(f->hub, &f->main);
    f->store = script_store_new(f->hub);
    assert_non_null(f->store);
    script_store_limit(f->store, LIMIT);
}

static void close_all(struct fixture *f)
{
    hub_stop(f->hub);
    store_close(&f->gate.base);
    mailbox_run(&f->main, f);
    script_store_free(f->store);
    hub_free(f->hub);
    mailbox_fini(&f->main);
}

static void begin(struct fixture *f)
{
    *f = (struct fixture){.opt = {.engine = "rocksdb", .memory = 16 << 20, .sync_every_ms = 1000, .node = 1}};
    log_open(NULL, LOG_TEXT, LOG_ERROR);
    snprintf(f->folder, sizeof f->folder, "/tmp/magpie-store-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    f->opt.path = f->folder;
    open_all(f);
}

static void end(struct fixture *f)
{
    char command[100];
    close_all(f);
    snprintf(command, sizeof command, "rm -r '%s'", f->folder);
    assert_int_equal(system(command), 0);
}

static void restart(struct fixture *f)
{
    close_all(f);
    open_all(f);
}

static struct script_space *space(struct fixture *f, const char *script)
{
    struct script_space *p = script_store_space(f->store, script);
    assert_non_null(p);
    return p;
}

static int put(struct script_space *p, const char *key, const char *text, uint64_t ttl_ms)
{
    struct script_value v = {.type = VALUE_TEXT, .text = S(text)};
    return script_space_set(p, S(key), &v, ttl_ms);
}

static int put_number(struct script_space *p, const char *key, enum value_type type, double n)
{
    return script_space_set(p, S(key), &(struct script_value){.type = type, .number = n}, 0);
}

/* The value as text: "t:hi", "n:3", "b:1", "-". */
static const char *look(struct script_space *p, const char *key)
{
    static char out[8000];
    struct script_value v;
    int rc = script_space_get(p, S(key), &v);
    if (rc == ERR_NOTFOUND)
        return "-";
    assert_int_equal(rc, 0);
    if (v.type == VALUE_TEXT) {
        snprintf(out, sizeof out, "t:%.*s", (int)v.text.n, v.text.p);
        free((void *)(uintptr_t)v.text.p);
    } else {
        snprintf(out, sizeof out, "%s:%g", v.type == VALUE_NUMBER ? "n" : "b", v.number);
    }
    return out;
}

static void kept_over_restarts(void **state)
{
    struct fixture f;
    double n;
    char key[STORE_KEY_MAX + 1] = "", text[STORE_TEXT_MAX + 1] = "", name[64] = "";
    (void)state;
    begin(&f);
    memset(key, 'k', STORE_KEY_MAX);
    memset(text, 't', STORE_TEXT_MAX);
    memset(name, 'n', 63);
    struct script_space *a = space(&f, "a"), *b = space(&f, "examples/b"), *c = space(&f, name);
    assert_int_equal(put(a, "x", "one", 0), 0);
    assert_int_equal(put(a, "x", "two", 0), 0);
    assert_int_equal(put(a, "", "the empty key", 0), 0);
    assert_int_equal(put(a, "gone", "x", 0), 0);
    assert_int_equal(script_space_del(a, S("gone")), 1);
    assert_int_equal(script_space_del(a, S("gone")), 0);
    assert_int_equal(put_number(a, "yes", VALUE_BOOL, 1), 0);
    assert_int_equal(put_number(a, "half", VALUE_NUMBER, -0.5), 0);
    for (int i = 1; i <= 5; i++) {
        assert_int_equal(script_space_incr(a, S("count"), 2, 0, &n), 0);
        assert_int_equal((int)n, 2 * i);
    }
    assert_int_equal(script_space_incr(a, S("x"), 1, 0, &n), ERR_INVALID);
    /* Names of scripts and keys with slashes are not mixed up; the longest fit. */
    assert_int_equal(put(b, "x/y", "of b", 0), 0);
    assert_int_equal(put(space(&f, "examples"), "b/x/y", "of examples", 0), 0);
    assert_int_equal(put(c, key, text, 0), 0);
    for (int i = 0; i < 3; i++) {
        a = space(&f, "a");
        assert_string_equal(look(a, "x"), "t:two");
        assert_string_equal(look(a, ""), "t:the empty key");
        assert_string_equal(look(a, "gone"), "-");
        assert_string_equal(look(a, "yes"), "b:1");
        assert_string_equal(look(a, "half"), "n:-0.5");
        assert_string_equal(look(a, "count"), "n:10");
        assert_string_equal(look(space(&f, "examples/b"), "x/y"), "t:of b");
        assert_string_equal(look(space(&f, "examples/b"), "x"), "-");
        assert_string_equal(look(space(&f, "examples"), "b/x/y"), "t:of examples");
        assert_int_equal(strlen(look(space(&f, name), key)), STORE_TEXT_MAX + 2);
        restart(&f);
    }
    /* More than one page of notes. */
    for (int i = 0; i < 2500; i++) {
        snprintf(key, sizeof key, "%d", i);
        while (script_space_incr(space(&f, "many"), S(key), i, 0, &n) == ERR_AGAIN)
            mailbox_run(&f.main, &f);
    }
    uint64_t bytes = script_store_bytes(f.store);
    restart(&f);
    assert_int_equal(script_store_bytes(f.store), bytes);
    assert_string_equal(look(space(&f, "many"), "0"), "n:0");
    assert_string_equal(look(space(&f, "many"), "2499"), "n:2499");
    end(&f);
}

static void times_to_live(void **state)
{
    struct fixture f;
    double n;
    (void)state;
    begin(&f);
    uint64_t now = store_time_ms(&f.gate.base) - 5000;
    script_store_clock(f.store, &now);
    struct script_space *a = space(&f, "a");
    assert_int_equal(put(a, "short", "x", 1000), 0);
    assert_int_equal(put(a, "long", "x", 100000), 0);
    assert_int_equal(script_space_incr(a, S("n"), 1, 1000, &n), 0);
    assert_int_equal(script_space_incr(a, S("n"), 1, 90000, &n), 0); /* the first one's counts */
    now += 900;
    assert_string_equal(look(a, "short"), "t:x");
    now += 200;
    assert_string_equal(look(a, "short"), "-");
    assert_string_equal(look(a, "n"), "-");
    assert_string_equal(look(a, "long"), "t:x");
    assert_int_equal(put(a, "over", "x", 1), 0);
    restart(&f);
    usleep(5000);
    a = space(&f, "a");
    assert_string_equal(look(a, "short"), "-");
    assert_string_equal(look(a, "n"), "-");
    assert_string_equal(look(a, "over"), "-");
    assert_string_equal(look(a, "long"), "t:x");
    now = store_time_ms(&f.gate.base) + 200000;
    script_store_clock(f.store, &now);
    assert_string_equal(look(a, "long"), "-");
    end(&f);
}

/* All scripts together have a bound, and one of them three quarters of it. */
static void bounded(void **state)
{
    struct fixture f;
    char key[16], text[4001] = "";
    double n;
    int rc = 0;
    (void)state;
    begin(&f);
    memset(text, 'x', 4000);
    struct script_space *a = space(&f, "a"), *b = space(&f, "b");
    for (int i = 0; i < 1000 && rc == 0; i++) {
        snprintf(key, sizeof key, "%d", i);
        rc = put(a, key, text, 0);
        mailbox_run(&f.main, &f);
    }
    assert_int_equal(rc, ERR_FULL);
    assert_in_range(script_store_bytes(f.store), LIMIT / 4 * 3 - 5000, LIMIT / 4 * 3);
    assert_int_equal(put(a, "0", "shorter", 0), 0); /* what takes less is taken */
    assert_int_equal(put(b, "x", text, 0), 0);      /* another one has its quarter */
    for (rc = 0; rc == 0;) {
        snprintf(key, sizeof key, "b%d", (int)script_store_bytes(f.store));
        rc = put(b, key, text, 0);
    }
    assert_int_equal(rc, ERR_FULL);
    assert_true(script_store_bytes(f.store) <= LIMIT);
    script_store_limit(f.store, 1000);
    assert_int_equal(put(b, "new", "", 0), ERR_FULL);
    assert_int_equal(script_space_incr(b, S("counter"), 1, 0, &n), ERR_FULL);
    restart(&f); /* what is there stays, whatever the bound */
    script_store_limit(f.store, 1000);
    assert_string_equal(look(space(&f, "a"), "0"), "t:shorter");
    assert_int_equal(strlen(look(space(&f, "b"), "x")), 4002);
    assert_int_equal(script_space_del(space(&f, "b"), S("x")), 1);
    end(&f);
}

static void turn(struct fixture *f)
{
    ev_run(hub_shard(f->hub, 0)->loop, EVRUN_NOWAIT);
    mailbox_run(&f->main, f);
    usleep(1000);
}

/* What the disk refuses is written again, as it is by then. */
static void a_disk_that_refuses(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    log_set_level(LOG_ERROR);
    struct script_space *a = space(&f, "a");
    assert_int_equal(put(a, "old", "x", 0), 0);
    f.gate.status[OP_NOTE_PUT] = STORE_RETRY;
    f.gate.gate[OP_NOTE_PUT] = GATE_FAIL;
    assert_int_equal(put(a, "x", "one", 0), 0);
    assert_int_equal(put(a, "y", "why", 0), 0);
    assert_int_equal(script_space_del(a, S("old")), 1);
    uint64_t until = clock_mono_ms() + 1500; /* one more try fails */
    while (clock_mono_ms() < until)
        turn(&f);
    f.gate.gate[OP_NOTE_PUT] = GATE_OPEN;
    assert_int_equal(put(a, "x", "two", 0), 0);
    assert_string_equal(look(a, "x"), "t:two");
    for (int i = 0; i < 3000; i++)
        turn(&f);
    restart(&f);
    a = space(&f, "a");
    assert_string_equal(look(a, "x"), "t:two");
    assert_string_equal(look(a, "y"), "t:why");
    assert_string_equal(look(a, "old"), "-");
    end(&f);
}

/* No more wait than a bound (the main thread does not come to hear of what was written), and nothing that was refused
 * is seen. */
static void too_many_wait(void **state)
{
    struct fixture f;
    char key[16];
    double n;
    int rc = 0, count = 0;
    (void)state;
    begin(&f);
    script_store_limit(f.store, 16 << 20);
    struct script_space *a = space(&f, "a");
    for (; rc == 0; count++) {
        snprintf(key, sizeof key, "%d", count);
        rc = put(a, key, "x", 0);
    }
    assert_int_equal(rc, ERR_AGAIN);
    assert_int_equal(count, 10001);
    assert_string_equal(look(a, key), "-");
    assert_int_equal(script_space_incr(a, S("n"), 1, 0, &n), ERR_AGAIN);
    assert_int_equal(script_space_del(a, S("0")), ERR_AGAIN);
    for (int i = 0; i < 20000 && put(a, "more", "x", 0) != 0; i++)
        turn(&f);
    assert_string_equal(look(a, "more"), "t:x");
    restart(&f);
    assert_string_equal(look(space(&f, "a"), "9999"), "t:x");
    assert_string_equal(look(space(&f, "a"), "10000"), "-");
    end(&f);
}

struct worker {
    struct script_space *space;
    unsigned number;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    char key[32];
    double n;
    snprintf(key, sizeof key, "of %u", w->number);
    for (int i = 0; i < 500; i++) {
        while (script_space_incr(w->space, S("all"), 1, 0, &n) != 0)
            usleep(100);
        while (put_number(w->space, key, VALUE_NUMBER, i) != 0)
            usleep(100);
        while (put(w->space, "last", key, 0) != 0)
            usleep(100);
        free((void *)(uintptr_t)(look(w->space, "nothing")[0] == '-' ? NULL : w));
    }
    return NULL;
}

/* What a key had last in memory is what it has after the restart, whichever thread wrote. */
static void many_threads(void **state)
{
    enum { WORKERS = 4 };
    struct fixture f;
    struct worker w[WORKERS];
    pthread_t t[WORKERS];
    char last[64];
    (void)state;
    begin(&f);
    for (unsigned i = 0; i < WORKERS; i++) {
        w[i] = (struct worker){space(&f, "a"), i};
        assert_int_equal(pthread_create(&t[i], NULL, work, &w[i]), 0);
    }
    for (unsigned i = 0; i < 50; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%u", i);
        space(&f, name); /* others are made meanwhile */
        turn(&f);
    }
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(t[i], NULL);
    snprintf(last, sizeof last, "%s", look(space(&f, "a"), "last"));
    restart(&f);
    assert_string_equal(look(space(&f, "a"), "all"), "n:2000");
    assert_string_equal(look(space(&f, "a"), "of 2"), "n:499");
    assert_string_equal(look(space(&f, "a"), "last"), last);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_over_restarts),  cmocka_unit_test(times_to_live), cmocka_unit_test(bounded),
        cmocka_unit_test(a_disk_that_refuses), cmocka_unit_test(too_many_wait), cmocka_unit_test(many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
