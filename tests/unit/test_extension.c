/* What Sec-WebSocket-Extensions offers, and what it is answered: RFC 6455 9.1 and RFC 7692 7.1, rule by rule. */
#include "core/net/extension.h"
#include "core/net/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define BOTH "; server_no_context_takeover; client_no_context_takeover"
#define PMD  "permessage-deflate"

/* Up to three fields of that name; the answer's value, "" when nothing is agreed upon, NULL when it is malformed. */
static const char *answer(const char *const *lines, unsigned n, bool *narrow)
{
    static char out[EXTENSION_ANSWER_MAX];
    static struct http_head h;
    struct extension e;
    h = (struct http_head){.field_count = 0};
    for (unsigned i = 0; i < n; i++) {
        h.fields[h.field_count++] = (struct http_field){slice_str("Host"), slice_str("x")};
        h.fields[h.field_count++] = (struct http_field){slice_str("Sec-WebSocket-Extensions"), slice_str(lines[i])};
    }
    if (extension_negotiate(&h, &e) != 0)
        return NULL;
    extension_answer(&e, out);
    *narrow = extension_narrow(&e);
    if (!*out)
        return "";
    size_t end = strlen(out);
    assert_memory_equal(out, "Sec-WebSocket-Extensions: permessage-deflate", 44);
    assert_string_equal(out + end - 2, "\r\n");
    out[end - 2] = '\0';
    return out + 44;
}

static void check(const char *offer, const char *expected, bool expected_narrow)
{
    bool narrow = false;
    const char *got = answer(&offer, 1, &narrow);
    if (!expected) {
        if (got)
            fail_msg("%s: taken as %s", offer, got);
        return;
    }
    if (!got || strcmp(got, expected) != 0)
        fail_msg("%s: answered \"%s\", not \"%s\"", offer, got ? got : "(malformed)", expected);
    if (*got && narrow != expected_narrow)
        fail_msg("%s: narrow %d", offer, narrow);
}

static void single_offers(void **state)
{
    (void)state;
    static const struct {
        const char *offer, *answer; /* answer "": declined; NULL: malformed */
        bool narrow;
    } cases[] = {
        {PMD, BOTH, false},
        {"  " PMD "\t", BOTH, false},
        {PMD "; client_max_window_bits", BOTH, false},
        {PMD ";client_max_window_bits=8", BOTH, false},
        {PMD "; client_max_window_bits=15", BOTH, false},
        {PMD "; server_no_context_takeover; client_no_context_takeover", BOTH, false},
        {PMD "; client_max_window_bits; server_max_window_bits=10; server_no_context_takeover",
         BOTH "; server_max_window_bits=9", true},
        /* The answer is never more than what was asked for. */
        {PMD "; server_max_window_bits=8", BOTH "; server_max_window_bits=8", true},
        {PMD "; server_max_window_bits=9", BOTH "; server_max_window_bits=9", true},
        {PMD "; server_max_window_bits=11", BOTH "; server_max_window_bits=9", true},
        {PMD "; server_max_window_bits=14", BOTH "; server_max_window_bits=9", true},
        {PMD "; server_max_window_bits=15", BOTH "; server_max_window_bits=15", false},
        {PMD " ; server_max_window_bits = \"12\"", BOTH "; server_max_window_bits=9", true},
        {PMD "; server_max_window_bits=\"1\\5\"", BOTH "; server_max_window_bits=15", false},
        /* Values that are none, or none of these. */
        {PMD "; server_max_window_bits", "", false},
        {PMD "; server_max_window_bits=7", "", false},
        {PMD "; server_max_window_bits=16", "", false},
        {PMD "; server_max_window_bits=08", "", false},
        {PMD "; server_max_window_bits=010", "", false},
        {PMD "; server_max_window_bits=0", "", false},
        {PMD "; server_max_window_bits=100", "", false},
        {PMD "; server_max_window_bits=-9", "", false},
        {PMD "; server_max_window_bits=9x", "", false},
        {PMD "; server_max_window_bits=12345678901234567890123456789012", "", false},
        {PMD "; client_max_window_bits=7", "", false},
        {PMD "; client_max_window_bits=16", "", false},
        {PMD "; client_max_window_bits=ten", "", false},
        {PMD "; server_no_context_takeover=1", "", false},
        {PMD "; client_no_context_takeover=\"true\"", "", false},
        /* Unknown and doubled parameters. */
        {PMD "; mux", "", false},
        {PMD "; Server_No_Context_Takeover", "", false},
        {PMD "; client_max_window_bits; client_max_window_bits=10", "", false},
        {PMD "; server_max_window_bits=10; server_max_window_bits=10", "", false},
        {PMD "; client_no_context_takeover; client_no_context_takeover", "", false},
        {PMD "; server_no_context_takeover; server_no_context_takeover", "", false},
        /* Other extensions. */
        {"x-webkit-deflate-frame", "", false},
        {"permessage-bzip2; bits=\"9\"", "", false},
        {"x, " PMD, BOTH, false},
        {"", "", false},
        {" , ,", "", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(cases[i].offer, cases[i].answer, cases[i].narrow);
}

static void several_offers(void **state)
{
    (void)state;
    check(PMD "; server_max_window_bits=7, " PMD "; server_max_window_bits=10, " PMD, BOTH "; server_max_window_bits=9",
          true);
    check(PMD "; mux, " PMD, BOTH, false);
    check(PMD "; client_max_window_bits=, " PMD, NULL, false);
    check(PMD ", " PMD "; server_max_window_bits=9", BOTH, false);
    check(PMD "; a, " PMD "; b", "", false);
    bool narrow = false;
    const char *const lines[] = {PMD "; mux", "x-other", PMD "; server_max_window_bits=8"};
    assert_string_equal(answer(lines, 3, &narrow), BOTH "; server_max_window_bits=8");
    assert_true(narrow);
    const char *const bad[] = {PMD, PMD ";"};
    assert_null(answer(bad, 2, &narrow));
    assert_string_equal(answer(NULL, 0, &narrow), "");
}

static void malformed_fields(void **state)
{
    (void)state;
    static const char *const bad[] = {
        ";",           PMD ";",       PMD "; ;a", PMD "; a=",        PMD "; a=\"\"",
        PMD "; a=\"b", PMD "; a=b c", PMD " x",   PMD "; a=\"b c\"", PMD "; a=\"b\\",
        "=",           "a=b",         PMD "; =b", PMD "; a==b",      PMD "; a=\"b\"c",
        "@",           PMD "; a@",    PMD ", ;",  "\"" PMD "\"",     PMD "; a=\"\xc3\xa9\""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check(bad[i], NULL, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(single_offers), cmocka_unit_test(several_offers),
                                       cmocka_unit_test(malformed_fields)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
