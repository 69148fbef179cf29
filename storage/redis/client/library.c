#include "storage/redis/client/library.h"

#include "core/base/err.h"

#include <stdio.h>

/* Made of functions/ when Magpie is built: what stands in functions/library.cmake. */
extern const unsigned char library_code[];
extern const size_t library_code_size;
extern const char library_hash[];

static const struct {
    const char *name;
    bool reads;
} functions[FN_COUNT] = {
#define ROW(NAME, function, changes_nothing) [FN_##NAME] = {#function, changes_nothing},
    FUNCTIONS(ROW)
#undef ROW
};

void library_init(struct library *l)
{
    for (int i = 0; i < FN_COUNT; i++) {
        char name[40];
        int n = snprintf(name, sizeof name, "m%s_%s", library_hash, functions[i].name);
        const char *command = functions[i].reads ? "$8\r\nFCALL_RO" : "$5\r\nFCALL";
        n = snprintf(l->head[i].text, sizeof l->head[i].text, "%s\r\n$%d\r\n%s\r\n", command, n, name);
        ASSERT(n > 0 && (size_t)n < sizeof l->head[i].text);
        l->head[i].n = (uint8_t)n;
    }
}

struct slice library_name(const struct library *l, enum fn fn)
{
    struct slice head = library_head(l, fn);
    const char *name = head.p + head.n - 2; /* the line behind the last length */
    while (name[-1] != '\n')
        name--;
    return slice_of(name, (size_t)(head.p + head.n - 2 - name));
}

struct slice library_text(void)
{
    return slice_of(library_code, library_code_size);
}

const char *library_digits(void)
{
    return library_hash;
}

bool library_reads(enum fn fn)
{
    return fn < FN_COUNT ? functions[fn].reads : fn == FN_RAW_READ;
}
