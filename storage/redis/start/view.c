#include "storage/redis/start/view.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIELDS = 8 }; /* before the slots: id, address, flags, master, ping, pong, epoch, link */

size_t view_host(const char *address)
{
    const char *colon = strrchr(address, ':');
    return colon ? (size_t)(colon - address) : strlen(address);
}

unsigned view_replicas(const struct view *view, const struct view_member *master)
{
    unsigned count = 0;
    for (unsigned i = 0; i < view->n; i++)
        count +=
            !view->members[i].is_master && !view->members[i].failed && strcmp(view->members[i].master, master->id) == 0;
    return count;
}

static bool has_flag(const char *flags, const char *flag)
{
    size_t n = strlen(flag);
    for (const char *at = flags; (at = strstr(at, flag)) != NULL; at += n)
        if ((at == flags || at[-1] == ',') && (at[n] == ',' || at[n] == '\0'))
            return true;
    return false;
}

/* "0-5460" or "77"; "[93->-ID]" is a slot on its way. */
static void add_slots(struct view_member *m, const char *span)
{
    char *end;
    if (*span < '0' || *span > '9')
        return;
    unsigned long first = strtoul(span, &end, 10), last = *end == '-' ? strtoul(end + 1, NULL, 10) : first;
    if (last < first || last > 16383)
        return;
    m->slots += (unsigned)(last - first) + 1;
    m->has_zero = m->has_zero || first == 0;
}

/* "10.0.0.1:7000@17000,name": the port of the bus and the name are left out. */
static void take_address(struct view_member *m, char *text, const char *own)
{
    text[strcspn(text, "@,")] = '\0';
    if (text[0] == ':') /* it does not know its own host */
        snprintf(m->address, sizeof m->address, "%.*s%s", (int)view_host(own), own, text);
    else if (memchr(text, ':', view_host(text)) && text[0] != '[')
        snprintf(m->address, sizeof m->address, "[%.*s]%s", (int)view_host(text), text, text + view_host(text));
    else
        snprintf(m->address, sizeof m->address, "%s", text);
}

/* Whether the line describes a member. The line is cut into words. */
static bool take_line(struct view_member *m, char *line, const char *own)
{
    char *field[FIELDS], *rest = NULL;
    for (int i = 0; i < FIELDS; i++)
        if (!(field[i] = strtok_r(i ? NULL : line, " \r", &rest)))
            return false;
    *m = (struct view_member){.is_master = has_flag(field[2], "master"),
                              .failed = has_flag(field[2], "fail") || has_flag(field[2], "noaddr")};
    snprintf(m->id, sizeof m->id, "%s", field[0]);
    if (strcmp(field[3], "-") != 0)
        snprintf(m->master, sizeof m->master, "%s", field[3]);
    take_address(m, field[1], own);
    for (char *word; (word = strtok_r(NULL, " \r", &rest)) != NULL;)
        add_slots(m, word);
    return !has_flag(field[2], "handshake");
}

int view_parse(const char *text, const char *own, struct view *view)
{
    *view = (struct view){NULL, 0};
    unsigned lines = 1;
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    char *copy = strdup(text), *rest = NULL;
    view->members = calloc(lines, sizeof *view->members);
    if (!copy || !view->members) {
        free(copy);
        view_free(view);
        return ERR_NOMEM;
    }
    for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        view->n += take_line(&view->members[view->n], line, own);
    free(copy);
    if (view->n)
        return 0;
    view_free(view);
    return ERR_INVALID;
}

int view_ask(struct ask *a, struct view *view)
{
    *view = (struct view){NULL, 0};
    struct redisReply *reply = ASK(a, "CLUSTER", "NODES");
    if (!reply)
        return ERR_IO;
    int rc = ERR_INVALID;
    if (reply->type == REDIS_REPLY_STRING)
        rc = view_parse(reply->str, a->address, view);
    else if (reply->type == REDIS_REPLY_ERROR)
        snprintf(a->why, sizeof a->why, "%s", reply->str);
    freeReplyObject(reply);
    return rc;
}

int view_open_zero(const struct view *view, struct ask *a, const char *username, const char *password)
{
    *a = (struct ask){.c = NULL};
    snprintf(a->why, sizeof a->why, "no master serves slot 0");
    for (unsigned i = 0; i < view->n; i++)
        if (view->members[i].has_zero)
            return ask_open(a, view->members[i].address, username, password);
    return ERR_IO;
}

void view_free(struct view *view)
{
    free(view->members);
    *view = (struct view){NULL, 0};
}
