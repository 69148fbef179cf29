/* The nodes of the cluster: see nodes.h. */
#include "storage/redis/nodes/nodes.h"

#include "core/base/clock.h"
#include "core/base/hash.h"
#include "storage/redis/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- What a node says of itself ----------------------------------------------------------------------------------- */

enum { ABOUT_FORMAT = 1, ABOUT_FIXED = 2 + 4 + 8 + NODES_MASTER + 8 + 8 + 8 + 4 + 1 };

/* Its format u8, state u8, era u32, behind i64, master, log u64, machine u64, started u64, pid u32, n u8,
 * host, known u64. What a later version adds comes behind that. */
void node_about_put(struct buf *b, const struct node_about *a)
{
    char *p = buf_reserve(b, ABOUT_FIXED);
    if (!p)
        return;
    p[0] = ABOUT_FORMAT;
    p[1] = (char)a->state;
    store_be32(p + 2, a->era);
    store_be64(p + 6, (uint64_t)a->behind_ms);
    memcpy(p + 14, a->master, NODES_MASTER);
    p += 14 + NODES_MASTER;
    store_be64(p, a->log);
    store_be64(p + 8, a->process.machine);
    store_be64(p + 16, a->process.started);
    store_be32(p + 24, a->process.pid);
    p[28] = (char)a->host_n;
    b->n += ABOUT_FIXED;
    buf_put(b, a->host, a->host_n);
    if ((p = buf_reserve(b, 8))) {
        store_be64(p, a->known);
        b->n += 8;
    }
}

int node_about_read(struct slice v, struct node_about *a)
{
    const char *p = v.p;
    *a = (struct node_about){0};
    if (v.n < ABOUT_FIXED || p[0] < ABOUT_FORMAT || (uint8_t)p[1] >= NODE_STATES)
        return ERR_INVALID;
    a->state = (uint8_t)p[1];
    a->era = load_be32(p + 2);
    a->behind_ms = (int64_t)load_be64(p + 6);
    memcpy(a->master, p + 14, NODES_MASTER);
    p += 14 + NODES_MASTER;
    a->log = load_be64(p);
    a->process =
        (struct node_process){.machine = load_be64(p + 8), .started = load_be64(p + 16), .pid = load_be32(p + 24)};
    size_t n = (uint8_t)p[28];
    if (v.n - ABOUT_FIXED < n || n > NODES_HOST)
        return ERR_INVALID;
    a->host_n = (uint8_t)n;
    memcpy(a->host, p + 29, n);
    a->known = v.n - ABOUT_FIXED - n < 8 ? UINT64_MAX : load_be64(p + 29 + n);
    return 0;
}

/* --- The table ---------------------------------------------------------------------------------------------------- */

void nodes_fini(struct nodes *ns)
{
    free(ns->list);
    *ns = (struct nodes){0};
}

static struct node *find(const struct nodes *ns, uint64_t inc)
{
    for (unsigned i = 0; i < ns->n; i++)
        if (ns->list[i].inc == inc)
            return &ns->list[i];
    return NULL;
}

const struct node *nodes_find(const struct nodes *ns, uint64_t inc)
{
    return find(ns, inc);
}

bool nodes_may_live(const struct nodes *ns, uint64_t inc)
{
    return inc > ns->newest || find(ns, inc);
}

void nodes_again(struct nodes *ns)
{
    ns->inc = 0;
    for (unsigned i = 0; i < ns->n; i++) {
        ns->list[i].same = 0;
        ns->list[i].moves = 0;
    }
}

static void look(struct nodes *ns, const struct node *now, uint64_t boot_ms)
{
    struct node *n = find(ns, now->inc);
    if (!n) {
        n = &ns->list[ns->n++]; /* there is room: see nodes_read() */
        *n = *now;
        n->looked_ms = boot_ms;
    } else if (n->beat != now->beat) {
        n->moves++;
        n->same = 0;
        n->looked_ms = boot_ms;
    } else if (boot_ms - n->looked_ms >= NODES_LOOK_MS && n->inc != ns->inc) {
        n->same = n->same < NODES_SAME ? (uint8_t)(n->same + 1) : n->same;
        n->looked_ms = boot_ms;
    }
    n->beat = now->beat;
    n->number = now->number;
    n->about = now->about;
    n->seen = true;
}

/* By incarnation; behind all others those that are not in the table any more. */
static int by_inc(const void *a, const void *b)
{
    const struct node *x = a, *y = b;
    if (x->seen != y->seen)
        return x->seen ? -1 : 1;
    return x->inc < y->inc ? -1 : x->inc > y->inc;
}

static int room_make(struct nodes *ns, unsigned more)
{
    if (ns->n + more <= ns->room)
        return 0;
    struct node *list = realloc(ns->list, (ns->n + more) * sizeof *list);
    if (!list)
        return ERR_NOMEM;
    ns->list = list;
    ns->room = ns->n + more;
    return 0;
}

/* One of the list. A node that says of itself what we cannot read has no clock, and lives all the same. */
static void node_read(struct reply_in *in, struct node *n)
{
    *n = (struct node){.inc = reply_u48(in)};
    n->number = reply_u16(in);
    n->beat = reply_u48(in);
    if (node_about_read(reply_slice16(in), &n->about))
        n->about = (struct node_about){.state = NODE_UP, .era = UINT32_MAX, .known = UINT64_MAX};
}

int nodes_read(struct nodes *ns, const struct reply *reply, uint64_t boot_ms)
{
    struct reply_in in = reply_in(reply);
    struct clock_record record;
    struct node n;
    (void)reply_u8(&in); /* the code */
    uint64_t inc = reply_u48(&in);
    uint16_t number = reply_u16(&in);
    uint64_t time_ms = reply_u48(&in);
    struct slice master = reply_slice(&in, NODES_MASTER);
    uint64_t told_ms = reply_u48(&in), log = reply_u48(&in);
    int r = clock_record_decode(reply_slice16(&in), &record);
    unsigned count = reply_u16(&in);
    struct reply_in again = in;
    for (unsigned i = 0; i < count; i++)
        node_read(&again, &n);
    if (!reply_ok(&again) || reply_left(&again) || count > NODES_MAX || r)
        return r ? r : ERR_INVALID;
    r = room_make(ns, count);
    if (r)
        return r;
    ns->inc = inc;
    ns->number = number;
    ns->time_ms = time_ms;
    memcpy(ns->master, master.p, NODES_MASTER);
    ns->told_ms = told_ms;
    ns->log = log;
    ns->record = record;
    for (unsigned i = 0; i < ns->n; i++)
        ns->list[i].seen = false;
    for (unsigned i = 0; i < count; i++) {
        node_read(&in, &n);
        look(ns, &n, boot_ms);
        ns->newest = n.inc > ns->newest ? n.inc : ns->newest;
    }
    if (ns->n)
        qsort(ns->list, ns->n, sizeof *ns->list, by_inc);
    unsigned left = ns->n;
    while (left && !ns->list[left - 1].seen)
        left--;
    ns->gone = ns->n - left;
    ns->n = left;
    return 0;
}

bool node_is_dead(const struct node *n)
{
    return n->same >= NODES_SAME;
}

bool nodes_know(const struct nodes *ns)
{
    for (unsigned i = 0; i < ns->n; i++) {
        const struct node *n = &ns->list[i];
        if (n->inc != ns->inc && n->about.known < ns->inc && !node_is_dead(n))
            return false;
    }
    return true;
}

const struct node *nodes_leader(const struct nodes *ns)
{
    for (unsigned i = 0; i < ns->n; i++)
        if (ns->list[i].about.state != NODE_JOINING && !node_is_dead(&ns->list[i]))
            return &ns->list[i];
    return NULL;
}

bool nodes_sweeps(const struct nodes *ns, uint16_t part)
{
    uint64_t highest = 0, who = 0;
    for (unsigned i = 0; i < ns->n; i++) {
        char key[10];
        store_be16(key, part);
        store_be64(key + 2, ns->list[i].inc);
        uint64_t hash = hash_stable(slice_of(key, sizeof key));
        if (ns->list[i].about.state == NODE_JOINING || (who && hash < highest))
            continue;
        highest = hash;
        who = ns->list[i].inc;
    }
    return who && who == ns->inc;
}

const struct node *nodes_clock(const struct nodes *ns, enum nodes_clock which)
{
    const struct node *leader = nodes_leader(ns);
    for (unsigned i = 0; i < ns->n; i++) {
        const struct node *n = &ns->list[i];
        bool meant = which == CLOCK_LEADER ? n == leader : which == CLOCK_FRESH ? n->moves > 0 : true;
        if (meant && n->inc != ns->inc && n->about.state != NODE_JOINING && n->about.era == ns->record.era &&
            memcmp(n->about.master, ns->master, NODES_MASTER) == 0)
            return n;
    }
    return NULL;
}

bool nodes_wait(const struct nodes *ns)
{
    for (unsigned i = 0; i < ns->n; i++)
        if (ns->list[i].about.state != NODE_JOINING ? ns->list[i].inc != ns->inc : ns->list[i].inc < ns->inc)
            return true;
    return false;
}

/* --- Processes of this machine ------------------------------------------------------------------------------------ */

/* When a process was started, field 22 of /proc/PID/stat; 0: it has ended, and only nobody has waited for it.
 * UINT64_MAX: that cannot be read. */
static uint64_t process_started(uint32_t pid)
{
    char path[40], text[1024];
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return UINT64_MAX;
    text[n] = '\0';
    const char *p = strrchr(text, ')'); /* the name before it may have anything in it */
    unsigned long long started = 0;
    char state = 'X';
    if (!p || sscanf(p + 1, " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu", &state,
                     &started) != 2)
        return UINT64_MAX;
    return state == 'Z' || state == 'X' ? 0 : started;
}

/* Which boot of which machine, and which namespace numbers of processes are of; 0: that cannot be told. */
static uint64_t machine_own(void)
{
    uint8_t boot[CLOCK_BOOT_ID_SIZE];
    char key[CLOCK_BOOT_ID_SIZE + 16];
    struct stat st;
    if (!clock_boot_id(boot) || stat("/proc/self/ns/pid", &st))
        return 0;
    memcpy(key, boot, sizeof boot);
    store_be64(key + sizeof boot, st.st_ino);
    store_be64(key + sizeof boot + 8, st.st_dev);
    return hash_stable(slice_of(key, sizeof key));
}

struct node_process node_process_own(void)
{
    struct node_process p = {.machine = machine_own(), .pid = (uint32_t)getpid()};
    p.started = process_started(p.pid);
    if (p.started == UINT64_MAX)
        p.machine = 0;
    return p;
}

bool node_process_ended(const struct node_process *p)
{
    if (!p->machine || p->machine != machine_own())
        return false;
    if (kill((pid_t)p->pid, 0) != 0 && errno == ESRCH)
        return true;
    uint64_t started = process_started(p->pid);
    return started != UINT64_MAX && started != p->started;
}
