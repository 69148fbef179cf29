#include "core/hub/registry/command.h"

#include "core/base/spelling.h"
#include "core/hub/shard/shard.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct command_table {
    struct command *list; /* by name; owned */
    unsigned count;
    struct command_sink sink; /* the console's */
};

static struct command_table *table_of(struct hub *hub)
{
    if (!hub->commands)
        hub->commands = calloc(1, sizeof *hub->commands);
    return hub->commands;
}

void commands_free(struct hub *hub)
{
    if (hub->commands)
        free(hub->commands->list);
    free(hub->commands);
    hub->commands = NULL;
}

/* One or two words of a-z, 0-9, _ and -. */
static bool name_good(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
    size_t n = strspn(name, letters);
    if (n == 0 || strlen(name) > SPELLING_WORD_MAX)
        return false;
    if (name[n] == '\0')
        return true;
    size_t m = name[n] == ' ' ? strspn(name + n + 1, letters) : 0;
    return m > 0 && name[n + 1 + m] == '\0';
}

/* Whether `longer` has two words, and `shorter` is the first of them: the longer name is found first, so lines that
 * were meant for the shorter would go there. */
static bool begins_with(const struct command *longer, const struct command *shorter)
{
    size_t n = strlen(shorter->name);
    return strncmp(longer->name, shorter->name, n) == 0 && longer->name[n] == ' ';
}

/* Somebody else's command must not take lines away from one that is there ("shutdown now" from "shutdown"), nor be
 * there first and do so. A word that only begins names of built-in ones is free. */
static bool in_the_way(const struct command *there, const struct command *c)
{
    if (strcmp(there->name, c->name) == 0)
        return true;
    return there->owner != c->owner && (begins_with(c, there) || (there->owner && begins_with(there, c)));
}

int command_register(struct hub *hub, const struct command *c)
{
    if (!name_good(c->name) || !c->run || c->min > c->max || c->max > COMMAND_ARGS)
        return ERR_INVALID;
    struct command_table *t = table_of(hub);
    struct command *p = t ? realloc(t->list, (t->count + 1) * sizeof *p) : NULL;
    if (!p)
        return ERR_NOMEM;
    t->list = p;
    for (unsigned i = 0; i < t->count; i++)
        if (in_the_way(&p[i], c))
            return ERR_EXISTS;
    unsigned at = t->count;
    while (at > 0 && strcmp(p[at - 1].name, c->name) > 0)
        at--;
    memmove(p + at + 1, p + at, (t->count - at) * sizeof *p);
    p[at] = *c;
    t->count++;
    return 0;
}

int commands_register(struct hub *hub, const struct command *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int rc = command_register(hub, &list[i]);
        if (rc != 0)
            return rc;
    }
    return 0;
}

void commands_remove(struct hub *hub, const void *owner)
{
    struct command_table *t = hub->commands;
    unsigned kept = 0;
    for (unsigned i = 0; t && owner && i < t->count; i++)
        if (t->list[i].owner != owner)
            t->list[kept++] = t->list[i];
    if (t && owner)
        t->count = kept;
}

const struct command *command_at(const struct hub *hub, unsigned i)
{
    return hub->commands && i < hub->commands->count ? &hub->commands->list[i] : NULL;
}

/* The first one or two words, as a name is written; false: they are no name at all. */
static bool join(char *out, size_t size, const struct slice *words, unsigned n)
{
    size_t at = 0;
    for (unsigned i = 0; i < n; i++) {
        if (at + words[i].n + 2 > size || memchr(words[i].p, '\0', words[i].n))
            return false;
        if (i)
            out[at++] = ' ';
        if (words[i].n)
            memcpy(out + at, words[i].p, words[i].n);
        at += words[i].n;
    }
    out[at] = '\0';
    return n > 0;
}

const struct command *command_find(const struct hub *hub, const struct slice *words, unsigned n, unsigned *used)
{
    char name[SPELLING_WORD_MAX + 2];
    /* The longer name first: "show user" before a "show". */
    for (*used = n < 2 ? n : 2; *used > 0; --*used) {
        if (!join(name, sizeof name, words, *used))
            continue;
        for (unsigned i = 0; hub->commands && i < hub->commands->count; i++)
            if (strcmp(hub->commands->list[i].name, name) == 0)
                return &hub->commands->list[i];
    }
    return NULL;
}

const char *command_nearest(const struct hub *hub, const struct slice *words, unsigned n)
{
    char one[SPELLING_WORD_MAX + 2], two[SPELLING_WORD_MAX + 2];
    const char *best = NULL;
    unsigned least = UINT32_MAX;
    if (!join(one, sizeof one, words, n ? 1 : 0))
        return NULL;
    if (n < 2 || !join(two, sizeof two, words, 2))
        strcpy(two, one);
    for (unsigned i = 0; hub->commands && i < hub->commands->count; i++) {
        const char *name = hub->commands->list[i].name;
        /* A name of one word is compared with the first alone: the second may be an argument. */
        const char *given = strchr(name, ' ') ? two : one;
        unsigned d = spelling_distance(given, name);
        if (d <= spelling_limit(given) && d * 2 <= strlen(given) && d < least) {
            best = name;
            least = d;
        }
    }
    /* "list" alone, or with a second word that is nothing like any: whatever begins so. */
    for (unsigned i = 0; !best && hub->commands && i < hub->commands->count; i++) {
        const char *name = hub->commands->list[i].name;
        size_t first = strcspn(name, " ");
        if (name[first] == ' ' && strlen(one) == first && strncmp(name, one, first) == 0)
            best = name;
    }
    return best;
}

/* --- Answers ------------------------------------------------------------------------------------------------------ */

void commands_set_sink(struct hub *hub, const struct command_sink *sink)
{
    struct command_table *t = table_of(hub);
    if (t)
        t->sink = sink ? *sink : (struct command_sink){.ctx = NULL};
}

void command_done(struct command_call *c)
{
    c->hub->commands->sink.end(c, NULL, NULL);
}

void command_fail(struct command_call *c, const char *code, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    c->hub->commands->sink.end(c, code, text);
}

void command_more(struct command_call *c, void (*resume)(struct command_call *c))
{
    c->hub->commands->sink.more(c, resume);
}

/* --- Orders and the password -------------------------------------------------------------------------------------- */

int command_order(struct hub *hub, const struct command_order *o)
{
    const struct command_table *t = hub->commands;
    return t && t->sink.order ? t->sink.order(t->sink.ctx, o) : ERR_CLOSED;
}

enum password_answer command_password(struct hub *hub, const char *ip, struct slice password)
{
    const struct command_table *t = hub->commands;
    return t && t->sink.password ? t->sink.password(t->sink.ctx, ip, password) : PASSWORD_NONE;
}

uint64_t command_password_number(const struct hub *hub)
{
    const struct command_table *t = hub->commands;
    return t && t->sink.password_number ? t->sink.password_number(t->sink.ctx) : 0;
}
