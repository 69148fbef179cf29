/* Actions 3 subscribe to channel, 6 unsubscribe from channel. */
#include "core/base/json.h"
#include "core/hub/act/acts.h"
#include "core/hub/act/subscriber.h"
#include "core/hub/people/chan.h"
#include "core/hub/people/field.h"
#include "core/hub/people/user.h"
#include "core/hub/registry/action.h"
#include "core/hub/talk/interest.h"
#include "core/hub/talk/membership.h"

/* A user makes at most rate.user channels a second, and that many seconds' worth at once. */
enum { MAKING_SECONDS = 10 };

/* --- Subscribe ---------------------------------------------------------------------------------------------------- */

static bool get_push(struct call *c, bool *set, enum push_mode *push)
{
    struct slice text;
    int rc = json_get_string(c->body, "push", &text);
    *set = rc == 1;
    for (unsigned i = MODE_ALL; rc == 1 && i <= MODE_NONE; i++) {
        if (slice_eq(text, slice_str(push_names[i]))) {
            *push = (enum push_mode)i;
            return true;
        }
    }
    if (rc != 0)
        call_fail(c, CODE_BAD_REQUEST, "push: expected \"all\", \"merged\" or \"none\"");
    return rc == 0;
}

static bool get_events(struct call *c, bool *set, bool *events)
{
    int rc = json_get_bool(c->body, "events", events);
    *set = rc == 1;
    if (rc < 0)
        call_fail(c, CODE_BAD_REQUEST, "events: expected true or false");
    return rc >= 0;
}

static void handle_subscribe(struct call *c)
{
    struct shard *s = c->shard;
    struct slice name;
    bool set_push, set_events, events = false;
    enum push_mode push = MODE_DEFAULT;
    if (!call_get_channel(c, "name", &name) || !get_push(c, &set_push, &push) || !get_events(c, &set_events, &events))
        return;
    struct conv_key key = conv_key_channel(name);
    c->order = hash_bytes(conv_key_slice(&key));
    struct user *u = user_at(s, c->user);
    uint32_t max = s->opt->subscriptions_max;
    bool more = !call_subscribed(c, name);
    if (more && ((max && u->sub_count >= max) || u->sub_count == UINT16_MAX)) {
        call_fail(c, CODE_QUOTA, "you are subscribed to %u channels, as many as allowed", u->sub_count);
        return;
    }
    uint32_t chan = chan_get(s, name);
    if (chan == NONE) {
        call_fail(c, CODE_INTERNAL, "out of memory");
        return;
    }
    interest_hold(s, chan);
    struct subscribe *q = req_begin(c, sizeof *q);
    if (!q) {
        interest_release(s, chan, 0);
        return;
    }
    u->sub_count += more;
    q->counted = more;
    if (more) { /* whether it makes one only the owner knows: what was taken in vain is given back */
        uint32_t rate = s->opt->rate_user;
        q->wait_ms = bucket_take_of(&u->making, rate, rate * MAKING_SECONDS, (uint32_t)s->now_ms);
        q->charged = rate && !q->wait_ms;
    }
    q->chan = chan;
    q->id_len = u->id_len;
    q->name_len = u->name_len;
    memcpy(q->id, user_id(u).p, u->id_len);
    memcpy(q->name, user_name(u).p, u->name_len);
    q->op.set_push = set_push;
    q->op.push = push;
    q->op.set_events = set_events;
    q->op.events = events;
    q->o.key = key;
    q->o.ready = subscribe_ready;
    q->o.r.finish = subscribe_finish;
    owned_post(s, &q->o);
}

/* --- Unsubscribe -------------------------------------------------------------------------------------------------- */

static void handle_unsubscribe(struct call *c)
{
    struct slice name;
    if (!call_get_channel(c, "name", &name))
        return;
    struct conv_key key = conv_key_channel(name);
    c->order = hash_bytes(conv_key_slice(&key));
    struct unsubscribe *q = req_begin(c, sizeof *q);
    if (!q)
        return;
    struct slice id = call_user_id(c);
    q->id_len = (uint8_t)id.n;
    memcpy(q->id, id.p, id.n);
    struct slice name_of = call_user_name(c);
    q->name_len = (uint8_t)name_of.n;
    memcpy(q->name, name_of.p, name_of.n);
    q->o.key = key;
    q->o.ready = unsubscribe_ready;
    q->o.r.finish = unsubscribe_finish;
    owned_post(c->shard, &q->o);
}

int act_channel_register(struct hub *hub)
{
    static const struct action actions[] = {
        {.number = 3, .name = "subscribe", .class = CLASS_ALONE, .handle = handle_subscribe},
        {.number = 6, .name = "unsubscribe", .class = CLASS_ALONE, .handle = handle_unsubscribe},
    };
    return actions_register(hub, actions, sizeof actions / sizeof actions[0]);
}
