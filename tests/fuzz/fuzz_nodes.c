/*
 * What nodes keep in Redis of themselves, and what Redis says of its members: never a byte read outside; what is read
 * is written as it was; tables are whole and in order, or not taken at all. The first byte picks: a table of nodes,
 * what one says of itself, the clock's record, a change of a note, CLUSTER NODES, a user.
 */
#include "storage/redis/nodes/nodes.h"
#include "storage/redis/nodes/notes_log.h"
#include "storage/redis/ops/gone.h"
#include "storage/redis/ops/subs.h"
#include "storage/redis/start/view.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void inside(struct slice part, struct slice whole)
{
    must(part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n));
}

static void table(struct slice v)
{
    struct nodes ns = {.n = 0};
    const struct reply reply = {.type = REPLY_STRING, .text = v};
    for (uint64_t look = 0; look < 10; look++) {
        int code = nodes_read(&ns, &reply, look * 1000);
        must(code == 0 || (ns.n == 0 && ns.inc == 0 && ns.newest == 0));
        must(ns.n <= NODES_MAX);
        for (unsigned i = 0; i < ns.n; i++) {
            must(ns.list[i].about.state < NODE_STATES && ns.list[i].about.host_n <= NODES_HOST);
            must(ns.list[i].inc <= ns.newest && (i == 0 || ns.list[i - 1].inc < ns.list[i].inc));
            must(nodes_find(&ns, ns.list[i].inc) == &ns.list[i] && nodes_may_live(&ns, ns.list[i].inc));
        }
        const struct node *leader = nodes_leader(&ns);
        must(!leader || !node_is_dead(leader));
        must(!nodes_sweeps(&ns, (uint16_t)look) || nodes_find(&ns, ns.inc));
        must(!nodes_clock(&ns, CLOCK_ANY) || ns.n > 0);
    }
    nodes_fini(&ns);
}

static void about(struct slice v)
{
    struct node_about a, b;
    struct buf out = BUF_INIT;
    if (node_about_read(v, &a) == 0) {
        node_about_put(&out, &a);
        must(buf_ok(&out) && node_about_read(buf_slice(&out), &b) == 0);
        must(memcmp(a.master, b.master, sizeof a.master) == 0 && memcmp(a.host, b.host, sizeof a.host) == 0);
        must(a.state == b.state && a.era == b.era && a.behind_ms == b.behind_ms && a.log == b.log &&
             a.host_n == b.host_n && a.known == b.known && a.process.machine == b.process.machine &&
             a.process.started == b.process.started && a.process.pid == b.process.pid);
    }
    buf_free(&out);
}

static void record(struct slice v)
{
    struct clock_record r;
    char out[CLOCK_RECORD_SIZE];
    if (clock_record_decode(v, &r) || !v.n)
        return;
    must(r.moves.n <= CLOCK_MOVES);
    must(clock_record_encode(&r, out) == v.n && memcmp(out, v.p, v.n) == 0);
}

static void change(struct slice v)
{
    struct note_change c;
    struct buf out = BUF_INIT;
    if (note_change_read(v, &c) == 0) {
        inside(c.key, v);
        inside(c.value, v);
        note_change_put(&out, &c);
        must(buf_ok(&out) && out.n == v.n && memcmp(out.p + 1, v.p + 1, v.n - 1) == 0); /* but for a later version */
    }
    buf_free(&out);
}

static void members(const char *text)
{
    struct view view;
    if (view_parse(text, "127.0.0.1:7000", &view) == 0) {
        must(view.n > 0);
        for (unsigned i = 0; i < view.n; i++) {
            const struct view_member *m = &view.members[i];
            must(memchr(m->id, '\0', sizeof m->id) && memchr(m->master, '\0', sizeof m->master));
            must(memchr(m->address, '\0', sizeof m->address) && view_host(m->address) <= strlen(m->address));
            must(view_replicas(&view, m) <= view.n);
        }
    }
    view_free(&view);
}

static void user(struct slice v)
{
    const struct reply reply = {.type = REPLY_STRING, .text = v};
    struct user_reply u;
    struct gone_user gone;
    (void)gone_read(&reply, &gone);
    if (user_reply_read(&reply, &u) != STORE_OK)
        return;
    inside(u.name, v);
    while (reply_left(&u.fields)) {
        inside(reply_slice8(&u.fields), v);
        inside(reply_slice8(&u.fields), v);
        if (!reply_ok(&u.fields))
            break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char *copy = malloc(size); /* to the byte, for sanitizers */
    if (!copy)
        return 0;
    memcpy(copy, data + 1, size - 1);
    struct slice v = slice_of(copy, size - 1);
    switch (data[0]) {
    case 't':
        table(v);
        break;
    case 'a':
        about(v);
        break;
    case 'c':
        record(v);
        break;
    case 'n':
        change(v);
        break;
    case 'm':
        copy[size - 1] = '\0';
        members(copy);
        break;
    default:
        user(v);
        break;
    }
    free(copy);
    return 0;
}
