#include "core/hub/talk/walk.h"
#include "core/hub/talk/encode.h"
#include "core/hub/act/page.h"

#include "core/base/json.h"

#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct store_message hello = {.seq = 7,
                                           .id = 42,
                                           .created_ms = 1700000000123,
                                           .sender = SLICE_LIT("bob"),
                                           .sender_name = SLICE_LIT("B\"o\\b"),
                                           .content = SLICE_LIT("line\n\"x\" \xe2\x82\xac")};

static void expect(struct buf *b, const char *text)
{
    buf_byte(b, 0);
    assert_true(buf_ok(b));
    assert_string_equal(b->p, text);
    buf_free(b);
}

static void channel_message(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    struct conv_key key = conv_key_channel(SLICE_LIT("ge\"neral"));
    encode_message(&b, conv_key_slice(&key), &hello);
    expect(&b, "{\"id\":\"0000000000000000042\",\"content\":\"line\\n\\\"x\\\" "
               "\xe2\x82\xac\",\"sender\":{\"id\":\"bob\",\"name\":\"B\\\"o\\\\b\"},"
               "\"createdAt\":1700000000123,\"channel\":\"ge\\\"neral\",\"seq\":7}");
}

static void private_message_names_the_other_one(void **state)
{
    (void)state;
    struct conv_key pair = conv_key_pair(SLICE_LIT("bob"), SLICE_LIT("alice")),
                    self = conv_key_pair(SLICE_LIT("bob"), SLICE_LIT("bob"));
    struct buf b = BUF_INIT;
    encode_message(&b, conv_key_slice(&pair), &hello);
    buf_byte(&b, 0);
    assert_non_null(strstr(b.p, "\"receiverId\":\"alice\""));
    buf_reset(&b);
    encode_message(&b, conv_key_slice(&self), &hello);
    buf_byte(&b, 0);
    assert_non_null(strstr(b.p, "\"receiverId\":\"bob\""));
    buf_free(&b);
}

static void recalled_message_has_no_content(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    struct conv_key key = conv_key_channel(SLICE_LIT("c"));
    struct store_message m = hello;
    m.recalled = true;
    encode_message(&b, conv_key_slice(&key), &m);
    buf_byte(&b, 0);
    assert_non_null(strstr(b.p, "\"content\":\"\""));
    assert_non_null(strstr(b.p, "\"recalled\":true}"));
    buf_free(&b);
}

static void greatest_id(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    encode_id(&b, INT64_MAX);
    expect(&b, "\"9223372036854775807\"");
}

/* Pages: whatever the bound, valid JSON with at least one message, cut at the right end. */
static void pages_are_cut_at_the_right_end(void **state)
{
    (void)state;
    struct store_message m[5];
    struct store_page page = {.messages = m, .n = 5};
    struct conv_key key = conv_key_channel(SLICE_LIT("c"));
    for (uint64_t i = 0; i < 5; i++) {
        m[i] = hello;
        m[i].seq = i + 1;
    }
    for (int oldest = 0; oldest < 2; oldest++) {
        for (uint32_t max = 1; max < 1200; max += 7) {
            struct buf b = BUF_INIT;
            bool cut = page_encode(&b, &page, conv_key_slice(&key), oldest, max);
            buf_byte(&b, '}');
            const char *why = NULL;
            struct cJSON *tree = json_parse(buf_slice(&b), &why);
            assert_non_null(tree);
            const struct cJSON *list = NULL;
            assert_int_equal(json_get_array(tree, "messages", &list), 1);
            int n = cJSON_GetArraySize(list);
            assert_true(n >= 1 && (n == 5) == !cut);
            int64_t first = 0;
            json_get_int(cJSON_GetArrayItem(list, 0), "seq", &first);
            assert_int_equal(first, oldest ? 1 : 6 - n);
            assert_true(n == 1 || b.n <= max + 20);
            json_free(tree);
            buf_free(&b);
        }
    }
}

static void merged_slice(void **state)
{
    (void)state;
    struct pub *p = calloc(1, sizeof *p + 2 * sizeof p->items[0] + 4);
    assert_non_null(p);
    p->count = 2;
    p->to = 9;
    memcpy(pub_data(p), "{}{}", 4);
    p->items[0].len = p->items[1].len = 2;
    p->items[1].offset = 2;
    struct buf b = BUF_INIT;
    encode_merged(&b, SLICE_LIT("c"), p, 0, 5, 3);
    expect(&b, "{\"channel\":\"c\",\"messages\":[{},{}],\"from\":5,\"to\":9,\"omitted\":3}");
    encode_merged(&b, SLICE_LIT("c"), p, 1, 9, 0);
    expect(&b, "{\"channel\":\"c\",\"messages\":[{}],\"from\":9,\"to\":9,\"omitted\":0}");
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(channel_message),
        cmocka_unit_test(private_message_names_the_other_one),
        cmocka_unit_test(recalled_message_has_no_content),
        cmocka_unit_test(greatest_id),
        cmocka_unit_test(pages_are_cut_at_the_right_end),
        cmocka_unit_test(merged_slice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
