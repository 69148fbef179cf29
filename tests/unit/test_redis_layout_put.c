/* What an import writes into Redis is what the engine reads there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "storage/redis/layout.h"

#include <string.h>

#define BIG ((UINT64_C(1) << 48) - 3)

static void heads(void **state)
{
    (void)state;
    const struct layout_head all[] = {
        {.kind = LAYOUT_CHANNEL,
         .flags = LAYOUT_MADE | LAYOUT_OWN | 2 * LAYOUT_TIER,
         .tier = 2,
         .used = 7,
         .seq = BIG,
         .low = BIG - 1,
         .last_id = UINT64_MAX,
         .max = UINT32_MAX,
         .edits = 3,
         .members = 9,
         .version = 11},
        {.kind = LAYOUT_PAIR,
         .flags = LAYOUT_LOW_BLOCKS,
         .used = 1,
         .seq = 5,
         .low = 2,
         .last_id = 1,
         .archived = 2,
         .first = 1,
         .k = {3, BIG}},
        {.kind = LAYOUT_CHANNEL, .flags = LAYOUT_MADE | LAYOUT_FLOORS, .used = 3, .seq = 5, .floors = {1, 2, BIG}},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct buf b = BUF_INIT;
        struct layout_head h;
        layout_head_put(&b, &all[i]);
        assert_int_equal(layout_head(buf_slice(&b), &h), 0);
        const struct layout_head *w = &all[i];
        assert_true(h.kind == w->kind && h.flags == w->flags && h.tier == w->tier && h.used == w->used);
        assert_true(h.seq == w->seq && h.low == w->low && h.last_id == w->last_id && h.max == w->max);
        assert_true(h.edits == w->edits && h.members == w->members && h.version == w->version);
        assert_true(h.archived == w->archived && h.first == w->first && h.k[0] == w->k[0] && h.k[1] == w->k[1]);
        assert_memory_equal(h.floors, w->floors, sizeof h.floors);
        buf_free(&b);
    }
}

static void records(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    struct layout_record r;
    const struct layout_record m = {.recalled = true,
                                    .tier = 2,
                                    .rev = 65535,
                                    .id = UINT64_MAX,
                                    .created_ms = BIG,
                                    .birth_ms = BIG - 1,
                                    .ttl_ms = BIG - 2,
                                    .edited_ms = BIG - 3,
                                    .sender = SLICE_LIT("ann"),
                                    .sender_name = SLICE_LIT("Ann"),
                                    .content = SLICE_LIT("hello")};
    layout_record_put(&b, &m);
    assert_int_equal(layout_record(buf_slice(&b), &r), 0);
    assert_true(slice_eq(r.sender, m.sender) && slice_eq(r.sender_name, m.sender_name));
    assert_true(slice_eq(r.content, m.content));
    assert_true(r.recalled && r.tier == m.tier && r.rev == m.rev && r.id == m.id && r.created_ms == m.created_ms);
    assert_true(r.birth_ms == m.birth_ms && r.ttl_ms == m.ttl_ms && r.edited_ms == m.edited_ms);
    buf_free(&b);
}

static void the_rest(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    struct layout_sub s;
    layout_sub_put(&b, &(struct layout_sub){.member = true, .push = 3, .events = true, .read = BIG, .version = 2});
    assert_int_equal(layout_sub(buf_slice(&b), &s), 0);
    assert_true(s.member && s.push == 3 && s.events && s.read == BIG && s.version == 2);
    struct layout_gone g;
    buf_reset(&b);
    layout_gone_put(&b, &(struct layout_gone){.until = UINT64_MAX, .now = true});
    assert_int_equal(layout_gone(buf_slice(&b), &g), 0);
    assert_true(g.now && g.until == UINT64_MAX);
    struct layout_entry e;
    buf_reset(&b);
    layout_entry_put(&b, &(struct layout_entry){.seq = 1, .birth_ms = BIG, .ttl_ms = 2, .peer = SLICE_LIT("bob")});
    assert_int_equal(layout_entry(buf_slice(&b), &e), 0);
    assert_true(e.seq == 1 && e.birth_ms == BIG && e.ttl_ms == 2 && slice_eq(e.peer, SLICE_LIT("bob")));
    buf_reset(&b);
    layout_dedup_put(&b, 7, 8, BIG);
    assert_int_equal(b.n, LAYOUT_DEDUP);
    assert_true(load_be64(b.p) == 7 && layout_u48(b.p + 8) == 8 && layout_u48(b.p + 14) == BIG);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads),
        cmocka_unit_test(records),
        cmocka_unit_test(the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
