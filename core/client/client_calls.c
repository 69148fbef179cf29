/* The common requests: their bodies. See client.h. */
#include "core/client/client_fields.h"
#include "core/client/client_private.h"

#include <stdio.h>

/* `,"key":"value"` (or with the opening brace when it is the first); nothing when the value has no pointer. */
static void member_put(struct buf *body, const char *key, struct slice value)
{
    if (value.p) {
        buf_byte(body, body->n ? ',' : '{');
        buf_byte(body, '"');
        buf_str(body, key);
        buf_lit(body, "\":");
        buf_json_string(body, value);
    }
}

static void member_number(struct buf *body, const char *key, uint64_t value)
{
    if (value) {
        buf_byte(body, body->n ? ',' : '{');
        buf_byte(body, '"');
        buf_str(body, key);
        buf_lit(body, "\":");
        buf_dec(body, value);
    }
}

static int body_send(struct client_conn *conn, uint16_t action, struct buf *body, CLIENT_ANSWER_FN(answer), void *arg)
{
    if (body->n)
        buf_byte(body, '}');
    return buf_ok(body) ? client_request(conn, action, buf_slice(body), answer, arg) : ERR_NOMEM;
}

int client_login(struct client_conn *conn, struct slice name, struct slice token, bool accept_merge,
                 CLIENT_ANSWER_FN(answer), void *arg)
{
    struct buf *body = client_body(conn->client);
    member_put(body, "name", name);
    member_put(body, "token", token);
    bool gzip = conn->client->gzip && !conn->websocket;
    if (accept_merge || gzip) {
        buf_byte(body, body->n ? ',' : '{');
        buf_lit(body, "\"accept\":[");
        buf_str(body, accept_merge ? "\"merge\"" : "");
        buf_str(body, accept_merge && gzip ? "," : "");
        buf_str(body, gzip ? "\"gzip\"]" : "]");
    }
    return body_send(conn, CLIENT_LOGIN, body, answer, arg);
}

int client_subscribe(struct client_conn *conn, struct slice channel, struct slice push, CLIENT_ANSWER_FN(answer),
                     void *arg)
{
    struct buf *body = client_body(conn->client);
    member_put(body, "name", channel);
    member_put(body, "push", push);
    return body_send(conn, CLIENT_SUBSCRIBE, body, answer, arg);
}

int client_send_channel(struct client_conn *conn, struct slice channel, struct slice content, struct slice client_id,
                        CLIENT_ANSWER_FN(answer), void *arg)
{
    struct buf *body = client_body(conn->client);
    member_put(body, "channel", channel);
    member_put(body, "content", content);
    member_put(body, "clientId", client_id);
    return body_send(conn, CLIENT_SEND_CHANNEL, body, answer, arg);
}

int client_send_user(struct client_conn *conn, struct slice receiver, struct slice content, struct slice client_id,
                     CLIENT_ANSWER_FN(answer), void *arg)
{
    struct buf *body = client_body(conn->client);
    member_put(body, "receiverId", receiver);
    member_put(body, "content", content);
    member_put(body, "clientId", client_id);
    return body_send(conn, CLIENT_SEND_USER, body, answer, arg);
}

int client_history(struct client_conn *conn, struct slice channel, uint64_t before, uint64_t after, uint32_t limit,
                   CLIENT_ANSWER_FN(answer), void *arg)
{
    struct buf *body = client_body(conn->client);
    member_put(body, "channel", channel);
    member_number(body, "before", before);
    member_number(body, "after", after);
    member_number(body, "limit", limit);
    return body_send(conn, CLIENT_HISTORY, body, answer, arg);
}

void client_error_read(struct slice body, struct client_error *out)
{
    struct client_field error = CLIENT_FIELD("error");
    struct client_field fields[] = {CLIENT_FIELD("code"), CLIENT_FIELD("message"), CLIENT_FIELD("retryAfter")};
    struct slice code;
    struct buf text = BUF_INIT;

    *out = (struct client_error){0};
    if (client_fields_read(body, &error, 1) != 1)
        return;
    (void)client_fields_read(error.value, fields, 3); /* fewer than three is as good */
    if (client_value_plain(fields[0].value, &code) == 0)
        snprintf(out->code, sizeof(out->code), "%.*s", (int)code.n, code.p);
    if (client_value_string(fields[1].value, &text) == 0 && buf_ok(&text))
        snprintf(out->message, sizeof(out->message), "%.*s", (int)text.n, text.p ? text.p : "");
    if (client_value_int(fields[2].value, &out->retry_after_ms) < 0)
        out->retry_after_ms = 0;
    buf_free(&text);
}
