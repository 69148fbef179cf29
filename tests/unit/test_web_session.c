/* Sessions of the dashboard: cookies, ends, places; and which pages may send requests. */
#include "plugins/web/session.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct session *found(struct sessions *s, const char *cookies, uint64_t password, uint64_t now_ms)
{
    return session_find(s, mp_str(cookies), password, now_ms);
}

static void cookies(void **state)
{
    static struct sessions s = {.idle_ms = 1000};
    char text[300], name[SESSION_NAME];
    (void)state;
    struct session *one = session_new(&s, 1, 0), *two = session_new(&s, 1, 0);
    assert_int_equal(strlen(one->name), 64);
    assert_int_equal(strlen(one->token), 64);
    assert_string_not_equal(one->name, one->token);
    assert_string_not_equal(one->name, two->name);
    assert_int_equal(two->number, one->number + 1);
    strcpy(name, one->name);
    static const char *const good[] = {SESSION_COOKIE "=%s", "a=b; " SESSION_COOKIE "=%s", SESSION_COOKIE "=%s; c",
                                       "x;;" SESSION_COOKIE "=%s;",
                                       /* an older one beside it */
                                       SESSION_COOKIE "=0; " SESSION_COOKIE "=%s"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(text, sizeof text, good[i], name);
        assert_ptr_equal(found(&s, text, 1, 0), one);
    }
    static const char *const bad[] = {"other=%s", SESSION_COOKIE "%s",   SESSION_COOKIE "=",       SESSION_COOKIE,
                                      "=%s",      SESSION_COOKIE "=%sx", "x" SESSION_COOKIE "=%s", ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, bad[i], name);
        assert_null(found(&s, text, 1, 0));
    }
    assert_null(session_find(&s, mp_str_of(NULL, 0), 1, 0));
    session_end(one);
    snprintf(text, sizeof text, SESSION_COOKIE "=%s", name);
    assert_null(found(&s, text, 1, 0));
}

static void ends(void **state)
{
    static struct sessions s = {.idle_ms = 1000};
    char text[300];
    (void)state;
    struct session *one = session_new(&s, 1, 0);
    snprintf(text, sizeof text, SESSION_COOKIE "=%s", one->name);
    assert_non_null(found(&s, text, 1, 999)); /* which is a use */
    assert_non_null(found(&s, text, 1, 1998));
    assert_null(found(&s, text, 1, 2998));
    assert_null(found(&s, text, 1, 2998 - 1)); /* it is gone for good */
    one = session_new(&s, 1, 0);
    snprintf(text, sizeof text, SESSION_COOKIE "=%s", one->name);
    assert_null(found(&s, text, 2, 0)); /* another password */
    one = session_new(&s, 2, 0);
    snprintf(text, sizeof text, SESSION_COOKIE "=%s", one->name);
    for (uint64_t t = 0; t < SESSION_HOURS * 3600000ULL; t += 900)
        assert_non_null(found(&s, text, 2, t));
    assert_null(found(&s, text, 2, SESSION_HOURS * 3600000ULL));
}

static void places(void **state)
{
    static struct sessions s = {.idle_ms = 1000000};
    static char text[SESSIONS + 1][120];
    (void)state;
    for (unsigned i = 0; i <= SESSIONS; i++) {
        /* The second is the one that is silent for longest. */
        if (i == SESSIONS)
            assert_non_null(found(&s, text[0], 1, i));
        snprintf(text[i], sizeof text[i], SESSION_COOKIE "=%s", session_new(&s, 1, i)->name);
    }
    for (unsigned i = 0; i <= SESSIONS; i++)
        assert_int_equal(found(&s, text[i], 1, 100) != NULL, i != 1);
}

/* Of several nodes each knows whose a cookie is, and asks that one by the cookie's digest. */
static void nodes(void **state)
{
    static struct sessions one = {.idle_ms = 1000, .node = 1}, twelve = {.idle_ms = 1000, .node = 12},
                           alone = {.idle_ms = 1000};
    char text[300], digest[SESSION_SECRET];
    (void)state;
    struct session *s = session_new(&twelve, 7, 0), *a = session_new(&alone, 7, 0);
    assert_int_equal(strlen(s->name), 3 + 64);
    assert_int_equal(strncmp(s->name, "12-", 3), 0);
    assert_int_equal(strlen(a->name), 64);
    snprintf(text, sizeof text, "x=y; " SESSION_COOKIE "=0; " SESSION_COOKIE "=%s", s->name);
    assert_ptr_equal(found(&twelve, text, 7, 1), s);
    assert_null(found(&one, text, 7, 1));
    assert_int_equal(session_elsewhere(&one, mp_str(text), digest), 12);
    assert_string_equal(digest, s->digest);
    assert_null(strstr(s->name, digest)); /* what travels opens nothing */
    assert_int_equal(session_elsewhere(&twelve, mp_str(text), digest), 0);
    assert_int_equal(session_elsewhere(&alone, mp_str(text), digest), 0);
    assert_ptr_equal(session_find_digest(&twelve, mp_str(digest), 7, 900), s); /* which is a use */
    assert_ptr_equal(session_find_digest(&twelve, mp_str(digest), 7, 1800), s);
    assert_null(session_find_digest(&twelve, mp_str(s->name), 7, 1800));
    assert_null(session_find_digest(&twelve, mp_str(""), 7, 1800));
    assert_null(session_find_digest(&twelve, mp_str(digest), 8, 1800)); /* another password ends it */
    assert_null(session_find_digest(&twelve, mp_str(digest), 7, 1800));
    static const char *const wrong[] = {"",     "-",     "12",  "12-",   "x-%s",  "123456-%s", "-%s",
                                        "0-%s", "2-%sx", "2%s", "2--%s", "+2-%s", " 2-%.63s"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        size_t n = (size_t)snprintf(text, sizeof text, SESSION_COOKIE "=");
        snprintf(text + n, sizeof text - n, wrong[i], a->name);
        assert_int_equal(session_elsewhere(&one, mp_str(text), digest), 0);
    }
}

static void sites(void **state)
{
    const struct mp_str none = mp_str_of(NULL, 0), host = mp_str("chat.example:8080");
    (void)state;
    assert_true(session_same_site(mp_str("same-origin"), none, host));
    assert_true(session_same_site(mp_str("same-origin"), mp_str("https://proxied.example"), host));
    assert_true(session_same_site(none, none, host)); /* no browser */
    assert_true(session_same_site(none, mp_str("http://chat.example:8080"), host));
    assert_true(session_same_site(none, mp_str("http://Chat.Example:8080"), host));
    static const char *const sites[] = {"cross-site", "same-site", "none", "", "same-origin "};
    for (size_t i = 0; i < sizeof sites / sizeof *sites; i++)
        assert_false(
            session_same_site(mp_str_of(sites[i], strlen(sites[i])), mp_str("http://chat.example:8080"), host));
    static const char *const origins[] = {"null",
                                          "",
                                          "http://evil.example",
                                          "http://chat.example",
                                          "chat.example:8080",
                                          "http://evil.example/://chat.example:8080",
                                          "http://chat.example:8080.evil.example",
                                          "http://"};
    for (size_t i = 0; i < sizeof origins / sizeof *origins; i++)
        assert_false(session_same_site(none, mp_str_of(origins[i], strlen(origins[i])), host));
    assert_false(session_same_site(none, mp_str("http://"), mp_str_of("", 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(cookies), cmocka_unit_test(ends), cmocka_unit_test(places),
                                       cmocka_unit_test(nodes), cmocka_unit_test(sites)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
