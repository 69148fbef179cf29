/* In which order operations are begun and answered (task.c), with operations that do what the test says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* All operations are this one. */
#define begin_append        fake_begin
#define begin_inbox_ack     fake_begin
#define begin_user_save     fake_begin
#define begin_user_forget   fake_begin
#define begin_channel_save  fake_begin
#define begin_channel_close fake_begin
#define begin_channel_wipe  fake_begin
#define begin_member_put    fake_begin
#define begin_member_del    fake_begin
#define begin_mark_read     fake_begin
#define begin_recall        fake_begin
#define begin_edit          fake_begin
#define begin_block         fake_begin
#define begin_note_put      fake_begin
#define begin_range         fake_begin
#define begin_inbox_peek    fake_begin
#define begin_user_load     fake_begin
#define begin_guests_due    fake_begin
#define begin_conv_load     fake_begin
#define begin_members       fake_begin
#define begin_conversations fake_begin
#define begin_notes         fake_begin
#define begin_pairs         fake_begin
#define begin_scan          fake_begin
#define begin_sent          fake_begin
#include "storage/redis/task.c"

#include <stdio.h>

enum { OPS = 64 };

/* An operation of the test: the append's or the page's fields tell whose it is. */
struct fake {
    union {
        struct store_op op;
        struct store_append append;
        struct store_range range;
        struct store_inbox_ack ack;
        struct store_scan scan;
    };
    struct task *task; /* begun, and not ended */
    bool holds;        /* it holds those behind it when it begins */
    bool at_once;      /* it ends when it begins */
    int begun;         /* the how many-th to begin; 0: not yet */
    int answered;      /* likewise */
};

struct world {
    struct redis r;
    struct mailbox mb;
    struct fake ops[OPS];
    unsigned n;
    int begun, answered;
};
static struct world *world;

void fake_begin(struct redis *r, struct task *t)
{
    struct fake *f = (struct fake *)t->op;
    f->begun = ++world->begun;
    f->task = t;
    char *own = task_own(t, 100);
    assert_non_null(own);
    for (int i = 0; i < 100; i++)
        assert_int_equal(own[i], 0);
    memset(own, 1, 100);
    if (f->holds)
        task_hold(t);
    if (f->at_once) {
        f->task = NULL;
        task_end(r, t, STORE_LIMIT);
    }
}

static void wake(void *ctx)
{
    (void)ctx;
}

static void answered(void *owner, struct store_op *op)
{
    (void)owner;
    ((struct fake *)op)->answered = ++world->answered;
}

static int setup(void **state)
{
    world = *state = test_calloc(1, sizeof *world);
    mailbox_init(&world->mb, wake, NULL);
    return tasks_init(&world->r);
}

static int teardown(void **state)
{
    tasks_fini(&world->r);
    mailbox_fini(&world->mb);
    test_free(*state);
    return 0;
}

/* Hands an operation over. */
static struct fake *post(enum store_op_kind kind, const char *whose, bool holds, bool at_once)
{
    struct fake *f = &world->ops[world->n++];
    f->holds = holds;
    f->at_once = at_once;
    store_op_begin(&f->op, (uint8_t)kind);
    f->op.home = &world->mb;
    f->op.done = answered;
    if (kind == OP_APPEND)
        f->append.conv = slice_str(whose);
    else if (kind == OP_RANGE)
        f->range.conv = slice_str(whose);
    else if (kind == OP_INBOX_ACK)
        f->ack.user = slice_str(whose);
    atomic_fetch_add(&world->r.stats.queue, 1);
    task_begin(&world->r, &f->op);
    mailbox_run(&world->mb, NULL);
    return f;
}

static void end(struct fake *f)
{
    struct task *t = f->task;
    f->task = NULL;
    task_end(&world->r, t, STORE_OK);
    mailbox_run(&world->mb, NULL);
}

static void changes_are_answered_in_order(void **state)
{
    (void)state;
    struct fake *a = post(OP_APPEND, "cx", false, false), *b = post(OP_APPEND, "cx", false, false),
                *other = post(OP_APPEND, "cy", false, false), *c = post(OP_APPEND, "cx", false, true);
    assert_true(a->begun == 1 && b->begun == 2 && other->begun == 3 && c->begun == 4);
    end(b);
    assert_true(!b->answered && !c->answered);
    end(other);
    assert_int_equal(other->answered, 1);
    end(a);
    assert_true(a->answered == 2 && b->answered == 3 && c->answered == 4);
    assert_int_equal(a->op.status, STORE_OK);
    assert_int_equal(c->op.status, STORE_LIMIT);
    assert_int_equal(world->r.tasks->line_n, 0);
    assert_int_equal(atomic_load(&world->r.stats.queue), 0);
}

/* Reads wait for no change, and changes for no read; a user is no conversation of the same name. */
static void lists_of_their_own(void **state)
{
    (void)state;
    struct fake *w = post(OP_APPEND, "cx", true, false), *r = post(OP_RANGE, "cx", false, false),
                *r2 = post(OP_RANGE, "cx", false, false), *user = post(OP_INBOX_ACK, "cx", false, false),
                *scan = post(OP_SCAN, "", false, false), *scan2 = post(OP_SCAN, "", false, false);
    end(r2);
    assert_int_equal(r2->answered, 0);
    end(scan2);
    end(scan);
    assert_true(scan2->answered == 1 && scan->answered == 2);
    end(user);
    end(r);
    assert_true(user->answered == 3 && r->answered == 4 && r2->answered == 5);
    end(w);
    assert_int_equal(world->r.tasks->line_n, 0);
}

static void who_holds(void **state)
{
    (void)state;
    struct fake *a = post(OP_APPEND, "cx", true, false), *b = post(OP_APPEND, "cx", false, false),
                *c = post(OP_APPEND, "cx", true, false), *d = post(OP_APPEND, "cx", false, true),
                *e = post(OP_APPEND, "cx", false, false);
    assert_true(a->begun && !b->begun);
    task_go(&world->r, a->task);
    assert_true(b->begun == 2 && c->begun == 3 && !d->begun);
    task_go(&world->r, a->task); /* again does nothing */
    task_go(&world->r, b->task); /* nor that of who holds nobody */
    assert_false(d->begun);
    end(b);
    end(c); /* who ends holds nobody */
    assert_true(d->begun == 4 && e->begun == 5);
    assert_int_equal(world->answered, 0);
    end(a);
    assert_int_equal(world->answered, 4);
    end(e);
    assert_int_equal(e->answered, 5);
    assert_int_equal(world->r.tasks->line_n, 0);
}

/* What ends while it begins, behind one that is let go. */
static void many_at_once(void **state)
{
    (void)state;
    struct fake *first = post(OP_APPEND, "cx", true, false);
    for (int i = 0; i < 50; i++)
        post(OP_APPEND, "cx", i % 3 == 0, true);
    assert_int_equal(world->begun, 1);
    end(first);
    assert_int_equal(world->begun, 51);
    assert_int_equal(world->answered, 51);
    for (unsigned i = 0; i < world->n; i++)
        assert_int_equal(world->ops[i].answered, i + 1);
}

static void many_lines(void **state)
{
    (void)state;
    static char names[60][8];
    for (int i = 0; i < 60; i++) {
        snprintf(names[i], sizeof names[i], "c%d", i);
        post(OP_APPEND, names[i], false, false);
    }
    for (int i = 0; i < 1000; i++) { /* the table has grown in between */
        world->n = 60;
        post(OP_APPEND, "cx", false, true);
    }
    assert_int_equal(world->r.tasks->line_n, 60);
    for (int i = 59; i >= 0; i--)
        end(&world->ops[i]);
    assert_int_equal(world->r.tasks->line_n, 0);
    assert_int_equal(world->answered, 1060);
}

static void names_that_are_none(void **state)
{
    (void)state;
    static char long_name[400];
    memset(long_name, 'c', sizeof long_name - 1);
    struct fake *f = post(OP_APPEND, long_name, false, false);
    assert_int_equal(f->op.status, STORE_FATAL);
    assert_true(f->answered && !f->begun);
}

static void codes(void **state)
{
    (void)state;
    static const char codes_[] = "NDFBPXTLWG?";
    static const enum store_status want[] = {STORE_OK,     STORE_OK,       STORE_DENIED, STORE_DENIED,
                                             STORE_DENIED, STORE_NOTFOUND, STORE_LATE,   STORE_LIMIT,
                                             STORE_RETRY,  STORE_FATAL,    STORE_FATAL};
    for (unsigned i = 0; codes_[i]; i++)
        assert_int_equal(task_status((uint8_t)codes_[i]), want[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(changes_are_answered_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(lists_of_their_own, setup, teardown),
        cmocka_unit_test_setup_teardown(who_holds, setup, teardown),
        cmocka_unit_test_setup_teardown(many_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(many_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(names_that_are_none, setup, teardown),
        cmocka_unit_test_setup_teardown(codes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
