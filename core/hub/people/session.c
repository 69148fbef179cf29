#include "core/hub/people/session.h"

#include "core/base/frame.h"
#include "core/net/send.h"

#include <stdlib.h>

struct slot {
    uint64_t order;    /* answers with the same order keep it; 0: none */
    uint32_t ordinal;  /* names the slot to the request */
    bool done;         /* answered */
    struct wire *wire; /* the answer, kept back; owned */
};

struct session *session_get(struct shard *s, uint32_t conn)
{
    struct conn *k = conn_at(s->net, conn);
    if (!k->session)
        k->session = calloc(1, sizeof(struct session));
    return k->session;
}

void session_free(struct session *x)
{
    if (!x)
        return;
    for (uint32_t i = 0; i < x->slot_count; i++)
        if (x->slots[i].wire)
            wire_unref(x->slots[i].wire);
    free(x->slots);
    free(x->held);
    free(x->device);
    free(x);
}

void session_trim(struct shard *s, uint32_t conn)
{
    struct conn *k = conn_at(s->net, conn);
    struct session *x = k->session;
    if (x && !x->inflight && !x->slot_count && !x->held && !x->paused && !x->login) {
        free(x->slots);
        x->slots = NULL;
        x->slot_cap = 0;
        if (!x->device && !x->closing) {
            free(x);
            k->session = NULL;
        }
    }
}

static struct slot *slot_add(struct session *x, uint64_t order)
{
    if (x->slot_count == x->slot_cap) {
        uint32_t cap = x->slot_cap ? x->slot_cap * 2 : 4;
        struct slot *p = realloc(x->slots, cap * sizeof *p);
        if (!p)
            return NULL;
        x->slots = p;
        x->slot_cap = cap;
    }
    struct slot *t = &x->slots[x->slot_count++];
    *t = (struct slot){.order = order, .ordinal = x->ordinal++};
    if (x->ordinal == NONE)
        x->ordinal = 0;
    return t;
}

bool session_expect(struct session *x, uint64_t order, uint32_t *ordinal)
{
    struct slot *t = slot_add(x, order);
    if (t)
        *ordinal = t->ordinal;
    return t != NULL;
}

static bool awaited_before(const struct session *x, uint64_t order, uint32_t end)
{
    for (uint32_t i = 0; order && i < end; i++)
        if (x->slots[i].order == order && !x->slots[i].done)
            return true;
    return false;
}

/* Sends the kept answers whose turn has come and drops the slots that are finished. */
static void release(struct shard *s, uint32_t conn, struct session *x)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < x->slot_count; i++) {
        struct slot t = x->slots[i];
        if (t.done && (!t.wire || !awaited_before(x, t.order, kept))) {
            if (t.wire) {
                conn_send(s->net, conn, t.wire, CONN_MUST);
                wire_unref(t.wire);
            }
            continue;
        }
        x->slots[kept++] = t;
    }
    x->slot_count = kept;
}

static void out_of_memory(struct shard *s, uint32_t conn)
{
    conn_close(s->net, conn, CLOSE_SLOW, "the server is out of memory", 1000);
}

void session_answer_secret(struct shard *s, uint32_t conn, uint16_t action, uint16_t seq, struct slice body)
{
    struct wire *w = conn_wire_plain(s->net, conn, action, seq, body, WIRE_TAG_NONE);
    if (!w) {
        out_of_memory(s, conn);
        return;
    }
    conn_send(s->net, conn, w, CONN_MUST);
    wire_unref(w);
}

void session_answer(struct shard *s, uint32_t conn, uint64_t order, uint32_t ordinal, uint16_t action, uint16_t seq,
                    struct slice body)
{
    struct conn *k = conn_at(s->net, conn);
    struct session *x = k->session;
    struct wire *w = conn_wire(s->net, conn, action, seq, body, WIRE_TAG_NONE);
    if (!w) {
        out_of_memory(s, conn);
        return;
    }
    if (ordinal == NONE && (!x || !awaited_before(x, order, x->slot_count))) {
        conn_send(s->net, conn, w, CONN_MUST);
        wire_unref(w);
        return;
    }
    struct slot *t = NULL;
    if (ordinal == NONE) {
        t = slot_add(x, order);
    } else {
        for (uint32_t i = 0; i < x->slot_count && !t; i++)
            if (x->slots[i].ordinal == ordinal)
                t = &x->slots[i];
    }
    if (!t) {
        conn_send(s->net, conn, w, CONN_MUST);
        wire_unref(w);
        return;
    }
    t->done = true;
    t->wire = w;
    release(s, conn, x);
}
