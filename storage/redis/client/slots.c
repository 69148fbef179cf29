#include "storage/redis/client/slots.h"

#include "core/base/container.h"
#include "core/base/log.h"
#include "storage/redis/bus/ear.h"
#include "storage/redis/client/group.h"
#include "storage/redis/client/publish.h"
#include "storage/redis/redis_private.h"

#include <stdio.h>
#include <stdlib.h>

/* --- Words of the text -------------------------------------------------------------------------------------------- */

/* Takes what stands before the next `end`, or all. */
static struct slice word_take(struct slice *s, char end)
{
    const char *p = s->n ? memchr(s->p, end, s->n) : NULL;
    struct slice word = slice_of(s->p, p ? (size_t)(p - s->p) : s->n);
    size_t skip = p ? word.n + 1 : s->n;
    *s = slice_of(s->p + skip, s->n - skip);
    return word;
}

static int number_of(struct slice s, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || i > 18)
            return ERR_INVALID;
        *out = *out * 10 + (uint64_t)(s.p[i] - '0');
    }
    return s.n ? 0 : ERR_INVALID;
}

int slots_address(struct slice text, struct address *out)
{
    const char *colon = text.n ? memrchr(text.p, ':', text.n) : NULL;
    uint64_t port;
    if (!colon)
        return ERR_INVALID;
    struct slice host = slice_of(text.p, (size_t)(colon - text.p));
    if (host.n >= sizeof out->host || number_of(slice_of(colon + 1, text.n - host.n - 1), &port) || !port ||
        port > UINT16_MAX)
        return ERR_INVALID;
    memset(out, 0, sizeof *out);
    if (host.n)
        memcpy(out->host, host.p, host.n);
    out->port = (uint16_t)port;
    return 0;
}

/* Whether a list with commas has the word. */
static bool has_word(struct slice list, const char *word)
{
    while (list.n)
        if (slice_eq(word_take(&list, ','), slice_str(word)))
            return true;
    return false;
}

/* --- Masters ------------------------------------------------------------------------------------------------------ */

static void master_init(struct redis *r, struct master *m)
{
    memset(m, 0, sizeof *m);
    m->ready_at = r->turn_ms;
    for (int kind = 0; kind < LANES; kind++) {
        struct lane *lane = &m->lanes[kind];
        redis_link_init(&lane->link, r, kind == LANE_NEWS ? &publish_link_events : &group_link_events);
        lane->master = m;
        lane->kind = (uint8_t)kind;
        lane->first = lane->last = QUEUE_NONE;
        queue_init(&lane->group.sent);
        queue_init(&lane->group.replied);
    }
}

static void master_free(struct master *m)
{
    for (int kind = 0; kind < LANES; kind++)
        redis_link_fini(&m->lanes[kind].link);
    ears_master_gone(m);
    free(m);
}

static struct master *master_find(struct redis *r, struct slice id)
{
    for (struct master *m = r->slots.masters; m; m = m->next)
        if (slice_eq(slice_str(m->id), id))
            return m;
    return NULL;
}

/* The master of that id, made when there is none; NULL when out of memory. */
static struct master *master_get(struct redis *r, struct slice id, const struct address *a)
{
    struct master *m = master_find(r, id);
    if (m && m->port == a->port && strcmp(m->host, a->host) == 0)
        return m;
    if (!m) {
        m = malloc(sizeof *m);
        if (!m)
            return NULL;
        master_init(r, m);
        memcpy(m->id, id.p, id.n);
        m->next = r->slots.masters;
        r->slots.masters = m;
    }
    memcpy(m->host, a->host, sizeof m->host);
    m->port = a->port;
    for (int kind = 0; kind < LANES; kind++)
        redis_link_end(&m->lanes[kind].link, "it has another address");
    ears_master_gone(m);
    return m;
}

/* Frees those that have no partition any more and nothing under way. */
static void masters_sweep(struct redis *r)
{
    for (struct master **at = &r->slots.masters; *at;) {
        struct master *m = *at;
        if (m->parts || m->lanes[LANE_WRITE].group.phase || m->lanes[LANE_READ].group.phase ||
            m->lanes[LANE_NEWS].group.sent.first || m->lanes[LANE_NEWS].group.replied.first) {
            at = &m->next;
            continue;
        }
        *at = m->next;
        master_free(m);
    }
}

/* --- A view ------------------------------------------------------------------------------------------------------- */

/* A line of CLUSTER NODES. */
struct member {
    struct slice id, flags, leader, slots;
    struct address address;
    uint64_t heard; /* when it last answered whoever says this, by that one's clock, ms */
    uint64_t epoch;
};

/* 0, or ERR_INVALID when the line is no member that anybody could talk to. */
static int member_read(struct slice line, const struct address *from, struct member *out)
{
    out->id = word_take(&line, ' ');
    struct slice address = word_take(&line, ' ');
    out->flags = word_take(&line, ' ');
    out->leader = word_take(&line, ' ');
    (void)word_take(&line, ' ');
    struct slice heard = word_take(&line, ' ');
    struct slice epoch = word_take(&line, ' ');
    (void)word_take(&line, ' ');
    out->slots = line;
    if (out->id.n != 40 || number_of(epoch, &out->epoch) || number_of(heard, &out->heard) ||
        slots_address(word_take(&address, '@'), &out->address) || has_word(out->flags, "noaddr") ||
        has_word(out->flags, "handshake"))
        return ERR_INVALID;
    if (!out->address.host[0]) /* a member that nobody has talked to yet does not know its own */
        memcpy(out->address.host, from->host, sizeof from->host);
    return 0;
}

/* A partition goes from one to the other. Who waits for a master that was lost is told that the wait is over, once. */
static void tell_found(struct master *from, const struct master *to)
{
    char was[LINK_HOST_MAX + 8];
    if (!from->lost)
        return;
    (void)snprintf(was, sizeof was, "%s:%u", from->host, (unsigned)from->port);
    from->lost = false;
    log_event(LOG_INFO, "cluster.master_found", LOG_STR("host", to->host), LOG_INT("port", to->port),
              LOG_STR("in_place_of", was));
}

/* Gives it what it claims, where the claim is newer than what is known. */
static void claim(struct redis *r, struct master *m, const struct member *member)
{
    struct slice slots = member->slots;
    while (slots.n) {
        struct slice range = word_take(&slots, ' '), low = word_take(&range, '-');
        uint64_t from, to;
        if (number_of(low, &from) || from >= SLOTS)
            continue; /* "[5461->-…": a slot that is about to move */
        if (number_of(range, &to))
            to = from;
        for (uint64_t part = (from + SLOTS_EACH - 1) / SLOTS_EACH; part * SLOTS_EACH <= to && part < PARTITIONS;
             part++) {
            struct part *p = &r->parts[part];
            bool old = member->epoch < p->epoch && r->turn_ms < p->master->ready_at + SLOTS_OLD_CLAIM;
            if (p->master != m && old)
                continue;
            if (p->master != m)
                tell_found(p->master, m);
            r->slots.changed |= p->master != m;
            queue_assign(r, (uint16_t)part, m);
            p->epoch = member->epoch;
        }
    }
}

static void member_remember(struct redis *r, const struct member *member)
{
    struct slots *s = &r->slots;
    struct address *a = s->known_count % 16 ? s->known : realloc(s->known, (s->known_count + 16) * sizeof *a);
    if (!a)
        return;
    s->known = a;
    s->known[s->known_count++] = member->address;
}

/* Gives out the partitions as the text has it; returns the newest claim in it. */
static uint64_t claims_read(struct redis *r, struct slice text, const struct address *from)
{
    struct member member;
    uint64_t newest = 0;
    r->slots.known_count = 0;
    while (text.n) {
        if (member_read(word_take(&text, '\n'), from, &member))
            continue;
        newest = member.epoch > newest ? member.epoch : newest;
        if (!has_word(member.flags, "fail"))
            member_remember(r, &member);
        struct master *m = NULL;
        if (has_word(member.flags, "master") && member.slots.n)
            m = master_get(r, member.id, &member.address);
        if (!m)
            continue;
        m->well = !has_word(member.flags, "fail") && !has_word(member.flags, "fail?");
        claim(r, m, &member);
    }
    return newest;
}

static void replicas_count(struct redis *r, struct slice text, const struct address *from)
{
    struct member member;
    for (struct master *m = r->slots.masters; m; m = m->next)
        m->replicas = m->followers = 0;
    while (text.n) {
        struct master *m = NULL;
        if (!member_read(word_take(&text, '\n'), from, &member) && has_word(member.flags, "slave"))
            m = master_find(r, member.leader);
        if (!m)
            continue;
        if (!has_word(member.flags, "fail"))
            m->replicas++;
        if (++m->followers > r->slots.most)
            r->slots.most = m->followers;
    }
}

void slots_count(struct slice text, const char *id, uint64_t since, struct slots_census *out)
{
    struct member member;
    const struct address nowhere = {.port = 0};
    *out = (struct slots_census){.followers = 0};
    while (text.n) {
        if (member_read(word_take(&text, '\n'), &nowhere, &member))
            continue;
        bool elects = has_word(member.flags, "master") && member.slots.n,
             follows = slice_eq(member.leader, slice_str(id));
        out->masters += elects;
        out->heard += elects && (has_word(member.flags, "myself") || member.heard > since);
        out->followers += follows;
        out->failed += follows && has_word(member.flags, "fail");
    }
}

void slots_view(struct redis *r, struct slice text, const struct address *from)
{
    uint64_t known = 0;
    r->slots.changed = false;
    for (int i = 0; i < PARTITIONS; i++)
        known = r->parts[i].epoch > known ? r->parts[i].epoch : known;
    if (claims_read(r, text, from) >= known) /* who is behind does not know who follows a new master */
        replicas_count(r, text, from);
    masters_sweep(r);
}

/* --- The scout ---------------------------------------------------------------------------------------------------- */

/* Whom to ask next. */
static struct address next_address(struct slots *s)
{
    uint32_t all = s->seed_count + s->known_count;
    if (s->hint.port) {
        struct address a = s->hint;
        s->hint.port = 0;
        return a;
    }
    uint32_t i = s->next++ % all;
    return i < s->seed_count ? s->seeds[i] : s->known[i - s->seed_count];
}

static void scout_ask(struct redis *r)
{
    struct slots *s = &r->slots;
    resp_command(&s->scout.out, (struct slice[]){SLICE_LIT("CLUSTER"), SLICE_LIT("NODES")}, 2);
    redis_link_sent(&s->scout, 1);
    redis_link_flush(&s->scout);
    s->asking = true;
    s->doubted = s->doubt;
    s->doubt = false;
    s->asked_at = r->turn_ms;
}

static void scout_ready(struct link *l)
{
    scout_ask(l->r);
}

static void scout_reply(struct link *l, const struct reply *reply)
{
    struct slots *s = &l->r->slots;
    struct address from = {.port = l->port};
    memcpy(from.host, l->host, sizeof from.host);
    if (reply->type != REPLY_STRING) {
        log_event(LOG_WARN, "cluster.no_view", LOG_STR("host", l->host), LOG_INT("port", l->port),
                  LOG_SLICE("error", reply->text));
        redis_link_end(l, "it does not tell the cluster's members");
        return;
    }
    slots_view(l->r, reply->text, &from); /* meanwhile nothing may be asked, which could end the link */
    redis_link_forget(l);
    s->asking = false;
    s->viewed_at = l->r->turn_ms;
    s->lonely = false;
    if (s->doubted && !s->changed) /* this one may be behind: another is asked next time */
        redis_link_end(l, "it has told nothing new");
}

static void scout_lost(struct link *l)
{
    l->r->slots.asking = false;
}

static const struct link_events scout_events = {scout_ready, scout_reply, scout_lost};

void slots_tick(struct redis *r)
{
    struct slots *s = &r->slots;
    uint64_t since = r->turn_ms - s->asked_at;
    if (s->scout.state == LINK_DOWN) {
        if (r->turn_ms >= s->scout.opened + LINK_AGAIN || s->hint.port) {
            struct address a = next_address(s);
            s->scout.opened = 0;
            redis_link_open(&s->scout, a.host, a.port);
        }
    } else {
        redis_link_tick(&s->scout);
    }
    if (s->scout.state == LINK_READY && !s->asking && (since >= SLOTS_VIEW || (s->doubt && since >= SLOTS_DOUBT)))
        scout_ask(r);
}

void slots_doubt(struct redis *r, struct slice error)
{
    struct slots *s = &r->slots;
    s->doubt = true;
    if (error.n > 6 && memcmp(error.p, "MOVED ", 6) == 0) {
        (void)word_take(&error, ' ');
        (void)word_take(&error, ' ');
        if (slots_address(error, &s->hint) || !s->hint.host[0])
            s->hint.port = 0;
    }
    if (s->scout.state == LINK_READY && !s->asking && r->turn_ms >= s->asked_at + SLOTS_DOUBT)
        scout_ask(r);
}

/* --- Beginning and end -------------------------------------------------------------------------------------------- */

void slots_start(struct redis *r, struct address *seeds, uint32_t count)
{
    struct slots *s = &r->slots;
    *s = (struct slots){.seeds = seeds, .seed_count = count};
    master_init(r, &s->nobody);
    queue_start(r, &s->nobody);
    redis_link_init(&s->scout, r, &scout_events);
}

void slots_stop(struct redis *r)
{
    struct slots *s = &r->slots;
    for (struct master *m = s->masters, *next; m; m = next) {
        next = m->next;
        master_free(m);
    }
    for (int kind = 0; kind < LANES; kind++)
        redis_link_fini(&s->nobody.lanes[kind].link);
    redis_link_fini(&s->scout);
    free(s->seeds);
    free(s->known);
}

int slots_part(const struct redis *r, unsigned n)
{
    for (const struct master *m = r->slots.masters; m; m = m->next) {
        if (!m->parts || n--)
            continue;
        for (int i = 0; i < PARTITIONS; i++)
            if (r->parts[i].master == m)
                return i;
    }
    return -1;
}

bool slots_whole(const struct redis *r)
{
    return r->slots.nobody.parts == 0;
}
