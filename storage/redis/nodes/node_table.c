/* What each beat shows of the other nodes: who has come, who has gone; and the table for other threads. See node.h. */
#include "storage/redis/nodes/node_private.h"

#include "core/base/log.h"
#include "storage/redis/redis_private.h"

#include <stdlib.h>
#include <string.h>

enum { DEAD_SAME = 2 /* looks with the same beat: who has gone after so many had not ended by itself */ };

const struct nodes *node_others(const struct redis *r)
{
    return &r->node->nodes;
}

uint64_t node_inc(const struct redis *r)
{
    return r->node->nodes.inc;
}

uint64_t node_origin(const struct redis *r)
{
    return r->node->nodes.inc ? r->node->nodes.inc : r->node->was_inc;
}

bool node_is_own(const struct redis *r, uint64_t inc)
{
    return inc && (inc == r->node->nodes.inc || inc == r->node->was_inc);
}

bool node_lives(const struct redis *r, uint64_t inc)
{
    return nodes_may_live(&r->node->nodes, inc);
}

void node_event(struct redis *r, enum bus_event what, uint64_t node)
{
    if (r->node_ears)
        r->node_ears->event(r, what, node);
}

static bool same_process(const struct node_process *a, const struct node_process *b)
{
    return a->machine && a->machine == b->machine && a->started == b->started && a->pid == b->pid;
}

/* It lives no more. Whether it was dead, and has not ended by itself. */
static bool gone(struct redis *r, const struct node *n)
{
    struct node_self *s = r->node;
    bool dead = n->same >= DEAD_SAME || n->inc == s->buried_inc;
    if (dead) {
        log_event(LOG_WARN, "cluster.node_dead", LOG_INT("node", n->number), LOG_INT("incarnation", n->inc),
                  LOG_SLICE("host", slice_of(n->about.host, n->about.host_n)));
        atomic_fetch_add(&s->dead_count, 1);
        s->dead[s->dead_next++ % NODE_DEAD].process = n->about.process;
    } else {
        log_event(LOG_INFO, "cluster.node_left", LOG_INT("node", n->number), LOG_INT("incarnation", n->inc));
    }
    node_event(r, BUS_NODE_DEAD, n->inc);
    return dead;
}

/* It was seen for the first time: perhaps it is one that died. */
static void came(struct node_self *s, const struct node *n)
{
    for (unsigned i = 0; i < NODE_DEAD; i++) {
        if (!same_process(&s->dead[i].process, &n->about.process))
            continue;
        s->dead[i].process = (struct node_process){0};
        log_event(LOG_INFO, "cluster.node_back", LOG_INT("node", n->number), LOG_INT("incarnation", n->inc),
                  LOG_SLICE("host", slice_of(n->about.host, n->about.host_n)));
    }
}

void node_come_and_gone(struct redis *r)
{
    struct node_self *s = r->node;
    const struct nodes *ns = &s->nodes;
    bool dead = false;
    for (unsigned i = 0; i < ns->gone; i++) {
        const struct node *n = &ns->list[ns->n + i];
        if (n->inc != s->was_inc)
            dead |= gone(r, n);
    }
    for (unsigned i = 0; i < ns->n; i++)
        if (!ns->list[i].moves && ns->list[i].inc != ns->inc)
            came(s, &ns->list[i]);
    if (dead && s->whole && r->node_ears)
        r->node_ears->patrol(r);
}

/* --- For other threads -------------------------------------------------------------------------------------------- */

void node_tell_table(struct redis *r)
{
    struct node_self *s = r->node;
    const struct nodes *ns = &s->nodes;
    const struct node *leader = nodes_leader(ns);
    struct bus_node *list = calloc(ns->n ? ns->n : 1, sizeof *list), *old;
    if (!list)
        return; /* the next beat tells */
    for (unsigned i = 0; i < ns->n; i++) {
        const struct node *n = &ns->list[i];
        list[i] = (struct bus_node){.node = n->inc,
                                    .number = n->number,
                                    .self = n->inc == ns->inc,
                                    .leader = n == leader,
                                    .draining = n->about.state == NODE_DRAINING,
                                    .joining = n->about.state == NODE_JOINING};
        size_t size = n->about.host_n < sizeof list[i].host ? n->about.host_n : sizeof list[i].host - 1;
        memcpy(list[i].host, n->about.host, size);
    }
    atomic_store(&s->leads, leader && leader->inc == ns->inc);
    pthread_mutex_lock(&s->lock);
    old = s->told;
    s->told = list;
    s->told_n = ns->n;
    pthread_mutex_unlock(&s->lock);
    free(old);
}

unsigned node_list(struct redis *r, struct bus_node *out, unsigned n)
{
    struct node_self *s = r->node;
    pthread_mutex_lock(&s->lock);
    unsigned all = s->told_n;
    for (unsigned i = 0; i < n && i < all; i++)
        out[i] = s->told[i];
    pthread_mutex_unlock(&s->lock);
    return all;
}

bool node_leads(struct redis *r)
{
    return atomic_load(&r->node->leads);
}

uint64_t node_count_dead(const struct redis *r)
{
    return atomic_load(&r->node->dead_count);
}
