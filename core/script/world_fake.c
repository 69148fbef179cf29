#include "core/script/world_fake.h"

#include "core/base/err.h"
#include "core/script/fetcher.h"
#include "core/script/json_decode.h"
#include "core/script/timer.h"
#include "core/script/waiting.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct fake_timer {
    struct fake_timer *next;
    struct timer *timer;
    double due_ms, every_ms;
};

static struct fake_world *fake(struct world *w)
{
    return (struct fake_world *)w;
}

static uint64_t mono_ms(struct world *w)
{
    return fake(w)->now_ms;
}

static uint64_t wall_ms(struct world *w)
{
    return fake(w)->wall_ms;
}

static char *copy(struct slice s)
{
    char *p = malloc(s.n + 1);
    if (p && s.n)
        memcpy(p, s.p, s.n);
    if (p)
        p[s.n] = '\0';
    return p;
}

static int note(struct world *world, unsigned kind, struct slice target, double n, struct slice text)
{
    struct fake_world *w = fake(world);
    struct deed *d = calloc(1, sizeof *d);
    if (d) {
        d->kind = kind;
        d->n = n;
        d->target = copy(target);
        d->text = copy(text);
    }
    if (!d || !d->target || !d->text) {
        if (d) {
            free(d->target);
            free(d->text);
        }
        free(d);
        return ERR_NOMEM;
    }
    *w->last = d;
    w->last = &d->next;
    return 0;
}

void fake_world_shift(struct fake_world *w)
{
    struct deed *d = w->first;
    if (!d)
        return;
    w->first = d->next;
    if (!w->first)
        w->last = &w->first;
    free(d->target);
    free(d->text);
    free(d);
}

static int do_send(struct world *w, struct state *st, struct slice user, struct slice channel, struct slice content)
{
    (void)st;
    return user.n ? note(w, DEED_SEND_USER, user, 0, content) : note(w, DEED_SEND_CHANNEL, channel, 0, content);
}

static int do_push(struct world *w, struct slice user, uint16_t action, struct slice body, struct slice from)
{
    (void)from;
    return note(w, DEED_PUSH, user, action, body);
}

static int do_kick(struct world *w, struct state *st, struct slice user, struct slice reason)
{
    (void)st;
    return note(w, DEED_KICK, user, 0, reason);
}

static int do_announce(struct world *w, struct slice text)
{
    return note(w, DEED_ANNOUNCE, SLICE_NONE, 0, text);
}

static int do_metric(struct world *w, const char *name, double n)
{
    return note(w, DEED_METRIC, slice_str(name), n, SLICE_NONE);
}

/* target: the user, or else the channel or conversation; text: the channel of a user, a name, what is said of it. */
static int do_order(struct world *w, struct state *st, const struct script_order *o)
{
    static const char *const changes[] = {"left", "kicked", "banned", "closed"};
    char conv[CONV_KEY_MAX + 1], text[160];
    struct slice target = o->user.n ? o->user : o->channel, key = conv_key_slice(&o->conv);
    (void)st;
    if (o->kind == ORDER_RECALL && conv_is_channel(key)) {
        target = conv_channel_name(key);
    } else if (o->kind == ORDER_RECALL) {
        struct slice lo, hi;
        conv_pair_users(key, &lo, &hi);
        target = slice_of(conv, (size_t)snprintf(conv, sizeof conv, "%.*s\t%.*s", (int)lo.n, lo.p, (int)hi.n, hi.p));
    }
    struct slice about = o->kind == ORDER_USER_ADD ? o->name : o->user.n ? o->channel : SLICE_NONE;
    snprintf(text, sizeof text, "%.*s%s%s", (int)about.n, about.n ? about.p : "",
             o->kind == ORDER_LEAVE && o->change ? " " : "",
             o->kind == ORDER_LEAVE && o->change ? changes[o->change]
             : o->recall                         ? "recall"
                                                 : "");
    return note(w, DEED_ORDER + o->kind, target, (double)(o->kind == ORDER_RECALL ? o->seq : o->seconds),
                slice_str(text));
}

/* print() of the script or of its test. */
static void show(FILE *out, const struct log_field *fields)
{
    for (; fields->type != LOG_F_END; fields++)
        if (strcmp(fields->key, "text") == 0)
            fprintf(out, "%.*s\n", (int)fields->str.n, fields->str.p ? fields->str.p : "");
}

/* --- Calls that are answered later -------------------------------------------------------------------------------- */

struct fake_wait {
    struct fake_wait *next;
    struct waiting *waiting;
    unsigned number;
};

static int wait_for(struct world *world, struct waiting *q, enum deed_kind kind, struct slice target, struct slice text)
{
    struct fake_world *w = fake(world);
    struct fake_wait *f = calloc(1, sizeof *f);
    int rc = f ? note(world, kind, target, ++w->wait_last, text) : ERR_NOMEM;
    if (rc != 0) {
        free(f);
        return rc;
    }
    *f = (struct fake_wait){.next = w->waits, .waiting = q, .number = w->wait_last};
    w->waits = f;
    return 0;
}

static int ask_members(struct world *w, struct waiting *q, struct slice channel, struct slice cursor)
{
    return wait_for(w, q, DEED_MEMBERS, channel, cursor);
}

static int ask_history(struct world *w, struct waiting *q, const struct history_query *h)
{
    char text[120] = "";
    struct slice lo, hi, key = conv_key_slice(&h->conv), target = key;
    char pair[CONV_KEY_MAX + 1];
    if (conv_is_channel(key)) {
        target = conv_channel_name(key);
    } else {
        conv_pair_users(key, &lo, &hi);
        target = slice_of(pair, (size_t)snprintf(pair, sizeof pair, "%.*s\t%.*s", (int)lo.n, lo.p, (int)hi.n, hi.p));
    }
    snprintf(text, sizeof text, "limit=%u", h->limit);
    if (h->has_before)
        snprintf(text + strlen(text), sizeof text - strlen(text), " before=%llu", (unsigned long long)h->before);
    if (h->has_after)
        snprintf(text + strlen(text), sizeof text - strlen(text), " after=%llu", (unsigned long long)h->after);
    return wait_for(w, q, DEED_HISTORY, target, slice_str(text));
}

/* text: "METHOD body". */
static int ask_fetch(struct world *w, struct waiting *q, const struct fetch_request *r)
{
    char url[FETCH_URL_MAX + 64] = "";
    struct buf text = BUF_INIT;
    (void)!fetch_url_text(&r->url, url, sizeof url);
    buf_slice_put(&text, r->method);
    buf_byte(&text, ' ');
    buf_slice_put(&text, r->body);
    int rc = buf_ok(&text) ? wait_for(w, q, DEED_FETCH, slice_str(url), buf_slice(&text)) : ERR_NOMEM;
    buf_free(&text);
    return rc;
}

static int ask_token(struct world *w, struct waiting *q, struct slice user)
{
    return wait_for(w, q, DEED_TOKEN, user, SLICE_NONE);
}

static void push_json(struct state *st, lua_State *L, void *ctx)
{
    const struct slice *json = ctx;
    (void)st;
    lua_pushcfunction(L, json_lua_decode);
    lua_pushlstring(L, json->p, json->n);
    lua_call(L, 1, 1);
}

bool fake_world_answer(struct fake_world *w, unsigned number, const char *error, struct slice json)
{
    for (struct fake_wait **at = &w->waits; *at; at = &(*at)->next) {
        struct fake_wait *f = *at;
        if (f->number != number)
            continue;
        *at = f->next;
        waiting_answer(f->waiting, error, push_json, &json);
        free(f);
        return true;
    }
    return false;
}

/* "event key=value …", with the id of script.log left out. */
static void do_log(struct world *w, enum log_level level, const char *id, const struct log_field *fields)
{
    struct buf b = BUF_INIT;
    if (fake(w)->out && strcmp(id, "script.print") == 0)
        show(fake(w)->out, fields);
    for (; fields->type != LOG_F_END; fields++) {
        if (fields->type == LOG_F_INT)
            buf_printf(&b, "%s%s=%lld", b.n ? " " : "", fields->key, (long long)fields->num);
        else
            buf_printf(&b, "%s%s=%.*s", b.n ? " " : "", fields->key, (int)fields->str.n,
                       fields->str.p ? fields->str.p : "");
    }
    if (buf_ok(&b))
        (void)!note(w, DEED_LOG, slice_str(id), level, buf_slice(&b));
    buf_free(&b);
}

/* --- Timers ------------------------------------------------------------------------------------------------------- */

static int timer_begin(struct world *world, struct timer *t, double after_ms, double every_ms)
{
    struct fake_world *w = fake(world);
    struct fake_timer *f = calloc(1, sizeof *f);
    if (!f)
        return ERR_NOMEM;
    *f = (struct fake_timer){
        .next = w->timers, .timer = t, .due_ms = (double)w->now_ms + after_ms, .every_ms = every_ms};
    w->timers = f;
    t->world = f;
    return 0;
}

static void timer_end(struct world *world, struct timer *t)
{
    for (struct fake_timer **at = &fake(world)->timers; *at; at = &(*at)->next) {
        if (*at != t->world)
            continue;
        struct fake_timer *f = *at;
        *at = f->next;
        free(f);
        return;
    }
}

void fake_world_advance(struct fake_world *w, uint64_t ms)
{
    uint64_t end = w->now_ms + ms;
    for (;;) {
        /* The earliest; of several at the same time the one that was set first. */
        struct fake_timer *next = NULL;
        for (struct fake_timer *f = w->timers; f; f = f->next)
            if (f->due_ms <= (double)end && (!next || f->due_ms <= next->due_ms))
                next = f;
        uint64_t to = next ? (uint64_t)ceil(next->due_ms) : end;
        if (to > w->now_ms) {
            w->wall_ms += to - w->now_ms;
            w->now_ms = to;
        }
        if (!next)
            return;
        next->due_ms += next->every_ms;
        timer_fire(next->timer); /* one that runs once is gone then */
    }
}

static bool do_lead(struct world *w)
{
    return !((struct fake_world *)w)->follows;
}

void fake_world_init(struct fake_world *w)
{
    *w = (struct fake_world){.world = {.mono_ms = mono_ms,
                                       .wall_ms = wall_ms,
                                       .send = do_send,
                                       .push = do_push,
                                       .kick = do_kick,
                                       .announce = do_announce,
                                       .leads = do_lead,
                                       .metric = do_metric,
                                       .log = do_log,
                                       .timer_start = timer_begin,
                                       .timer_stop = timer_end,
                                       .members = ask_members,
                                       .history = ask_history,
                                       .fetch = ask_fetch,
                                       .order = do_order,
                                       .user_token = ask_token,
                                       .content_max = 16384},
                             .now_ms = 1000000,
                             .wall_ms = 1767268800000}; /* 2026-01-01T12:00:00Z, a Thursday */
    w->last = &w->first;
}

void fake_world_fini(struct fake_world *w)
{
    while (w->first)
        fake_world_shift(w);
    while (w->waits) {
        struct fake_wait *f = w->waits;
        w->waits = f->next;
        free(f->waiting); /* its state is gone */
        free(f);
    }
}
