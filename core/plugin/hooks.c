/* Hooks and authentication: from what the hub tells to what a plugin sees, and its verdict back. */
#include "core/plugin/hooks.h"

#include "core/base/utf8.h"
#include "core/hub/act/provider.h"
#include "core/hub/registry/auth.h"
#include "core/hub/registry/hook_wait.h"
#include "core/plugin/plugin_private.h"
#include "core/plugin/register.h"
#include "core/plugin/text.h"
#include "core/plugin/threads.h"
#include "core/plugin/ticket.h"

#include <stdio.h>
#include <stdlib.h>

#define SAME(a, b) _Static_assert((int)(a) == (int)(b), "handed on as it is")
SAME(MP_ON_CONNECT, HOOK_CONNECT);
SAME(MP_ON_LOGIN, HOOK_LOGIN);
SAME(MP_ON_SUBSCRIBE, HOOK_SUBSCRIBE);
SAME(MP_ON_UNSUBSCRIBE, HOOK_UNSUBSCRIBE);
SAME(MP_ON_CREATE, HOOK_CREATE);
SAME(MP_ON_HISTORY, HOOK_HISTORY);
SAME(MP_ON_PRESENCE, HOOK_PRESENCE);
SAME(MP_ON_MESSAGE, HOOK_MESSAGE);
SAME(MP_ON_CONVERSATION, HOOK_CONVERSATION);
SAME(MP_ON_DELIVERED, HOOK_DELIVERED);
SAME(MP_ON_LOGGED_IN, HOOK_LOGGED_IN);
SAME(MP_ON_CLOSE, HOOK_CLOSE);
SAME(MP_ON_OFFLINE, HOOK_OFFLINE);
SAME(MP_ON_EDIT, HOOK_EDIT);
SAME(MP_ON_RECALL, HOOK_RECALL);
SAME(MP_ON_EDITED, HOOK_EDITED);
SAME(MP_ON_RECALLED, HOOK_RECALLED);
SAME(MP_ON_MEMBER, HOOK_MEMBER);
SAME(MP_ON_USER, HOOK_USER);
SAME(MP_EVENTS, HOOK_EVENTS);
SAME(MP_PASS, HOOK_PASS);
SAME(MP_ACCEPT, HOOK_ACCEPT);
SAME(MP_REJECT, HOOK_REJECT);
SAME(MP_DROP, HOOK_DROP);
SAME(MP_WAIT, HOOK_LATER);
SAME(MP_CODE_OK, CODE_OK);
SAME(MP_CODE_BAD_REQUEST, CODE_BAD_REQUEST);
SAME(MP_CODE_UNKNOWN_ACTION, CODE_UNKNOWN_ACTION);
SAME(MP_CODE_UNAUTHORIZED, CODE_UNAUTHORIZED);
SAME(MP_CODE_FORBIDDEN, CODE_FORBIDDEN);
SAME(MP_CODE_NOT_FOUND, CODE_NOT_FOUND);
SAME(MP_CODE_TOO_LARGE, CODE_TOO_LARGE);
SAME(MP_CODE_QUOTA, CODE_QUOTA);
SAME(MP_CODE_RATE_LIMITED, CODE_RATE_LIMITED);
SAME(MP_CODE_UNAVAILABLE, CODE_UNAVAILABLE);
SAME(MP_CODE_INTERNAL, CODE_INTERNAL);
SAME(MP_TIER_DM, TIER_DM);
SAME(MP_TIER_SMALL, TIER_SMALL);
SAME(MP_TIER_LARGE, TIER_LARGE);
SAME(MP_PUSH_DEFAULT, MODE_DEFAULT);
SAME(MP_PUSH_ALL, MODE_ALL);
SAME(MP_PUSH_MERGED, MODE_MERGED);
SAME(MP_PUSH_NONE, MODE_NONE);
SAME(MP_NOW, AUTH_NOW);
SAME(MP_LATER, AUTH_LATER);

_Static_assert(sizeof(struct mp_str) == sizeof(struct slice) && offsetof(struct mp_str, n) == offsetof(struct slice, n),
               "receivers are handed on as they are");

/* What a plugin is given points to its first member. */
struct event {
    struct mp_event e;
    struct hook_call *h;
    struct mp_self *plugin;
    void *ticket; /* of later(); NULL: not called */
};

static void event_fill(struct mp_event *e, const struct hook_call *h, struct mp_thread *t)
{
    *e = (struct mp_event){
        .size = sizeof *e,
        .kind = (enum mp_event_kind)h->event,
        .shard = t,
        .conn = {(uint32_t)t->index, NONE, 0},
        .user = str_out(h->user),
        .user_name = str_out(h->user_name),
        .channel = str_out(h->channel),
        .peer = str_out(h->peer),
        .content = str_out(h->content),
        .token = str_out(h->token),
        .device = str_out(h->device),
        .ip = str_out(h->ip),
        .websocket = h->websocket,
        .secure = h->secure,
        .restored = h->restored,
        .members = h->members,
        .rate = (double)h->rate,
        .tier = (enum mp_tier)h->tier,
        .id = h->id,
        .seq = h->seq,
        .created_ms = h->created_ms,
        .may_wait = h->may_wait,
        .claims = str_out(h->claims),
        .pair = {str_out(h->pair[0]), str_out(h->pair[1])},
        .receivers = (const struct mp_str *)(const void *)h->receivers,
        .receiver_count = h->receiver_count,
        .edit = h->edit,
        .edited_ms = h->edited_ms,
    };
    bool has_conn =
        h->event == HOOK_CONNECT || h->event == HOOK_LOGIN || h->event == HOOK_LOGGED_IN || h->event == HOOK_CLOSE;
    if (has_conn && h->conn != NONE)
        e->conn = (struct mp_conn){(uint32_t)t->index, h->conn, conn_at(h->shard->net, h->conn)->generation};
    if (h->event == HOOK_CLOSE || h->event == HOOK_MEMBER || h->event == HOOK_USER)
        e->reason = mp_str(h->message);
}

enum hook_verdict hook_run(struct hook_call *h, void *ctx)
{
    const struct reg *r = ctx;
    struct mp_thread *t = thread_of(r->plugin->plugins, h->shard);
    struct event f = {.h = h, .plugin = r->plugin};
    event_fill(&f.e, h, t);
    struct visit v = visit_begin(t, r->plugin, hook_event_name(h->event));
    enum mp_verdict verdict = r->hook.fn(&f.e, r->hook.ctx);
    visit_end(t, &v);
    if (f.ticket) /* it is bound to answer */
        return HOOK_LATER;
    return verdict == MP_ACCEPT || verdict == MP_DROP || verdict == MP_REJECT ? (enum hook_verdict)verdict : HOOK_PASS;
}

enum mp_verdict verdict_reject(struct mp_event *e, enum mp_code code, const char *message, uint32_t retry_after_ms)
{
    struct hook_call *h = ((struct event *)e)->h;
    bool good = code > MP_CODE_OK && code <= MP_CODE_INTERNAL;
    h->code = good ? (enum code)code : CODE_INTERNAL;
    h->retry_after_ms = retry_after_ms;
    h->message = hook_text(h->shard, slice_str(message && utf8_valid(slice_str(message)) ? message : "refused"));
    return MP_REJECT;
}

/* A hook that waits for the plugin's answer. */
struct open_hook {
    struct open open;
    struct hook_wait *wait;
};

static void open_hook_abandon(struct open *o)
{
    struct hook_answer a = {.verdict = HOOK_REJECT, .code = CODE_UNAVAILABLE, .message = "the plugin was unloaded"};
    hook_answer(((struct open_hook *)o)->wait, &a);
    free(o);
}

enum mp_verdict verdict_later(struct mp_event *e, struct mp_ticket *ticket)
{
    struct event *f = (struct event *)e;
    if (!f->h->may_wait || f->ticket || atomic_load(&f->plugin->closing))
        return MP_PASS;
    struct open_hook *o = calloc(1, sizeof *o);
    if (!o)
        return MP_PASS;
    f->ticket = open_begin(f->plugin, &o->open, OPEN_HOOK, open_hook_abandon);
    o->wait = f->ticket ? hook_later(f->h) : NULL;
    if (!o->wait) {
        if (f->ticket)
            (void)!open_withdraw(f->ticket);
        f->ticket = NULL;
        free(o);
        return MP_PASS;
    }
    *ticket = open_name(f->ticket);
    return MP_WAIT;
}

/* A plugin's verdict in the hub's words; 0, MP_EINVALID or MP_ENOMEM. */
static int hook_answer_in(struct hook_answer *out, const struct mp_hook_answer *a)
{
    struct slice message = utf8_valid(slice_in(a->message)) ? utf8_prefix(slice_in(a->message)) : SLICE_NONE;
    bool bad_code = a->code <= MP_CODE_OK || a->code > MP_CODE_INTERNAL;
    if ((unsigned)a->verdict > MP_DROP || !utf8_valid(slice_in(a->content)))
        return MP_EINVALID;
    *out = (struct hook_answer){.verdict = (enum hook_verdict)a->verdict,
                                .code = bad_code ? CODE_INTERNAL : (enum code)a->code,
                                .retry_after_ms = a->retry_after_ms};
    snprintf(out->message, sizeof out->message, "%.*s", (int)message.n, message.p ? message.p : "");
    out->message[utf8_prefix(slice_str(out->message)).n] = '\0';
    if (a->content.n)
        buf_put(&out->content, a->content.p, a->content.n);
    if (buf_ok(&out->content))
        return MP_OK;
    buf_free(&out->content);
    return MP_ENOMEM;
}

int verdict_finish(mp_self *p, struct mp_ticket ticket, const struct mp_hook_answer *given)
{
    struct mp_hook_answer a;
    struct hook_answer answer;
    int rc = STRUCT_IN(&a, given) ? hook_answer_in(&answer, &a) : MP_EINVALID;
    if (rc != MP_OK)
        return rc;
    struct open_hook *o = (struct open_hook *)open_take_named(p, ticket, OPEN_HOOK);
    if (!o) {
        buf_free(&answer.content);
        return MP_ENOTFOUND;
    }
    hook_answer(o->wait, &answer);
    free(o);
    return MP_OK;
}

int verdict_content(struct mp_event *e, struct mp_str content)
{
    struct hook_call *h = ((struct event *)e)->h;
    if ((e->kind != MP_ON_MESSAGE && e->kind != MP_ON_EDIT) || content.n == 0 ||
        content.n > h->shard->opt->content_max || !utf8_valid(slice_in(content)))
        return MP_EINVALID;
    if (!hook_set_content(h, slice_in(content)))
        return MP_ENOMEM;
    e->content = str_out(h->content);
    return 0;
}

int verdict_advise(struct mp_event *e, const struct mp_advice *given)
{
    struct hook_call *h = ((struct event *)e)->h;
    struct mp_advice a;
    if (e->kind != MP_ON_CONVERSATION || !STRUCT_IN(&a, given) || (unsigned)a.push > MP_PUSH_NONE ||
        (unsigned)a.tier > MP_TIER_LARGE)
        return MP_EINVALID;
    bool channel = h->channel.n > 0;
    if (a.has_push && channel && !h->advice.has_push) {
        h->advice.has_push = true;
        h->advice.mode = (enum push_mode)a.push;
        h->advice.slice_ms = a.slice_ms;
        h->advice.slice_max = a.slice_max;
    }
    if (a.has_tier && channel && a.tier != MP_TIER_DM && !h->advice.has_tier) {
        h->advice.has_tier = true;
        h->advice.tier = (enum store_tier)a.tier;
    }
    if (a.has_keep && !h->advice.has_keep) {
        h->advice.has_keep = true;
        h->advice.ttl_ms = a.ttl_ms;
        h->advice.keep_max = a.keep_max;
    }
    return 0;
}

/* --- Authentication ----------------------------------------------------------------------------------------------- */

/* What a plugin vouches for, which scripts read as JSON. */
static void claims_in(struct auth_answer *out, const struct mp_auth_answer *a)
{
    struct slice claims = slice_of(a->claims, strnlen(a->claims, sizeof a->claims));
    if (!claims.n)
        return;
    bool good = claims.n < sizeof a->claims && json_is_object(claims);
    out->claims = good ? strndup(claims.p, claims.n) : NULL;
    if (out->claims)
        return;
    out->code = CODE_INTERNAL;
    snprintf(out->message, sizeof out->message, good ? "out of memory" : "the provider's claims are no JSON object");
}

/* A plugin's answer in the hub's words, which looks at its id and name. */
static void answer_in(struct auth_answer *out, const struct mp_auth_answer *a)
{
    memset(out, 0, sizeof *out);
    struct slice id = slice_of(a->id, strnlen(a->id, sizeof a->id)),
                 name = slice_of(a->name, strnlen(a->name, sizeof a->name));
    bool in = a->code == MP_CODE_OK;
    out->code = (unsigned)a->code <= MP_CODE_INTERNAL ? (enum code)a->code : CODE_INTERNAL;
    out->retry_after_ms = a->retry_after_ms;
    if (in) {
        out->id_len = (uint8_t)id.n; /* 65: longer than any may be */
        out->name_len = (uint8_t)name.n;
        memcpy(out->id, id.p, id.n < sizeof out->id ? id.n : sizeof out->id);
        memcpy(out->name, name.p, name.n < sizeof out->name ? name.n : sizeof out->name);
        out->issued_ms = a->issued_ms;
        out->expires_ms = a->expires_ms;
        claims_in(out, a);
    } else {
        snprintf(out->message, sizeof out->message, "%.*s", (int)strnlen(a->message, sizeof a->message - 1),
                 a->message);
        if (!out->message[0] || !utf8_valid(slice_str(out->message)))
            snprintf(out->message, sizeof out->message, "the login was refused");
    }
}

/* A login that waits for the plugin's answer. */
struct open_login {
    struct open open;
    struct auth_mail *mail; /* the way home; owned */
};

static void login_answer(struct open_login *o, const struct mp_auth_answer *a)
{
    struct hub *hub = o->open.plugin->plugins->hub;
    answer_in(&o->mail->answer, a);
    (void)!auth_send(hub, o->mail);
    free(o);
}

static void open_login_abandon(struct open *o)
{
    login_answer((struct open_login *)o, &(struct mp_auth_answer){.size = sizeof(struct mp_auth_answer),
                                                                  .code = MP_CODE_UNAVAILABLE,
                                                                  .message = "the plugin was unloaded"});
}

static struct open_login *open_login_new(const struct auth_call *a)
{
    struct open_login *o = calloc(1, sizeof *o);
    struct auth_mail *m = o ? calloc(1, sizeof *m) : NULL;
    if (!m) {
        free(o);
        return NULL;
    }
    m->ticket = a->ticket;
    o->mail = m;
    return o;
}

static void open_login_free(struct open_login *o)
{
    if (o)
        free(o->mail);
    free(o);
}

enum auth_when auth_run(struct auth_call *a, void *ctx)
{
    const struct reg *r = ctx;
    struct mp_thread *t = thread_of(r->plugin->plugins, a->shard);
    struct open_login *o = open_login_new(a);
    void *ticket = o ? open_begin(r->plugin, &o->open, OPEN_LOGIN, open_login_abandon) : NULL;
    struct mp_auth_answer answer = {.size = sizeof answer, .code = MP_CODE_UNAVAILABLE, .message = "out of memory"};
    if (!ticket) {
        open_login_free(o);
        answer_in(&a->answer, &answer);
        return AUTH_NOW;
    }
    struct mp_login l = {.size = sizeof l,
                         .shard = t,
                         .ticket = open_name(ticket),
                         .name = str_out(a->name),
                         .token = str_out(a->token),
                         .device = str_out(a->device),
                         .ip = str_out(a->ip),
                         .websocket = a->websocket,
                         .secure = a->secure};
    answer = (struct mp_auth_answer){.size = sizeof answer};
    struct visit v = visit_begin(t, r->plugin, "authentication");
    enum mp_when when = r->ask(&l, &answer, r->ctx);
    visit_end(t, &v);
    if (when == MP_LATER)
        return AUTH_LATER;
    o = (struct open_login *)open_withdraw(ticket);
    if (!o) { /* it has answered by auth_finish() already: that counts */
        open_log_twice(r->plugin, OPEN_LOGIN);
        return AUTH_LATER;
    }
    open_login_free(o);
    answer_in(&a->answer, &answer);
    return AUTH_NOW;
}

int auth_answered(mp_self *p, struct mp_ticket ticket, const struct mp_auth_answer *given)
{
    struct mp_auth_answer a;
    if (!STRUCT_IN(&a, given))
        return MP_EINVALID;
    struct open_login *o = (struct open_login *)open_take_named(p, ticket, OPEN_LOGIN);
    if (!o)
        return MP_ENOTFOUND;
    login_answer(o, &a);
    return MP_OK;
}
