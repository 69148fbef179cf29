#include "core/hub/talk/offline.h"

#include "core/base/log.h"
#include "core/hub/people/user.h"
#include "core/hub/registry/hook.h"
#include "core/hub/shard/op.h"
#include "storage/bus.h"

#include <stdlib.h>

/* Messages of a shard whose receivers are looked for; further ones are left out, with a line in the log. From half as
 * many on none waits. */
enum { PENDING_MAX = 1000 };

struct missed {
    struct missed *next; /* of the same search */
    uint64_t id, seq, created_ms;
    struct slice sender, sender_name, content, claims; /* in `data` */
    char data[];
};

struct ask {
    struct mail mail;
    struct search *search;
};

/* Looks for the receivers of a conversation's messages that have no connection: reads its members, then asks every
 * shard. Messages that come while the members are read share it, and those that come while it waits. Lives on the
 * conversation's owner shard. */
struct search {
    struct store_members members;
    struct bus_presence far;
    struct search *next; /* of the shard's searches that read members, or of those that wait */
    struct shard *home;
    struct conv_key key;
    struct missed *first, **last; /* oldest first; owned */
    struct slice *ids;            /* who are receivers; n; owned */
    bool *online;                 /* n; each shard writes those of its own users; owned */
    struct slice *far_ids;        /* with a bus: those of them who are asked for elsewhere; owned */
    uint32_t *far_at;             /* … and which they are of the n; owned */
    bool *far_online;             /* 2 n: is online, and what is not asked for; owned */
    uint32_t n, member_count;
    uint64_t since_ms;  /* when its newest message came, by the monotonic clock; … */
    uint64_t asked_ms;  /* … when other nodes were asked; when they are, while it waits */
    bool waited;        /* it has waited until what is remembered is too old */
    unsigned left;      /* shards whose answer is awaited */
    struct ask asks[1]; /* one a shard */
};

/* --- The end ------------------------------------------------------------------------------------------------------ */

static void tell(const struct search *q, const struct missed *m, struct slice *receivers)
{
    struct slice key = conv_key_slice(&q->key);
    bool channel = conv_is_channel(key);
    struct hook_call h = {.shard = q->home,
                          .conn = NONE,
                          .user = m->sender,
                          .user_name = m->sender_name,
                          .claims = m->claims,
                          .channel = channel ? conv_channel_name(key) : SLICE_NONE,
                          .peer = channel ? SLICE_NONE : conv_pair_peer(key, m->sender),
                          .content = m->content,
                          .members = q->member_count,
                          .id = m->id,
                          .seq = m->seq,
                          .created_ms = m->created_ms,
                          .receivers = receivers};
    for (uint32_t i = 0; i < q->n; i++)
        if (!q->online[i] && !slice_eq(q->ids[i], m->sender))
            receivers[h.receiver_count++] = q->ids[i];
    if (h.receiver_count)
        hooks_run(HOOK_OFFLINE, &h);
}

static void search_free(struct search *q)
{
    while (q->first) {
        struct missed *m = q->first;
        q->first = m->next;
        q->home->missed--;
        free(m);
    }
    free(q->members.people);
    free(q->members.arena);
    free(q->ids);
    free(q->online);
    free(q->far_ids);
    free(q->far_at);
    free(q->far_online);
    free(q);
}

static void search_end(struct search *q)
{
    struct slice *receivers = malloc((q->n + 1) * sizeof *receivers);
    for (const struct missed *m = q->first; receivers && m; m = m->next)
        tell(q, m, receivers);
    free(receivers);
    search_free(q);
}

/* --- Who is connected --------------------------------------------------------------------------------------------- */

static struct far_seen *far_place(struct shard *s, uint64_t user)
{
    if (!s->far_seen)
        s->far_seen = calloc(FAR_SEEN, sizeof *s->far_seen);
    return s->far_seen ? &s->far_seen[user % FAR_SEEN] : NULL;
}

enum far { FAR_UNKNOWN, FAR_OFFLINE, FAR_ONLINE, FAR_WAS_ONLINE /* before the newest message came */ };

/* What is known of a member of a channel, lately enough. Of who gets a private message nothing is remembered. */
static enum far far_known(const struct search *q, struct slice id)
{
    uint64_t user = hash_bytes(id);
    const struct far_seen *x = conv_is_channel(conv_key_slice(&q->key)) ? far_place(q->home, user) : NULL;
    uint32_t most = x && x->online ? ONLINE_FAR_MS : OFFLINE_FAR_MS;
    if (!x || x->user != user || (uint32_t)q->home->now_ms - x->at_ms >= most)
        return FAR_UNKNOWN;
    if (!x->online)
        return FAR_OFFLINE;
    return (int32_t)(x->at_ms - (uint32_t)q->since_ms) < 0 ? FAR_WAS_ONLINE : FAR_ONLINE;
}

/* Somebody was connected to another node, and may have left it since: it is asked again as soon as nobody was asked
 * for ONLINE_FAR_MS, so that a busy channel costs no more. False: it does not wait, and what was said counts. */
static bool wait_for_far(struct search *q)
{
    struct shard *s = q->home;
    bool doubt = false;
    for (uint32_t i = 0; i < q->n && !doubt; i++)
        doubt = !q->online[i] && far_known(q, q->ids[i]) == FAR_WAS_ONLINE;
    if (!doubt || q->waited || s->missed > PENDING_MAX / 2 || s->draining)
        return false;
    struct search **at = &s->searches_waiting;
    while (*at)
        at = &(*at)->next;
    *at = q;
    q->next = NULL;
    q->asked_ms = s->now_ms + ONLINE_FAR_MS;
    q->waited = true;
    s->reqs++; /* as in ask_all() */
    return true;
}

static void ask_all(struct search *q);

void missed_tick(struct shard *s)
{
    struct search *q;
    while ((q = s->searches_waiting) && (q->asked_ms <= s->now_ms || s->draining)) {
        s->searches_waiting = q->next;
        s->reqs--;
        ask_all(q);
    }
}

static void far_back(void *owner, struct store_op *op)
{
    struct search *q = OP_END(owner, op, struct search, far.op);
    for (uint32_t k = 0; k < q->far.n; k++) {
        uint64_t user = hash_bytes(q->far_ids[k]);
        struct far_seen *x = far_place(q->home, user);
        if (x && op->status == STORE_OK)
            *x = (struct far_seen){user, (uint32_t)q->asked_ms, q->far_online[k]};
        /* Somebody of whom nothing is known is rather left out than woken for what it has seen. */
        q->online[q->far_at[k]] = op->status != STORE_OK || q->far_online[k];
    }
    search_end(q);
}

/* Asks the other nodes about the rest. */
static void ask_far(struct search *q)
{
    uint32_t n = 0;
    if (wait_for_far(q))
        return;
    q->asked_ms = q->home->now_ms;
    q->far_ids = malloc((q->n + 1) * sizeof *q->far_ids);
    q->far_at = malloc((q->n + 1) * sizeof *q->far_at);
    q->far_online = calloc(2 * (size_t)q->n + 1, sizeof *q->far_online);
    if (!q->far_ids || !q->far_at || !q->far_online) {
        search_free(q);
        return;
    }
    for (uint32_t i = 0; i < q->n; i++) {
        enum far known = q->online[i] ? FAR_ONLINE : far_known(q, q->ids[i]);
        q->online[i] = known == FAR_ONLINE || (known == FAR_WAS_ONLINE && !q->waited);
        if (q->online[i] || known == FAR_OFFLINE)
            continue;
        q->far_at[n] = i;
        q->far_ids[n++] = q->ids[i];
    }
    if (!n) {
        search_end(q);
        return;
    }
    q->far = (struct bus_presence){.ids = q->far_ids, .n = n, .online = q->far_online, .shared = q->far_online + n};
    op_begin(q->home, &q->far.op, far_back);
    bus_presence(q->home->bus, &q->far);
}

static void asked(void *owner, struct mail *m)
{
    struct search *q = ((struct ask *)m)->search;
    (void)owner;
    if (--q->left)
        return;
    q->home->reqs--;
    if (q->home->bus)
        ask_far(q);
    else
        search_end(q);
}

static void ask_arrive(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct search *q = ((struct ask *)m)->search;
    for (uint32_t i = 0; i < q->n; i++) {
        if (shard_of(s->hub, q->ids[i]) != s)
            continue;
        uint32_t user = user_find(s, q->ids[i]);
        q->online[i] = user != NONE && user_at(s, user)->first_conn != NONE;
    }
    m->run = asked;
    shard_post(s, q->home, m);
}

/* All shards are asked each time, so that searches of a conversation end in the order in which they began. */
static void ask_all(struct search *q)
{
    struct shard *s = q->home;
    unsigned count = s->hub->shard_count;
    q->left = count;
    s->reqs++; /* the shard does not end meanwhile */
    for (unsigned k = 0; k < count; k++) {
        q->asks[k].mail.run = ask_arrive;
        q->asks[k].search = q;
        shard_post(s, s->hub->shards[k], &q->asks[k].mail);
    }
}

/* --- Who are receivers -------------------------------------------------------------------------------------------- */

static bool make_lists(struct search *q, uint32_t n)
{
    q->ids = malloc((n + 1) * sizeof *q->ids);
    q->online = calloc(n + 1, sizeof *q->online);
    return q->ids && q->online;
}

static void members_read(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct search *q = OP_END(owner, op, struct search, members.op);
    struct search **at = &s->searches;
    while (*at != q)
        at = &(*at)->next;
    *at = q->next;
    if (op->status != STORE_OK || q->members.more || !make_lists(q, q->members.n)) {
        search_free(q);
        return;
    }
    for (; q->n < q->members.n; q->n++)
        q->ids[q->n] = q->members.people[q->n].id;
    ask_all(q);
}

/* --- The beginning ------------------------------------------------------------------------------------------------ */

void missed_free(struct shard *s)
{
    for (struct search *q; (q = s->searches_waiting);) {
        s->searches_waiting = q->next;
        search_free(q);
    }
}

static struct slice put(char **at, struct slice text)
{
    char *p = *at;
    if (text.n)
        memcpy(p, text.p, text.n);
    *at += text.n;
    return slice_of(p, text.n);
}

/* Whether messages of this conversation have the event. */
static bool has_event(const struct conv *v, enum store_tier tier)
{
    struct slice lo, hi;
    if (conv_is_channel(conv_slice(v)))
        return tier == TIER_SMALL && v->members <= OFFLINE_MEMBERS_MAX;
    conv_pair_users(conv_slice(v), &lo, &hi);
    return !slice_eq(lo, hi);
}

struct missed *missed_note(struct shard *s, uint32_t conv, enum store_tier tier, const struct store_message *m,
                           struct slice claims)
{
    if (!hooks_any(s, HOOK_OFFLINE) || !has_event(conv_at(s, conv), tier))
        return NULL;
    struct missed *k = NULL;
    if (s->missed < PENDING_MAX)
        k = malloc(sizeof *k + m->sender.n + m->sender_name.n + m->content.n + claims.n);
    if (!k) {
        log_event(LOG_WARN, "offline.left_out", LOG_INT("shard", s->index), LOG_INT("pending", s->missed));
        return NULL;
    }
    char *at = k->data;
    *k = (struct missed){.id = m->id, .seq = m->seq, .created_ms = m->created_ms};
    k->sender = put(&at, m->sender);
    k->sender_name = put(&at, m->sender_name);
    k->content = put(&at, m->content);
    k->claims = put(&at, claims);
    s->missed++;
    return k;
}

static void add(struct search *q, struct missed *m)
{
    *q->last = m;
    q->last = &m->next;
    q->since_ms = q->home->now_ms;
}

static bool add_to(struct search *list, struct slice key, struct missed *m)
{
    struct search *q = list;
    while (q && !slice_eq(conv_key_slice(&q->key), key))
        q = q->next;
    if (q)
        add(q, m);
    return q != NULL;
}

void missed_ask(struct shard *s, uint32_t conv, struct missed *m)
{
    if (!m)
        return;
    const struct conv *v = conv_at(s, conv);
    struct slice key = conv_slice(v);
    if (add_to(s->searches, key, m) || add_to(s->searches_waiting, key, m))
        return;
    struct search *q = calloc(1, sizeof *q + s->hub->shard_count * sizeof q->asks[0]);
    bool channel = conv_is_channel(key);
    if (!q || (!channel && !make_lists(q, 1))) {
        s->missed--;
        free(m);
        if (q) {
            q->home = s;
            search_free(q);
        }
        return;
    }
    q->home = s;
    q->member_count = v->members;
    q->last = &q->first;
    memcpy(q->key.p, key.p, key.n);
    q->key.n = (uint8_t)key.n;
    add(q, m);
    if (!channel) {
        q->ids[q->n++] = conv_pair_peer(conv_key_slice(&q->key), m->sender);
        ask_all(q);
        return;
    }
    q->next = s->searches;
    s->searches = q;
    q->members = (struct store_members){.conv = conv_key_slice(&q->key), .limit = OFFLINE_MEMBERS_MAX};
    op_begin(s, &q->members.op, members_read);
    store_members(s->store, &q->members);
}
