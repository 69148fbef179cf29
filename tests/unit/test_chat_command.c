/* Typed lines: core/tools/chat_command.c. */
#include "core/tools/chat_command.h"

#include "core/base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct chat_command c;

static void read_line(const char *line)
{
    chat_command_read(slice_str(line), &c);
}

static void is(struct slice s, const char *wanted)
{
    assert_true(slice_eq(s, slice_str(wanted)));
}

static void text_is_said(void **state)
{
    (void)state;
    read_line("hello /join");
    assert_int_equal(c.order, CHAT_SAY);
    is(c.text, "hello /join");
    read_line("  blanks stay  ");
    is(c.text, "  blanks stay  ");
    read_line("//join x");
    assert_int_equal(c.order, CHAT_SAY);
    is(c.text, "/join x");
    read_line(" \t");
    assert_int_equal(c.order, CHAT_NOTHING);
    read_line("");
    assert_int_equal(c.order, CHAT_NOTHING);
}

static void commands_are_read(void **state)
{
    (void)state;
    read_line("/join green tea ");
    assert_int_equal(c.order, CHAT_JOIN);
    is(c.who, "green tea");
    read_line("/leave");
    assert_int_equal(c.order, CHAT_LEAVE);
    assert_null(c.who.p);
    read_line("/msg ada  hi there");
    assert_int_equal(c.order, CHAT_MSG);
    is(c.who, "ada");
    is(c.text, "hi there");
    read_line("/msg \"Ada Lovelace\" hi");
    is(c.who, "Ada Lovelace");
    is(c.text, "hi");
    read_line("/msg ada");
    assert_int_equal(c.text.n, 0);
    read_line("/history 30");
    assert_int_equal(c.number, 30);
    read_line("/edit #7 new");
    assert_int_equal(c.number, 7);
    is(c.text, "new");
    read_line("/edit #nice");
    assert_int_equal(c.number, 0);
    is(c.text, "#nice");
    read_line("/recall #12");
    assert_int_equal(c.order, CHAT_RECALL);
    assert_int_equal(c.number, 12);
    read_line("/quit");
    assert_int_equal(c.order, CHAT_QUIT);
}

static void what_is_wrong_is_told(void **state)
{
    static const char *const lines[][2] = {
        {"/jion x", "did you mean /join"},
        {"/nmaes", "did you mean /names"},
        {"/xyzzyx", "there is no command /xyzzyx; /"},
        {"/join", "it is /join CHANNEL"},
        {"/msg", "it is /msg WHO [TEXT]"},
        {"/history some", "it is /history"},
        {"/edit", "it is /edit"},
        {"/edit #7", "it is /edit"},
        {"/recall that", "it is /recall"},
        {"/quit now", "it is /quit"},
        {"/", "there is no command /"},
        {"/JOIN x", "there is no command /JOIN"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        read_line(lines[i][0]);
        assert_int_equal(c.order, CHAT_WRONG);
        assert_non_null(strstr(c.why, lines[i][1]));
    }
}

static void the_help_has_all(void **state)
{
    struct buf help = BUF_INIT;
    unsigned n = 0;
    (void)state;
    chat_command_help(&help);
    buf_byte(&help, '\0');
    for (; chat_command_name(n); n++)
        assert_non_null(strstr(help.p, chat_command_name(n)));
    assert_true(n >= 12);
    buf_free(&help);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(text_is_said), cmocka_unit_test(commands_are_read),
                                       cmocka_unit_test(what_is_wrong_is_told), cmocka_unit_test(the_help_has_all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
