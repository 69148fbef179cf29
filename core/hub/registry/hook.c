#include "core/hub/registry/hook.h"

#include "core/hub/registry/hook_wait.h"
#include "core/hub/registry/tables.h"
#include "core/hub/shard/shard.h"

#include <stdlib.h>

static const char *const names[HOOK_EVENTS] = {
    [HOOK_CONNECT] = "connect",
    [HOOK_LOGIN] = "login",
    [HOOK_SUBSCRIBE] = "subscribe",
    [HOOK_UNSUBSCRIBE] = "unsubscribe",
    [HOOK_CREATE] = "create",
    [HOOK_HISTORY] = "history",
    [HOOK_PRESENCE] = "presence",
    [HOOK_MESSAGE] = "message",
    [HOOK_CONVERSATION] = "conversation",
    [HOOK_DELIVERED] = "delivered",
    [HOOK_LOGGED_IN] = "logged_in",
    [HOOK_CLOSE] = "close",
    [HOOK_OFFLINE] = "offline",
    [HOOK_EDIT] = "edit",
    [HOOK_RECALL] = "recall",
    [HOOK_EDITED] = "edited",
    [HOOK_RECALLED] = "recalled",
    [HOOK_MEMBER] = "member",
    [HOOK_USER] = "user",
};

const char *hook_event_name(enum hook_event event)
{
    return names[event];
}

int hook_register(struct hub *hub, const struct hook *hook)
{
    struct tables *t = hub->draft;
    if (!t || hook->event >= HOOK_EVENTS)
        return ERR_INVALID;
    uint32_t *n = &t->hook_count[hook->event];
    struct hook *p = realloc(t->hooks[hook->event], (*n + 1) * sizeof *p);
    if (!p)
        return ERR_NOMEM;
    uint32_t i = (*n)++;
    for (; i > 0 && p[i - 1].priority < hook->priority; i--)
        p[i] = p[i - 1];
    p[i] = *hook;
    t->hooks[hook->event] = p;
    return 0;
}

static enum hook_verdict run_from(uint32_t first, struct hook_call *h)
{
    const struct tables *t = h->shard->tables;
    for (uint32_t i = first; i < t->hook_count[h->event]; i++) {
        const struct hook *k = &t->hooks[h->event][i];
        enum hook_verdict v = k->fn(h, k->ctx);
        if (v == HOOK_LATER && !SURELY(h->wait != NULL))
            continue;
        if (v == HOOK_LATER)
            hook_wait_place(h->wait, &(struct hook_place){k->priority, k->fn, k->ctx});
        if (v == HOOK_REJECT) {
            /* A refusal has a reason, whether or not the hook gave one. */
            h->code = h->code == CODE_OK ? CODE_FORBIDDEN : h->code;
            h->message = h->message ? h->message : "refused";
        }
        if (v != HOOK_PASS)
            return v;
    }
    return HOOK_PASS;
}

enum hook_verdict hooks_run(enum hook_event event, struct hook_call *h)
{
    h->event = event;
    return run_from(0, h);
}

enum hook_verdict hooks_run_behind(const struct hook_place *place, struct hook_call *h)
{
    const struct tables *t = h->shard->tables;
    uint32_t n = t->hook_count[h->event], lower = n;
    for (uint32_t i = 0; i < n; i++) {
        const struct hook *k = &t->hooks[h->event][i];
        if (k->fn == place->fn && k->ctx == place->ctx && k->priority == place->priority)
            return run_from(i + 1, h);
        if (k->priority < place->priority && lower == n)
            lower = i;
    }
    return run_from(lower, h);
}

bool hooks_any(const struct shard *s, enum hook_event event)
{
    return s->tables->hook_count[event] > 0;
}

bool hook_set_content(struct hook_call *h, struct slice content)
{
    struct buf *b = &h->shard->hook_content;
    /* What is replaced may stand in the buffer itself. */
    struct buf fresh = BUF_INIT;
    buf_slice_put(&fresh, content);
    if (!buf_ok(&fresh)) {
        buf_free(&fresh);
        return false;
    }
    buf_free(b);
    *b = fresh;
    h->content = buf_slice(b);
    return true;
}

void hook_set_charge(struct hub *hub, void (*charge)(struct shard *s, uint64_t bucket, double n))
{
    hub->charge = charge;
}

const char *hook_text(struct shard *s, struct slice text)
{
    struct buf *b = &s->hook_message;
    buf_reset(b);
    buf_slice_put(b, text);
    buf_byte(b, 0);
    return buf_ok(b) ? b->p : "out of memory";
}
