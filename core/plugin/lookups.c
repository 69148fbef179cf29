/* What plugins read: history, members, channels. Straight from the store. */
#include "core/plugin/lookups.h"

#include "core/base/utf8.h"
#include "core/hub/shard/shards.h"
#include "core/plugin/plugin_private.h"
#include "core/plugin/register.h"
#include "core/plugin/threads.h"
#include "storage/conv_key.h"
#include "storage/store.h"

#include <stdlib.h>

enum { LIMIT_MAX = 1000 };

struct reader {
    struct mp_self *plugin;
    struct mp_thread *home;
    void *ctx;
};

static struct mp_result result_of(const struct store_op *op, size_t size, const char *not_found)
{
    static const struct {
        enum mp_code code;
        const char *message;
    } results[] = {
        [STORE_OK] = {MP_CODE_OK, ""},
        [STORE_RETRY] = {MP_CODE_UNAVAILABLE, "the store cannot be read now"},
        [STORE_UNKNOWN] = {MP_CODE_UNAVAILABLE, "the store cannot be read now"},
        [STORE_FATAL] = {MP_CODE_INTERNAL, "the store failed"},
    };
    struct mp_result r = {.size = (uint32_t)size, .code = MP_CODE_NOT_FOUND, .message = not_found};
    if (op->status <= STORE_FATAL) {
        r.code = results[op->status].code;
        r.message = results[op->status].message;
    }
    return r;
}

static void *read_new(mp_self *p, size_t size, mp_thread **home, int *rc)
{
    *rc = MP_EAGAIN;
    if (!plugin_running(p))
        return NULL;
    void *q = calloc(1, size);
    *rc = q ? 0 : MP_ENOMEM;
    *home = *home ? *home : &p->plugins->threads[0];
    if (q && !plugin_begin(p, PENDING_OPERATIONS)) {
        free(q);
        *rc = MP_ECLOSED;
        return NULL;
    }
    return q;
}

/* --- History ------------------------------------------------------------------------------------------------------ */

struct ranging {
    struct store_range q;
    struct reader a;
    mp_history_fn done;
    struct conv_key key;
};

static void range_tell(struct ranging *r, struct mp_history *h)
{
    struct visit v = visit_begin(r->a.home, r->a.plugin, "a page of history");
    r->done(r->a.home, h, r->a.ctx);
    visit_end(r->a.home, &v);
}

static void range_done(void *owner, struct store_op *op)
{
    struct ranging *r = (struct ranging *)op;
    struct mp_self *p = r->a.plugin;
    struct mp_history h = {.result = result_of(op, sizeof h, "no such conversation"),
                           .first = r->q.first,
                           .last = r->q.last,
                           .more = r->q.more};
    uint32_t n = op->status == STORE_OK ? r->q.page.n : 0;
    struct mp_message *list = n ? calloc(n, sizeof *list) : NULL;
    uint64_t *edited = n ? calloc(n, sizeof *edited) : NULL;
    (void)owner;
    for (uint32_t i = 0; list && edited && i < n; i++) {
        const struct store_message *m = &r->q.page.messages[i];
        list[i] = (struct mp_message){.id = m->id,
                                      .seq = m->seq,
                                      .created_ms = m->created_ms,
                                      .sender = str_out(m->sender),
                                      .sender_name = str_out(m->sender_name),
                                      .content = str_out(m->content),
                                      .recalled = m->recalled};
        edited[i] = m->edited_ms;
    }
    if (n && (!list || !edited)) {
        h.result.code = MP_CODE_INTERNAL;
        h.result.message = "out of memory";
        n = 0;
    }
    h.messages = list;
    h.edited_ms = edited;
    h.n = n;
    if (r->done)
        range_tell(r, &h);
    free(list);
    free(edited);
    store_page_free(&r->q.page);
    free(r);
    plugin_end(p, PENDING_OPERATIONS);
}

int plugin_range(mp_self *p, const struct mp_range *given, mp_thread *home, mp_history_fn done, void *ctx)
{
    struct mp_range m;
    int rc;
    if (!STRUCT_IN(&m, given) || m.limit == 0 || m.limit > LIMIT_MAX)
        return MP_EINVALID;
    bool pair = m.users[0].n || m.users[1].n;
    if (pair == (m.channel.n > 0) || (m.channel.n && !value_channel(slice_in(m.channel))) ||
        (pair && (!value_user_id(slice_in(m.users[0])) || !value_user_id(slice_in(m.users[1])))))
        return MP_EINVALID;
    struct ranging *r = read_new(p, sizeof *r, &home, &rc);
    if (!r)
        return rc;
    r->a = (struct reader){p, home, ctx};
    r->done = done;
    r->key = pair ? conv_key_pair(slice_in(m.users[0]), slice_in(m.users[1])) : conv_key_channel(slice_in(m.channel));
    r->q = (struct store_range){.op = {.home = home->mailbox, .done = range_done},
                                .conv = conv_key_slice(&r->key),
                                .has_after = m.has_after,
                                .has_before = m.has_before,
                                .after = m.after,
                                .before = m.before,
                                .limit = m.limit};
    store_range(hub_store(p->plugins->hub), &r->q);
    return 0;
}

/* --- Members ------------------------------------------------------------------------------------------------------ */

struct listing {
    struct store_members q;
    struct reader a;
    mp_members_fn done;
    struct conv_key key;
    char cursor[64];
};

_Static_assert(sizeof(struct mp_person) == sizeof(struct store_person) &&
                   offsetof(struct mp_person, name) == offsetof(struct store_person, name),
               "handed on as they are");

static void members_done(void *owner, struct store_op *op)
{
    struct listing *l = (struct listing *)op;
    struct mp_self *p = l->a.plugin;
    (void)owner;
    if (l->done) {
        struct mp_members m = {.result = result_of(op, sizeof m, "no such channel")};
        if (op->status == STORE_OK) {
            m.people = (const struct mp_person *)(const void *)l->q.people;
            m.n = l->q.n;
            m.more = l->q.more;
        }
        struct visit v = visit_begin(l->a.home, p, "a page of members");
        l->done(l->a.home, &m, l->a.ctx);
        visit_end(l->a.home, &v);
    }
    free(l->q.people);
    free(l->q.arena);
    free(l);
    plugin_end(p, PENDING_OPERATIONS);
}

int plugin_members(mp_self *p, struct mp_str channel, struct mp_str cursor, uint32_t limit, mp_thread *home,
                   mp_members_fn done, void *ctx)
{
    int rc;
    if (!value_channel(slice_in(channel)) || (cursor.n && !value_user_id(slice_in(cursor))) || limit == 0 ||
        limit > LIMIT_MAX)
        return MP_EINVALID;
    struct listing *l = read_new(p, sizeof *l, &home, &rc);
    if (!l)
        return rc;
    l->a = (struct reader){p, home, ctx};
    l->done = done;
    l->key = conv_key_channel(slice_in(channel));
    if (cursor.n)
        memcpy(l->cursor, cursor.p, cursor.n);
    l->q = (struct store_members){.op = {.home = home->mailbox, .done = members_done},
                                  .conv = conv_key_slice(&l->key),
                                  .cursor = slice_of(l->cursor, cursor.n),
                                  .limit = limit};
    store_members(hub_store(p->plugins->hub), &l->q);
    return 0;
}

/* --- Channels ----------------------------------------------------------------------------------------------------- */

struct looking {
    struct store_conv_load q;
    struct reader a;
    mp_channel_fn done;
    struct conv_key key;
};

static void channel_done(void *owner, struct store_op *op)
{
    struct looking *l = (struct looking *)op;
    struct mp_self *p = l->a.plugin;
    (void)owner;
    if (l->done) {
        if (op->status == STORE_OK && !l->q.exists)
            op->status = STORE_NOTFOUND;
        struct mp_channel c = {.result = result_of(op, sizeof c, "no such channel")};
        if (op->status == STORE_OK) {
            c.first = l->q.first;
            c.last = l->q.seq;
            c.members = l->q.members;
            c.tier = (enum mp_tier)l->q.tier;
        }
        struct visit v = visit_begin(l->a.home, p, "a channel's state");
        l->done(l->a.home, &c, l->a.ctx);
        visit_end(l->a.home, &v);
    }
    free(l);
    plugin_end(p, PENDING_OPERATIONS);
}

int plugin_channel(mp_self *p, struct mp_str name, mp_thread *home, mp_channel_fn done, void *ctx)
{
    int rc;
    if (!value_channel(slice_in(name)))
        return MP_EINVALID;
    struct looking *l = read_new(p, sizeof *l, &home, &rc);
    if (!l)
        return rc;
    l->a = (struct reader){p, home, ctx};
    l->done = done;
    l->key = conv_key_channel(slice_in(name));
    l->q =
        (struct store_conv_load){.op = {.home = home->mailbox, .done = channel_done}, .conv = conv_key_slice(&l->key)};
    store_conv_load(hub_store(p->plugins->hub), &l->q);
    return 0;
}

/* --- All there is ------------------------------------------------------------------------------------------------- */

struct scanning {
    struct store_scan q;
    struct reader a;
    mp_scanned_fn done;
    char text[]; /* prefix, cursor */
};

static void scan_done(void *owner, struct store_op *op)
{
    struct scanning *c = (struct scanning *)op;
    struct mp_self *p = c->a.plugin;
    struct mp_scanned r = {.result = result_of(op, sizeof r, ""),
                           .more = c->q.more,
                           .next = mp_str_of(c->q.next, c->q.more ? c->q.next_n : 0)};
    struct mp_scanned_one *list = c->q.n ? calloc(c->q.n, sizeof *list) : NULL;
    (void)owner;
    for (uint32_t i = 0; list && i < c->q.n; i++) {
        const struct store_scanned *one = &c->q.list[i];
        list[i] = (struct mp_scanned_one){.id = str_out(one->id),
                                          .name = str_out(one->name),
                                          .guest = one->guest,
                                          .members = one->members,
                                          .last = one->seq,
                                          .tier = (enum mp_tier)one->tier};
    }
    if (c->q.n && !list) {
        r.result.code = MP_CODE_INTERNAL;
        r.result.message = "out of memory";
    }
    r.list = list;
    r.n = list ? c->q.n : 0;
    if (c->done) {
        struct visit v = visit_begin(c->a.home, p, "a page of users or channels");
        c->done(c->a.home, &r, c->a.ctx);
        visit_end(c->a.home, &v);
    }
    free(list);
    free(c->q.list);
    free(c->q.arena);
    free(c);
    plugin_end(p, PENDING_OPERATIONS);
}

int plugin_scan(mp_self *p, const struct mp_scan *given, mp_thread *home, mp_scanned_fn done, void *ctx)
{
    struct mp_scan m;
    int rc;
    if (!STRUCT_IN(&m, given) || m.prefix.n > 64 || m.cursor.n > 64 || m.limit < 1 || m.limit > LIMIT_MAX)
        return MP_EINVALID;
    struct scanning *c = read_new(p, sizeof *c + m.prefix.n + m.cursor.n, &home, &rc);
    if (!c)
        return rc;
    if (m.prefix.n)
        memcpy(c->text, m.prefix.p, m.prefix.n);
    if (m.cursor.n)
        memcpy(c->text + m.prefix.n, m.cursor.p, m.cursor.n);
    c->a = (struct reader){p, home, ctx};
    c->done = done;
    c->q = (struct store_scan){.op = {.home = home->mailbox, .done = scan_done},
                               .what = m.channels ? STORE_SCAN_CHANNELS : STORE_SCAN_USERS,
                               .prefix = slice_of(c->text, m.prefix.n),
                               .cursor = slice_of(c->text + m.prefix.n, m.cursor.n),
                               .limit = m.limit};
    store_scan(hub_store(p->plugins->hub), &c->q);
    return 0;
}

uint64_t plugin_date(mp_self *p)
{
    return store_date_ms(hub_store(p->plugins->hub));
}
