/* The bodies of the requests of magpie_client.h. */
#include "core/base/utf8.h"
#include "core/client/magpie_client_private.h"

/* A body as it is written: members follow one another. */
struct body {
    struct buf text; /* the object without its closing brace; owned */
    int error;       /* the first thing that was wrong; 0 so far */
};

static void key_put(struct body *b, const char *key)
{
    buf_byte(&b->text, b->text.n ? ',' : '{');
    buf_byte(&b->text, '"');
    buf_str(&b->text, key);
    buf_lit(&b->text, "\":");
}

static void value_put(struct body *b, const char *value)
{
    if (!utf8_valid(slice_str(value)))
        b->error = ERR_INVALID;
    else
        buf_json_string(&b->text, slice_str(value));
}

static void text_put(struct body *b, const char *key, const char *value)
{
    if (value) {
        key_put(b, key);
        value_put(b, value);
    }
}

static void number_put(struct body *b, const char *key, uint64_t value)
{
    if (value) {
        key_put(b, key);
        buf_dec(&b->text, value);
    }
}

static void flag_put(struct body *b, const char *key, bool value)
{
    key_put(b, key);
    buf_str(&b->text, value ? "true" : "false");
}

static void list_put(struct body *b, const char *key, const char *const *values, size_t count)
{
    key_put(b, key);
    buf_byte(&b->text, '[');
    for (size_t i = 0; i < count; i++) {
        if (i)
            buf_byte(&b->text, ',');
        value_put(b, values[i]);
    }
    buf_byte(&b->text, ']');
}

/* Sends the body and frees it. */
static int ask(struct magpie_conn *conn, uint16_t action, struct body *b, magpie_answer_fn *answer, void *arg)
{
    if (b->text.n)
        buf_byte(&b->text, '}');
    int rc = buf_ok(&b->text) ? b->error : ERR_NOMEM;
    if (rc == 0)
        rc = magpie_client_request(conn, action, buf_slice(&b->text), answer, arg);
    buf_free(&b->text);
    return rc;
}

int magpie_login(struct magpie_conn *conn, const char *name, const char *token, const char *device, bool merge,
                 magpie_answer_fn *answer, void *arg)
{
    struct body b = {BUF_INIT, 0};
    const char *accept = "merge";
    text_put(&b, "name", name);
    text_put(&b, "token", token);
    text_put(&b, "device", device);
    if (merge)
        list_put(&b, "accept", &accept, 1);
    return ask(conn, MAGPIE_LOGIN, &b, answer, arg);
}

int magpie_logout(struct magpie_conn *conn, magpie_answer_fn *answer, void *arg)
{
    return magpie_request(conn, MAGPIE_LOGOUT, "", answer, arg);
}

int magpie_ping(struct magpie_conn *conn, magpie_answer_fn *answer, void *arg)
{
    return magpie_request(conn, MAGPIE_PING, "", answer, arg);
}

int magpie_subscribe(struct magpie_conn *conn, const char *channel, const char *push, bool events,
                     magpie_answer_fn *answer, void *arg)
{
    struct body b = {BUF_INIT, 0};
    text_put(&b, "name", channel);
    text_put(&b, "push", push);
    flag_put(&b, "events", events);
    return ask(conn, MAGPIE_SUBSCRIBE, &b, answer, arg);
}

int magpie_unsubscribe(struct magpie_conn *conn, const char *channel, magpie_answer_fn *answer, void *arg)
{
    struct body b = {BUF_INIT, 0};
    text_put(&b, "name", channel);
    return ask(conn, MAGPIE_UNSUBSCRIBE, &b, answer, arg);
}

int magpie_send_channel(struct magpie_conn *conn, const char *channel, const char *content, const char *client_id,
                        magpie_answer_fn *answer, void *arg)
{
    struct body b = {BUF_INIT, 0};
    text_put(&b, "channel", channel);
    text_put(&b, "content", content);
    text_put(&b, "clientId", client_id);
    return ask(conn, MAGPIE_SEND_CHANNEL, &b, answer, arg);
}

int magpie_send_user(struct magpie_conn *conn, const char *receiver, const char *content, const char *client_id,
                     magpie_answer_fn *answer, void *arg)
{
    struct body b = {BUF_INIT, 0};
    text_put(&b, "receiverId", receiver);
    text_put(&b, "content", content);
    text_put(&b, "clientId", client_id);
    return ask(conn, MAGPIE_SEND_USER, &b, answer, arg);
}

int magpie_history(struct magpie_conn *conn, const char *channel, const char *peer, uint64_t before, uint64_t after,
                   uint32_t limit, magpie_answer_fn *answer, void *arg)
{
    struct body b = {BUF_INIT, 0};
    text_put(&b, "channel", channel);
    text_put(&b, "peerId", peer);
    number_put(&b, "before", before);
    number_put(&b, "after", after);
    number_put(&b, "limit", limit);
    return ask(conn, MAGPIE_HISTORY, &b, answer, arg);
}

int magpie_mark_read(struct magpie_conn *conn, const char *channel, const char *peer, uint64_t seq,
                     magpie_answer_fn *answer, void *arg)
{
    struct body b = {BUF_INIT, 0};
    text_put(&b, "channel", channel);
    text_put(&b, "peerId", peer);
    number_put(&b, "seq", seq);
    return ask(conn, MAGPIE_MARK_READ, &b, answer, arg);
}

int magpie_edit(struct magpie_conn *conn, const char *channel, const char *peer, uint64_t seq, const char *content,
                magpie_answer_fn *answer, void *arg)
{
    struct body b = {BUF_INIT, 0};
    text_put(&b, "channel", channel);
    text_put(&b, "peerId", peer);
    number_put(&b, "seq", seq);
    text_put(&b, "content", content);
    return ask(conn, MAGPIE_EDIT, &b, answer, arg);
}

int magpie_recall(struct magpie_conn *conn, const char *channel, const char *peer, uint64_t seq,
                  magpie_answer_fn *answer, void *arg)
{
    struct body b = {BUF_INIT, 0};
    text_put(&b, "channel", channel);
    text_put(&b, "peerId", peer);
    number_put(&b, "seq", seq);
    return ask(conn, MAGPIE_RECALL, &b, answer, arg);
}

int magpie_inbox(struct magpie_conn *conn, const char *after, uint32_t limit, magpie_answer_fn *answer, void *arg)
{
    struct body b = {BUF_INIT, 0};
    text_put(&b, "after", after);
    number_put(&b, "limit", limit);
    return ask(conn, MAGPIE_INBOX, &b, answer, arg);
}

int magpie_inbox_ack(struct magpie_conn *conn, const char *up_to, magpie_answer_fn *answer, void *arg)
{
    struct body b = {BUF_INIT, 0};
    text_put(&b, "upTo", up_to);
    return ask(conn, MAGPIE_INBOX_ACK, &b, answer, arg);
}

int magpie_inbox_ack_ids(struct magpie_conn *conn, const char *const *ids, size_t count, magpie_answer_fn *answer,
                         void *arg)
{
    struct body b = {BUF_INIT, 0};
    list_put(&b, "ids", ids, count);
    return ask(conn, MAGPIE_INBOX_ACK, &b, answer, arg);
}

int magpie_conversations(struct magpie_conn *conn, uint32_t limit, const char *cursor, magpie_answer_fn *answer,
                         void *arg)
{
    struct body b = {BUF_INIT, 0};
    number_put(&b, "limit", limit);
    text_put(&b, "cursor", cursor);
    return ask(conn, MAGPIE_CONVERSATIONS, &b, answer, arg);
}

int magpie_members(struct magpie_conn *conn, const char *channel, uint32_t limit, const char *cursor,
                   magpie_answer_fn *answer, void *arg)
{
    struct body b = {BUF_INIT, 0};
    text_put(&b, "name", channel);
    number_put(&b, "limit", limit);
    text_put(&b, "cursor", cursor);
    return ask(conn, MAGPIE_MEMBERS, &b, answer, arg);
}

int magpie_presence(struct magpie_conn *conn, const char *const *ids, size_t count, magpie_answer_fn *answer, void *arg)
{
    struct body b = {BUF_INIT, 0};
    list_put(&b, "ids", ids, count);
    return ask(conn, MAGPIE_PRESENCE, &b, answer, arg);
}

int magpie_watch(struct magpie_conn *conn, const char *const *ids, size_t count, bool watch, magpie_answer_fn *answer,
                 void *arg)
{
    struct body b = {BUF_INIT, 0};
    list_put(&b, "ids", ids, count);
    flag_put(&b, "watch", watch);
    return ask(conn, MAGPIE_WATCH, &b, answer, arg);
}

int magpie_block(struct magpie_conn *conn, const char *id, bool blocked, magpie_answer_fn *answer, void *arg)
{
    struct body b = {BUF_INIT, 0};
    text_put(&b, "id", id);
    flag_put(&b, "blocked", blocked);
    return ask(conn, MAGPIE_BLOCK, &b, answer, arg);
}
