#include "storage/redis/nodes/balance_plan.h"

#include <stdlib.h>
#include <string.h>

/* A machine. */
struct host {
    const char *name; /* not NUL-terminated */
    size_t n;
    unsigned masters;
    bool reached;
    const struct view_member *by; /* the replica here that would take over, on the way to this machine */
};

struct plan {
    const struct view *v;
    struct host *hosts;
    unsigned n;
    unsigned *queue; /* of hosts; room for all */
};

static struct host *host_of(struct plan *p, const struct view_member *m)
{
    size_t n = view_host(m->address);
    for (unsigned i = 0; i < p->n; i++)
        if (p->hosts[i].n == n && memcmp(p->hosts[i].name, m->address, n) == 0)
            return &p->hosts[i];
    p->hosts[p->n] = (struct host){.name = m->address, .n = n};
    return &p->hosts[p->n++];
}

static bool serves(const struct view_member *m)
{
    return m->is_master && m->slots && !m->failed;
}

/* Looks at where the masters of a machine could go. The replica to which the way leads, once it leads to a machine with
 * two masters less than `most`; NULL: it does not yet. */
static const struct view_member *look(struct plan *p, unsigned at, unsigned most, unsigned *tail)
{
    for (unsigned i = 0; i < p->v->n; i++) {
        const struct view_member *m = &p->v->members[i];
        if (!serves(m) || host_of(p, m) != &p->hosts[at])
            continue;
        for (unsigned j = 0; j < p->v->n; j++) {
            const struct view_member *replica = &p->v->members[j];
            if (replica->is_master || replica->failed || strcmp(replica->master, m->id) != 0)
                continue;
            struct host *to = host_of(p, replica);
            if (to->reached)
                continue;
            to->reached = true;
            to->by = replica;
            if (to->masters + 2 <= most)
                return replica;
            p->queue[(*tail)++] = (unsigned)(to - p->hosts);
        }
    }
    return NULL;
}

/* Where no replica of a machine's masters is on one that has room, one of theirs may make room: the last step of the
 * way is taken first. */
static const struct view_member *relieve(struct plan *p, unsigned from)
{
    unsigned head = 0, tail = 0;
    const struct view_member *found = NULL;
    for (unsigned i = 0; i < p->n; i++)
        p->hosts[i].reached = i == from;
    p->queue[tail++] = from;
    while (head < tail && !found)
        found = look(p, p->queue[head++], p->hosts[from].masters, &tail);
    return found;
}

const struct view_member *balance_plan(const struct view *v)
{
    struct plan p = {v, calloc(v->n + 1, sizeof *p.hosts), 0, calloc(v->n + 1, sizeof *p.queue)};
    const struct view_member *found = NULL;
    unsigned most = 0;
    for (unsigned i = 0; p.hosts && i < v->n; i++) {
        struct host *h = host_of(&p, &v->members[i]);
        h->masters += serves(&v->members[i]);
        most = h->masters > most ? h->masters : most;
    }
    for (; p.hosts && p.queue && most >= 2 && !found; most--)
        for (unsigned i = 0; i < p.n && !found; i++)
            if (p.hosts[i].masters == most)
                found = relieve(&p, i);
    free(p.hosts);
    free(p.queue);
    return found;
}
