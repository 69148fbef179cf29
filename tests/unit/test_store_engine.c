/* The doors of the store and of the bus and their lists of operations, over an engine and a bus that only take note;
 * and the gate of the hub's tests, which is an engine too. */
#define UTIL_MAIN
#include "test_store_util.h"

#include "storage/bus_engine.h"
#include "tests/unit/gate_store.h"

/* --- An engine that takes note --- */

struct paper {
    struct store base;
    struct store_op *op; /* the last that was posted */
    unsigned posts, kicks, configures, accepts, stats, works, closes;
};

static void paper_post(struct store *s, struct store_op *op)
{
    struct paper *p = (struct paper *)s;
    p->op = op;
    p->posts++;
}
static void paper_kick(struct store *s)
{
    ((struct paper *)s)->kicks++;
}
static void paper_configure(struct store *s, const struct store_options *o)
{
    ((struct paper *)s)->configures += o->inbox_max;
}
static void paper_clock_accept(struct store *s)
{
    ((struct paper *)s)->accepts++;
}
static uint64_t paper_time(struct store *s)
{
    (void)s;
    return 11;
}
static uint64_t paper_age(struct store *s, uint64_t stamp_ms)
{
    (void)s;
    return stamp_ms * 2;
}
static uint64_t paper_date(struct store *s)
{
    (void)s;
    return 13;
}
static void paper_stats(struct store *s, struct store_stats *out)
{
    *out = (struct store_stats){.appended = ++((struct paper *)s)->stats};
}
static void paper_work(struct store *s, struct store_work *w)
{
    struct paper *p = (struct paper *)s;
    p->op = &w->op;
    p->works++;
}
static int paper_agree(struct store *s, const char *name, struct slice proposal, bool replace, struct buf *out,
                       char *why, size_t why_size)
{
    (void)s;
    snprintf(why, why_size, "asked");
    buf_printf(out, "%s %.*s %d", name, (int)proposal.n, proposal.p, replace);
    return ERR_AGAIN;
}
static void paper_close(struct store *s)
{
    ((struct paper *)s)->closes++;
}
static const struct store_engine paper_engine = {.post = paper_post,
                                                 .kick = paper_kick,
                                                 .configure = paper_configure,
                                                 .clock_accept = paper_clock_accept,
                                                 .time = paper_time,
                                                 .age = paper_age,
                                                 .date = paper_date,
                                                 .stats = paper_stats,
                                                 .work = paper_work,
                                                 .close = paper_close};

static struct store_op *done_last;
static void *done_owner;

static void done(void *owner, struct store_op *op)
{
    done_last = op;
    done_owner = owner;
}

/* The engine hands back what it was given last, and its owner gets it. */
static void back(struct paper *p, struct mailbox *mb, enum store_status status)
{
    p->op->status = status;
    store_answer(p->op);
    done_last = NULL;
    assert_int_equal(mailbox_run(mb, p), 1);
    assert_ptr_equal(done_last, p->op);
    assert_ptr_equal(done_owner, p);
}

/* The slice that a row names, or nothing: `op` of NONE rows is none. */
#define SLICE_AT(field) _Generic((field), struct slice : &(field), default : NULL)

static void handed_over(struct paper *p, struct mailbox *mb, const struct store_op *op, unsigned kind, bool writes,
                        enum store_whose whose, const char *name)
{
    assert_ptr_equal(p->op, op);
    assert_int_equal(op->kind, kind);
    assert_int_equal(op->note, 0);
    assert_int_equal(store_op_rows[kind].writes, writes);
    assert_int_equal(store_op_rows[kind].whose, whose);
    assert_string_equal(store_op_rows[kind].name, name);
    struct slice key = store_op_key(op);
    assert_true(slice_eq(key, whose == WHOSE_NONE ? SLICE_NONE : S("whose")));
    back(p, mb, STORE_LIMIT);
    assert_int_equal(op->status, STORE_LIMIT);
}

/* Every operation of the list goes through its door to the engine, says what and whose it is, and comes back. */
static void doors(void **state)
{
    struct paper p = {.base = {.engine = &paper_engine}};
    struct mailbox mb;
    unsigned posts = 0;
    (void)state;
    mailbox_init(&mb, NULL, NULL);
#define DOOR(NAME, op_name, of, field, w)                                                                              \
    {                                                                                                                  \
        struct store_##op_name x = {.op = {.home = &mb, .done = done, .kind = 255, .note = 7}};                        \
        struct slice *at = (struct slice *)SLICE_AT(x.field);                                                          \
        assert_int_equal(at != NULL, WHOSE_##of != WHOSE_NONE);                                                        \
        if (at)                                                                                                        \
            *at = S("whose");                                                                                          \
        store_##op_name(&p.base, &x);                                                                                  \
        assert_int_equal(p.posts, ++posts);                                                                            \
        handed_over(&p, &mb, &x.op, OP_##NAME, w, WHOSE_##of, #op_name);                                               \
    }
#define DOOR_W(NAME, name, of, field) DOOR(NAME, name, of, field, true)
#define DOOR_R(NAME, name, of, field) DOOR(NAME, name, of, field, false)
    STORE_OPS(DOOR_W, DOOR_R)
    assert_int_equal(posts, OP_KINDS);
    mailbox_fini(&mb);
}

/* Whoever asks again has freed what it got before: an engine that refuses at once leaves nothing of that to free. */
static void lists_of_before_are_no_results(void **state)
{
    struct paper p = {.base = {.engine = &paper_engine}};
    struct mailbox mb;
    char gone[8];
    (void)state;
    mailbox_init(&mb, NULL, NULL);
#define AGAIN(op_name, list)                                                                                           \
    {                                                                                                                  \
        struct store_##op_name x = {.op = {.home = &mb, .done = done}, .list = (void *)gone, .arena = gone, .n = 5};   \
        store_##op_name(&p.base, &x);                                                                                  \
        back(&p, &mb, STORE_RETRY);                                                                                    \
        assert_true(!x.list && !x.arena && !x.n);                                                                      \
    }
    AGAIN(guests_due, ids)
    AGAIN(members, people)
    AGAIN(notes, notes)
    AGAIN(scan, list)
    mailbox_fini(&mb);
}

/* What is no operation goes to the engine as well. */
static void others(void **state)
{
    struct paper p = {.base = {.engine = &paper_engine}};
    struct store_stats stats;
    struct mailbox mb;
    struct store_work w = {.op = {.home = &mb, .done = done}, .why = "of before"};
    (void)state;
    mailbox_init(&mb, NULL, NULL);
    store_kick(&p.base);
    store_configure(&p.base, &(struct store_options){.inbox_max = 5});
    store_clock_accept(&p.base);
    assert_int_equal(store_time_ms(&p.base), 11);
    assert_int_equal(store_age_ms(&p.base, 6), 12);
    assert_int_equal(store_date_ms(&p.base), 13);
    store_get_stats(&p.base, &stats);
    store_work(&p.base, &w);
    assert_ptr_equal(p.op, &w.op);
    assert_string_equal(w.why, "");
    back(&p, &mb, STORE_RETRY);
    struct buf agreed = BUF_INIT;
    char why[64];
    struct store_engine shared = paper_engine;
    assert_int_equal(store_agree(&p.base, "name", S("value"), true, &agreed, why, sizeof why), ERR_INVALID);
    assert_int_equal(agreed.n, 0); /* the data is one server's alone */
    shared.agree = paper_agree;
    p.base.engine = &shared;
    assert_int_equal(store_agree(&p.base, "name", S("value"), true, &agreed, why, sizeof why), ERR_AGAIN);
    assert_true(slice_eq(buf_slice(&agreed), S("name value 1")));
    assert_string_equal(why, "asked");
    buf_free(&agreed);
    store_close(&p.base);
    assert_int_equal(stats.appended, 1);
    unsigned calls[] = {p.posts, p.kicks, p.configures, p.accepts, p.stats, p.works, p.closes};
    const unsigned want[] = {0, 1, 5, 1, 1, 1, 1};
    assert_memory_equal(calls, want, sizeof want);
    mailbox_fini(&mb);
}

/* --- A bus that takes note --- */

struct wire_bus {
    struct bus base;
    struct store_op *op;
    struct bus_ears ears;
    struct bus_order *receipt;
};

static void wire_post(struct bus *b, struct store_op *op)
{
    ((struct wire_bus *)b)->op = op;
}
static void wire_listen(struct bus *b, const struct bus_ears *ears)
{
    ((struct wire_bus *)b)->ears = *ears;
}
static void wire_receipt(struct bus *b, struct bus_order *o)
{
    ((struct wire_bus *)b)->receipt = o;
}

/* The store's bus is the one that its engine has given it, and each operation goes through its door and comes back. */
static void doors_of_the_bus(void **state)
{
    static const struct bus_ops ops = {.post = wire_post, .listen = wire_listen, .receipt = wire_receipt};
    struct wire_bus b = {.base = {.ops = &ops}};
    struct paper p = {.base = {.engine = &paper_engine}};
    struct bus_order o = {.kind = ORDER_PUSH};
    struct mailbox mb;
    unsigned kinds = 0;
    (void)state;
    mailbox_init(&mb, NULL, NULL);
    assert_null(store_bus(&p.base));
    p.base.bus = &b.base;
    assert_ptr_equal(store_bus(&p.base), &b.base);
#define BUS_DOOR(NAME, name)                                                                                           \
    {                                                                                                                  \
        struct bus_##name x = {.op = {.home = &mb, .done = done, .kind = 255, .note = 7}};                             \
        bus_##name(store_bus(&p.base), &x);                                                                            \
        assert_ptr_equal(b.op, &x.op);                                                                                 \
        assert_int_equal(x.op.kind, kinds++);                                                                          \
        assert_int_equal(x.op.kind, BUS_##NAME);                                                                       \
        assert_int_equal(x.op.note, 0);                                                                                \
        p.op = &x.op;                                                                                                  \
        back(&p, &mb, STORE_LIMIT);                                                                                    \
    }
    BUS_OPS(BUS_DOOR)
    assert_int_equal(kinds, BUS_OP_KINDS);
    assert_int_equal(p.posts, 0); /* the engine's own are others */
    bus_listen(store_bus(&p.base), &(struct bus_ears){.ctx = &p});
    assert_ptr_equal(b.ears.ctx, &p);
    bus_receipt(store_bus(&p.base), &o);
    assert_ptr_equal(b.receipt, &o);
    mailbox_fini(&mb);
}

/* --- The gate --- */

/* A world whose store stands behind a gate. */
struct gated {
    struct world w;
    struct gate_store gate;
};

static int gated_open(void **state)
{
    struct gated *g = calloc(1, sizeof *g);
    world_init(&g->w, "memory");
    world_open(&g->w);
    gate_store_init(&g->gate, g->w.s);
    g->w.s = &g->gate.base;
    *state = g;
    return 0;
}

static int gated_close(void **state)
{
    struct gated *g = *state;
    world_close(&g->w); /* by the gate's door */
    world_fini(&g->w);
    free(g);
    return 0;
}

static struct store_append message(const struct conv_key *conv, const char *client)
{
    return (struct store_append){.conv = conv_key_slice(conv),
                                 .tier = TIER_SMALL,
                                 .sender = S("ann"),
                                 .sender_name = S("Ann"),
                                 .content = S("x"),
                                 .client_id = S(client)};
}

/* How many messages the store behind has. */
static uint64_t stored(struct gated *g, const struct conv_key *conv)
{
    struct store_conv_load load = {.conv = conv_key_slice(conv)};
    struct store *gated = g->w.s;
    g->w.s = g->gate.behind;
    assert_int_equal(CALL(&g->w, store_conv_load, &load), STORE_OK);
    g->w.s = gated;
    return load.seq;
}

/* Held requests are not done, and pass in any order. */
static void holds(void **state)
{
    struct gated *g = *state;
    struct conv_key a = util_made(&g->w, "a"), b = util_made(&g->w, "b");
    struct store_append one = message(&a, ""), two = message(&b, "");
    g->gate.gate[OP_APPEND] = GATE_HOLD;
    POST(&g->w, store_append, &one);
    POST(&g->w, store_append, &two);
    assert_int_equal(g->gate.held, 2);
    assert_int_equal(g->gate.calls[OP_APPEND], 2);
    assert_int_equal(stored(g, &a) + stored(g, &b), 0);
    gate_store_next(&g->gate, 1, STORE_OK);
    util_wait(&g->w, &two.op);
    assert_int_equal(two.seq, 1);
    assert_non_null(one.op.home);
    gate_store_next(&g->gate, 0, STORE_RETRY);
    util_wait(&g->w, &one.op);
    assert_int_equal(one.op.status, STORE_RETRY);
    assert_int_equal(stored(g, &a), 0);
}

/* Late ones are done, and told when the test says so; if it says that they failed, they are done all the same. */
static void is_late(void **state)
{
    struct gated *g = *state;
    struct conv_key a = util_made(&g->w, "a");
    struct store_append one = message(&a, "once"), two = message(&a, "");
    g->gate.gate[OP_APPEND] = GATE_LATE;
    POST(&g->w, store_append, &one);
    POST(&g->w, store_append, &two);
    while (gate_store_held(&g->gate) < 2)
        usleep(100);
    assert_int_equal(stored(g, &a), 2);
    assert_true(one.op.home && two.op.home);
    gate_store_next(&g->gate, 0, STORE_UNKNOWN);
    util_wait(&g->w, &one.op);
    assert_int_equal(one.op.status, STORE_UNKNOWN);
    gate_store_next(&g->gate, 0, STORE_OK);
    util_wait(&g->w, &two.op);
    assert_int_equal(two.op.status, STORE_OK);
    assert_int_equal(two.seq, 2);
    g->gate.gate[OP_APPEND] = GATE_OPEN;
    one = message(&a, "once"); /* a retry tells */
    assert_int_equal(CALL(&g->w, store_append, &one), STORE_OK);
    assert_true(one.duplicate);
    assert_int_equal(one.seq, 1);
}

/* It fails with every status, and nothing is done. */
static void failures(void **state)
{
    struct gated *g = *state;
    struct conv_key a = util_made(&g->w, "a");
    for (int status = STORE_RETRY; status <= STORE_LIMIT; status++) {
        struct store_append one = message(&a, "");
        struct store_range r = {.conv = conv_key_slice(&a), .limit = 1};
        gate_store_set(&g->gate, GATE_FAIL, (enum store_status)status);
        assert_int_equal(CALL(&g->w, store_append, &one), status);
        assert_int_equal(CALL(&g->w, store_range, &r), status);
    }
    assert_int_equal(stored(g, &a), 0);
    gate_store_set(&g->gate, GATE_OPEN, STORE_OK);
}

/* Order is kept for each conversation, and changed between them. */
static void deals(void **state)
{
    enum { CONVS = 6, EACH = 8 };
    struct gated *g = *state;
    struct store_append all[CONVS][EACH];
    struct conv_key keys[CONVS];
    uint64_t seed = 1;
    bool changed = false;
    for (int c = 0; c < CONVS; c++) {
        char name[2] = {(char)('a' + c)};
        keys[c] = util_made(&g->w, name);
    }
    gate_store_set(&g->gate, GATE_HOLD | GATE_LATE, STORE_OK);
    for (int i = 0; i < EACH; i++) {
        for (int c = 0; c < CONVS; c++) {
            all[c][i] = message(&keys[c], "");
            POST(&g->w, store_append, &all[c][i]);
        }
    }
    unsigned before = util_done_n;
    while (util_done_n < before + CONVS * EACH) {
        gate_store_deal(&g->gate, &seed);
        mailbox_run(&g->w.mb, &g->w);
    }
    gate_store_set(&g->gate, GATE_OPEN, STORE_OK);
    for (unsigned n = 0, at[CONVS] = {0}; n < CONVS * EACH; n++) {
        struct store_append *x = (struct store_append *)util_done[before + n];
        size_t c = (size_t)(x - all[0]) / EACH;
        changed |= c != n % CONVS;
        assert_ptr_equal(x, &all[c][at[c]]);
        assert_int_equal(x->seq, ++at[c]);
    }
    assert_true(changed);
}

/* The rest of the seven reaches the store behind. */
static void passes_on(void **state)
{
    struct gated *g = *state;
    struct conv_key a = util_made(&g->w, "a");
    struct store_work w = {.kind = STORE_FLUSH};
    struct store_stats stats;
    struct store_append lazy = message(&a, "");
    lazy.op.lazy = true;
    POST(&g->w, store_append, &lazy);
    store_kick(g->w.s);
    util_wait(&g->w, &lazy.op);
    store_get_stats(g->w.s, &stats);
    assert_int_equal(stats.appended, 1);
    assert_int_equal(CALL(&g->w, store_work, &w), STORE_OK);
    g->w.o.tiers[TIER_SMALL].max = 1;
    store_configure(g->w.s, &g->w.o);
    struct store_append more = message(&a, "");
    struct store_range r = {.conv = conv_key_slice(&a), .limit = 10};
    assert_int_equal(CALL(&g->w, store_append, &more), STORE_OK);
    assert_int_equal(CALL(&g->w, store_range, &r), STORE_OK);
    assert_int_equal(r.page.n, 1);
    store_page_free(&r.page);
    store_clock_accept(g->w.s);
    assert_int_equal(store_time_ms(g->w.s), T0);
    assert_int_equal(store_date_ms(g->w.s), T0);
    assert_int_equal(store_age_ms(g->w.s, T0 - 5), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(doors),
        cmocka_unit_test(lists_of_before_are_no_results),
        cmocka_unit_test(others),
        cmocka_unit_test(doors_of_the_bus),
        cmocka_unit_test_setup_teardown(holds, gated_open, gated_close),
        cmocka_unit_test_setup_teardown(is_late, gated_open, gated_close),
        cmocka_unit_test_setup_teardown(failures, gated_open, gated_close),
        cmocka_unit_test_setup_teardown(deals, gated_open, gated_close),
        cmocka_unit_test_setup_teardown(passes_on, gated_open, gated_close),
    };
    return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
