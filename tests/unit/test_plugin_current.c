/* Values in force: who sees which, and when one is dropped. The threads are mailboxes here, run when the test likes. */
#include "core/plugin/current.h"
#include "core/base/log.h"
#include "tests/unit/plugin_kit.h"

enum { THREADS = 3 }; /* main, and two shards */

static unsigned dropped, last_dropped;

struct stand {
    struct plugins plugins;
    struct mp_thread threads[THREADS];
    struct mailbox boxes[THREADS];
    struct mp_self self;
};

static void wake(void *ctx)
{
    (void)ctx;
}

static void begin(struct stand *s)
{
    memset(s, 0, sizeof *s);
    dropped = last_dropped = 0;
    s->plugins.threads = s->threads;
    s->plugins.thread_count = THREADS;
    for (int i = 0; i < THREADS; i++) {
        mailbox_init(&s->boxes[i], wake, NULL);
        s->threads[i] = (struct mp_thread){.plugins = &s->plugins, .mailbox = &s->boxes[i], .index = i - 1};
    }
    s->self.plugins = &s->plugins;
    s->self.may_register = true;
    snprintf(s->self.name, sizeof s->self.name, "stand");
}

static void run(struct stand *s, int thread)
{
    (void)mailbox_run(&s->boxes[thread], NULL);
}

static unsigned pending(const struct stand *s)
{
    return atomic_load(&s->self.pending[PENDING_VALUES]);
}

/* As a plugin goes: when nothing is pending, but for what holders let go of at the very end. */
static void end(struct stand *s)
{
    if (pending(s) > 0 && s->boxes[1].head)
        for (int i = THREADS; i--;)
            run(s, i);
    currents_free(&s->self);
    for (int i = 0; i < THREADS; i++) {
        run(s, i);
        mailbox_fini(&s->boxes[i]);
    }
}

static void drop(void *value)
{
    last_dropped = *(unsigned *)value;
    dropped++;
    free(value);
}

static void put(mp_current *c, unsigned number)
{
    unsigned *v = malloc(sizeof *v);
    assert_non_null(v);
    *v = number;
    assert_int_equal(current_prepare(c, v), MP_OK);
    current_commit(c);
}

static unsigned seen(struct stand *s, mp_current *c, int thread)
{
    return *(unsigned *)current_get(c, &s->threads[thread]);
}

static void each_thread_passes(void **state)
{
    struct stand s;
    (void)state;
    begin(&s);
    mp_current *c = current_new(&s.self, drop);
    assert_non_null(c);
    assert_null(current_get(c, &s.threads[1]));
    assert_null(current_hold(c, &s.threads[1]));
    put(c, 1);
    assert_int_equal(pending(&s), 0);
    put(c, 2);
    for (int i = 0; i < THREADS; i++) /* at once, everywhere */
        assert_int_equal(seen(&s, c, i), 2);
    run(&s, 2);
    run(&s, 0);
    assert_int_equal(dropped, 0); /* thread 1 may still be reading */
    put(c, 3);
    run(&s, 1);                   /* its passes of both */
    assert_int_equal(dropped, 0); /* not but on main */
    run(&s, 0);
    assert_int_equal(dropped, 1);
    assert_int_equal(last_dropped, 1);
    assert_int_equal(pending(&s), 1);
    run(&s, 2);
    run(&s, 0);
    assert_int_equal(last_dropped, 2);
    assert_int_equal(pending(&s), 0);
    assert_int_equal(seen(&s, c, 1), 3);
    end(&s);
    assert_int_equal(dropped, 3);
}

static void prepared_is_not_in_force(void **state)
{
    struct stand s;
    (void)state;
    begin(&s);
    mp_current *c = current_new(&s.self, drop);
    put(c, 1);
    for (unsigned i = 2; i <= 4; i++) {
        unsigned *v = malloc(sizeof *v);
        *v = i;
        assert_int_equal(current_prepare(c, v), MP_OK);
        assert_int_equal(seen(&s, c, 1), 1);
        assert_int_equal(dropped, i - 2); /* the one that was prepared before */
    }
    assert_int_equal(current_prepare(c, NULL), MP_EINVALID);
    current_commit(c);
    current_commit(c); /* nothing is prepared */
    assert_int_equal(seen(&s, c, 1), 4);
    end(&s);
    assert_int_equal(dropped, 4);
    /* Only init() makes places, and each needs its drop. */
    begin(&s);
    assert_null(current_new(&s.self, NULL));
    s.self.may_register = false;
    assert_null(current_new(&s.self, drop));
    end(&s);
}

static void held_values_stay(void **state)
{
    struct stand s;
    (void)state;
    begin(&s);
    mp_current *c = current_new(&s.self, drop);
    put(c, 1);
    mp_held *a = current_hold(c, &s.threads[1]), *b = current_hold(c, &s.threads[2]);
    assert_true(held_in_force(a));
    put(c, 2);
    assert_false(held_in_force(a));
    for (int i = THREADS; i--;)
        run(&s, i);
    assert_int_equal(pending(&s), 0); /* holders alone do not keep a plugin from going */
    held_release(a);
    run(&s, 0);
    assert_int_equal(dropped, 0);
    assert_int_equal(*(unsigned *)held_value(b), 1);
    held_release(b);
    assert_int_equal(pending(&s), 1);
    run(&s, 0);
    assert_int_equal(dropped, 1);
    assert_int_equal(pending(&s), 0);
    held_release(NULL);
    end(&s);
    assert_int_equal(dropped, 2);
}

/* At the end: what is in force, prepared, on its way, and held by nobody and by somebody. */
static void the_end(void **state)
{
    struct stand s;
    (void)state;
    for (int released = 0; released < 2; released++) {
        begin(&s);
        mp_current *c = current_new(&s.self, drop), *other = current_new(&s.self, drop);
        put(other, 9);
        put(c, 1);
        mp_held *h = current_hold(c, &s.threads[1]);
        put(c, 2);
        for (int i = THREADS; i--;)
            run(&s, i);
        if (released)
            held_release(h); /* its mail to main is on its way */
        unsigned *v = malloc(sizeof *v);
        *v = 3;
        assert_int_equal(current_prepare(c, v), MP_OK);
        (void)log_open(NULL, LOG_TEXT, LOG_ERROR);
        log_set_level(LOG_ERROR + 1);
        end(&s);
        log_set_level(LOG_ERROR);
        assert_int_equal(dropped, 4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_thread_passes),
        cmocka_unit_test(prepared_is_not_in_force),
        cmocka_unit_test(held_values_stay),
        cmocka_unit_test(the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
