/* What other nodes publish: see ear.h. */
#include "storage/redis/bus/ear.h"

#include "core/base/hash.h"
#include "core/base/log.h"
#include "storage/redis/bus/bus_private.h"
#include "storage/redis/client/slots.h"

#include <stdlib.h>

enum {
    CHAINS_BITS = 10,      /* of the table, in the beginning */
    NODE_NAME = 64,        /* bytes of PREFIX n{t}:INC at most */
    REFUSED_AGAIN = 60000, /* ms between two lines about a master that refuses subscriptions */
    FULL = 2               /* subscriptions a chain, on average, at which there are more chains */
};

/* The link to a master. */
struct ear {
    struct link link; /* first */
    struct master *master;
    uint32_t number;      /* of commands sent over this connection */
    uint32_t ping_number; /* how many were sent before the PING under way */
    uint64_t refused_at;  /* when it was logged last that it refuses, by redis.turn_ms; 0: never */
    bool pinged;          /* a PING is under way */
    bool failed;          /* an error has come since the last PONG */
};

struct ear_part {
    struct ear_sub *subs;
    uint32_t missing;  /* of them are wanted, and not on */
    uint64_t again_at; /* what is off is asked for then, by redis.turn_ms; 0: nothing is */
    bool broken;       /* what was on has been off: the hub is told once nothing is missing */
    bool once;         /* nothing was missing, at some time */
};

struct ears {
    struct ear_sub **chains; /* 2^bits of them, by the hash of the name; owned */
    uint32_t bits, n;
    uint32_t missing; /* of all partitions */
    uint32_t broken;  /* partitions that are */
    uint64_t inc;     /* this node's incarnation, whose channels are subscribed to; 0: none is */
    struct ear_part parts[PARTITIONS];
    struct ear_sub log; /* of the changes of notes */
    char log_name[BUS_CHANNEL_MAX];
    struct ear_sub node[PARTITIONS];
    char node_name[PARTITIONS][NODE_NAME];
};

static struct ear *ear_of(struct link *l)
{
    return (struct ear *)l; /* its first member */
}

/* The ear that has to have it; NULL: none is ready. */
static struct ear *ear_for(struct redis *r, const struct ear_sub *s)
{
    struct ear *e = r->parts[s->part].master->ear;
    return e && e->link.state == LINK_READY ? e : NULL;
}

/* --- The table of subscriptions ----------------------------------------------------------------------------------- */

static struct ear_sub **chain_of(const struct ears *es, uint64_t hash)
{
    return &es->chains[hash & ((1u << es->bits) - 1)];
}

/* Twice as many chains. Without memory they get longer. */
static void chains_grow(struct ears *es)
{
    struct ears more = {.bits = es->bits + 1};
    more.chains = calloc(1u << more.bits, sizeof(struct ear_sub *));
    if (!more.chains)
        return;
    for (uint32_t i = 0; i < 1u << es->bits; i++) {
        for (struct ear_sub *s = es->chains[i], *next; s; s = next) {
            struct ear_sub **chain = chain_of(&more, s->hash);
            next = s->chain;
            s->chain = *chain;
            *chain = s;
        }
    }
    free(es->chains);
    es->chains = more.chains;
    es->bits = more.bits;
}

static void chain_add(struct ears *es, struct ear_sub *s)
{
    s->hash = hash_bytes(s->name);
    struct ear_sub **chain = chain_of(es, s->hash);
    s->chain = *chain;
    *chain = s;
    if (++es->n >> es->bits >= FULL)
        chains_grow(es);
}

static void chain_remove(struct ears *es, struct ear_sub *s)
{
    struct ear_sub **at = chain_of(es, s->hash);
    while (*at != s)
        at = &(*at)->chain;
    *at = s->chain;
    es->n--;
}

struct ear_sub *ears_find(const struct redis *r, struct slice name)
{
    const struct ears *es = r->bus->ears;
    uint64_t hash = hash_bytes(name);
    for (struct ear_sub *s = *chain_of(es, hash); s; s = s->chain)
        if (s->hash == hash && slice_eq(s->name, name))
            return s;
    return NULL;
}

/* --- What is missing ---------------------------------------------------------------------------------------------- */

static bool is_missing(const struct ear_sub *s)
{
    return s->wanted && s->state != EAR_ON;
}

static void sub_set(struct ears *es, struct ear_sub *s, enum ear_state state, bool wanted)
{
    int before = is_missing(s);
    s->state = (uint8_t)state;
    s->wanted = wanted;
    int more = is_missing(s) - before;
    es->parts[s->part].missing += (uint32_t)more;
    es->missing += (uint32_t)more;
}

static void part_break(struct ears *es, uint16_t part)
{
    es->broken += !es->parts[part].broken;
    es->parts[part].broken = true;
}

bool ears_whole(const struct redis *r, uint16_t part)
{
    return !r->bus->ears->parts[part].missing && r->bus->ears->inc;
}

bool ears_busy(const struct redis *r)
{
    const struct ears *es = r->bus->ears;
    return es->inc && (es->missing || es->broken);
}

bool ears_listen(const struct redis *r)
{
    const struct ears *es = r->bus->ears;
    return es->inc && es->inc == redis_bus_inc(r) && !es->missing;
}

void ears_owe(struct redis *r, uint16_t part)
{
    part_break(r->bus->ears, part);
}

/* --- Asking ------------------------------------------------------------------------------------------------------- */

static void ask(struct redis *r, struct ear *e, struct ear_sub *s, bool on)
{
    struct slice command[2] = {on ? SLICE_LIT("SSUBSCRIBE") : SLICE_LIT("SUNSUBSCRIBE"), s->name};
    resp_command(&e->link.out, command, 2);
    s->asked = e->number++;
    sub_set(r->bus->ears, s, on ? EAR_ASKED : EAR_LEAVING, s->wanted);
}

static void ping(struct ear *e)
{
    if (e->pinged)
        return;
    resp_command(&e->link.out, (struct slice[]){SLICE_LIT("PING")}, 1);
    e->pinged = true;
    e->ping_number = e->number++;
}

/* It is wanted no more: nothing refers to it. */
static void sub_gone(struct redis *r, struct ear_sub *s)
{
    struct ear_sub **at = &r->bus->ears->parts[s->part].subs;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    chain_remove(r->bus->ears, s);
    if (s->gone)
        s->gone(r, s);
}

/* Does what is to be done next. It may be gone then. The caller flushes. */
static void sub_go_on(struct redis *r, struct ear_sub *s)
{
    struct ear *e = ear_for(r, s);
    if (!s->wanted && s->state == EAR_OFF)
        sub_gone(r, s);
    else if (e && ((s->wanted && s->state == EAR_OFF) || (!s->wanted && s->state == EAR_ON)))
        ask(r, e, s, s->wanted);
}

static void part_go_on(struct redis *r, uint16_t part)
{
    r->bus->ears->parts[part].again_at = 0;
    for (struct ear_sub *s = r->bus->ears->parts[part].subs, *next; s; s = next) {
        next = s->next;
        sub_go_on(r, s);
    }
}

static void flush(struct redis *r, uint16_t part)
{
    struct ear *e = r->parts[part].master->ear;
    if (e)
        redis_link_flush(&e->link);
}

/* None of its subscriptions is there any more, nor answered. */
static void part_off(struct redis *r, uint16_t part)
{
    struct ears *es = r->bus->ears;
    part_break(es, part);
    for (struct ear_sub *s = es->parts[part].subs, *next; s; s = next) {
        next = s->next;
        sub_set(es, s, EAR_OFF, s->wanted);
        if (!s->wanted)
            sub_gone(r, s);
    }
}

void ears_add(struct redis *r, struct ear_sub *s)
{
    struct ears *es = r->bus->ears;
    chain_add(es, s);
    s->next = es->parts[s->part].subs;
    es->parts[s->part].subs = s;
    s->wanted = false;
    s->state = EAR_OFF;
    ears_want(r, s, true);
}

void ears_want(struct redis *r, struct ear_sub *s, bool wanted)
{
    uint16_t part = s->part;
    sub_set(r->bus->ears, s, (enum ear_state)s->state, wanted);
    if (r->bus->ears->inc || !wanted)
        sub_go_on(r, s);
    flush(r, part);
}

/* --- What a master says ------------------------------------------------------------------------------------------- */

/* A command was refused: which one, is known once a PING behind it is answered. */
static void ear_error(struct redis *r, struct ear *e, struct slice error)
{
    static const char *const passing[] = {"MOVED ", "CLUSTERDOWN ", "LOADING ", "MASTERDOWN ", "TRYAGAIN "};
    bool usual = false;
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++)
        usual |= error.n >= strlen(passing[i]) && memcmp(error.p, passing[i], strlen(passing[i])) == 0;
    if (!usual && (!e->refused_at || r->turn_ms >= e->refused_at + REFUSED_AGAIN)) {
        e->refused_at = r->turn_ms;
        log_event(LOG_WARN, "cluster.ear_refused", LOG_STR("host", e->master->host), LOG_INT("port", e->master->port),
                  LOG_SLICE("error", error));
    }
    e->failed = true;
    ping(e);
    slots_doubt(r, error);
}

/* All commands before the PING are answered: those that still wait were refused. */
static void ear_pong(struct redis *r, struct ear *e)
{
    struct ears *es = r->bus->ears;
    bool all = !e->failed && !es->missing;
    e->pinged = e->failed = false;
    for (uint16_t part = 0; !all && part < PARTITIONS; part++) {
        if (r->parts[part].master != e->master)
            continue;
        for (struct ear_sub *s = es->parts[part].subs; s; s = s->next) {
            bool waits = s->state == EAR_ASKED || s->state == EAR_LEAVING;
            if (!waits || (int32_t)(s->asked - e->ping_number) >= 0)
                continue;
            sub_set(es, s, EAR_OFF, s->wanted);
            es->parts[part].again_at = r->turn_ms + EAR_AGAIN;
        }
    }
}

static void sub_is_on(struct redis *r, struct ear_sub *s)
{
    if (s->state != EAR_ASKED)
        return;
    sub_set(r->bus->ears, s, EAR_ON, s->wanted);
    if (s->wanted && s->on)
        s->on(r, s);
    else
        sub_go_on(r, s);
}

/* Asked for, or because the slot has moved, or the master is one no more. */
static void sub_is_off(struct redis *r, struct ear_sub *s)
{
    struct ears *es = r->bus->ears;
    if (s->state == EAR_LEAVING) {
        sub_set(es, s, EAR_OFF, s->wanted);
        sub_go_on(r, s);
    } else if (s->state == EAR_ON) {
        sub_set(es, s, EAR_OFF, s->wanted);
        part_break(es, s->part);
        es->parts[s->part].again_at = r->turn_ms + EAR_AGAIN;
        slots_doubt(r, SLICE_NONE);
    }
}

/* "ssubscribe" or "sunsubscribe" of a channel. */
static void ear_state_reply(struct redis *r, struct ear *e, struct slice name, bool on)
{
    struct ear_sub *s = ears_find(r, name);
    if (!s || r->parts[s->part].master != e->master)
        return; /* it was asked for by the channel's name of before, or of who was the master before */
    if (on)
        sub_is_on(r, s);
    else
        sub_is_off(r, s);
}

static bool is(const struct reply *reply, const char *word)
{
    return reply->type == REPLY_STRING && slice_eq(reply->text, slice_str(word));
}

static void ear_reply(struct link *l, const struct reply *reply)
{
    struct redis *r = l->r;
    struct ear *e = ear_of(l);
    const struct reply *list = reply->list;
    bool pushed = reply->type == REPLY_LIST && reply->n == 3 && list[1].type == REPLY_STRING;
    if (reply->type == REPLY_ERROR) {
        ear_error(r, e, reply->text);
    } else if (reply->type == REPLY_STATUS || (reply->type == REPLY_LIST && reply->n == 2 && is(&list[0], "pong"))) {
        ear_pong(r, e);
    } else if (pushed && is(&list[0], "smessage") && list[2].type == REPLY_STRING) {
        redis_bus_message(r, list[2].text);
    } else if (pushed && (is(&list[0], "ssubscribe") || is(&list[0], "sunsubscribe"))) {
        ear_state_reply(r, e, list[1].text, is(&list[0], "ssubscribe"));
    } else {
        redis_link_end(l, "it says what nobody asked for");
        return;
    }
    redis_link_forget(l);
    redis_link_flush(l);
}

static void ear_ready(struct link *l)
{
    struct redis *r = l->r;
    struct ear *e = ear_of(l);
    e->number = 0;
    e->pinged = e->failed = false;
    for (uint16_t part = 0; part < PARTITIONS; part++)
        if (r->parts[part].master == e->master)
            part_go_on(r, part);
    redis_link_flush(l);
}

static void ear_lost(struct link *l)
{
    struct redis *r = l->r;
    struct ear *e = ear_of(l);
    unsigned parts = 0;
    for (uint16_t part = 0; part < PARTITIONS; part++) {
        if (r->parts[part].master != e->master)
            continue;
        parts += !r->bus->ears->parts[part].broken;
        part_off(r, part);
    }
    if (parts && !r->stopped)
        log_event(LOG_WARN, "cluster.ear_lost", LOG_STR("host", e->master->host), LOG_INT("port", e->master->port),
                  LOG_INT("partitions", parts));
    slots_doubt(r, SLICE_NONE);
}

static const struct link_events ear_events = {ear_ready, ear_reply, ear_lost};

/* --- Masters ------------------------------------------------------------------------------------------------------ */

static void ear_tick(struct redis *r, struct master *m)
{
    if (!m->ear && m->parts) {
        struct ear *e = calloc(1, sizeof *e);
        if (!e)
            return;
        e->master = m;
        redis_link_init(&e->link, r, &ear_events);
        e->link.pushes = true;
        e->link.silence = EAR_SILENCE;
        m->ear = e;
    }
    if (!m->ear)
        return;
    struct link *l = &m->ear->link;
    if (l->state == LINK_DOWN && m->parts)
        redis_link_open(l, m->host, m->port);
    else if (l->state == LINK_READY && r->turn_ms >= l->heard + LINK_PING)
        ping(m->ear);
    redis_link_tick(l);
}

void ears_master_gone(struct master *m)
{
    struct ear *e = m->ear;
    if (!e)
        return;
    if (m->parts)
        redis_link_end(&e->link, "its master goes");
    redis_link_fini(&e->link);
    free(e);
    m->ear = NULL;
}

void ears_moved(struct redis *r, uint16_t part)
{
    if (!r->bus)
        return;
    part_off(r, part);
    if (!r->bus->ears->inc)
        return;
    part_go_on(r, part);
    flush(r, part);
}

/* --- This node's own channels ------------------------------------------------------------------------------------- */

/* It has another incarnation, or none for now: all links begin anew, with the channels of that. */
static void incarnation_take(struct redis *r, uint64_t inc)
{
    struct ears *es = r->bus->ears;
    es->inc = inc;
    for (struct master *m = r->slots.masters; m; m = m->next)
        if (m->ear)
            redis_link_end(&m->ear->link, "this node has another incarnation");
    for (uint16_t part = 0; part < PARTITIONS; part++) {
        struct ear_sub *s = &es->node[part];
        chain_remove(es, s);
        char name[BUS_CHANNEL_MAX];
        struct slice n = redis_bus_to_node(r, name, part, inc);
        memcpy(es->node_name[part], n.p, n.n); /* 16 + 9 + 20 at most */
        s->name = slice_of(es->node_name[part], n.n);
        chain_add(es, s);
    }
}

/* Tells which partitions are whole again. */
static void whole_tell(struct redis *r)
{
    struct ears *es = r->bus->ears;
    uint8_t parts[BUS_PARTS] = {0};
    unsigned n = 0, lost = 0;
    for (uint16_t part = 0; es->broken && part < PARTITIONS; part++) {
        if (!es->parts[part].broken || es->parts[part].missing)
            continue;
        lost += es->parts[part].once;
        es->parts[part].broken = false;
        es->parts[part].once = true;
        es->broken--;
        redis_bus_part_add(parts, part);
        n++;
    }
    if (!n)
        return;
    atomic_fetch_add_explicit(&r->stats.ear_resets, lost, memory_order_relaxed);
    redis_bus_reset(r, parts);
}

void ears_tick(struct redis *r)
{
    struct ears *es = r->bus->ears;
    uint64_t inc = redis_bus_inc(r);
    if (inc != es->inc)
        incarnation_take(r, inc);
    if (!inc)
        return;
    for (struct master *m = r->slots.masters; m; m = m->next)
        ear_tick(r, m);
    for (uint16_t part = 0; part < PARTITIONS; part++) {
        if (!es->parts[part].again_at || r->turn_ms < es->parts[part].again_at)
            continue;
        part_go_on(r, part);
        flush(r, part);
    }
    whole_tell(r);
}

/* --- Beginning and end -------------------------------------------------------------------------------------------- */

int ears_init(struct redis *r)
{
    struct ears *es = calloc(1, sizeof *es);
    if (!es || !(es->chains = calloc(1u << CHAINS_BITS, sizeof(struct ear_sub *)))) {
        free(es);
        return ERR_NOMEM;
    }
    es->bits = CHAINS_BITS;
    r->bus->ears = es;
    es->log.name = redis_bus_to_all(r, es->log_name);
    ears_add(r, &es->log);
    for (uint16_t part = 0; part < PARTITIONS; part++) {
        struct ear_sub *s = &es->node[part];
        s->part = part;
        s->name = slice_of(es->node_name[part], 0);
        ears_add(r, s);
    }
    return 0;
}

void ears_fini(struct redis *r)
{
    struct ears *es = r->bus->ears;
    if (!es)
        return;
    for (uint16_t part = 0; part < PARTITIONS; part++)
        for (struct ear_sub *s = es->parts[part].subs, *next; s; s = next) {
            next = s->next;
            if (s->gone)
                s->gone(r, s);
        }
    free(es->chains);
    free(es);
    r->bus->ears = NULL;
}
