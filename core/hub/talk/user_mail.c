#include "core/hub/talk/user_mail.h"

#include "core/base/frame.h"
#include "core/base/push.h"
#include "core/hub/people/copy.h"
#include "core/hub/people/user.h"
#include "core/hub/shard/why.h"
#include "core/hub/talk/order.h"

#include <stdlib.h>

struct user_mail {
    struct mail mail;
    uint32_t except, generation;
    uint64_t about;    /* id of the message that it brings; 0: none */
    uint64_t arrival;  /* with a bus: its place among all that ever came into the receiver's inbox; 0: not known */
    uint64_t began_us; /* when its delivery began, monotonic; 0: not timed */
    uint16_t action;
    uint8_t id_len;
    bool everywhere; /* on other nodes too */
    bool missed;     /* it was not pushed, and waits in the inbox */
    uint32_t body_len;
    char data[]; /* id, then body */
};

static void why_pushed(struct shard *s, uint32_t user, const struct user_mail *p, bool except)
{
    struct why_note n = {.kind = WHY_PUSHED, .id = p->about, .user = hash_bytes(slice_of(p->data, p->id_len)), .a = 0};
    for (uint32_t c = user_at(s, user)->first_conn; c != NONE; c = conn_at(s->net, c)->user_next)
        n.a += !except || c != p->except;
    why_note(s, &n);
}

/* Whether it has something for the user's connections. One that has heard of this arrival hears of it once. */
static bool is_due(struct shard *s, uint32_t user, const struct user_mail *p)
{
    if (p->missed) {
        arrivals_expect(s, user, p->arrival);
        s->events->message_arrived(s, user);
        return false;
    }
    bool fresh = !p->arrival || !s->events->arrived || s->events->arrived(s, user, p->arrival);
    return fresh && p->body_len;
}

static void user_mail_arrive(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct user_mail *p = (struct user_mail *)m;
    struct slice id = slice_of(p->data, p->id_len), body = slice_of(p->data + p->id_len, p->body_len);
    uint32_t user = user_find(s, id);
    if (p->everywhere)
        order_push(s, id, p->action, body);
    if (user != NONE && is_due(s, user, p)) {
        if (p->action == PUSH_USER_MESSAGE)
            s->events->message_arrived(s, user);
        struct frame *f = frame_borrow(p->action, 0, body, WIRE_TAG_NONE);
        if (f) {
            bool there = p->except != NONE && conn_find(s->net, p->except, p->generation);
            if (p->about)
                why_pushed(s, user, p, there);
            user_push(s, user, f, there ? p->except : NONE);
            figures_delivery_end(s, p->began_us);
            frame_unref(f);
        }
    }
    free(p);
}

struct user_mail *user_mail_new(struct slice id, uint16_t action, struct slice body, uint32_t except,
                                uint32_t generation)
{
    struct user_mail *p = malloc(sizeof *p + id.n + body.n);
    if (!p)
        return NULL;
    *p = (struct user_mail){.mail.run = user_mail_arrive,
                            .except = except,
                            .generation = generation,
                            .action = action,
                            .id_len = (uint8_t)id.n,
                            .body_len = (uint32_t)body.n};
    memcpy(p->data, id.p, id.n);
    if (body.n)
        memcpy(p->data + id.n, body.p, body.n);
    return p;
}

void user_mail_about(struct user_mail *p, uint64_t id)
{
    if (p)
        p->about = id;
}

void user_mail_arrival(struct user_mail *p, uint64_t arrival)
{
    if (p)
        p->arrival = arrival;
}

void user_mail_missed(struct user_mail *p)
{
    if (p)
        p->missed = true;
}

void user_mail_everywhere(struct user_mail *p)
{
    if (p)
        p->everywhere = true;
}

void user_mail_free(struct user_mail *p)
{
    free(p);
}

void user_mail_post(struct hub *hub, struct shard *from, struct user_mail *p)
{
    if (p && from)
        p->began_us = figures_delivery_begin(from);
    if (p)
        shard_post(from, shard_of(hub, slice_of(p->data, p->id_len)), &p->mail);
}
