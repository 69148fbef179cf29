/* The pattern matcher of scripts: a byte that says how long the pattern is, the pattern, the subject. */
#include "core/script/pattern.h"

#include <setjmp.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { POLLS = 200 };

struct run {
    jmp_buf out;
    int polls;
};

/* As the watchdog's kill: some patterns never end. */
static void poll(void *ctx)
{
    struct run *r = ctx;
    if (++r->polls > POLLS)
        longjmp(r->out, 1);
}

static void match(const struct pattern *p, struct slice subject)
{
    struct run r = {.polls = 0};
    struct pattern_match m = {.subject = subject.p, .end = subject.p + subject.n, .poll = poll, .ctx = &r};
    if (setjmp(r.out))
        return;
    for (const char *at = subject.p; at <= m.end; at++) {
        const char *e = pattern_match_at(&m, p, at);
        if (e && (e < at || e > m.end))
            abort();
        for (int i = 0; e && i < m.level; i++)
            if (m.capture[i].n < CAPTURE_POSITION || m.capture[i].n == CAPTURE_OPEN || m.capture[i].p < m.subject ||
                (m.capture[i].n >= 0 && m.capture[i].p + m.capture[i].n > m.end))
                abort();
        if (p->anchored)
            return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t n = data[0] < size - 1 ? data[0] : size - 1;
    /* In blocks of their own, so that a step beyond the end is seen. */
    char *text = malloc(n + 1), *subject = malloc(size - n);
    void *memory = malloc(pattern_memory(n));
    if (text && subject && memory) {
        for (size_t i = 0; i < n; i++)
            text[i] = (char)data[1 + i];
        for (size_t i = 0; i + n + 1 < size; i++)
            subject[i] = (char)data[1 + n + i];
        struct pattern p;
        if (!pattern_compile(&p, slice_of(text, n), true, memory))
            match(&p, slice_of(subject, size - n - 1));
    }
    free(text);
    free(subject);
    free(memory);
    return 0;
}
