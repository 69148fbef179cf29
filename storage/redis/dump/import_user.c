/* Users of an import, and what belongs to them. */
#include "core/base/container.h"
#include "storage/redis/dump/import_private.h"
#include "storage/redis/redis_private.h"

#include <stdlib.h>

/* HSET of a user's hash, to which fields are added. */
static struct call *hash_of(struct importer *im, char kind, struct slice user)
{
    struct call *c = still_change(im->s, "HSET", partition_of_user(user));
    if (c)
        call_key(im->s->r, c, kind, user);
    return c;
}

/* A member of a sorted set. rest: what stands behind the key's tag. */
static int place_add(struct importer *im, unsigned part, char kind, struct slice rest, uint64_t score,
                     struct slice member)
{
    struct call *c = still_change(im->s, "ZADD", part);
    if (!c)
        return ERR_NOMEM;
    call_key(im->s->r, c, kind, rest);
    call_arg_u64(c, score);
    call_arg(c, member);
    return import_send(im, c);
}

static void field_u64(struct call *c, const char *name, uint64_t v)
{
    call_arg(c, slice_str(name));
    call_arg_u64(c, v);
}

int import_user(struct importer *im, const struct dump_user *u)
{
    struct call *c = hash_of(im, 'u', u->id);
    bool guest = u->flags & DUMP_GUEST;
    if (!c)
        return ERR_NOMEM;
    call_arg(c, SLICE_LIT("n"));
    call_arg(c, u->name);
    field_u64(c, "e", u->epoch);
    field_u64(c, "v", 1);
    if (u->revoked_ms)
        field_u64(c, "t", u->revoked_ms);
    if (guest)
        field_u64(c, "g", u->due_ms);
    int r = import_send(im, c);
    return r || !guest ? r : place_add(im, partition_of_user(u->id), 'G', SLICE_NONE, u->due_ms, u->id);
}

int import_deleted(struct importer *im, const struct dump_deleted *d)
{
    const struct layout_gone gone = {.until = d->last_id, .now = d->flags & DUMP_GONE_NOW};
    struct buf x = BUF_INIT;
    struct call *c = hash_of(im, 'u', d->id);
    if (!c)
        return ERR_NOMEM;
    layout_gone_put(&x, &gone);
    call_arg(c, SLICE_LIT("x"));
    call_arg(c, buf_slice(&x));
    buf_free(&x);
    if (gone.now) /* else the user that is there has its own */
        field_u64(c, "e", d->epoch);
    if (d->flags & DUMP_GOING)
        field_u64(c, "f", d->flags & DUMP_GOING_ALL ? 2 : 1);
    int r = import_send(im, c);
    r = r ? r : place_add(im, 0, 'D', SLICE_NONE, ++im->gone, d->id);
    if (!r && d->flags & DUMP_GOING)
        r = place_add(im, partition_of_user(d->id), 'G', SLICE_NONE, 0, d->id);
    return r;
}

int import_member(struct importer *im, const struct dump_member *m)
{
    const struct layout_sub sub = {
        .member = true, .push = m->push, .events = m->flags & DUMP_EVENTS, .read = m->read, .version = 1};
    struct buf value = BUF_INIT;
    struct call *c = hash_of(im, 'u', m->user);
    if (!c)
        return ERR_NOMEM;
    layout_sub_put(&value, &sub);
    call_arg(c, m->conv);
    call_arg(c, buf_slice(&value));
    buf_free(&value);
    int r = import_send(im, c);
    return r ? r : place_add(im, partition_of(m->conv), 'M', m->conv, 0, m->user);
}

/* --- Pairs -------------------------------------------------------------------------------------------------------- */

/* The peer's place in a user's list is that of the pair's newest message: its head is asked, among the changes. */
struct pair_ask {
    struct call call;
    struct importer *im;
    uint64_t read;
    uint8_t user_n, peer_n;
    char user[64], peer[64];
};

static int pair_put(struct pair_ask *a, const struct reply *reply)
{
    struct layout_head h;
    struct slice user = slice_of(a->user, a->user_n), peer = slice_of(a->peer, a->peer_n);
    struct still *s = a->im->s;
    char read[6];
    if (reply->type != REPLY_STRING || layout_head(reply->text, &h))
        return 0; /* a pair without a conversation */
    struct call *c = still_change(s, "ZADD", partition_of_user(user));
    if (!c)
        return ERR_NOMEM;
    call_key(s->r, c, 'p', user);
    call_arg_u64(c, import_place(h.last_id));
    call_arg(c, peer);
    still_send(s, c);
    c = hash_of(a->im, 'r', user);
    if (!c)
        return ERR_NOMEM;
    layout_put48(read, a->read);
    call_arg(c, peer);
    call_arg(c, slice_of(read, sizeof read));
    still_send(s, c);
    return 0;
}

static void pair_known(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct pair_ask *a = CONTAINER_OF(c, struct pair_ask, call);
    struct still *s = a->im->s;
    (void)r;
    if (status == STORE_OK && pair_put(a, reply))
        status = STORE_FATAL;
    if (status != STORE_OK && s->status == STORE_OK)
        s->status = status;
    s->under--;
    free(a);
}

int import_pair(struct importer *im, const struct dump_pair *p)
{
    struct slice peer = conv_pair_peer(p->conv, p->user), command = SLICE_LIT("HGET");
    struct pair_ask *a = malloc(sizeof *a);
    if (!a)
        return ERR_NOMEM;
    a->im = im;
    a->read = p->read;
    a->user_n = (uint8_t)p->user.n;
    a->peer_n = (uint8_t)peer.n;
    memcpy(a->user, p->user.p, p->user.n);
    memcpy(a->peer, peer.p, peer.n);
    call_raw(im->s->r, &a->call, partition_of(p->conv), true, &command, 1);
    call_key(im->s->r, &a->call, 'm', p->conv);
    call_arg(&a->call, SLICE_LIT("h"));
    a->call.done = pair_known;
    return import_send(im, &a->call);
}

int import_block(struct importer *im, const struct dump_block *b)
{
    struct conv_key conv = conv_key_pair(b->user, b->target);
    struct slice key = conv_key_slice(&conv);
    const char sides[2] = {slice_cmp(b->user, b->target) > 0, 1};
    struct call *c = still_function(im->s, FN_BLOCK, partition_of(key)); /* it changes a bit of the head */
    if (!c)
        return ERR_NOMEM;
    call_key(im->s->r, c, 'm', key);
    call_arg(c, slice_of(sides, sizeof sides));
    call_arg(c, key);
    int r = import_send(im, c);
    if (r || !(c = hash_of(im, 'u', b->user)))
        return r ? r : ERR_NOMEM;
    call_arg_open(c, 1 + b->target.n);
    buf_byte(&c->body, 'b');
    buf_slice_put(&c->body, b->target);
    call_arg_close(c);
    call_arg_u64(c, 1);
    return import_send(im, c);
}

/* --- Inboxes ------------------------------------------------------------------------------------------------------ */

int import_inbox_end(struct importer *im)
{
    if (!im->owner.n)
        return 0;
    struct call *c = hash_of(im, 'u', im->owner);
    im->owner = SLICE_NONE;
    if (!c)
        return ERR_NOMEM;
    field_u64(c, "i", im->arrivals);
    return import_send(im, c);
}

int import_inbox(struct importer *im, const struct dump_inbox *i)
{
    char id[8];
    struct buf value = BUF_INIT;
    int r = 0;
    if (conv_is_channel(i->conv))
        return 0; /* there are none in a cluster */
    if (!slice_eq(i->user, im->owner)) {
        r = import_inbox_end(im);
        memcpy(im->owner_id, i->user.p, i->user.n);
        im->owner = slice_of(im->owner_id, i->user.n);
        im->arrivals = 0;
    }
    const struct layout_entry entry = {
        .seq = i->seq, .birth_ms = i->birth_ms, .ttl_ms = i->ttl_ms, .peer = conv_pair_peer(i->conv, i->user)};
    store_be64(id, i->id);
    r = r ? r : place_add(im, partition_of_user(i->user), 'i', i->user, ++im->arrivals, slice_of(id, sizeof id));
    struct call *c = r ? NULL : hash_of(im, 'I', i->user);
    if (!c)
        return r ? r : ERR_NOMEM;
    layout_entry_put(&value, &entry);
    call_arg(c, slice_of(id, sizeof id));
    call_arg(c, buf_slice(&value));
    buf_free(&value);
    return import_send(im, c);
}
