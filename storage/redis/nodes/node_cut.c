#include "storage/redis/nodes/node_cut.h"

#include "core/base/log.h"
#include "storage/redis/nodes/node_private.h"
#include "storage/redis/redis_private.h"

enum { CUT_MASTERS = 256 }; /* that are looked at */

const char *node_cut_why(const struct cut_master *masters, unsigned n, uint64_t isolated_ms)
{
    unsigned away = 0;
    const char *why = NULL;
    for (unsigned i = 0; i < n; i++) {
        if (masters[i].away_ms < isolated_ms)
            continue;
        away++;
        if (masters[i].zero && masters[i].well)
            why = "it does not reach the master that has the table of nodes, though others do";
    }
    return n && (n - away) * 2 <= n ? "it does not reach most of the Redis masters" : why;
}

bool node_is_cut(const struct redis *r)
{
    const struct node_self *s = r->node;
    return s->cut || (s->joined && !s->whole);
}

static const char *why_now(const struct redis *r)
{
    struct cut_master masters[CUT_MASTERS];
    unsigned n = 0;
    for (const struct master *m = r->slots.masters; m && n < CUT_MASTERS; m = m->next) {
        if (!m->parts)
            continue;
        bool reached = m->lanes[LANE_WRITE].link.state == LINK_READY || m->lanes[LANE_READ].link.state == LINK_READY;
        masters[n++] = (struct cut_master){
            .away_ms = reached ? 0 : r->turn_ms - m->ready_at, .well = m->well, .zero = m == r->parts[0].master};
    }
    return node_cut_why(masters, n, r->options.cluster.isolated_ms);
}

void node_cut_tick(struct redis *r)
{
    struct node_self *s = r->node;
    const char *why = s->phase == PHASE_LEFT || !s->joined ? NULL : why_now(r);
    if (why && !s->cut) {
        s->cut = true;
        log_event(LOG_WARN, "cluster.isolated", LOG_INT("node", s->nodes.number), LOG_INT("incarnation", s->nodes.inc),
                  LOG_STR("reason", why));
        node_event(r, BUS_ISOLATED, s->nodes.inc);
    }
    if (why)
        s->answered = false;
    /* What became of this node meanwhile, a beat tells: it may have been taken for dead. */
    if (!why && s->cut && s->answered && s->whole) {
        s->cut = false;
        log_event(LOG_INFO, "cluster.rejoined", LOG_INT("node", s->nodes.number), LOG_INT("incarnation", s->nodes.inc),
                  LOG_INT("nodes", s->nodes.n));
        node_event(r, BUS_REJOINED, s->nodes.inc);
    }
}
