/* Conversations: each message is shown once and in order; what is missing is fetched. */
#include "core/base/random.h"
#include "core/tools/chat.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    JITTER_MS = 200, /* everybody in a busy channel sees the same jump at the same moment */
    READ_MS = 1000   /* between two reports of what was read */
};

/* --- Finding ------------------------------------------------------------------------------------------------------ */

struct talk *chat_talk_find(struct chat *c, bool channel, const char *name)
{
    for (struct talk *t = c->talks; t; t = t->next)
        if (t->channel == channel && strcmp(t->name, name) == 0)
            return t;
    return NULL;
}

struct talk *chat_talk(struct chat *c, bool channel, const char *name)
{
    struct talk *t = chat_talk_find(c, channel, name), **last = &c->talks;
    if (t)
        return t;
    t = calloc(1, sizeof *t);
    if (t)
        t->name = strdup(name);
    if (!t || !t->name) {
        free(t);
        return NULL;
    }
    t->channel = channel;
    while (*last)
        last = &(*last)->next;
    *last = t;
    return t;
}

void chat_talks_free(struct chat *c)
{
    while (c->talks) {
        struct talk *t = c->talks;
        c->talks = t->next;
        free(t->name);
        free(t);
    }
    while (c->people) {
        struct person *p = c->people;
        c->people = p->next;
        free(p->id);
        free(p->name);
        free(p);
    }
}

void chat_met(struct chat *c, const char *id, const char *name)
{
    struct person *p = c->people;
    while (p && strcmp(p->id, id) != 0)
        p = p->next;
    if (p && strcmp(p->name, name) == 0)
        return;
    char *copy = strdup(name);
    if (p && copy) {
        free(p->name);
        p->name = copy;
        return;
    }
    p = p || !copy ? NULL : calloc(1, sizeof *p);
    if (p)
        p->id = strdup(id);
    if (!p || !p->id) { /* then it stays unknown */
        free(p);
        free(copy);
        return;
    }
    p->name = copy;
    p->next = c->people;
    c->people = p;
}

const char *chat_name_of(const struct chat *c, const char *id)
{
    for (const struct person *p = c->people; p; p = p->next)
        if (strcmp(p->id, id) == 0)
            return p->name;
    return id;
}

/* --- Messages ----------------------------------------------------------------------------------------------------- */

bool chat_talk_seen(const struct chat *c, const struct talk *t)
{
    return t == c->current || !t->channel || !c->terminal;
}

/* The other user of a private message. */
static const char *peer_of(const struct chat *c, const struct magpie_push *m)
{
    bool mine = m->sender_id && c->id && strcmp(m->sender_id, c->id) == 0;
    return mine ? m->receiver_id : m->sender_id;
}

static bool in_ring(const struct talk *t, uint64_t seq)
{
    for (unsigned i = 0; i < CHAT_RING; i++)
        if (t->ring[i] == seq)
            return true;
    return false;
}

/* Shows it, and remembers that. */
static void show(struct chat *c, struct talk *t, const struct magpie_push *m)
{
    t->ring[t->ring_at++ % CHAT_RING] = m->seq;
    t->shown = m->seq > t->shown ? m->seq : t->shown;
    t->oldest = 0;
    t->begun = true;
    chat_show(c, t, m, false);
}

void chat_talk_reach(struct talk *t, uint64_t goal)
{
    uint32_t r;
    t->unsure = t->unsure || goal == 0;
    t->goal = goal > t->goal ? goal : t->goal;
    if (t->fill_at || t->asked)
        return;
    random_bytes(&r, sizeof r);
    t->fill_at = chat_now() + 1 + r % JITTER_MS;
}

/* A message that is in order, or shows that some are missing. */
static void place(struct chat *c, struct talk *t, const struct magpie_push *m)
{
    if (!t->begun && !t->asked)
        t->shown = m->seq - 1;
    if (m->seq == t->shown + 1 && !t->asked)
        show(c, t, m);
    else if (m->seq > t->shown)
        chat_talk_reach(t, m->seq);
    else if (!t->channel && m->seq + CHAT_RING > t->shown && !in_ring(t, m->seq))
        show(c, t, m); /* a private message that a newer one has overtaken */
}

void chat_message(struct chat *c, const struct magpie_push *m)
{
    const char *name = m->channel ? m->channel : peer_of(c, m);
    struct talk *t = name && m->seq ? chat_talk(c, m->channel != NULL, name) : NULL;
    bool mine = m->sender_id && c->id && strcmp(m->sender_id, c->id) == 0;

    if (!t)
        return;
    if (m->sender_id && m->sender_name)
        chat_met(c, m->sender_id, m->sender_name);
    if (mine && m->seq > t->own)
        t->own = m->seq;
    if (chat_talk_seen(c, t)) {
        place(c, t, m);
    } else if (m->seq > t->newest) {
        t->unread = mine ? 0 : t->unread + 1;
        chat_prompt_changed(c);
    }
    t->newest = m->seq > t->newest ? m->seq : t->newest;
}

/* --- History ------------------------------------------------------------------------------------------------------ */

/* Each message of an array. */
static unsigned each(struct chat *c, struct talk *t, struct magpie_json list,
                     void (*f)(struct chat *, struct talk *, const struct magpie_push *))
{
    struct magpie_json item;
    size_t at = 0;
    unsigned n = 0;
    while (magpie_json_next(list, &at, &item) == 1) {
        struct magpie_push *m = magpie_push_read(item);
        if (m && m->seq) {
            if (m->sender_id && m->sender_name)
                chat_met(c, m->sender_id, m->sender_name);
            if (m->sender_id && c->id && strcmp(m->sender_id, c->id) == 0 && m->seq > t->own)
                t->own = m->seq;
            f(c, t, m);
            n++;
        }
        magpie_push_free(m);
    }
    return n;
}

static void show_new(struct chat *c, struct talk *t, const struct magpie_push *m)
{
    if (m->seq > t->shown)
        show(c, t, m);
}

static void on_page(struct magpie_conn *conn, void *arg, int status, struct magpie_json body)
{
    struct chat *c = magpie_conn_user(conn);
    struct talk *t = arg;
    int64_t last = 0;

    t->asked = false;
    if (status == MAGPIE_ERR_CLOSED)
        return;
    if (status != 0) { /* it may not be read (any more), or not now */
        struct magpie_refusal refusal;
        magpie_refusal_read(body, &refusal);
        if (strcmp(refusal.code, "rate_limited") == 0 || strcmp(refusal.code, "unavailable") == 0)
            t->fill_at = chat_now() + 500 + (uint64_t)refusal.retry_after_ms;
        else
            t->goal = t->shown;
        t->unsure = t->fill_at != 0;
        return;
    }
    (void)magpie_json_int(magpie_json_get(body, "last"), &last);
    /* A push that was there before the question names a seq that the answer must know: else it is lost for ever. */
    uint64_t end = (uint64_t)last > t->asked_goal ? (uint64_t)last : t->asked_goal;
    bool first = !t->begun;
    if (!first && end - t->shown > CHAT_CATCH_UP && end > t->shown) {
        chat_say(c, "%llu messages were missed; /history shows them", (unsigned long long)(end - CHAT_PAGE - t->shown));
        t->shown = end - CHAT_PAGE;
        chat_talk_reach(t, end);
        return;
    }
    each(c, t, magpie_json_get(body, "messages"), show_new);
    bool more = !first && magpie_json_true(magpie_json_get(body, "more"));
    t->begun = true;
    if (!more && end > t->shown) /* what was not on the page has expired */
        t->shown = end;
    if (more || t->goal > t->shown)
        chat_talk_reach(t, more ? 0 : t->goal);
    t->newest = t->shown > t->newest ? t->shown : t->newest;
    t->unread = 0;
    chat_prompt_changed(c);
}

static void ask_page(struct chat *c, struct talk *t)
{
    uint64_t after = t->begun ? t->shown : 0;
    const char *channel = t->channel ? t->name : NULL, *peer = channel ? NULL : t->name;

    t->fill_at = 0;
    if (t->begun && !t->unsure && t->goal <= t->shown) /* it has come by itself */
        return;
    t->unsure = false;
    t->asked_goal = t->goal;
    if (magpie_history(c->conn, channel, peer, 0, after, t->begun && after ? 200 : CHAT_PAGE, on_page, t) == 0)
        t->asked = true;
}

static void show_old(struct chat *c, struct talk *t, const struct magpie_push *m)
{
    t->oldest = t->oldest == 0 || m->seq < t->oldest ? m->seq : t->oldest;
    chat_show(c, t, m, true);
}

static void on_older(struct magpie_conn *conn, void *arg, int status, struct magpie_json body)
{
    struct chat *c = magpie_conn_user(conn);
    struct talk *t = arg;

    if (status == MAGPIE_ERR_CLOSED)
        return;
    if (status != 0)
        chat_complain(c, "%s", chat_refusal(status, body));
    else if (each(c, t, magpie_json_get(body, "messages"), show_old) == 0)
        chat_say(c, "there is nothing older");
}

void chat_talk_older(struct chat *c, struct talk *t, uint32_t count)
{
    const char *channel = t->channel ? t->name : NULL, *peer = channel ? NULL : t->name;

    if (magpie_history(c->conn, channel, peer, t->oldest, 0, count, on_older, t) != 0)
        chat_complain(c, "that cannot be asked for now");
}

/* --- Coming and going --------------------------------------------------------------------------------------------- */

static void on_watched(struct magpie_conn *conn, void *arg, int status, struct magpie_json body)
{
    struct chat *c = magpie_conn_user(conn);
    struct talk *t = arg;
    struct magpie_json online = magpie_json_get(body, "online"), item;
    size_t at = 0;

    if (status == 0 && t == c->current)
        chat_say(c, "%s is %s", chat_name_of(c, t->name),
                 magpie_json_next(online, &at, &item) == 1 ? "online" : "offline");
}

static void watch(struct chat *c, struct talk *t)
{
    const char *id = t->name;
    if (!t->channel && !t->watched && strcmp(id, c->id) != 0)
        t->watched = magpie_watch(c->conn, &id, 1, true, on_watched, t) == 0;
}

void chat_talk_go(struct chat *c, struct talk *t)
{
    c->current = t;
    chat_prompt_changed(c);
    if (!t || !c->terminal)
        return;
    if (t->channel)
        chat_say(c, "you are in #%s", t->name);
    else
        chat_say(c, "you are talking with %s (%s)", chat_name_of(c, t->name), t->name);
    if (c->ready) {
        chat_talk_reach(t, 0);
        t->fill_at = chat_now();
        watch(c, t);
    }
}

uint64_t chat_talk_tick(struct chat *c)
{
    uint64_t now = chat_now(), next = UINT64_MAX;
    for (struct talk *t = c->talks; t; t = t->next) {
        if (t->fill_at && t->fill_at <= now && !t->asked)
            ask_page(c, t);
        else if (t->fill_at && t->fill_at < next)
            next = t->fill_at;
        bool read = chat_talk_seen(c, t) && t->begun && t->shown > t->read && !t->asked && (t->joined || !t->channel);
        if (read && magpie_mark_read(c->conn, t->channel ? t->name : NULL, t->channel ? NULL : t->name, t->shown, NULL,
                                     NULL) == 0)
            t->read = t->shown;
    }
    return next;
}

/* --- The inbox ---------------------------------------------------------------------------------------------------- */

static void acknowledge(struct chat *c, const char *id)
{
    (void)magpie_inbox_ack_ids(c->conn, &id, 1, NULL, NULL); /* if that is lost, it comes again */
}

/* All is as before: from here on lines are sent. */
static void ready(struct chat *c)
{
    bool again = c->was_ready;

    c->inbox_asked = false;
    c->ready = c->was_ready = true;
    c->failures = 0;
    if (again)
        chat_say(c, "connected again");
    else
        chat_say(c, "you are %s (%s); /help lists the commands", c->name, c->id);
    for (struct talk *t = c->talks; t; t = t->next) {
        if (again && t->begun && (t->channel ? t->joined : t->newest > 0) && chat_talk_seen(c, t))
            chat_talk_reach(t, 0);
        else if (!t->begun && !c->terminal && t->channel) { /* a script hears what comes from now on */
            t->shown = t->newest;
            t->begun = true;
        }
    }
    struct talk *first = c->channel_count ? chat_talk_find(c, true, c->channels[0]) : NULL;
    if (!again && !c->current && first && first->joined)
        chat_talk_go(c, first);
    else if (c->current)
        watch(c, c->current);
    chat_prompt_changed(c);
}

static void on_inbox(struct magpie_conn *conn, void *arg, int status, struct magpie_json body)
{
    struct chat *c = magpie_conn_user(conn);
    struct magpie_json list = magpie_json_get(body, "messages"), item;
    char *last = NULL;
    size_t at = 0;
    (void)arg;

    if (status == MAGPIE_ERR_CLOSED)
        return;
    while (status == 0 && magpie_json_next(list, &at, &item) == 1) {
        struct magpie_push *m = magpie_push_read(item);
        free(last);
        last = magpie_json_string(magpie_json_get(item, "id"));
        if (m)
            chat_message(c, m);
        magpie_push_free(m);
    }
    bool more = last && magpie_json_true(magpie_json_get(body, "more"));
    if (last)
        (void)magpie_inbox_ack(conn, last, NULL, NULL);
    if ((more || c->inbox_again) && status == 0) {
        c->inbox_again = c->inbox_again && more;
        int rc = magpie_inbox(conn, last, 200, on_inbox, NULL);
        free(last);
        if (rc == 0)
            return;
        last = NULL;
    }
    free(last);
    if (status != 0)
        chat_complain(c, "the inbox cannot be read: %s", chat_refusal(status, body));
    if (!c->ready)
        ready(c);
    c->inbox_asked = false;
}

void chat_inbox(struct chat *c)
{
    if (c->inbox_asked) {
        c->inbox_again = true;
        return;
    }
    c->inbox_asked = magpie_inbox(c->conn, NULL, 200, on_inbox, NULL) == 0;
}

/* --- Pushes ------------------------------------------------------------------------------------------------------- */

static void private_message(struct chat *c, const struct magpie_push *m)
{
    if (!c->ready || c->inbox_asked) { /* the inbox has it too, in its order */
        c->inbox_again = true;
        return;
    }
    chat_message(c, m);
    if (m->id && m->receiver_id && c->id && strcmp(m->receiver_id, c->id) == 0)
        acknowledge(c, m->id);
}

/* A slice of a busy channel, of which some are left out. */
static void slice_came(struct chat *c, struct talk *t, const struct magpie_push *p)
{
    if (!chat_talk_seen(c, t)) {
        if (p->to > t->newest)
            t->unread += p->to - (t->newest ? t->newest : p->from - 1);
        chat_prompt_changed(c);
    } else if (!t->begun || (p->from <= t->shown + 1 && !t->asked)) {
        bool fresh = p->to > t->shown;
        each(c, t, p->messages, show_new);
        t->begun = true;
        t->shown = p->to > t->shown ? p->to : t->shown;
        if (p->omitted && fresh)
            chat_say(c, "%llu more in #%s; /history shows them", (unsigned long long)p->omitted, t->name);
    } else {
        chat_talk_reach(t, p->to);
    }
    t->newest = p->to > t->newest ? p->to : t->newest;
}

static void changed(struct chat *c, struct talk *t, const struct magpie_push *p, bool edited)
{
    if (!chat_talk_seen(c, t) || !t->begun || p->seq > t->shown)
        return; /* it comes from the history as it is by then */
    const char *where = t->channel ? "#" : "with ", *name = t->channel ? t->name : chat_name_of(c, t->name);
    if (edited)
        chat_say(c, "message #%llu in %s%s now says: %s", (unsigned long long)p->seq, where, name,
                 p->content ? p->content : "");
    else
        chat_say(c, "message #%llu in %s%s was recalled", (unsigned long long)p->seq, where, name);
}

static void membership(struct chat *c, struct talk *t, const struct magpie_push *p)
{
    const char *change = p->change ? p->change : "";
    bool mine = p->id && c->id && strcmp(p->id, c->id) == 0, joined = strcmp(change, "joined") == 0;

    if (p->id && p->name)
        chat_met(c, p->id, p->name);
    if (!mine) {
        if (chat_talk_seen(c, t))
            chat_say(c, "%s has %s #%s (%llu here)", p->name ? p->name : "somebody",
                     joined                        ? "joined"
                     : strcmp(change, "left") == 0 ? "left"
                                                   : change,
                     t->name, (unsigned long long)p->members);
        return;
    }
    t->joined = joined;
    if (joined)
        chat_say(c, "you have joined #%s from elsewhere", t->name);
    else if (strcmp(change, "left") == 0)
        chat_say(c, "you have left #%s", t->name);
    else if (strcmp(change, "closed") == 0)
        chat_say(c, "#%s was closed", t->name);
    else
        chat_say(c, "you were %s from #%s", change, t->name);
    if (!joined && c->current == t)
        chat_talk_go(c, NULL);
}

void chat_push(struct chat *c, uint16_t action, struct magpie_json body)
{
    struct magpie_push *p = magpie_push_read(body);
    const char *name = p ? p->channel ? p->channel : p->peer : NULL;
    struct talk *t = name ? chat_talk(c, p->channel != NULL, name) : NULL;

    if (!p)
        return;
    if (action == MAGPIE_PUSH_USER)
        private_message(c, p);
    else if (action == MAGPIE_PUSH_CHANNEL)
        chat_message(c, p);
    else if (action == MAGPIE_PUSH_MERGED && t)
        slice_came(c, t, p);
    else if (action == MAGPIE_PUSH_ANNOUNCEMENT)
        chat_say(c, "announcement: %s", p->content ? p->content : "");
    else if (action == MAGPIE_PUSH_BEHIND && t && chat_talk_seen(c, t))
        chat_talk_reach(t, p->seq);
    else if (action == MAGPIE_PUSH_READ && t && p->seq >= t->newest)
        t->unread = 0;
    else if ((action == MAGPIE_PUSH_EDITED || action == MAGPIE_PUSH_RECALLED) && t)
        changed(c, t, p, action == MAGPIE_PUSH_EDITED);
    else if (action == MAGPIE_PUSH_PRESENCE && p->id)
        chat_say(c, "%s is %s", chat_name_of(c, p->id), p->online ? "online" : "offline");
    else if (action == MAGPIE_PUSH_MEMBERSHIP && t)
        membership(c, t, p);
    magpie_push_free(p);
}
