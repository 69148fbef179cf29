/*
 * The store against a model: random sends, pages, marks, recalls, acknowledgements, passing time and restarts, and a
 * plain array that says what must come of each. All kinds of store; the same course each time.
 */
#define UTIL_MAIN
#include "tests/unit/test_store_util.h"

enum { CONVS = 3, MESSAGES = 4000 };

/* A message as the model keeps it. */
struct known {
    enum store_tier tier;
    uint64_t birth, ttl; /* 0: the tier's */
    uint64_t id;
    unsigned sender; /* index of names */
    bool recalled;
    uint64_t edited; /* 0: never */
    bool gone;       /* was past its time, or beyond the count, once */
    char text[24];
};

struct conv {
    struct conv_key key;
    struct known *m;    /* m[seq] */
    uint64_t seq, from; /* the newest; all below `from` are gone */
    uint32_t max;       /* its own count; 0: the tiers' */
    uint64_t read[3];   /* by user */
};

static const char *const names[3] = {"ann", "bob", "cid"};
static const char *engine;

struct course {
    struct world w;
    struct conv c[CONVS];
    uint64_t random, now;
    uint64_t inbox[MESSAGES]; /* bob's: ids, ascending */
    uint32_t inbox_n;
    unsigned clients; /* client ids used */
};

static uint32_t rnd(struct course *t, uint32_t n)
{
    t->random = t->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(t->random >> 33) % n;
}

static bool visible(const struct conv *c, uint64_t seq)
{
    return !c->m[seq].gone;
}

/* Something changed: what is past its time or beyond the count now is gone, whatever comes later. */
static void settle(struct course *t)
{
    for (struct conv *c = t->c; c < t->c + CONVS; c++) {
        for (uint64_t seq = c->from; seq <= c->seq; seq++) {
            struct known *m = &c->m[seq];
            uint64_t ttl = m->ttl ? m->ttl : t->w.o.tiers[m->tier].ttl_ms;
            uint64_t max = c->max ? c->max : t->w.o.tiers[m->tier].max;
            m->gone |= (ttl && t->now >= m->birth + ttl) || (max && c->seq > max && seq <= c->seq - max);
            c->from += seq == c->from && m->gone;
        }
    }
}

static uint64_t first_of(const struct conv *c)
{
    for (uint64_t s = c->from; s <= c->seq; s++)
        if (visible(c, s))
            return s;
    return c->seq ? c->seq + 1 : 0;
}

/* What is past its time does not use up an inbox. */
static void inbox_prune(struct course *t)
{
    struct conv *c = &t->c[2];
    uint32_t keep = 0;
    uint64_t seq = 1;
    for (uint32_t i = 0; i < t->inbox_n; i++) {
        while (c->m[seq].id != t->inbox[i])
            seq++;
        if (visible(c, seq))
            t->inbox[keep++] = t->inbox[i];
    }
    t->inbox_n = keep;
}

/* Takes a seq into the page that is wanted, when it is visible. False: the page is full. */
static bool page_take(const struct conv *c, uint64_t seq, uint32_t limit, uint32_t bytes, uint64_t *want, uint32_t *n,
                      size_t *size)
{
    size_t text = c->m[seq].recalled ? 0 : strlen(c->m[seq].text);
    if (!visible(c, seq))
        return true;
    if (*n == limit || (bytes && *n && *size + text > bytes))
        return false;
    want[(*n)++] = seq;
    *size += text;
    return true;
}

static void step_page_of(struct course *t, struct conv *c)
{
    bool has_after = rnd(t, 2), has_before = rnd(t, 2);
    uint64_t after = rnd(t, (uint32_t)c->seq + 3), before = rnd(t, (uint32_t)c->seq + 3);
    uint32_t limit = 1 + rnd(t, 12), bytes = rnd(t, 3) ? 0 : 1 + rnd(t, 100), n = 0;
    uint64_t want[16];
    size_t size = 0;
    bool more = false;
    if (has_after && !has_before) { /* upwards */
        for (uint64_t s = after + 1; s <= c->seq && !more; s++)
            more = !page_take(c, s, limit, bytes, want, &n, &size);
    } else {
        for (uint64_t s = has_before && before <= c->seq ? before : c->seq + 1;
             s-- > 1 && !(has_after && s <= after) && !more;)
            more = !page_take(c, s, limit, bytes, want, &n, &size);
        for (uint32_t i = 0; i < n / 2; i++) {
            uint64_t swap = want[i];
            want[i] = want[n - 1 - i];
            want[n - 1 - i] = swap;
        }
    }
    struct store_range r = {.conv = conv_key_slice(&c->key),
                            .has_after = has_after,
                            .has_before = has_before,
                            .after = after,
                            .before = before,
                            .limit = limit,
                            .page_bytes = bytes};
    assert_int_equal(CALL(&t->w, store_range, &r), STORE_OK);
    assert_int_equal(r.page.n, n);
    assert_int_equal(r.more, more);
    assert_int_equal(r.last, c->seq);
    assert_int_equal(r.first, first_of(c));
    for (uint32_t i = 0; i < n; i++) {
        const struct known *m = &c->m[want[i]];
        const struct store_message *got = &r.page.messages[i];
        assert_int_equal(got->seq, want[i]);
        assert_true(got->id == m->id && got->recalled == m->recalled &&
                    got->edited_ms == (m->recalled ? 0 : m->edited));
        assert_true(slice_eq(got->content, m->recalled ? SLICE_NONE : S(m->text)) &&
                    slice_eq(got->sender, S(names[m->sender])));
    }
    store_page_free(&r.page);
}

static void step_page(struct course *t)
{
    step_page_of(t, &t->c[rnd(t, CONVS)]);
}

static void step_say(struct course *t)
{
    unsigned k = rnd(t, CONVS), who = k == 2 ? rnd(t, 2) : rnd(t, 3);
    struct conv *c = &t->c[k];
    if (c->seq + 1 >= MESSAGES)
        return;
    struct known *m = &c->m[c->seq + 1];
    *m = (struct known){.tier = k == 2      ? TIER_DM
                                : rnd(t, 4) ? TIER_SMALL
                                            : TIER_LARGE,
                        .birth = t->now,
                        .ttl = rnd(t, 10) ? 0 : 1 + rnd(t, 5000),
                        .sender = who};
    snprintf(m->text, sizeof(m->text), "text %u", rnd(t, 1000000));
    char client[24];
    snprintf(client, sizeof(client), "%u", t->clients++);
    struct store_append a = append_of(&c->key, m->tier, names[who], m->text);
    a.ttl_ms = m->ttl;
    if (rnd(t, 50) == 0)
        c->max = k == 2 ? rnd(t, 2) * 150 : rnd(t, 3) * 40;
    a.max = rnd(t, 20) ? c->max : k == 2 ? 100 : 1 + rnd(t, 60); /* now and then one comes with a count of its own */
    a.client_id = rnd(t, 3) ? SLICE_NONE : S(client);
    if (k == 2 && who == 0)
        a.receiver = S("bob");
    assert_int_equal(CALL(&t->w, store_append, &a), STORE_OK);
    assert_int_equal(a.seq, c->seq + 1);
    assert_false(a.duplicate);
    m->id = a.id;
    c->seq++;
    uint32_t max = c->max;
    c->max = a.max;
    settle(t);
    if (a.max != max && rnd(t, 2))
        step_page_of(t, c); /* … and the next one without it */
    c->read[who] = c->seq;
    if (a.receiver.n) {
        inbox_prune(t);
        t->inbox[t->inbox_n++] = a.id;
        if (t->inbox_n > t->w.o.inbox_max)
            memmove(t->inbox, t->inbox + 1, --t->inbox_n * sizeof(t->inbox[0]));
    }
    if (a.client_id.n) { /* and again: the same answer, and nothing more */
        struct store_append b = a;
        assert_int_equal(CALL(&t->w, store_append, &b), STORE_OK);
        assert_true(b.duplicate && b.seq == a.seq && b.id == a.id);
    }
}

static void step_read(struct course *t)
{
    struct conv *c = &t->c[2];
    unsigned who = rnd(t, 2);
    if (c->seq == 0)
        return;
    uint64_t seq = rnd(t, (uint32_t)c->seq + 5), now = seq < c->seq ? seq : c->seq, first = first_of(c);
    now = now > c->read[who] ? now : c->read[who];
    uint64_t seen = now > first - 1 ? now : first - 1;
    struct store_mark_read m = {.conv = conv_key_slice(&c->key), .user = S(names[who]), .seq = seq};
    assert_int_equal(CALL(&t->w, store_mark_read, &m), STORE_OK);
    assert_int_equal(m.moved, now > c->read[who]);
    assert_int_equal(m.read, now);
    assert_int_equal(m.unread, c->seq > seen ? c->seq - seen : 0);
    c->read[who] = now;
}

static void step_recall(struct course *t)
{
    struct conv *c = &t->c[rnd(t, CONVS)];
    uint64_t seq = rnd(t, (uint32_t)c->seq + 3);
    unsigned who = rnd(t, 3);
    struct store_recall r = {.conv = conv_key_slice(&c->key), .sender = S(names[who]), .seq = seq, .window_ms = 3000};
    enum store_status status = CALL(&t->w, store_recall, &r);
    if (seq == 0 || seq > c->seq || !visible(c, seq)) {
        assert_int_equal(status, STORE_NOTFOUND);
    } else if (c->m[seq].sender != who) {
        assert_int_equal(status, STORE_DENIED);
    } else if (c->m[seq].recalled) {
        assert_true(status == STORE_OK && r.again);
    } else if (t->now - c->m[seq].birth > 3000) {
        assert_int_equal(status, STORE_LATE);
    } else {
        assert_true(status == STORE_OK && !r.again && r.id == c->m[seq].id);
        c->m[seq].recalled = true;
    }
}

static void step_edit(struct course *t)
{
    struct conv *c = &t->c[rnd(t, CONVS)];
    uint64_t seq = rnd(t, (uint32_t)c->seq + 3);
    unsigned who = rnd(t, 3);
    char text[24];
    snprintf(text, sizeof text, "edited%.*s", (int)rnd(t, 16), "0123456789abcdef");
    struct store_edit e = {.conv = conv_key_slice(&c->key),
                           .sender = S(names[who]),
                           .seq = seq,
                           .window_ms = 3000,
                           .content = slice_str(text)};
    enum store_status status = CALL(&t->w, store_edit, &e);
    struct known *m = &c->m[seq];
    if (seq == 0 || seq > c->seq || !visible(c, seq)) {
        assert_int_equal(status, STORE_NOTFOUND);
    } else if (m->sender != who) {
        assert_int_equal(status, STORE_DENIED);
    } else if (m->recalled) {
        assert_int_equal(status, STORE_NOTFOUND);
    } else if (t->now - m->birth > 3000) {
        assert_int_equal(status, STORE_LATE);
    } else {
        assert_true(status == STORE_OK && e.id == m->id && e.edited_ms > m->edited);
        m->edited = e.edited_ms;
        memcpy(m->text, text, sizeof text);
    }
}

/* bob's entries whose messages are visible, in order. */
static void step_inbox(struct course *t)
{
    inbox_prune(t);
    const uint64_t *want = t->inbox;
    uint32_t n = t->inbox_n;
    uint32_t limit = 1 + rnd(t, 30), skip = n ? rnd(t, n + 1) : 0;
    struct store_inbox_peek p = {.user = S("bob"), .limit = limit, .after = skip ? want[skip - 1] : 0};
    assert_int_equal(CALL(&t->w, store_inbox_peek, &p), STORE_OK);
    assert_int_equal(p.page.n, n - skip < limit ? n - skip : limit);
    assert_int_equal(p.more, n - skip > limit);
    for (uint32_t i = 0; i < p.page.n; i++)
        assert_true(p.page.messages[i].id == want[skip + i]);
    store_page_free(&p.page);
    if (n && rnd(t, 4) == 0) { /* acknowledges some */
        uint64_t up_to = want[rnd(t, n)];
        struct store_inbox_ack a = {.user = S("bob"), .up_to = up_to};
        assert_int_equal(CALL(&t->w, store_inbox_ack, &a), STORE_OK);
        uint32_t keep = 0;
        for (uint32_t i = 0; i < t->inbox_n; i++)
            if (t->inbox[i] > up_to)
                t->inbox[keep++] = t->inbox[i];
        t->inbox_n = keep;
    }
}

/* Other counts and lives, by a reload, or while the store is closed. */
static void step_limits(struct course *t)
{
    static const uint32_t dm[] = {400, 200, 0, 1000}, small[] = {300, 80, 0, 150}, large[] = {50, 120, 20, 0};
    static const uint64_t small_ms[] = {60000, 20000, 0}, large_ms[] = {20000, 5000, 60000};
    bool closed = strcmp(engine, "memory") != 0 && rnd(t, 2);
    if (closed) {
        world_close(&t->w);
        world_pass(&t->w, 10); /* no server is back within the millisecond: ids tell before from after */
        t->now += 10;
        settle(t);
    }
    t->w.o.tiers[TIER_DM].max = dm[rnd(t, 4)];
    t->w.o.tiers[TIER_SMALL].max = small[rnd(t, 4)];
    t->w.o.tiers[TIER_LARGE].max = large[rnd(t, 4)];
    t->w.o.tiers[TIER_SMALL].ttl_ms = small_ms[rnd(t, 3)];
    t->w.o.tiers[TIER_LARGE].ttl_ms = large_ms[rnd(t, 3)];
    if (closed)
        world_open(&t->w);
    else
        store_configure(t->w.s, &t->w.o);
    settle(t);
}

static void run(void **state)
{
    (void)state;
    static struct course course;
    struct course *t = &course;
    memset(t, 0, sizeof(*t));
    world_init(&t->w, engine);
    t->random = 7;
    t->now = T0;
    t->w.o.tiers[TIER_DM] = (struct store_tier_options){0, 400, DURABILITY_SYNC};
    t->w.o.tiers[TIER_SMALL] = (struct store_tier_options){60000, 300, DURABILITY_COMMIT};
    t->w.o.tiers[TIER_LARGE] = (struct store_tier_options){20000, 50, DURABILITY_COMMIT};
    t->w.o.inbox_max = 60;
    world_open(&t->w);
    user_make(&t->w, "bob", "Bob");
    for (int i = 0; i < CONVS; i++) {
        t->c[i].key = i == 2 ? util_pair("ann", "bob") : util_made(&t->w, i ? "b" : "a");
        t->c[i].m = calloc(MESSAGES, sizeof(struct known));
        t->c[i].from = 1;
    }
    for (int i = 0; i < 9000; i++) {
        uint32_t what = rnd(t, 100);
        if (what < 50) {
            step_say(t);
        } else if (what < 80) {
            step_page(t);
        } else if (what < 86) {
            step_read(t);
        } else if (what < 91) {
            step_recall(t);
        } else if (what < 93) {
            step_edit(t);
        } else if (what < 95) {
            step_inbox(t);
        } else if (what < 99 || strcmp(engine, "memory") == 0) {
            uint64_t ms = rnd(t, 10) ? rnd(t, 200) : rnd(t, 20000);
            world_pass(&t->w, ms);
            t->now += ms;
            settle(t);
        } else if (rnd(t, 3) == 0) {
            world_restart(&t->w);
        }
        if (rnd(t, 100) == 0)
            step_limits(t);
    }
    for (int i = 0; i < CONVS; i++) {
        assert_true(t->c[i].seq > 1000); /* a course worth its name */
        free(t->c[i].m);
    }
    world_fini(&t->w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(run)};
    int failed = 0;
    UTIL_RUN("model", tests, engine, failed);
    return failed;
}
