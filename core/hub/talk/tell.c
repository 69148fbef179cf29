#include "core/hub/talk/tell.h"

#include "core/hub/talk/encode.h"
#include "core/hub/talk/publish.h"
#include "core/hub/talk/user_mail.h"

#include <stdlib.h>

/* A push to one of a pair. */
static struct user_mail *mail_to(struct slice user, enum push_action action, const struct buf *body,
                                 const struct tell_except *except)
{
    bool spared = except && slice_eq(user, except->user);
    return user_mail_new(user, (uint16_t)action, buf_slice(body), spared ? except->conn : NONE,
                         spared ? except->generation : 0);
}

void tell_message(struct tell *t, struct slice conv, const struct store_message *m, uint64_t arrival,
                  const struct tell_except *except)
{
    bool channel = conv_is_channel(conv);
    *t = (struct tell){.action = channel ? PUSH_CHANNEL_MESSAGE : PUSH_USER_MESSAGE, .channel = channel, .seq = m->seq};
    encode_message(&t->body, conv, m);
    if (channel || !buf_ok(&t->body))
        return;
    struct slice receiver = conv_pair_peer(conv, m->sender);
    if (!slice_eq(receiver, m->sender))
        t->mails[0] = mail_to(receiver, t->action, &t->body, NULL);
    t->mails[1] = mail_to(m->sender, t->action, &t->body, except);
    user_mail_arrival(t->mails[t->mails[0] ? 0 : 1], arrival);
    user_mail_about(t->mails[0], m->id);
    user_mail_about(t->mails[1], m->id);
}

/* Body of 109 or 110, as `self` sees the conversation. */
static void change_body(struct buf *b, struct slice conv, struct slice self, const struct bus_news *n)
{
    buf_byte(b, '{');
    encode_conversation(b, conv, self);
    buf_lit(b, ",\"seq\":");
    buf_dec(b, n->seq);
    buf_lit(b, ",\"id\":");
    encode_id(b, n->id);
    if (n->kind == NEWS_EDITED) {
        buf_lit(b, ",\"content\":\"");
        buf_json_escape(b, n->content);
        buf_lit(b, "\",\"editedAt\":");
        buf_dec(b, n->time);
    }
    buf_byte(b, '}');
}

static void change_message(struct buf *b, struct slice conv, const struct bus_news *n)
{
    const struct store_message m = {.seq = n->seq,
                                    .id = n->id,
                                    .created_ms = n->created,
                                    .edited_ms = n->time,
                                    .sender = n->sender,
                                    .sender_name = n->name,
                                    .content = n->content};
    encode_message(b, conv, &m);
}

void tell_change(struct tell *t, struct slice conv, const struct bus_news *n, const struct tell_except *except)
{
    *t = (struct tell){.action = n->kind == NEWS_EDITED ? PUSH_EDITED : PUSH_RECALLED,
                       .channel = conv_is_channel(conv),
                       .seq = n->seq};
    if (t->channel) {
        change_body(&t->body, conv, SLICE_NONE, n);
        if (n->kind == NEWS_EDITED)
            change_message(&t->message, conv, n);
        return;
    }
    /* Each of the two sees the other as the peer. */
    struct slice ids[2];
    conv_pair_users(conv, &ids[0], &ids[1]);
    for (int i = 0; i < (slice_eq(ids[0], ids[1]) ? 1 : 2); i++) {
        buf_reset(&t->body);
        change_body(&t->body, conv, ids[i], n);
        if (buf_ok(&t->body))
            t->mails[i] = mail_to(ids[i], t->action, &t->body, except);
    }
}

void tell_go(struct shard *s, uint32_t conv, struct tell *t, bool over_limit)
{
    if (t->channel && buf_ok(&t->body) && buf_ok(&t->message)) {
        if (t->action == PUSH_CHANNEL_MESSAGE)
            conv_publish(s, conv, t->seq, buf_slice(&t->body), over_limit);
        else if (t->action == PUSH_EDITED)
            conv_publish_edit(s, conv, t->seq, buf_slice(&t->body), buf_slice(&t->message));
        else
            conv_publish_recall(s, conv, t->seq, buf_slice(&t->body));
    }
    user_mail_post(s->hub, s, t->mails[0]);
    user_mail_post(s->hub, s, t->mails[1]);
    t->mails[0] = t->mails[1] = NULL;
    tell_drop(t);
}

void tell_drop(struct tell *t)
{
    user_mail_free(t->mails[0]);
    user_mail_free(t->mails[1]);
    buf_free(&t->body);
    buf_free(&t->message);
}
