/* What a terminal is given: core/tools/chat_text.c. */
#include "core/tools/chat_text.h"

#include "core/base/buf.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void clean_is(const char *text, size_t n, bool lines, const char *wanted)
{
    struct buf out = BUF_INIT;
    chat_text_clean(&out, slice_of(text, n), lines);
    buf_byte(&out, '\0');
    assert_true(buf_ok(&out));
    assert_string_equal(out.p, wanted);
    buf_free(&out);
}

#define CLEAN(text, lines, wanted) clean_is(text, sizeof(text) - 1, lines, wanted)

static void nothing_obeys(void **state)
{
    (void)state;
    CLEAN("plain äöü 日本 👍🏽", true, "plain äöü 日本 👍🏽");
    CLEAN("\x1B[31mred\x07\r\b\x7F", true, "^[[31mred^G^M^H^?");
    CLEAN("a\nb\tc", true, "a\nb c");
    CLEAN("a\nb", false, "a^Jb");
    CLEAN("a\0b", true, "a^@b");
    CLEAN("\xC2\x9B"
          "31m",
          true, "<U+009B>31m"); /* CSI of C1 */
    CLEAN("\xE2\x80\xAE\xE2\x80\x8B\xEF\xBB\xBF\xE2\x80\xA8", true, "<U+202E><U+200B><U+FEFF><U+2028>");
    CLEAN("👩‍💻", true, "👩‍💻"); /* the joiner of emojis stays */
    CLEAN("\xFF\xC0\x80\xED\xA0\x80\xE2\x82", true, "<FF><C0><80><ED><A0><80><E2><82>");
    CLEAN("\xF4\x90\x80\x80", true, "<F4><90><80><80>");
    CLEAN("", true, "");
}

static void widths(void **state)
{
    (void)state;
    assert_int_equal(chat_text_width(slice_str("abc")), 3);
    assert_int_equal(chat_text_width(slice_str("日本")), 4);
    assert_int_equal(chat_text_width(slice_str("e\xCC\x81")), 1); /* e and an accent */
    assert_int_equal(chat_text_row(3, slice_str("abc"), 10), 0);
    assert_int_equal(chat_text_row(3, slice_str("abcdefg"), 10), 1);
    assert_int_equal(chat_text_row(2, slice_str("abcdefgh0123456789x"), 10), 2);
    assert_int_equal(chat_text_row(3, slice_str("日本語日"), 10), 1); /* 3 + 3 * 2, then one that is not torn */
    assert_int_equal(chat_text_row(3, slice_str("abc"), 0), 0);
}

static void cut_is(const char *text, size_t columns, const char *wanted)
{
    struct buf out = BUF_INIT;
    chat_text_cut(&out, slice_str(text), columns);
    buf_byte(&out, '\0');
    assert_string_equal(out.p, wanted);
    buf_free(&out);
}

static void cuts(void **state)
{
    (void)state;
    cut_is("lobby", 5, "lobby");
    cut_is("lobby!", 5, "lobb…");
    cut_is("日本語", 5, "日本…");
    cut_is("日本語", 4, "日…");
}

static void lines_are(const char *head, const char *body, size_t columns, const char *wanted)
{
    struct buf out = BUF_INIT;
    chat_text_lines(&out, slice_str(head), slice_str(body), columns);
    buf_byte(&out, '\0');
    assert_string_equal(out.p, wanted);
    buf_free(&out);
}

static void lines(void **state)
{
    (void)state;
    lines_are("ada: ", "hi", 80, "ada: hi\n");
    lines_are("ada: ", "", 80, "ada: \n");
    lines_are("ada: ", "12345 789 1234", 20, "ada: 12345 789 1234\n");
    lines_are("ada: ", "12345 789 123456", 20, "ada: 12345 789\n      123456\n");
    lines_are("ada: ", "12345 789 123456", 0, "ada: 12345 789 123456\n");
    lines_are("ada: ", "1234567890123456789", 20, "ada: 123456789012345\n      6789\n");
    lines_are("ada: ", "日本語日本語日本語", 20, "ada: 日本語日本語日\n      本語\n");
    /* A second line never looks like a message of its own. */
    lines_are("ada: ", "hi\nbob: boo\n", 80, "ada: hi\n      bob: boo\n      \n");
    lines_are("a very long name: ", "text", 20, "a very long name: \n      text\n");
    lines_are("ada: ", "a b", 5, "ada: a b\n"); /* too narrow for anything */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_obeys), cmocka_unit_test(widths),
                                       cmocka_unit_test(cuts), cmocka_unit_test(lines)};
    setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
