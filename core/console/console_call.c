#include "core/console/console_call.h"

#include "core/base/log.h"
#include "core/console/remote.h"

#include <stdio.h>
#include <stdlib.h>

void call_free(struct console_call *k)
{
    k->console->calls--;
    buf_free(&k->c.out);
    if (k->text)
        explicit_bzero(k->text, strlen(k->text)); /* it may have been a password */
    free(k->text);
    free(k->joined);
    free(k);
}

static void log_command(const struct console_call *k)
{
    struct buf shown = BUF_INIT;
    for (unsigned i = 0; i < k->c.argc && i < k->c.command.shown; i++) {
        buf_str(&shown, i ? " " : "");
        buf_slice_put(&shown, k->c.argv[i]);
    }
    const struct log_field fields[] = {LOG_STR("who", k->who),
                                       LOG_STR("command", k->c.command.name),
                                       LOG_SLICE("on", buf_slice(&shown)),
                                       {.type = LOG_F_END}};
    if (log_enabled(LOG_INFO))
        log_write_all(LOG_INFO, "console.command", fields);
    buf_free(&shown);
}

/* The arguments of the call. False: their number is wrong. */
static bool take_arguments(struct console_call *k, const struct slice *words, unsigned n)
{
    const struct command *d = &k->c.command;
    if (n < d->min || (n > d->max && !d->text))
        return false;
    k->c.argc = n < d->max ? n : d->max;
    for (unsigned i = 0; i < k->c.argc; i++)
        k->c.argv[i] = words[i];
    if (n <= d->max || d->max == 0)
        return n <= d->max;
    size_t size = 0, at = 0;
    for (unsigned i = d->max - 1; i < n; i++)
        size += words[i].n + 1;
    k->joined = malloc(size);
    if (!k->joined)
        return false;
    for (unsigned i = d->max - 1; i < n; i++) {
        if (at)
            k->joined[at++] = ' ';
        if (words[i].n)
            memcpy(k->joined + at, words[i].p, words[i].n);
        at += words[i].n;
    }
    k->c.argv[d->max - 1] = slice_of(k->joined, at);
    return true;
}

static void unknown_command(const struct console *c, const struct console_line *line, struct call_error *e)
{
    const char *near = command_nearest(c->hub, line->words, line->count);
    int n = (int)(line->words[0].n < 64 ? line->words[0].n : 64);
    if (near)
        snprintf(e->text, sizeof e->text, "unknown command %.*s; did you mean %s?", n, line->words[0].p, near);
    else
        snprintf(e->text, sizeof e->text, "unknown command %.*s; help lists all", n, line->words[0].p);
}

static bool before_auth(const struct command *d)
{
    return strcmp(d->name, "auth") == 0 || strcmp(d->name, "quit") == 0;
}

/* NULL with *e: what is wrong with the line. */
static const struct command *find(const struct console *c, const struct console_line *line, bool authed, bool by_peer,
                                  unsigned *used, struct call_error *e)
{
    const struct command *d = command_find(c->hub, line->words, line->count, used);
    if (!authed && !(d && before_auth(d))) {
        e->code = "unauthorized";
        snprintf(e->text, sizeof e->text, "give the password first: auth PASSWORD");
        return NULL;
    }
    e->code = "bad_request";
    if (!d) {
        unknown_command(c, line, e);
        return NULL;
    }
    if (d->peer && !by_peer) {
        snprintf(e->text, sizeof e->text, "%s is for connections to the console", d->name);
        return NULL;
    }
    return d;
}

struct console_call *call_new(struct console *c, char *text, const struct console_line *line, const char *who,
                              bool authed, bool by_peer, struct call_error *e)
{
    unsigned used;
    const struct command *d = find(c, line, authed, by_peer, &used, e);
    struct console_call *k = d ? calloc(1, sizeof *k) : NULL;
    if (d && !k) {
        e->code = "internal";
        snprintf(e->text, sizeof e->text, "out of memory");
    }
    if (!k) {
        explicit_bzero(text, strlen(text)); /* it may have been a password */
        free(text);
        return NULL;
    }
    c->calls++;
    k->c.hub = c->hub;
    k->c.command = *d;
    k->c.who = k->who;
    k->console = c;
    k->text = text;
    snprintf(k->who, sizeof k->who, "%s", who);
    unsigned n = line->count - used;
    if (n && spread_of(d->name) && slice_eq(line->words[line->count - 1], SLICE_LIT("--here"))) {
        k->here = true;
        n--;
    }
    if (take_arguments(k, line->words + used, n))
        return k;
    snprintf(e->text, sizeof e->text, "usage: %s%s%s", d->name, *d->args ? " " : "", d->args);
    call_free(k);
    return NULL;
}

void call_run(struct console_call *k)
{
    if (k->c.command.changes && !k->logged)
        log_command(k);
    if (!remote_take(k))
        k->c.command.run(&k->c, k->c.command.ctx);
}
