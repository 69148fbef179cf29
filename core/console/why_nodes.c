/*
 * `why` of other nodes: which of them stored a message, and which pushed it, only they know. Both ways the same record
 * travels: what is known so far. Notes name conversations and users by hashes of which each process has its own, so the
 * node that is asked begins with the message's id and the user's alone.
 */
#include "core/base/container.h"
#include "core/base/hash.h"
#include "core/console/remote.h"
#include "core/console/why_call.h"

#include <stdlib.h>

enum { FORM = 1, NOTES = 8 };

/* --- The record --------------------------------------------------------------------------------------------------- */

struct row {
    bool *have;
    struct why_note *note;
};

static void rows_of(struct why_call *w, struct row rows[NOTES])
{
    const struct row all[NOTES] = {{&w->have_stored, &w->stored}, {&w->have_published, &w->published},
                                   {&w->have_walked, &w->walked}, {&w->have_skipped, &w->skipped},
                                   {&w->have_pushed, &w->pushed}, {&w->have_acked, &w->acked},
                                   {&w->have_edited, &w->edited}, {&w->have_recalled, &w->recalled}};
    memcpy(rows, all, sizeof all);
}

static void put_u64(struct buf *b, uint64_t v)
{
    char bytes[8];
    store_be64(bytes, v);
    buf_put(b, bytes, sizeof bytes);
}

static void put_record(struct buf *b, enum why_ask what, struct why_call *w)
{
    struct row rows[NOTES];
    struct slice user = w->call->argv[0], channel = slice_str(w->channel);
    rows_of(w, rows);
    buf_byte(b, REMOTE_WHY);
    buf_byte(b, (uint8_t)what);
    buf_byte(b, FORM);
    put_u64(b, user.n);
    buf_slice_put(b, user);
    put_u64(b, channel.n);
    buf_slice_put(b, channel);
    const uint64_t more[] = {w->id,          w->user,         w->since,       w->member.found,
                             w->member.push, w->member.since, w->connections, w->waiting};
    for (unsigned i = 0; i < sizeof more / sizeof more[0]; i++)
        put_u64(b, more[i]);
    for (unsigned i = 0; i < NOTES; i++) {
        const struct why_note *n = rows[i].note;
        const uint64_t fields[] = {*rows[i].have, n->id, n->seq,  n->to,   n->first, n->conv, n->user, n->at_ms,
                                   n->a,          n->b,  n->kind, n->bits, n->tier,  n->push, n->mask};
        for (unsigned k = 0; k < sizeof fields / sizeof fields[0]; k++)
            put_u64(b, fields[k]);
    }
}

struct reader {
    const char *at, *end;
    bool bad;
};

static uint64_t take_u64(struct reader *r)
{
    if (r->end - r->at < 8) {
        r->bad = true;
        return 0;
    }
    r->at += 8;
    return load_be64(r->at - 8);
}

static struct slice take_text(struct reader *r, size_t max)
{
    uint64_t n = take_u64(r);
    if (n > max || n > (size_t)(r->end - r->at)) {
        r->bad = true;
        return SLICE_NONE;
    }
    r->at += n;
    return slice_of(r->at - n, (size_t)n);
}

static void take_note(struct reader *r, bool *have, struct why_note *n)
{
    *have = take_u64(r) == 1;
    n->id = take_u64(r);
    n->seq = take_u64(r);
    n->to = take_u64(r);
    n->first = take_u64(r);
    n->conv = take_u64(r);
    n->user = take_u64(r);
    n->at_ms = take_u64(r);
    n->a = (uint32_t)take_u64(r);
    n->b = (uint32_t)take_u64(r);
    n->kind = (uint8_t)take_u64(r);
    n->bits = (uint8_t)take_u64(r);
    n->tier = (uint8_t)(take_u64(r) % (TIER_LARGE + 1));
    n->push = (uint8_t)(take_u64(r) % (MODE_NONE + 1));
    n->mask = (uint8_t)take_u64(r);
}

/* What stands behind the kind of question. *user borrows from the body. False: it makes no sense. */
static bool take_record(struct slice body, struct why_call *w, struct slice *user)
{
    struct row rows[NOTES];
    if (body.n < 3 || body.p[0] != REMOTE_WHY || body.p[2] != FORM)
        return false;
    struct reader r = {.at = body.p + 3, .end = body.p + body.n};
    *user = take_text(&r, 64);
    struct slice channel = take_text(&r, sizeof w->channel - 1);
    if (channel.n)
        memcpy(w->channel, channel.p, channel.n);
    w->channel[channel.n] = '\0';
    w->id = take_u64(&r);
    w->user = take_u64(&r);
    w->since = take_u64(&r);
    w->member.found = take_u64(&r) == 1;
    w->member.push = (unsigned)(take_u64(&r) % (MODE_NONE + 1));
    w->member.since = take_u64(&r);
    w->connections = (uint32_t)take_u64(&r);
    w->waiting = (uint32_t)take_u64(&r);
    rows_of(w, rows);
    for (unsigned i = 0; i < NOTES; i++)
        take_note(&r, rows[i].have, rows[i].note);
    return !r.bad && user->n > 0;
}

/* --- Asking ------------------------------------------------------------------------------------------------------- */

/* What this node does not know. A push to no connection is no news beside one that reached some. */
static void add_stored(struct why_call *w, const struct why_call *from)
{
    if (from->have_pushed && (!w->have_pushed || w->pushed.a == 0)) {
        w->have_pushed = true;
        w->pushed = from->pushed;
    }
#define ADD(name)                                                                                                      \
    if (from->have_##name && !w->have_##name) {                                                                        \
        w->have_##name = true;                                                                                         \
        w->name = from->name;                                                                                          \
    }
    ADD(stored)
    ADD(acked)
    ADD(edited)
    ADD(recalled)
#undef ADD
    w->since = from->since > w->since ? from->since : w->since;
}

/* Where the user is connected, it is known what became of the message. */
static void add_notes(struct why_call *w, const struct why_call *from)
{
    if (from->connections && (!w->connections || (from->have_walked && !w->have_walked))) {
        w->have_published = from->have_published;
        w->have_walked = from->have_walked;
        w->have_skipped = from->have_skipped;
        w->published = from->published;
        w->walked = from->walked;
        w->skipped = from->skipped;
        w->member = from->member;
        memcpy(w->channel, from->channel, sizeof w->channel);
    }
    w->connections += from->connections;
    w->waiting += from->waiting;
}

struct asking {
    struct why_call *w;
    enum why_ask what;
};

static void note_unanswered(struct why_call *w, uint16_t number)
{
    for (unsigned i = 0; i < w->unanswered_count; i++)
        if (w->unanswered[i] == number)
            return;
    if (w->unanswered_count < HUB_NODES)
        w->unanswered[w->unanswered_count++] = number;
}

/* None could be asked: those that live have not answered. */
static void note_all(struct why_call *w)
{
    struct hub_node nodes[HUB_NODES];
    unsigned n = hub_nodes(w->call->hub, nodes);
    for (unsigned i = 0; i < n; i++)
        if (!nodes[i].self && !nodes[i].joining)
            note_unanswered(w, nodes[i].number);
}

static void nodes_answered(void *ctx, const struct node_answer *answers, unsigned n)
{
    struct asking a = *(struct asking *)ctx;
    free(ctx);
    for (unsigned i = 0; i < n; i++) {
        struct why_call from = {.id = 0};
        struct slice user;
        if (!answers[i].given || !take_record(answers[i].body, &from, &user))
            note_unanswered(a.w, answers[i].number);
        else if (a.what == WHY_ASK_STORED)
            add_stored(a.w, &from);
        else
            add_notes(a.w, &from);
    }
    if (n == 0)
        note_all(a.w);
    a.w->then(a.w);
}

void why_ask_nodes(struct why_call *w, enum why_ask what, void (*then)(struct why_call *w))
{
    struct console_call *k = (struct console_call *)w->call;
    struct hub_node nodes[HUB_NODES];
    struct asking *a = k->here || hub_nodes(k->c.hub, nodes) < 2 ? NULL : malloc(sizeof *a);
    struct buf b = BUF_INIT;
    w->then = then;
    if (!a) {
        if (!k->here)
            note_all(w);
        then(w);
        return;
    }
    *a = (struct asking){w, what};
    put_record(&b, what, w);
    struct node_ask q = {
        .subject = NODE_CONSOLE, .timeout_ms = 2000, .body = buf_slice(&b), .done = nodes_answered, .ctx = a};
    if (!buf_ok(&b) || nodes_ask(k->c.hub, &q) != 0) {
        free(a);
        note_all(w);
        then(w);
    }
    buf_free(&b);
}

void why_put_unanswered(struct buf *out, const struct why_call *w)
{
    for (unsigned i = 0; i < w->unanswered_count; i++)
        buf_printf(out, "%s%llu", i ? "," : ",\"unanswered\":[", (unsigned long long)w->unanswered[i]);
    buf_str(out, w->unanswered_count ? "]" : "");
}

/* --- Answering ---------------------------------------------------------------------------------------------------- */

/* Another node's question: a call without a line. */
struct asked {
    struct console_call k; /* first */
    struct why_call w;
    struct node_question *q;
    enum why_ask what;
};

static void asked_free(struct asked *a)
{
    a->k.console->calls--;
    free(a);
}

static void reply(struct why_call *w)
{
    struct asked *a = CONTAINER_OF(w, struct asked, w);
    struct buf b = BUF_INIT;
    put_record(&b, a->what, w);
    node_answer(a->k.c.hub, a->q, buf_ok(&b) ? buf_slice(&b) : SLICE_NONE);
    buf_free(&b);
    asked_free(a);
}

/* Without the message nothing here is about it, but for the user's connections. */
static void find_notes(struct why_call *w)
{
    why_find_notes(w, reply);
}

/* Out of memory, the only end that an errand comes to by itself. */
static void ended(struct console_call *k, const char *code, const char *message)
{
    struct asked *a = (struct asked *)k;
    (void)code, (void)message;
    node_answer(k->c.hub, a->q, SLICE_NONE);
    asked_free(a);
}

void why_asked(struct console *c, struct node_question *q)
{
    static const struct call_sink sink = {.end = ended};
    struct asked *a = calloc(1, sizeof *a);
    struct slice user = SLICE_NONE;
    char what = q->body.n > 1 ? q->body.p[1] : '\0';
    if (!a || !take_record(q->body, &a->w, &user) || (what != WHY_ASK_STORED && what != WHY_ASK_NOTES)) {
        free(a);
        node_answer(c->hub, q, SLICE_NONE);
        return;
    }
    a->q = q; /* whose body the user's id borrows from */
    a->what = (enum why_ask)what;
    a->k.console = c;
    a->k.sink = &sink;
    a->k.here = true;
    a->k.c.hub = c->hub;
    a->k.c.argv[0] = user;
    a->k.c.argc = 1;
    a->k.c.state = &a->w;
    a->w = (struct why_call){.call = &a->k.c, .id = a->w.id, .user = hash_bytes(user)};
    c->calls++;
    why_find_stored(&a->w, a->what == WHY_ASK_STORED ? reply : find_notes);
}
