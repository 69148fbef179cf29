/* What is to be sent: one after the other, each until it is answered. */
#include "core/base/random.h"
#include "core/tools/chat.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    RETRY_MS = 8 * 60 * 1000, /* the server forgets a client id after ten minutes: then a repeat may be a second one */
    TRIES = 5                 /* refusals as `internal` before it is given up */
};

static void sending_free(struct sending *s)
{
    free(s->text);
    free(s);
}

void chat_send(struct chat *c, struct talk *t, enum sending_kind kind, struct slice text, uint64_t seq)
{
    struct sending *s = calloc(1, sizeof *s), **last = &c->queue;
    uint8_t random[16];

    if (s && text.p)
        s->text = strndup(text.p, text.n);
    if (!s || (text.p && !s->text)) {
        free(s);
        chat_complain(c, "out of memory; the line is not sent");
        return;
    }
    random_bytes(random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(s->client_id + 2 * i, 3, "%02x", random[i]);
    s->talk = t;
    s->kind = kind;
    s->seq = seq;
    while (*last)
        last = &(*last)->next;
    *last = s;
    if (!c->ready && c->terminal && kind == SENDING_TEXT)
        chat_say(c, "waits for the connection: %s", s->text);
}

unsigned chat_send_left(const struct chat *c)
{
    unsigned n = 0;
    for (const struct sending *s = c->queue; s; s = s->next)
        n++;
    return n;
}

void chat_send_free(struct chat *c)
{
    while (c->queue) {
        struct sending *s = c->queue;
        c->queue = s->next;
        sending_free(s);
    }
}

static void drop(struct chat *c)
{
    struct sending *s = c->queue;
    c->queue = s->next;
    sending_free(s);
}

/* Our own message: no push brings it to a private conversation, or surely to a merged channel. */
static void sent(struct chat *c, struct sending *s, struct magpie_json body)
{
    int64_t seq = 0, at = 0;
    (void)magpie_json_int(magpie_json_get(body, "seq"), &seq);
    (void)magpie_json_int(magpie_json_get(body, "createdAt"), &at);
    if (seq <= 0) /* a rule of the server's has dropped it */
        return;
    struct talk *t = s->talk;
    t->own = (uint64_t)seq > t->own ? (uint64_t)seq : t->own;
    struct magpie_push m = {.channel = t->channel ? t->name : NULL,
                            .receiver_id = t->channel ? NULL : t->name,
                            .content = s->text,
                            .sender_id = c->id,
                            .sender_name = c->name,
                            .seq = (uint64_t)seq,
                            .created_at = at};
    chat_message(c, &m);
}

/* Whether the refusal may pass, and when to try again. */
static bool may_pass(struct chat *c, struct sending *s, const struct magpie_refusal *r)
{
    bool slow = strcmp(r->code, "rate_limited") == 0, away = strcmp(r->code, "unavailable") == 0;
    if (!slow && !away && (strcmp(r->code, "internal") != 0 || s->tries >= TRIES))
        return false;
    uint64_t wait = r->retry_after_ms > 0 ? (uint64_t)r->retry_after_ms
                    : slow                ? 250
                                          : 250u << (s->tries < 4 ? s->tries : 4);
    s->tries++;
    c->send_at = chat_now() + wait;
    return true;
}

static void on_sent(struct magpie_conn *conn, void *arg, int status, struct magpie_json body)
{
    struct chat *c = magpie_conn_user(conn);
    struct sending *s = c->queue;
    struct magpie_refusal refusal;
    (void)arg;

    if (status == MAGPIE_ERR_CLOSED) /* it is sent again by the next connection */
        return;
    c->sending = false;
    if (status == 0 && s->kind == SENDING_TEXT) {
        sent(c, s, body);
    } else if (status != 0) {
        magpie_refusal_read(body, &refusal);
        if (may_pass(c, s, &refusal))
            return;
        chat_complain(c, "not %s: %s%s%s",
                      s->kind == SENDING_TEXT   ? "sent"
                      : s->kind == SENDING_EDIT ? "edited"
                                                : "recalled",
                      chat_refusal(status, body), s->text ? ": " : "", s->text ? s->text : "");
        c->status = 1;
    }
    drop(c);
}

static int start(struct chat *c, struct sending *s)
{
    const char *channel = s->talk->channel ? s->talk->name : NULL, *peer = channel ? NULL : s->talk->name;
    uint64_t seq = s->seq ? s->seq : s->talk->own;

    if (s->kind == SENDING_EDIT)
        return magpie_edit(c->conn, channel, peer, seq, s->text, on_sent, NULL);
    if (s->kind == SENDING_RECALL)
        return magpie_recall(c->conn, channel, peer, seq, on_sent, NULL);
    return channel ? magpie_send_channel(c->conn, channel, s->text, s->client_id, on_sent, NULL)
                   : magpie_send_user(c->conn, peer, s->text, s->client_id, on_sent, NULL);
}

/* Why it must not be sent; NULL: it may. */
static const char *hindrance(struct chat *c, const struct sending *s)
{
    if (s->begun && chat_now() - s->begun > RETRY_MS)
        return "there was no answer for too long, and whether it was stored is not known";
    if (s->kind != SENDING_TEXT && !s->seq && !s->talk->own)
        return "there is no message of yours here; say which one by #N (/history shows the numbers)";
    /* The rest of the request; and a frame over the limit would cost the connection. */
    struct buf escaped = BUF_INIT;
    buf_json_escape(&escaped, slice_str(s->text));
    bool large = !buf_ok(&escaped) || (int64_t)escaped.n + 512 > c->frame_max;
    buf_free(&escaped);
    return large ? "the line is too long for this server" : NULL;
}

uint64_t chat_send_tick(struct chat *c)
{
    while (c->queue && c->ready && !c->sending) {
        struct sending *s = c->queue;
        uint64_t now = chat_now();
        if (now < c->send_at)
            return c->send_at;
        const char *why = hindrance(c, s);
        int rc = why ? 0 : start(c, s);
        if (rc == MAGPIE_ERR_INVALID)
            why = "it is no UTF-8";
        if (why) {
            chat_complain(c, "not sent: %s%s%s", why, s->text ? ": " : "", s->text ? s->text : "");
            c->status = 1;
            drop(c);
        } else if (rc != 0) { /* the connection is going, or full: later */
            c->send_at = now + 500;
        } else {
            s->begun = s->begun ? s->begun : now;
            c->sending = true;
        }
    }
    return UINT64_MAX;
}
