/* Nodes of one cluster in one process: who lives, and notes that all of them have in the same order (node_*.c,
 * notes_log*.c). Real time, a real Redis Cluster, and ears in place of the bus's. */
#include "redis_raw.h"

#include "core/base/clock.h"
#include "core/base/mailbox.h"
#include "storage/bus.h"
#include "storage/redis/nodes/node.h"
#include "storage/redis/nodes/notes.h"
#include "storage/redis/nodes/notes_log.h"
#include "storage/redis/nodes/notes_log_private.h"
#include "storage/redis/redis_private.h"

#include <unistd.h>

#define S(x) slice_str(x)

/* A node, and what its bus would have been told. */
struct ears {
    struct store *s;
    uint64_t dead[4], buried, back; /* incarnations; under lock, as all below */
    unsigned deads;
    unsigned patrols;
    unsigned told;          /* changes for the other nodes */
    struct bus_noted *note; /* that the layers above have, and has not been put in force */
    char notes[4096];       /* what they have had: "+key=value ", "-key ", "!key=value " (passing), "all " */
    uint64_t place;         /* of the newest of them */
    bool hold;              /* they take their time */
};

struct world {
    struct raw raw;
    struct store_options o;
    struct ears ears[3];
    char why[256];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct ears *ears_of(struct redis *r)
{
    return r->hooks.ctx;
}

static bool listens(const struct redis *r)
{
    (void)r;
    return true;
}

static void event(struct redis *r, enum bus_event what, uint64_t node)
{
    struct ears *e = ears_of(r);
    pthread_mutex_lock(&lock);
    if (what == BUS_NODE_DEAD && e->deads < 4)
        e->dead[e->deads++] = node;
    if (what == BUS_BURIED)
        e->buried = node;
    if (what == BUS_BACK)
        e->back = node;
    pthread_mutex_unlock(&lock);
}

static bool noted(struct redis *r, struct bus_noted *n)
{
    struct ears *e = ears_of(r);
    size_t at = strlen(e->notes);
    pthread_mutex_lock(&lock);
    if (e->note)
        fail_msg("two notes at once");
    if (n->all)
        snprintf(e->notes + at, sizeof e->notes - at, "all ");
    else
        snprintf(e->notes + at, sizeof e->notes - at, "%c%.*s%s%.*s ",
                 n->remove    ? '-'
                 : n->passing ? '!'
                              : '+',
                 (int)n->note.key.n, n->note.key.p, n->remove ? "" : "=", (int)n->note.value.n, n->note.value.p);
    if (!n->all && n->seq <= e->place)
        fail_msg("place %llu after %llu", (unsigned long long)n->seq, (unsigned long long)e->place);
    e->place = n->seq;
    bool hold = e->hold;
    e->note = hold ? n : NULL;
    pthread_mutex_unlock(&lock);
    if (!hold)
        notes_log_applied(r, n);
    return true;
}

static void tell_log(struct redis *r, uint64_t place, struct slice body)
{
    (void)place, (void)body; /* the others find out by themselves */
    pthread_mutex_lock(&lock);
    ears_of(r)->told++;
    pthread_mutex_unlock(&lock);
}

static void patrol(struct redis *r)
{
    pthread_mutex_lock(&lock);
    ears_of(r)->patrols++;
    pthread_mutex_unlock(&lock);
}

static const struct node_ears node_ears = {listens, event, noted, tell_log, patrol};

/* Under the lock. False after a minute. */
#define EVENTUALLY(condition)                                                                                          \
    do {                                                                                                               \
        uint64_t end_ = clock_mono_ms() + 60000;                                                                       \
        for (bool is_ = false; !is_;) {                                                                                \
            pthread_mutex_lock(&lock);                                                                                 \
            is_ = (condition);                                                                                         \
            pthread_mutex_unlock(&lock);                                                                               \
            if (!is_ && clock_mono_ms() > end_)                                                                        \
                fail_msg("not within a minute: %s", #condition);                                                       \
            if (!is_)                                                                                                  \
                usleep(10000);                                                                                         \
        }                                                                                                              \
    } while (0)

static struct ears *node(struct world *w, unsigned i)
{
    static char first[64];
    static const char *addresses[1] = {first};
    const char *all = redis_kit_addresses();
    struct ears *e = &w->ears[i];
    struct redis_hooks hooks = {.ctx = e, .node_ears = &node_ears};
    snprintf(first, sizeof first, "%.*s", (int)strcspn(all, ","), all);
    w->o.cluster.addresses = addresses;
    w->o.cluster.address_count = 1;
    if (redis_open_hooked(&e->s, &w->o, &hooks, w->why, sizeof w->why))
        fail_msg("open: %s", w->why);
    return e;
}

static void hold(struct ears *e)
{
    pthread_mutex_lock(&lock);
    e->hold = true;
    pthread_mutex_unlock(&lock);
}

static void listen_to(struct ears *e)
{
    notes_log_listen(redis_of(e->s), true);
}

static uint64_t inc_of(const struct ears *e)
{
    struct bus_node list[8];
    unsigned n = node_list(redis_of(e->s), list, 8);
    for (unsigned i = 0; i < n && i < 8; i++)
        if (list[i].self)
            return list[i].node;
    return 0;
}

static uint16_t number_of(const struct ears *e)
{
    struct bus_node list[8];
    unsigned n = node_list(redis_of(e->s), list, 8);
    for (unsigned i = 0; i < n && i < 8; i++)
        if (list[i].self)
            return list[i].number;
    return 0;
}

static void close_all(struct world *w)
{
    for (unsigned i = 0; i < 3; i++) {
        if (!w->ears[i].s)
            continue;
        notes_log_listen(redis_of(w->ears[i].s), false);
        if (w->ears[i].note)
            notes_log_applied(redis_of(w->ears[i].s), w->ears[i].note);
        store_close(w->ears[i].s);
        w->ears[i].s = NULL;
    }
}

static int setup(void **state)
{
    if (!redis_kit_addresses())
        return 0;
    struct world *w = test_calloc(1, sizeof *w);
    raw_init(&w->raw);
    w->o = (struct store_options){.engine = "redis",
                                  .tiers = {{0, 0, DURABILITY_COMMIT},
                                            {UINT64_C(7776000000), 10000, DURABILITY_COMMIT},
                                            {UINT64_C(604800000), 1000, DURABILITY_COMMIT}},
                                  .dedup_window_ms = 600000,
                                  .inbox_max = 100000,
                                  .cluster = {.copies = 2, .patience_ms = 8000, .isolated_ms = 15000}};
    w->o.cluster.prefix = w->raw.prefix;
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    if (!w)
        return 0;
    close_all(w);
    raw_fini(&w->raw);
    test_free(w);
    return 0;
}

static struct world *need(void **state)
{
    (void)redis_kit_need();
    return *state;
}

/* --- Operations --------------------------------------------------------------------------------------------------- */

struct answer {
    struct mailbox home;
    bool done;
};

static void wake(void *ctx)
{
    (void)ctx;
}

static void answered(void *owner, struct store_op *op)
{
    (void)op;
    ((struct answer *)owner)->done = true;
}

static enum store_status wait_for(struct answer *a, struct store_op *op)
{
    uint64_t end = clock_mono_ms() + 60000;
    while (!a->done && clock_mono_ms() < end) {
        usleep(500);
        mailbox_run(&a->home, a);
    }
    assert_true(a->done);
    return op->status;
}

#define CALL(s, fn, x) (call_begins(&(x)->op, &answer_), fn((s), (x)), wait_for(&answer_, &(x)->op))
static struct answer answer_;

static void call_begins(struct store_op *op, struct answer *a)
{
    a->done = false;
    op->home = &a->home;
    op->done = answered;
}

static void put(struct ears *e, const char *key, const char *value)
{
    struct store_note_put n = {.note = {S(key), S(value ? value : "")}, .remove = value == NULL};
    assert_int_equal(CALL(e->s, store_note_put, &n), STORE_OK);
}

/* What a node's copy has of a prefix: "key=value …". */
static void expect(struct ears *e, const char *prefix, const char *want)
{
    struct store_notes n = {.prefix = S(prefix), .limit = 1000};
    char found[4096] = "";
    assert_int_equal(CALL(e->s, store_notes, &n), STORE_OK);
    for (uint32_t i = 0; i < n.n; i++)
        snprintf(found + strlen(found), sizeof found - strlen(found), "%.*s=%.*s ", (int)n.notes[i].key.n,
                 n.notes[i].key.p, (int)n.notes[i].value.n, n.notes[i].value.p);
    free(n.notes);
    free(n.arena);
    assert_string_equal(found, want);
}

/* --- Notes -------------------------------------------------------------------------------------------------------- */

/* Every node has each change, its own too, in one order. */
static void changes_come_in_order(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0), *b = node(w, 1);
    listen_to(a);
    listen_to(b);
    put(a, "k1", "one");
    put(b, "k2", "two");
    put(a, "k1", NULL);
    put(b, "k2", "three");
    EVENTUALLY(a->place == 4 && b->place == 4);
    assert_string_equal(a->notes, "+k1=one +k2=two -k1 +k2=three ");
    assert_string_equal(b->notes, a->notes);
    assert_int_equal(a->told + b->told, 4);
    expect(a, "k", "k2=three ");
    expect(b, "k", "k2=three ");
}

/* Who asks has what was kept before, whoever kept it. */
static void readers_see_what_is_kept(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0), *b = node(w, 1);
    for (int i = 0; i < 20; i++) {
        char value[8], want[16];
        snprintf(value, sizeof value, "%d", i);
        snprintf(want, sizeof want, "key=%d ", i);
        put(i % 2 ? a : b, "key", value);
        expect(i % 2 ? b : a, "key", want);
    }
}

/* What came before they listen is told then; one at a time. */
static void they_are_told_later(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0), *b;
    put(a, "before", "x");
    b = node(w, 1);
    hold(b);
    put(a, "k1", "1");
    put(a, "k2", "2");
    expect(b, "k", "k1=1 k2=2 "); /* the copy has them */
    assert_string_equal(b->notes, "");
    listen_to(b);
    EVENTUALLY(b->note != NULL);
    put(a, "k3", "3");
    expect(b, "k", "k1=1 k2=2 k3=3 ");
    assert_string_equal(b->notes, "+k1=1 ");
    pthread_mutex_lock(&lock);
    struct bus_noted *first = b->note;
    b->note = NULL;
    b->hold = false;
    pthread_mutex_unlock(&lock);
    notes_log_applied(redis_of(b->s), first);
    EVENTUALLY(b->place == 4);
    assert_string_equal(b->notes, "+k1=1 +k2=2 +k3=3 ");
}

/* Who has missed too many reads all. */
static void too_many_are_read_anew(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0), *b = node(w, 1);
    for (int i = 0; i <= NOTES_LOG_GAP; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%d", i);
        put(a, key, "v");
    }
    put(a, "z", "last");
    expect(b, "z", "z=last ");
    listen_to(b);
    EVENTUALLY(b->place == NOTES_LOG_GAP + 2);
    assert_int_equal(strncmp(b->notes, "all ", 4), 0);
    put(a, "z", "more");
    EVENTUALLY(b->place == NOTES_LOG_GAP + 3);
    assert_non_null(strstr(b->notes, "+z=more "));
}

/* A change that has left the log, or never came there. */
static void a_hole_is_read_anew(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0);
    listen_to(a);
    struct slice notes = raw_key(&w->raw, 'V', 0, SLICE_NONE);
    (void)RAW_NUMBER(&w->raw, S("HSET"), notes, S("k"), S("v"), S(""), S("5"));
    EVENTUALLY(a->place == 5);
    assert_string_equal(a->notes, "all ");
    expect(a, "k", "k=v ");
}

/* A note that no node could have written is passed over, and no reason not to start. */
static void a_note_that_is_too_long_is_left_out(void **state)
{
    struct world *w = need(state);
    struct slice notes = raw_key(&w->raw, 'V', 0, SLICE_NONE);
    char key[NOTE_KEY_MAX + 2] = "";
    memset(key, 'k', NOTE_KEY_MAX + 1);
    (void)RAW_NUMBER(&w->raw, S("HSET"), notes, S("k"), S("v"), S(key), S("w"));
    struct ears *a = node(w, 0);
    expect(a, "k", "k=v ");
    put(a, "l", "m");
    expect(a, "l", "l=m ");
}

/* Redis has lost what it had acknowledged. Numbers go on above what was told, and all is read anew. */
static void a_loss_is_told(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0);
    listen_to(a);
    for (int i = 0; i < 5; i++)
        put(a, "k", "v");
    EVENTUALLY(a->place == 5);
    struct slice notes = raw_key(&w->raw, 'V', 0, SLICE_NONE), log = raw_key(&w->raw, 'L', 0, SLICE_NONE);
    (void)RAW_NUMBER(&w->raw, S("DEL"), log);
    (void)RAW_NUMBER(&w->raw, S("DEL"), notes);
    (void)RAW_NUMBER(&w->raw, S("HSET"), notes, S(""), S("2"));
    EVENTUALLY(atomic_load(&redis_of(a->s)->stats.lost) == 1);
    EVENTUALLY(strstr(a->notes, "all ") && a->place == 2);
    expect(a, "k", "");
    put(a, "new", "n");
    assert_int_equal(RAW_NUMBER(&w->raw, S("HGET"), notes, S("")), 6);
    expect(a, "n", "new=n ");
    assert_int_equal(atomic_load(&redis_of(a->s)->stats.lost), 1);
}

/* --- Notes that must be in force everywhere ----------------------------------------------------------------------- */

static uint32_t note(struct ears *e, struct bus_note n)
{
    assert_int_equal(CALL(store_bus(e->s), bus_note, &n), STORE_OK);
    return n.silent.n;
}

static void release(struct ears *e)
{
    pthread_mutex_lock(&lock);
    struct bus_noted *n = e->note;
    e->note = NULL;
    e->hold = false;
    pthread_mutex_unlock(&lock);
    notes_log_applied(redis_of(e->s), n);
}

/* It is answered once all have put it in force, and says on how many it is not. */
static void a_note_is_in_force_on_all(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0), *b = node(w, 1);
    listen_to(a);
    listen_to(b);
    EVENTUALLY(node_list(redis_of(a->s), NULL, 0) == 2);
    for (uint64_t place = 1; place <= 5; place++) {
        assert_int_equal(note(place % 2 ? a : b, (struct bus_note){.note = {S("k"), S("v")}}), 0);
        pthread_mutex_lock(&lock);
        assert_true(a->place == place && b->place == place);
        pthread_mutex_unlock(&lock);
    }
    hold(b);
    assert_int_equal(note(a, (struct bus_note){.note = {S("k"), S("w")}}), 1);
    assert_int_equal(note(b, (struct bus_note){.note = {S("k"), S("x")}}), 1); /* on itself */
    release(b);
    EVENTUALLY(b->place == 7);
    assert_int_equal(note(a, (struct bus_note){.note = {S("k"), S("y")}}), 0);
    struct ears *c = node(w, 2); /* which hears nothing yet */
    uint64_t end = clock_mono_ms() + 60000;
    uint32_t missing = 0;
    while (!missing && clock_mono_ms() < end) /* until it is seen */
        missing = note(a, (struct bus_note){.note = {S("k"), S("z")}});
    assert_int_equal(missing, 1);
    listen_to(c);
    EVENTUALLY(c->place == a->place);
    assert_int_equal(note(c, (struct bus_note){.note = {S("k"), S("0")}}), 0);
}

/* Who stands still is waited for, until it is dead. */
static void the_dead_are_not_waited_for(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0);
    struct node_about about = {.state = NODE_UP, .era = UINT32_MAX, .log = 1};
    struct buf row = BUF_INIT;
    listen_to(a);
    assert_int_equal(note(a, (struct bus_note){.note = {S("k"), S("v")}}), 0); /* it is alone */
    buf_u16(&row, 9);
    buf_put(&row, "\0\0\0\0\0\7token...", 6 + NODES_TOKEN);
    node_about_put(&row, &about);
    (void)RAW_NUMBER(&w->raw, S("HSET"), raw_key(&w->raw, 'N', 0, SLICE_NONE), S("i99"), buf_slice(&row));
    assert_int_equal(note(a, (struct bus_note){.note = {S("k"), S("w")}}), 1);
    EVENTUALLY(a->deads == 1);
    assert_int_equal(note(a, (struct bus_note){.note = {S("k"), S("x")}}), 0);
    buf_free(&row);
}

/* What is only told, sums, what goes only if it begins so; and one that is handed over twice. */
static void notes_of_all_kinds(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0), *b = node(w, 1);
    listen_to(a);
    listen_to(b);
    (void)note(a, (struct bus_note){.note = {S("hello"), S("all")}, .passing = true});
    expect(b, "h", "");
    (void)note(a, (struct bus_note){.note = {S("n"), S("0 n 2")}, .add = true});
    (void)note(b, (struct bus_note){.note = {S("n"), S("0 n 3")}, .add = true, .behind = true, .number = 7});
    (void)note(b, (struct bus_note){.note = {S("n"), S("0 n 3")}, .add = true, .number = 7}); /* again */
    (void)note(a, (struct bus_note){.note = {S("n"), S("0 n 4")}, .add = true, .number = 7}); /* another's */
    expect(a, "n", "n=0 n 9 ");
    (void)note(a, (struct bus_note){.note = {S("n"), S("1 ")}, .remove = true});
    expect(b, "n", "n=0 n 9 ");
    (void)note(b, (struct bus_note){.note = {S("n"), S("0 ")}, .remove = true});
    expect(a, "n", "");
    EVENTUALLY(a->place == 5 && b->place == 5);
    assert_string_equal(a->notes, "!hello=all +n=0 n 2 +n=0 n 5 +n=0 n 9 -n ");
    assert_string_equal(b->notes, a->notes);
}

/* As they come when all are read: in any order, and some twice. */
static void a_copy_is_put_in_order(void **state)
{
    enum { KEYS = 1000 };
    struct notes ns = {0};
    char key[16], value[16];
    (void)state;
    notes_sort(&ns);
    for (unsigned i = 0; i < 3 * KEYS; i++) { /* each key thrice */
        snprintf(key, sizeof key, "%u", i * 7 % KEYS);
        snprintf(value, sizeof value, "%u", i);
        assert_true(notes_add(&ns, S(key), S(value)));
    }
    notes_sort(&ns);
    assert_int_equal(ns.n, KEYS);
    for (unsigned i = 2 * KEYS; i < 3 * KEYS; i++) {
        snprintf(key, sizeof key, "%u", i * 7 % KEYS);
        snprintf(value, sizeof value, "%u", i);
        const struct note *n = ns.list[notes_find(&ns, S(key))];
        assert_true(slice_eq(note_key(n), S(key)));
        assert_true(slice_eq(slice_of(n->text + n->key_n, n->value_n), S(value))); /* the one that came last */
    }
    notes_remove(&ns, S("500"));
    assert_true(notes_set(&ns, S("new"), S("v")));
    assert_int_equal(ns.n, KEYS);
    for (unsigned i = 1; i < ns.n; i++)
        assert_true(slice_cmp(note_key(ns.list[i - 1]), note_key(ns.list[i])) < 0);
    notes_free(&ns);
}

/* However many nodes there are, and however many notes change: beats cost partition 0's master a part of its time, for
 * each of them returns a row for each node, which takes it some 4 µs. */
static void beats_are_not_too_many(void **state)
{
    (void)state;
    assert_int_equal(notes_log_gap_ms(1), 10);
    assert_int_equal(notes_log_gap_ms(3), 10);
    for (unsigned n = 1; n <= 120; n++) {
        double each_second = 1000.0 / notes_log_gap_ms(n) * n, us = each_second * (100 + 4 * n);
        assert_true(us < 200000);
        assert_true(4 * notes_log_gap_ms(n) < 2000); /* all can have said so before a note is answered */
    }
    assert_int_equal(notes_log_gap_ms(NODES_MAX), NOTES_LOG_BEAT_MAX_MS);
}

static void a_change_is_read_as_it_was_written(void **state)
{
    struct note_change c = {NOTE_CHANGE_ADD, 7, UINT64_C(1) << 47, S("key"), S("value")}, d;
    struct buf b = BUF_INIT;
    (void)state;
    note_change_put(&b, &c);
    assert_int_equal(note_change_read(buf_slice(&b), &d), 0);
    assert_true(d.flags == c.flags && d.inc == 7 && d.number == c.number && slice_eq(d.key, c.key) &&
                slice_eq(d.value, c.value));
    for (size_t cut = 0; cut < b.n - c.value.n; cut++) {
        struct slice part = slice_of(b.p, cut);
        assert_int_equal(note_change_read(part, &d), ERR_INVALID);
    }
    b.p[0] = 0;
    assert_int_equal(note_change_read(buf_slice(&b), &d), ERR_INVALID);
    buf_free(&b);
}

/* --- Nodes -------------------------------------------------------------------------------------------------------- */

/* A node that was taken for dead, and lives: it is another one from then on, and reads all anew. */
static void who_was_buried_comes_back(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0), *b = node(w, 1);
    listen_to(a);
    listen_to(b);
    put(a, "k", "v");
    EVENTUALLY(a->place == 1 && b->place == 1);
    uint64_t inc = inc_of(b);
    char field[24];
    snprintf(field, sizeof field, "i%llu", (unsigned long long)inc);
    assert_int_equal(RAW_NUMBER(&w->raw, S("HDEL"), raw_key(&w->raw, 'N', 0, SLICE_NONE), S(field)), 1);
    EVENTUALLY(b->back != 0);
    assert_int_equal(b->buried, inc);
    assert_int_equal(b->back, inc_of(b));
    assert_true(b->back > inc);
    EVENTUALLY(strstr(b->notes, "all ") != NULL);
    EVENTUALLY(a->deads == 1);
    assert_int_equal(a->dead[0], inc);
    assert_int_equal(b->deads, 0); /* it does not take itself for dead */
    put(a, "k", "w");
    EVENTUALLY(a->place == 2 && b->place == 2);
}

/* A node that was taken for dead, and whose number another one has by now: it takes another number, for a number is
 * there for people only. One that waits for its own would serve nobody, and its clients would wait with it. */
static void who_comes_back_takes_any_number(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0), *b = node(w, 1);
    struct slice nodes = raw_key(&w->raw, 'N', 0, SLICE_NONE);
    EVENTUALLY(node_list(redis_of(a->s), NULL, 0) == 2);
    uint64_t inc = inc_of(b);
    uint16_t number = number_of(b);
    char field[24];
    snprintf(field, sizeof field, "i%llu", (unsigned long long)inc);
    uint64_t end = clock_mono_ms() + 60000;
    bool back = false;
    for (uint8_t beat = 1; !back && clock_mono_ms() < end; beat++) { /* that one lives: its beat moves */
        struct buf row = BUF_INIT;
        struct node_about about = {.state = NODE_UP, .era = UINT32_MAX, .known = UINT64_MAX};
        buf_u16(&row, number);
        buf_put(&row, "\0\0\0\0\1", 5);
        buf_byte(&row, beat);
        buf_put(&row, "token...", NODES_TOKEN);
        node_about_put(&row, &about);
        (void)RAW_NUMBER(&w->raw, S("HDEL"), nodes, S(field));
        (void)RAW_NUMBER(&w->raw, S("HSET"), nodes, S("i99"), buf_slice(&row));
        buf_free(&row);
        usleep(20000);
        pthread_mutex_lock(&lock);
        back = b->back != 0;
        pthread_mutex_unlock(&lock);
    }
    assert_true(back);
    assert_int_equal(b->buried, inc);
    assert_true(number_of(b) != number && number_of(b) != number_of(a));
}

/* One whose beat stands still. Nothing else of this machine tells that it is dead. */
static void who_stands_still_is_buried(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0);
    struct node_about about = {.state = NODE_UP, .host_n = 4, .host = "host", .era = UINT32_MAX, .log = 1};
    struct buf row = BUF_INIT;
    struct slice nodes = raw_key(&w->raw, 'N', 0, SLICE_NONE);
    buf_u16(&row, 9);
    buf_put(&row, "\0\0\0\0\0\7token...", 6 + NODES_TOKEN);
    node_about_put(&row, &about);
    (void)RAW_NUMBER(&w->raw, S("HSET"), nodes, S("i99"), buf_slice(&row));
    EVENTUALLY(node_list(redis_of(a->s), NULL, 0) == 2);
    assert_true(node_leads(redis_of(a->s))); /* its incarnation is the lowest */
    assert_int_equal(a->deads, 0);
    EVENTUALLY(a->deads == 1);
    assert_int_equal(a->dead[0], 99);
    assert_int_equal(a->patrols, 1);
    assert_int_equal(node_count_dead(redis_of(a->s)), 1);
    assert_int_equal(RAW_NUMBER(&w->raw, S("HEXISTS"), nodes, S("i99")), 0);
    buf_free(&row);
}

static bool sees_draining(struct ears *e, uint64_t inc)
{
    struct bus_node list[8];
    unsigned n = node_list(redis_of(e->s), list, 8);
    for (unsigned i = 0; i < n; i++)
        if (list[i].node == inc)
            return list[i].draining;
    return false;
}

/* One that ends says so, and is gone at once. */
static void who_ends_leaves(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0), *b = node(w, 1);
    uint64_t inc = inc_of(b);
    EVENTUALLY(node_list(redis_of(a->s), NULL, 0) == 2);
    assert_false(sees_draining(a, inc));
    node_drain(redis_of(b->s));
    EVENTUALLY(sees_draining(a, inc));
    store_close(b->s);
    b->s = NULL;
    EVENTUALLY(a->deads == 1);
    assert_int_equal(a->dead[0], inc);
    assert_int_equal(a->patrols, 0); /* nothing died with it */
    assert_int_equal(node_count_dead(redis_of(a->s)), 0);
}

/* The table of nodes was emptied: no incarnation is given twice. */
static void the_table_is_lost(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0), *b = node(w, 1);
    uint64_t first = inc_of(a), second = inc_of(b);
    (void)RAW_NUMBER(&w->raw, S("DEL"), raw_key(&w->raw, 'N', 0, SLICE_NONE));
    EVENTUALLY(a->back && b->back);
    assert_int_equal(a->buried, first);
    assert_int_equal(b->buried, second);
    uint64_t most = first > second ? first : second;
    assert_true(a->back != b->back && a->back > most && b->back > most);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_is_read_as_it_was_written),
        cmocka_unit_test(a_copy_is_put_in_order),
        cmocka_unit_test(beats_are_not_too_many),
        cmocka_unit_test_setup_teardown(changes_come_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(readers_see_what_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(they_are_told_later, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_are_read_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(a_hole_is_read_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(a_note_that_is_too_long_is_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(a_loss_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_note_is_in_force_on_all, setup, teardown),
        cmocka_unit_test_setup_teardown(the_dead_are_not_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(notes_of_all_kinds, setup, teardown),
        cmocka_unit_test_setup_teardown(who_was_buried_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(who_comes_back_takes_any_number, setup, teardown),
        cmocka_unit_test_setup_teardown(who_stands_still_is_buried, setup, teardown),
        cmocka_unit_test_setup_teardown(who_ends_leaves, setup, teardown),
        cmocka_unit_test_setup_teardown(the_table_is_lost, setup, teardown),
    };
    mailbox_init(&answer_.home, wake, NULL); /* which outlives all engines */
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mailbox_fini(&answer_.home);
    return failed;
}
