/* The small parts of core/base: buffers, UTF-8 and value rules, frames, mailboxes, the log. */
#include "core/base/buf.h"
#include "core/base/frame.h"
#include "core/net/encoder.h"
#include "core/base/log.h"
#include "core/base/mailbox.h"
#include "core/base/utf8.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

/* Every sequence of up to three bytes, and the corners of four, against the definition (RFC 3629 section 3). */
static bool valid_by_definition(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n;) {
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        size_t len = p[i] < 0x80 ? 1 : (p[i] >> 5) == 6 ? 2 : (p[i] >> 4) == 14 ? 3 : (p[i] >> 3) == 30 ? 4 : 0;
        if (len == 0 || i + len > n)
            return false;
        uint32_t c = len == 1 ? p[i] : p[i] & (0xFFu >> (len + 1));
        for (size_t k = 1; k < len; k++) {
            if ((p[i + k] & 0xC0) != 0x80)
                return false;
            c = c << 6 | (p[i + k] & 0x3F);
        }
        if (c < least[len] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
            return false;
        i += len;
    }
    return true;
}

static void utf8_by_definition(void **state)
{
    (void)state;
    for (uint32_t v = 0; v < 1u << 24; v += v < 1u << 16 ? 1 : 7) {
        uint8_t p[4] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v, 'x'};
        if (utf8_valid(slice_of(p, 3)) != valid_by_definition(p, 3))
            fail_msg("%02x %02x %02x", p[0], p[1], p[2]);
    }
    for (unsigned a = 0xEF; a < 0x100; a++)
        for (unsigned b = 0; b < 0x100; b++) {
            uint8_t p[4] = {(uint8_t)a, (uint8_t)b, 0x80, 0xBF};
            assert_int_equal(utf8_valid(slice_of(p, 4)), valid_by_definition(p, 4));
            /* Cut anywhere, the streaming check says the same. */
            for (size_t cut = 0; cut <= 4; cut++) {
                uint32_t s = 0;
                bool ok = utf8_check(&s, p, cut) && utf8_check(&s, p + cut, 4 - cut) && s == 0;
                assert_int_equal(ok, valid_by_definition(p, 4));
            }
        }
}

static void value_rules(void **state)
{
    (void)state;
    char long64[66];
    memset(long64, 'a', sizeof long64);
    assert_true(value_user_id(SLICE_LIT("Az09_.:-")));
    assert_true(value_user_id(slice_of(long64, 64)));
    assert_false(value_user_id(slice_of(long64, 65)));
    assert_false(value_user_id(SLICE_LIT("")));
    assert_false(value_user_id(SLICE_LIT("a b")));
    assert_false(value_user_id(SLICE_LIT("a#")));
    assert_false(value_user_id(SLICE_LIT("../x")));
    assert_false(value_user_id(SLICE_LIT("\xc3\xa9")));
    assert_true(value_name(SLICE_LIT(" \xc3\xa9 ")));
    assert_false(value_name(SLICE_LIT("a\x1f")));
    assert_false(value_name(SLICE_LIT("a\x7f")));
    assert_false(value_name(SLICE_LIT("a\xc2\x85")));
    assert_true(value_name(SLICE_LIT("a\xc2\xa0")));
    assert_false(value_name(SLICE_LIT("a\xff")));
    static const char *const reserved[] = {"system",
                                           "SyStEm",
                                           "  system  ",
                                           "s y s t e m",
                                           "sys\xc2\xadtem",
                                           "\xe2\x80\x8bsystem",
                                           "\xef\xbb\xbfsystem",
                                           "system\xe3\x80\x80",
                                           "\xef\xbd\x93ystem",
                                           "sy\xef\xbc\xb3tem",
                                           "\xc5\xbfystem",
                                           "system\xf3\xa0\x80\xa0"};
    static const char *const free_ones[] = {"", " ", "syste", "systemd", "asystem", "system.", "\xd1\x95ystem", "Ann"};
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        assert_true(value_name_reserved(slice_str(reserved[i])));
    for (size_t i = 0; i < sizeof free_ones / sizeof free_ones[0]; i++)
        assert_false(value_name_reserved(slice_str(free_ones[i])));
    assert_true(value_channel(SLICE_LIT("a b")));
    assert_false(value_channel(SLICE_LIT(" a")));
    assert_false(value_channel(SLICE_LIT("a ")));
}

static void frames_of_all_forms(void **state)
{
    (void)state;
    struct frame *f = frame_new(102, 0, SLICE_LIT("{\"a\":1}"), 5);
    struct wire *w = frame_wire(f, WIRE_TCP, encoders_own[WIRE_TCP]);
    assert_int_equal(w->len, 15);
    assert_memory_equal(w->data, "\0\0\0\x0f\0\x66\0\0{\"a\":1}", 15);
    assert_ptr_equal(frame_wire(f, WIRE_TCP, encoders_own[WIRE_TCP]), w);
    assert_int_equal(w->tag, 5);
    w = frame_wire(f, WIRE_WS_BINARY, encoders_own[WIRE_WS_BINARY]);
    assert_int_equal(w->len, 2 + 4 + 7);
    assert_memory_equal(w->data, "\x82\x0b\0\x66\0\0{\"a\":1}", 13);
    w = frame_wire(f, WIRE_WS_TEXT, encoders_own[WIRE_WS_TEXT]);
    assert_memory_equal(w->data, "\x81", 1);
    assert_int_equal(w->data[1], w->len - 2);
    assert_memory_equal(w->data + 2, "{\"action\":102,\"seq\":0,\"body\":{\"a\":1}}", w->len - 2);
    wire_ref(w);
    frame_unref(f);
    assert_int_equal(w->refs, 1);
    wire_unref(w);
    /* The three lengths of RFC 6455. */
    char *big = calloc(1, 70000);
    static const struct {
        size_t body;
        size_t head;
    } sizes[] = {{121, 2}, {122, 4}, {65531, 4}, {65532, 10}};
    for (size_t i = 0; i < 4; i++) {
        w = wire_new(WIRE_WS_BINARY, 1, 2, slice_of(big, sizes[i].body), WIRE_TAG_NONE);
        assert_int_equal(w->len, sizes[i].head + 4 + sizes[i].body);
        assert_int_equal(load_be16(w->data + sizes[i].head + 2), 2);
        wire_unref(w);
    }
    w = wire_new(WIRE_WS_TEXT, 9, 1, SLICE_NONE, WIRE_TAG_NONE);
    assert_memory_equal(w->data + 2, "{\"action\":9,\"seq\":1,\"body\":{}}", w->len - 2);
    wire_unref(w);
    free(big);
}

/* --- Mailbox: from one poster in order, nothing lost, woken whenever something waits. --- */

enum { POSTERS = 4, MAILS = 20000 };

struct post {
    struct mail mail;
    unsigned poster, number;
};

struct box {
    struct mailbox mb;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool woken;
    unsigned next[POSTERS], ran;
};

static void wake(void *ctx)
{
    struct box *b = ctx;
    pthread_mutex_lock(&b->lock);
    b->woken = true;
    pthread_cond_signal(&b->cond);
    pthread_mutex_unlock(&b->lock);
}

static void arrive(void *owner, struct mail *m)
{
    struct box *b = owner;
    struct post *p = (struct post *)m;
    if (p->number != b->next[p->poster]++)
        abort();
    b->ran++;
    free(p);
}

struct poster {
    pthread_t thread;
    struct box *box;
    unsigned number;
};

static void *post_many(void *arg)
{
    struct poster *me = arg;
    for (unsigned i = 0; i < MAILS; i++) {
        struct post *p = calloc(1, sizeof *p), *q = i % 3 ? NULL : calloc(1, sizeof *q);
        *p = (struct post){.mail.run = arrive, .poster = me->number, .number = i};
        if (q) {
            *q = (struct post){.mail.run = arrive, .poster = me->number, .number = ++i};
            p->mail.next = &q->mail;
            mailbox_post_chain(&me->box->mb, &p->mail, &q->mail);
        } else {
            mailbox_post(&me->box->mb, &p->mail);
        }
    }
    return NULL;
}

static void mailbox_keeps_order(void **state)
{
    (void)state;
    static struct box b = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    struct poster posters[POSTERS];
    mailbox_init(&b.mb, wake, &b);
    for (unsigned i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){.box = &b, .number = i};
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
    }
    unsigned least = POSTERS * MAILS;
    while (b.ran < least) {
        pthread_mutex_lock(&b.lock);
        while (!b.woken)
            pthread_cond_wait(&b.cond, &b.lock);
        b.woken = false;
        pthread_mutex_unlock(&b.lock);
        mailbox_run(&b.mb, &b);
    }
    for (unsigned i = 0; i < POSTERS; i++)
        pthread_join(posters[i].thread, NULL);
    mailbox_run(&b.mb, &b);
    mailbox_fini(&b.mb);
}

/* --- Log --- */

static char *log_text(const char *path)
{
    static char text[65536];
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    text[n] = '\0';
    if (f)
        fclose(f);
    return text;
}

static unsigned lines_of(const char *text)
{
    unsigned n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void log_lines(void **state)
{
    (void)state;
    char path[] = "/tmp/magpie-log-XXXXXX";
    close(mkstemp(path));
    assert_int_equal(log_open(path, LOG_TEXT, LOG_INFO), 0);
    log_event(LOG_DEBUG, "test.hidden");
    log_event(LOG_INFO, "test.plain", LOG_STR("who", "alice"), LOG_INT("n", -3), LOG_STR("said", "a b"));
    log_event(LOG_WARN, "test.evil", LOG_STR("name", "x\n2026 info fake\x1b[31m \"q\" \xc2\x9b \xff \xe2\x82\xac"));
    const char *text = log_text(path);
    assert_int_equal(lines_of(text), 2);
    assert_non_null(strstr(text, " info test.plain who=alice n=-3 said=\"a b\"\n"));
    assert_non_null(
        strstr(text, "x\\u000a2026 info fake\\u001b[31m \\\"q\\\" \\u00c2\\u009b \\u00ff \xe2\x82\xac\"\n"));
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(log_open(path, LOG_JSON, LOG_INFO), 0);
    log_event(LOG_ERROR, "test.json", LOG_STR("k", "v\n"), LOG_INT("n", 5));
    text = log_text(path);
    assert_non_null(strstr(text, "\",\"level\":\"error\",\"event\":\"test.json\",\"k\":\"v\\u000a\",\"n\":5}\n"));
    /* A flood of one event is cut to 20 lines a second, and told. */
    assert_int_equal(truncate(path, 0), 0);
    for (unsigned i = 0; i < 1000; i++)
        log_event(LOG_ERROR, "test.flood");
    assert_in_range(lines_of(log_text(path)), 20, 42);
    assert_int_equal(log_open(NULL, LOG_TEXT, LOG_INFO), 0);
    assert_int_not_equal(log_open("/nonexistent/dir/log", LOG_TEXT, LOG_INFO), 0);
    unlink(path);
}

static void long_lines_stay_well_formed(void **state)
{
    (void)state;
    char path[] = "/tmp/magpie-log-XXXXXX", big[9000];
    memset(big, '"', sizeof big);
    big[sizeof big - 1] = '\0';
    close(mkstemp(path));
    assert_int_equal(log_open(path, LOG_JSON, LOG_INFO), 0);
    log_event(LOG_INFO, "test.long", LOG_STR("a", big), LOG_STR("b", big), LOG_INT("c", 1));
    const char *text = log_text(path);
    assert_true(strlen(text) < 4200 && text[strlen(text) - 2] == '}');
    assert_int_equal(log_open(NULL, LOG_TEXT, LOG_INFO), 0);
    unlink(path);
}

static void buf_survives_growth(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    for (unsigned i = 0; i < 1000; i++) {
        buf_dec(&b, i);
        buf_printf(&b, "-%s-", "x");
        buf_u16(&b, 0x2020);
    }
    assert_true(buf_ok(&b));
    assert_memory_equal(b.p, "0-x-  1-x-  2-x-  ", 18);
    buf_reset(&b);
    buf_dec(&b, UINT64_MAX);
    assert_memory_equal(b.p, "18446744073709551615", 20);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_by_definition),  cmocka_unit_test(value_rules),
        cmocka_unit_test(frames_of_all_forms), cmocka_unit_test(mailbox_keeps_order),
        cmocka_unit_test(log_lines),           cmocka_unit_test(long_lines_stay_well_formed),
        cmocka_unit_test(buf_survives_growth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
