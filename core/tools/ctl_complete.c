/* Completion from the server's own tables. */
#include "core/tools/ctl_complete.h"

#include "core/tools/ctl.h"

#include <cjson/cJSON.h>

/* Where the word at the end of the line begins. */
static size_t word_start(struct slice s)
{
    size_t i = s.n;
    while (i > 0 && s.p[i - 1] != ' ')
        i--;
    return i;
}

static bool begins(const char *text, struct slice with)
{
    return strncmp(text, with.p ? with.p : "", with.n) == 0;
}

/* The line without blanks before it and a `json ` prefix. */
static struct slice plain(struct slice s)
{
    while (s.n && s.p[0] == ' ')
        s = slice_of(s.p + 1, s.n - 1);
    if (s.n >= 5 && memcmp(s.p, "json ", 5) == 0)
        s = plain(slice_of(s.p + 5, s.n - 5));
    return s;
}

static bool takes_option(struct slice before_word)
{
    return slice_eq(before_word, SLICE_LIT("set ")) || slice_eq(before_word, SLICE_LIT("show config "));
}

void ctl_complete(const struct cJSON *commands, const struct cJSON *options, struct slice before,
                  void (*found)(void *ctx, const char *word), void *ctx)
{
    struct slice line = plain(before);
    size_t start = word_start(line);
    struct slice head = slice_of(line.p, start), word = slice_of(line.p ? line.p + start : "", line.n - start);
    const cJSON *item;
    char last[80] = "", next[80];
    if (takes_option(head)) {
        cJSON_ArrayForEach(item, options)
        {
            if (begins(item->string, word))
                found(ctx, item->string);
        }
        return;
    }
    /* help completes what it explains. */
    if (head.n >= 5 && memcmp(head.p, "help ", 5) == 0)
        head = slice_of(head.p + 5, head.n - 5);
    cJSON_ArrayForEach(item, commands)
    {
        const cJSON *name = cJSON_GetObjectItemCaseSensitive(item, "name");
        if (!cJSON_IsString(name) || !begins(name->valuestring, head) || strlen(name->valuestring) >= sizeof next)
            continue;
        const char *rest = name->valuestring + head.n;
        size_t n = strcspn(rest, " ");
        memcpy(next, rest, n);
        next[n] = '\0';
        /* The table is in order: equal first words follow each other. */
        if (n && begins(next, word) && strcmp(next, last) != 0)
            found(ctx, next);
        memcpy(last, next, n + 1);
    }
}
