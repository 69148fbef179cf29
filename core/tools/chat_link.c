/* The connection: made again when it is lost, ever more rarely; all is then as before. */
#include "core/base/clock.h"
#include "core/base/random.h"
#include "core/tools/chat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    RETRY_MIN_MS = 500,       /* before the first new try; then twice as much, and so on */
    RETRY_MAX_MS = 30000,     /* at most */
    OUTAGE_MS = 8 * 60 * 1000 /* after which a script is not kept waiting any more */
};

uint64_t chat_now(void)
{
    return clock_mono_us() / 1000;
}

const char *chat_refusal(int status, struct magpie_json body)
{
    static char text[256];
    struct magpie_refusal refusal;

    if (status != MAGPIE_ERR_INVALID)
        return magpie_error_text(status);
    magpie_refusal_read(body, &refusal);
    if (!refusal.code[0])
        return "the server refuses";
    snprintf(text, sizeof text, "%s", refusal.message[0] ? refusal.message : refusal.code);
    return text;
}

/* A spread keeps many clients from coming back at once. */
static uint64_t spread(uint64_t ms)
{
    uint32_t r;
    random_bytes(&r, sizeof r);
    return ms / 2 + ms * (r % 1024) / 1024;
}

/* The connection is gone, or there was none. */
static void lost(struct chat *c, const char *why)
{
    uint64_t now = chat_now(), wait = RETRY_MIN_MS;
    bool was = c->ready || c->failures == 0;

    c->conn = NULL;
    c->ready = c->sending = c->inbox_asked = c->inbox_again = c->pinged = false;
    c->setup = 0;
    for (struct talk *t = c->talks; t; t = t->next) {
        t->asked = t->watched = false;
        t->fill_at = 0;
    }
    if (c->quit)
        return;
    if (!c->was_ready) { /* it is no outage: the address, or the server, is wrong */
        chat_complain(c, "no chat at %s: %s", c->server, why);
        c->status = 1;
        c->quit = true;
        return;
    }
    for (unsigned i = 0; i < c->failures && wait < RETRY_MAX_MS; i++)
        wait *= 2;
    c->lost_at = c->failures++ ? c->lost_at : now;
    wait = spread(wait < RETRY_MAX_MS ? wait : RETRY_MAX_MS);
    c->retry_at = now + wait > c->retry_at ? now + wait : c->retry_at;
    if (was)
        chat_complain(c, "disconnected: %s; trying again", why);
    chat_prompt_changed(c);
}

static void hang_up(struct chat *c, const char *why)
{
    struct magpie_conn *conn = c->conn;
    c->conn = NULL;
    magpie_conn_close(conn);
    lost(c, why);
}

/* --- Logging in --------------------------------------------------------------------------------------------------- */

/* One answer less is needed before the inbox is read. */
static void setup_done(struct chat *c)
{
    if (--c->setup == 0)
        chat_inbox(c);
}

static void on_subscribed(struct magpie_conn *conn, void *arg, int status, struct magpie_json body)
{
    struct chat *c = magpie_conn_user(conn);
    struct talk *t = arg;
    int64_t seq = 0;

    if (status == MAGPIE_ERR_CLOSED)
        return;
    if (status != 0) {
        chat_complain(c, "#%s: %s", t->name, chat_refusal(status, body));
        t->joined = false;
    } else {
        char *push = magpie_json_string(magpie_json_get(body, "push"));
        snprintf(t->push, sizeof t->push, "%s", push ? push : "");
        free(push);
        t->joined = true;
        (void)magpie_json_int(magpie_json_get(body, "seq"), &seq);
        t->newest = (uint64_t)seq > t->newest ? (uint64_t)seq : t->newest;
    }
    setup_done(c);
}

static void subscribe(struct chat *c, const char *channel)
{
    struct talk *t = chat_talk(c, true, channel);
    if (t && magpie_subscribe(c->conn, channel, NULL, true, on_subscribed, t) == 0)
        c->setup++;
}

/* One of the user's conversations. */
static void listed(struct chat *c, struct magpie_json item)
{
    char *channel = magpie_json_string(magpie_json_get(item, "channel"));
    char *peer = magpie_json_string(magpie_json_get(item, "peerId"));
    struct talk *t = channel || peer ? chat_talk(c, channel != NULL, channel ? channel : peer) : NULL;
    struct magpie_push *last = magpie_push_read(magpie_json_get(item, "last"));
    int64_t seq = 0, unread = 0, read = 0;

    (void)magpie_json_int(magpie_json_get(item, "seq"), &seq);
    (void)magpie_json_int(magpie_json_get(item, "read"), &read);
    (void)magpie_json_int(magpie_json_get(item, "unread"), &unread);
    if (t) {
        t->newest = (uint64_t)seq > t->newest ? (uint64_t)seq : t->newest;
        t->read = (uint64_t)read > t->read ? (uint64_t)read : t->read;
        t->unread = chat_talk_seen(c, t) && t->begun ? 0 : (uint64_t)unread;
    }
    if (last && last->sender_id && last->sender_name)
        chat_met(c, last->sender_id, last->sender_name);
    if (t && channel)
        subscribe(c, channel);
    magpie_push_free(last);
    free(channel);
    free(peer);
}

static void on_conversations(struct magpie_conn *conn, void *arg, int status, struct magpie_json body)
{
    struct chat *c = magpie_conn_user(conn);
    struct magpie_json list = magpie_json_get(body, "conversations"), item;
    size_t at = 0;
    (void)arg;

    if (status == MAGPIE_ERR_CLOSED)
        return;
    while (status == 0 && magpie_json_next(list, &at, &item) == 1)
        listed(c, item);
    char *cursor = status == 0 ? magpie_json_string(magpie_json_get(body, "cursor")) : NULL;
    if (cursor && magpie_conversations(conn, 200, cursor, on_conversations, NULL) == 0)
        c->setup++;
    free(cursor);
    for (unsigned i = 0; !cursor && !c->was_ready && i < c->channel_count; i++) {
        struct talk *t = chat_talk_find(c, true, c->channels[i]);
        if (!t)
            subscribe(c, c->channels[i]);
    }
    setup_done(c);
}

static void on_login(struct magpie_conn *conn, void *arg, int status, struct magpie_json body)
{
    struct chat *c = magpie_conn_user(conn);
    (void)arg;

    if (status == MAGPIE_ERR_CLOSED)
        return;
    if (status != 0) {
        struct magpie_refusal refusal;
        magpie_refusal_read(body, &refusal);
        if (c->token && c->token_kept && strcmp(refusal.code, "unauthorized") == 0) {
            chat_complain(c, "the kept token is refused (%s); you are a new user", refusal.message);
            free(c->token);
            c->token = NULL;
            if (magpie_login(conn, c->name, NULL, NULL, true, on_login, NULL) == 0)
                return;
        }
        bool later = strcmp(refusal.code, "unavailable") == 0 || strcmp(refusal.code, "rate_limited") == 0;
        if (later && c->was_ready) {
            hang_up(c, refusal.message);
            return;
        }
        chat_complain(c, "the login is refused: %s", chat_refusal(status, body));
        c->status = 1;
        c->quit = true;
        return;
    }
    free(c->token);
    free(c->id);
    c->token = magpie_json_string(magpie_json_get(body, "token"));
    c->id = magpie_json_string(magpie_json_get(body, "id"));
    c->token_kept = false;
    if (magpie_json_int(magpie_json_get(body, "limits.frame"), &c->frame_max) < 0)
        c->frame_max = 65536;
    if (!c->id) {
        hang_up(c, "the server's answer makes no sense");
        return;
    }
    chat_met(c, c->id, c->name);
    if (c->token && c->token_file && chat_file_write(c->token_file, c->token) < 0)
        chat_complain(c, "the token cannot be kept in %s: %s", c->token_file, strerror(errno));
    if (magpie_conversations(conn, 200, NULL, on_conversations, NULL) == 0)
        c->setup = 1;
}

static void on_open(struct magpie_conn *conn, void *user)
{
    struct chat *c = user;
    c->heard = chat_now();
    if (magpie_login(conn, c->name, c->token, NULL, true, on_login, NULL) < 0) {
        chat_complain(c, "the name is no UTF-8");
        c->status = 1;
        c->quit = true;
    }
}

/* --- Staying connected ----------------------------------------------------------------------------------------- */

static void closing(struct chat *c, const struct magpie_push *p)
{
    const char *reason = p->reason ? p->reason : "";
    uint64_t at = chat_now() + (uint64_t)(p->retry_after_ms > 0 ? p->retry_after_ms : 0);

    c->retry_at = at > c->retry_at ? at : c->retry_at;
    if (strcmp(reason, "kicked") != 0 && strcmp(reason, "replaced") != 0)
        return;
    chat_complain(c, "the server closes the connection: %s%s%s", reason, p->message ? ": " : "",
                  p->message ? p->message : "");
    c->status = 1;
    c->quit = true;
}

static void on_push(struct magpie_conn *conn, void *user, uint16_t action, struct magpie_json body)
{
    struct chat *c = user;
    (void)conn;
    if (action == MAGPIE_PUSH_CLOSING) {
        struct magpie_push *p = magpie_push_read(body);
        if (p)
            closing(c, p);
        magpie_push_free(p);
    } else if (action == MAGPIE_ERROR) {
        chat_complain(c, "the server complains: %s", chat_refusal(MAGPIE_ERR_INVALID, body));
    } else {
        chat_push(c, action, body);
    }
}

static void on_close(struct magpie_conn *conn, void *user, int code, const char *why)
{
    struct chat *c = user;
    (void)conn;
    (void)code;
    lost(c, why);
}

static const struct magpie_handlers handlers = {on_open, on_push, on_close};

static void on_pong(struct magpie_conn *conn, void *arg, int status, struct magpie_json body)
{
    struct chat *c = magpie_conn_user(conn);
    (void)arg;
    (void)status;
    (void)body;
    c->pinged = false;
}

/* Asks a silent server; gives it up when it does not answer. */
static uint64_t watch(struct chat *c)
{
    uint64_t now = chat_now(), limit = c->heard + CHAT_SILENT_MS;

    if (now < limit)
        return limit;
    if (c->pinged || !c->ready) {
        hang_up(c, "the server does not answer");
        return c->retry_at;
    }
    c->pinged = magpie_ping(c->conn, on_pong, NULL) == 0;
    c->heard = now;
    return now + CHAT_SILENT_MS;
}

int chat_tick(struct chat *c)
{
    uint64_t now = chat_now(), next, then;

    if (!c->conn && now >= c->retry_at && !c->quit) {
        const char *why;
        c->heard = now;
        c->conn = magpie_connect(c->client, c->server, &handlers, c, &why);
        if (!c->conn)
            lost(c, why);
    }
    next = c->conn ? watch(c) : c->retry_at;
    if (c->ready) {
        then = chat_talk_tick(c);
        next = then < next ? then : next;
        then = chat_send_tick(c);
        next = then < next ? then : next;
    }
    if (c->ended) {
        next = c->end_at < next ? c->end_at : next;
        c->quit = c->quit || chat_now() >= c->end_at || !c->queue;
    }
    if (!c->terminal && c->failures && chat_now() - c->lost_at > OUTAGE_MS) {
        chat_complain(c, "no chat at %s for too long", c->server);
        c->status = 1;
        c->quit = true;
    }
    now = chat_now();
    return c->quit || next <= now ? 0 : next - now > 60000 ? 60000 : (int)(next - now);
}
