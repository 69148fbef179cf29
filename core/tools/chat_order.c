/* What is typed. */
#include "core/tools/chat.h"
#include "core/tools/chat_command.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* The answer of an order: where it goes on. */
struct wish {
    struct talk *talk; /* borrowed */
    struct buf lines;  /* of /names: those so far; owned */
    unsigned count;    /* of them */
};

static struct wish *wish_new(struct talk *t)
{
    struct wish *w = calloc(1, sizeof *w);
    if (w)
        w->talk = t;
    return w;
}

static void wish_free(struct wish *w)
{
    if (w)
        buf_free(&w->lines);
    free(w);
}

/* Something typed was not done. */
static void refuse(struct chat *c, const char *what, const char *why)
{
    chat_complain(c, "%s%s%s", what, what[0] ? ": " : "", why);
    c->status = 1;
}

/* The slice with an end, cut to what any name can be. */
static const char *text_of(struct slice s, char out[256])
{
    snprintf(out, 256, "%.*s", (int)(s.n < 255 ? s.n : 255), s.p ? s.p : "");
    return out;
}

/* --- Who and where ------------------------------------------------------------------------------------------------ */

static bool is_id(const char *text)
{
    size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-");
    return n > 0 && n <= 64 && text[n] == '\0';
}

/* The id of a user who is called so. NULL: it was told why not. */
static const char *who_is(struct chat *c, const char *who, bool guess)
{
    const struct person *found = NULL;
    struct buf others = BUF_INIT;
    unsigned count = 0;

    for (const struct person *p = c->people; p; p = p->next)
        if (strcmp(p->id, who) == 0)
            return p->id;
    for (const struct person *p = c->people; p; p = p->next) {
        if (strcasecmp(p->name, who) != 0)
            continue;
        found = p;
        count++;
        buf_printf(&others, " %s", p->id);
    }
    buf_byte(&others, '\0');
    if (count > 1) {
        chat_complain(c, "%u here are called %s; give an id:%s", count, who, buf_ok(&others) ? others.p : "");
        c->status = 1;
    } else if (!found && !(guess && is_id(who))) {
        refuse(c, who, "nobody here is known by that name; /names tells who is here");
    }
    buf_free(&others);
    return count == 1 ? found->id : count == 0 && guess && is_id(who) ? who : NULL;
}

/* A conversation by its name; with a leading # a channel only. */
static struct talk *where_is(struct chat *c, const char *name)
{
    struct talk *t = chat_talk_find(c, true, name[0] == '#' ? name + 1 : name);
    if (!t)
        t = chat_talk_find(c, true, name);
    if (t && t->joined)
        return t;
    for (t = c->talks; t; t = t->next)
        if (!t->channel && (strcmp(t->name, name) == 0 || strcasecmp(chat_name_of(c, t->name), name) == 0))
            return t;
    refuse(c, name, "you have no such conversation; /list tells them, /join and /msg begin one");
    return NULL;
}

/* --- Channels ----------------------------------------------------------------------------------------------------- */

static void on_joined(struct magpie_conn *conn, void *arg, int status, struct magpie_json body)
{
    struct chat *c = magpie_conn_user(conn);
    struct talk *t = arg;
    int64_t seq = 0;

    if (status == MAGPIE_ERR_CLOSED) {
        chat_complain(c, "#%s: the connection was lost; try it again", t->name);
        return;
    }
    if (status != 0) {
        refuse(c, t->name, chat_refusal(status, body));
        return;
    }
    char *push = magpie_json_string(magpie_json_get(body, "push"));
    snprintf(t->push, sizeof t->push, "%s", push ? push : "");
    free(push);
    (void)magpie_json_int(magpie_json_get(body, "seq"), &seq);
    t->newest = (uint64_t)seq > t->newest ? (uint64_t)seq : t->newest;
    t->joined = true;
    if (!t->begun && !c->terminal) {
        t->shown = t->newest;
        t->begun = true;
    }
    chat_talk_go(c, t);
}

static void join(struct chat *c, const char *name)
{
    struct talk *t = chat_talk_find(c, true, name);
    if (t && t->joined) {
        chat_talk_go(c, t);
        return;
    }
    t = chat_talk(c, true, name);
    int rc = t ? magpie_subscribe(c->conn, name, NULL, true, on_joined, t) : MAGPIE_ERR_NOMEM;
    if (rc != 0)
        refuse(c, name, rc == MAGPIE_ERR_INVALID ? "it is no UTF-8" : magpie_error_text(rc));
}

static void on_left(struct magpie_conn *conn, void *arg, int status, struct magpie_json body)
{
    struct chat *c = magpie_conn_user(conn);
    struct talk *t = arg;

    if (status != 0) {
        refuse(c, t->name, chat_refusal(status, body));
        return;
    }
    t->joined = false;
    t->unread = 0;
    chat_say(c, "you have left #%s", t->name);
    if (c->current == t)
        chat_talk_go(c, NULL);
}

static void leave(struct chat *c, struct slice who)
{
    char name[256];
    struct talk *t = who.p ? where_is(c, text_of(who, name)) : c->current;
    if (!t && !who.p)
        refuse(c, "", "you are in no channel");
    else if (t && !t->channel) {
        if (t == c->current)
            chat_talk_go(c, NULL);
    } else if (t && magpie_unsubscribe(c->conn, t->name, on_left, t) != 0)
        refuse(c, t->name, "the connection is being lost; try it again");
}

/* --- Lists -------------------------------------------------------------------------------------------------------- */

static void list(struct chat *c)
{
    struct buf lines = BUF_INIT;
    for (const struct talk *t = c->talks; t; t = t->next) {
        if (t->channel && !t->joined)
            continue;
        buf_str(&lines, t == c->current ? "> " : "  ");
        if (t->channel)
            buf_printf(&lines, "#%s", t->name);
        else
            buf_printf(&lines, "%s (%s)", chat_name_of(c, t->name), t->name);
        if (t->unread)
            buf_printf(&lines, "  %llu unread", (unsigned long long)t->unread);
        buf_lit(&lines, "\n");
    }
    if (lines.n == 0)
        buf_str(&lines, "You have no conversations; /join CHANNEL begins one.\n");
    chat_print(c, buf_slice(&lines));
    buf_free(&lines);
}

static void on_members(struct magpie_conn *conn, void *arg, int status, struct magpie_json body)
{
    struct chat *c = magpie_conn_user(conn);
    struct wish *w = arg;
    struct magpie_json members = magpie_json_get(body, "members"), item;
    char *cursor = NULL;
    size_t at = 0;

    if (status != 0)
        refuse(c, w->talk->name, chat_refusal(status, body));
    while (status == 0 && magpie_json_next(members, &at, &item) == 1) {
        char *id = magpie_json_string(magpie_json_get(item, "id"));
        char *name = magpie_json_string(magpie_json_get(item, "name"));
        if (id && name) {
            chat_met(c, id, name);
            buf_printf(&w->lines, "  %s (%s)%s\n", name, id,
                       magpie_json_true(magpie_json_get(item, "online")) ? " online" : "");
            w->count++;
        }
        free(id);
        free(name);
    }
    if (status == 0)
        cursor = magpie_json_string(magpie_json_get(body, "cursor"));
    if (cursor && w->count < 1000 && magpie_members(conn, w->talk->name, 200, cursor, on_members, w) == 0) {
        free(cursor);
        return;
    }
    if (status == 0) {
        buf_printf(&w->lines, "%u%s in #%s\n", w->count, cursor ? " and more" : "", w->talk->name);
        chat_print(c, buf_slice(&w->lines));
    }
    free(cursor);
    wish_free(w);
}

static void on_presence(struct magpie_conn *conn, void *arg, int status, struct magpie_json body)
{
    struct chat *c = magpie_conn_user(conn);
    struct talk *t = arg;
    struct magpie_json item;
    size_t at = 0;

    if (status != 0)
        refuse(c, t->name, chat_refusal(status, body));
    else
        chat_say(c, "%s (%s) is %s", chat_name_of(c, t->name), t->name,
                 magpie_json_next(magpie_json_get(body, "online"), &at, &item) == 1 ? "online" : "offline");
}

static void names(struct chat *c)
{
    struct talk *t = c->current;
    struct wish *w = t && t->channel ? wish_new(t) : NULL;
    const char *id = t ? t->name : NULL;
    int rc = MAGPIE_ERR_NOMEM;

    if (!t) {
        refuse(c, "", "you are nowhere; /join CHANNEL or /msg WHO first");
        return;
    }
    if (w)
        rc = magpie_members(c->conn, t->name, 200, NULL, on_members, w);
    else if (!t->channel)
        rc = magpie_presence(c->conn, &id, 1, on_presence, t);
    if (rc != 0) {
        wish_free(w);
        refuse(c, t->name, magpie_error_text(rc));
    }
}

/* --- Saying ------------------------------------------------------------------------------------------------------- */

static void message(struct chat *c, const struct chat_command *o)
{
    char who[256];
    const char *id = who_is(c, text_of(o->who, who), true);
    struct talk *t = id ? chat_talk(c, false, id) : NULL;

    if (id && !t)
        refuse(c, who, "out of memory");
    else if (t && o->text.n)
        chat_send(c, t, SENDING_TEXT, o->text, 0);
    else if (t)
        chat_talk_go(c, t);
}

static void act(struct chat *c, struct slice text)
{
    struct buf line = BUF_INIT;
    buf_printf(&line, "* %s ", c->name);
    buf_slice_put(&line, text);
    if (buf_ok(&line))
        chat_send(c, c->current, SENDING_TEXT, buf_slice(&line), 0);
    buf_free(&line);
}

/* Orders about where one is. */
static void here(struct chat *c, const struct chat_command *o)
{
    if (!c->current)
        refuse(c, "", "you are nowhere; /join CHANNEL or /msg WHO first");
    else if (o->order == CHAT_SAY)
        chat_send(c, c->current, SENDING_TEXT, o->text, 0);
    else if (o->order == CHAT_ME)
        act(c, o->text);
    else if (o->order == CHAT_EDIT)
        chat_send(c, c->current, SENDING_EDIT, o->text, o->number);
    else if (o->order == CHAT_RECALL)
        chat_send(c, c->current, SENDING_RECALL, SLICE_NONE, o->number);
    else
        chat_talk_older(c, c->current, o->number ? (uint32_t)(o->number < 200 ? o->number : 200) : CHAT_PAGE);
}

/* Orders that can be followed without a connection; false: it is none of them. */
static bool at_once(struct chat *c, const struct chat_command *o)
{
    struct buf help = BUF_INIT;
    switch (o->order) {
    case CHAT_NOTHING:
        return true;
    case CHAT_WRONG:
        refuse(c, "", o->why);
        return true;
    case CHAT_HELP:
        chat_command_help(&help);
        chat_print(c, buf_slice(&help));
        buf_free(&help);
        return true;
    case CHAT_LIST:
        list(c);
        return true;
    case CHAT_QUIT:
        c->ended = true;
        c->end_at = chat_now() + 5000;
        return true;
    case CHAT_SAY:
    case CHAT_ME:
    case CHAT_EDIT:
    case CHAT_RECALL:
        here(c, o);
        return true;
    case CHAT_MSG:
        if (o->text.n == 0)
            return false;
        message(c, o);
        return true;
    default:
        return false;
    }
}

void chat_line(struct chat *c, struct slice line)
{
    struct chat_command o;
    char name[256];
    struct talk *t;

    chat_command_read(line, &o);
    if (at_once(c, &o))
        return;
    if (!c->ready) {
        refuse(c, "", "there is no connection; try it again when there is one");
        return;
    }
    text_of(o.who, name);
    if (o.order == CHAT_JOIN)
        join(c, name[0] == '#' && name[1] ? name + 1 : name);
    else if (o.order == CHAT_LEAVE)
        leave(c, o.who);
    else if (o.order == CHAT_MSG)
        message(c, &o);
    else if (o.order == CHAT_SWITCH && (t = where_is(c, name)) != NULL)
        chat_talk_go(c, t);
    else if (o.order == CHAT_NAMES)
        names(c);
    else if (o.order == CHAT_HISTORY)
        here(c, &o);
}
