/* A line of the console, taken apart; and what was taken, as text that shall act on no terminal. */
#include "core/base/buf.h"
#include "core/base/utf8.h"
#include "core/console/console_line.h"
#include "core/console/console_text.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
    if (!holds)
        abort();
}

/* No control character but line breaks where they are meant. */
static void check_safe(const struct buf *b, int lines)
{
    for (size_t i = 0; i < b->n; i++)
        check(((uint8_t)b->p[i] >= 0x20 && b->p[i] != 0x7F) || (lines && b->p[i] == '\n'));
    check(utf8_valid(buf_slice(b)));
}

static void words(const struct console_line *line, const char *text, size_t size)
{
    for (unsigned i = 0; i < line->count; i++) {
        struct slice w = line->words[i];
        struct buf shown = BUF_INIT, json = BUF_INIT, out = BUF_INIT;
        check(w.p >= text && w.p + w.n <= text + size);
        check(utf8_valid(w) && !(w.n && memchr(w.p, '\0', w.n)));
        console_text_safe(&shown, w, false);
        check_safe(&shown, 0);
        /* A string in an answer comes out as its lines. */
        buf_json_string(&json, w);
        check(console_text_value(&out, buf_slice(&json)));
        check_safe(&out, 1);
        buf_free(&shown);
        buf_free(&json);
        buf_free(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct console_line line;
    struct console_table table = {.count = 0};
    struct buf out = BUF_INIT;
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    (void)console_line_is_http(slice_of(text, size));
    /* What is another protocol's stays so with more behind it. */
    for (size_t n = 0; n + 1 < size; n += size / 5 + 1)
        check(!console_line_is_binary(slice_of(text, n), false) || console_line_is_binary(slice_of(text, size), false));
    const char *why = console_line_parse(text, size, &line);
    if (!why)
        words(&line, text, size);
    /* The bytes as they are, as an answer: refused, or made safe. */
    if (console_text_value(&out, slice_of(data, size)))
        check_safe(&out, 1);
    buf_reset(&out);
    if (console_text_rows(&out, slice_of(data, size), &table))
        check_safe(&out, 1);
    buf_free(&out);
    free(text);
    return 0;
}
