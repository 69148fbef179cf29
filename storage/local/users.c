/* Users, guests and blocks. */
#include "storage/local/deleted.h"
#include "storage/local/hint.h"
#include "storage/local/inbox.h"
#include "storage/local/page.h"
#include "storage/local/writer.h"

#include <stdlib.h>

enum {
    FORGET_MAX = 100000, /* rows that one store_user_forget() removes at most of a guest, which has a handful */
    FORGET_STEP = 2000   /* … and of a user that is deleted: then it is asked again */
};

static bool user_id_sane(struct slice id)
{
    return id.n >= 1 && id.n <= 64;
}

/* The user's record as this group sees it; 1, 0 or an enum err. The name borrows from *pin. */
static int user_get(struct writer *w, struct slice id, struct user_record *u, struct kv_found *pin)
{
    struct key k;
    *pin = writer_get(w, KV_USER, key_user(&k, id));
    if (pin->code == 1 && user_decode(pin->value, u)) {
        record_bad("user", id);
        kv_found_free(w->store->kv, pin);
        return ERR_INVALID;
    }
    return pin->code;
}

/* A user is saved that there is not: was one of that id deleted? STORE_OK: no, or it may be made again; then its row
 * (flags not 0) is to be put. */
static enum store_status save_again(struct writer *w, struct store_user_save *u, struct deleted_record *d)
{
    int r = deleted_get(w, u->id, d);
    if (r < 0)
        return status_of(r);
    if (!(d->flags & DELETED_NOW)) /* never; or it was made again and forgotten as a guest */
        return STORE_OK;
    if (!u->create)
        return STORE_NOTFOUND; /* a change that was under way when it was deleted */
    if (d->flags & DELETED_GOING)
        return STORE_RETRY;
    u->user.epoch = u->user.epoch > d->epoch ? u->user.epoch : d->epoch;
    return STORE_OK;
}

enum apply apply_user_save(struct writer *w, struct slot *slot)
{
    struct store_user_save *u = (struct store_user_save *)slot->op;
    struct user_record old = {0}, now;
    struct deleted_record deleted = {0};
    struct kv_found pin;
    struct key k;
    if (!user_id_sane(u->id) || u->name.n > 255)
        return apply_end(slot, STORE_FATAL);
    int r = 0;
    if (!u->fresh) {
        r = user_get(w, u->id, &old, &pin);
        kv_found_free(w->store->kv, &pin);
    }
    if (r == 1 && u->create)
        return apply_end(slot, STORE_DENIED);
    enum store_status status = r == 0 && !u->fresh ? save_again(w, u, &deleted) : STORE_OK;
    if (status != STORE_OK)
        return apply_end(slot, status);
    bool had_due = r == 1 && old.guest;
    uint64_t old_due = old.due_ms;
    if (r < 0 || batch_reserve(&w->batch, 4, 4 * KEY_MAX + USER_FIXED + 8 + u->name.n + 2 + DELETED_SIZE))
        return apply_end(slot, r < 0 ? status_of(r) : STORE_FATAL);
    if (deleted.flags & DELETED_NOW) {
        deleted.flags = 0;
        deleted_put(w, u->id, &deleted);
    }
    u->user.guest_due_ms = u->user.guest ? w->expiry_ms + u->guest_ttl_ms : 0;
    u->user.revoked_ms = r == 1 && u->user.epoch > old.epoch ? guard_date(&w->store->guard) : old.revoked_ms;
    now = (struct user_record){.epoch = u->user.epoch,
                               .guest = u->user.guest,
                               .due_ms = u->user.guest_due_ms,
                               .revoked_ms = u->user.revoked_ms,
                               .name = u->name};
    if (had_due && !(now.guest && old_due == now.due_ms))
        batch_delete(&w->batch, KV_META, key_guest(&k, old_due, u->id));
    if (now.guest)
        flag_encode(batch_put(&w->batch, KV_META, key_guest(&k, now.due_ms, u->id), 2));
    user_encode(batch_put(&w->batch, KV_USER, key_user(&k, u->id), user_size(&now)), &now);
    return apply_changed(slot);
}

/* A guest that has private conversations is none any more. */
enum apply apply_unguest(struct writer *w, struct slot *slot)
{
    struct slice id = hint_key((struct hint *)slot->op);
    struct user_record u;
    struct kv_found pin;
    struct key k;
    char name[256];
    int r = user_get(w, id, &u, &pin);
    if (r != 1 || !u.guest || u.name.n > sizeof(name) || batch_reserve(&w->batch, 2, 2 * KEY_MAX + user_size(&u))) {
        kv_found_free(w->store->kv, &pin);
        return apply_end(slot, STORE_OK);
    }
    uint64_t due = u.due_ms;
    memcpy(name, u.name.p, u.name.n); /* the put may use the place that it was read from */
    u.name.p = name;
    u.guest = false;
    u.due_ms = 0;
    batch_delete(&w->batch, KV_META, key_guest(&k, due, id));
    user_encode(batch_put(&w->batch, KV_USER, key_user(&k, id), user_size(&u)), &u);
    kv_found_free(w->store->kv, &pin);
    return apply_changed(slot);
}

enum apply apply_block(struct writer *w, struct slot *slot)
{
    struct store_block *b = (struct store_block *)slot->op;
    struct key k;
    int gone = deleted_now(w, b->user);
    if (gone)
        return apply_end(slot, gone > 0 ? STORE_NOTFOUND : status_of(gone));
    if (!user_id_sane(b->user) || !user_id_sane(b->target) || batch_reserve(&w->batch, 1, KEY_MAX + 2))
        return apply_end(slot, STORE_FATAL);
    struct slice key = key_block(&k, b->user, b->target);
    if (b->blocked)
        flag_encode(batch_put(&w->batch, KV_USER, key, 2));
    else
        batch_delete(&w->batch, KV_USER, key);
    return apply_changed(slot);
}

/* --- Forgetting --------------------------------------------------------------------------------------------- */

/* Whether a user is in any private conversation; negative: enum err. */
static int has_pairs(struct local *s, struct slice id)
{
    struct key from, to;
    struct slice prefix = key_mark(&from, id, SLICE_LIT("p"));
    struct kv_iter *it = kv_iter_new(s->kv, KV_USER, prefix, key_after_prefix(&to, prefix));
    if (!it)
        return ERR_NOMEM;
    kv_seek(it, prefix);
    int r = kv_valid(it) ? 1 : kv_iter_error(it);
    kv_iter_free(it);
    return r;
}

/* Deletes rows of a family in [from, to): so many at most. */
static int rows_delete(struct writer *w, enum kv_family family, struct slice from, struct slice to, uint32_t *left)
{
    struct kv_iter *it = kv_iter_new(w->store->kv, family, from, to);
    int r = it ? 0 : ERR_NOMEM;
    if (it) {
        for (kv_seek(it, from); !r && kv_valid(it) && *left; kv_next(it), --*left) {
            r = batch_reserve(&w->batch, 1, kv_key(it).n);
            if (!r)
                batch_delete(&w->batch, family, kv_key(it));
        }
        r = r ? r : kv_iter_error(it);
        kv_iter_free(it);
    }
    return r;
}

/* Deletes the rows that a user has beside its record: so many at most. */
static int rows_of_user(struct writer *w, struct slice id, uint32_t *left)
{
    struct key from, to;
    int r = rows_delete(w, KV_INBOX, key_inbox(&from, id, 0), key_inbox(&to, id, UINT64_MAX), left);
    for (int i = 0; !r && i < 2; i++) {
        struct slice prefix = i ? key_block(&from, id, SLICE_NONE) : key_mark(&from, id, SLICE_NONE);
        r = rows_delete(w, KV_USER, prefix, key_after_prefix(&to, prefix), left);
    }
    return r;
}

/* The record goes, and two rows tell what is to be done. */
static enum apply forget_begin(struct writer *w, struct slot *slot)
{
    struct store_user_forget *f = (struct store_user_forget *)slot->op;
    struct deleted_record d;
    struct user_record u = {0};
    struct kv_found pin = {0};
    struct key k;
    int r = deleted_get(w, f->id, &d);
    bool going = r == 1 && d.flags & DELETED_GOING;
    if (r >= 0 && !going) {
        r = user_get(w, f->id, &u, &pin);
        kv_found_free(w->store->kv, &pin);
        r = r == 0 ? ERR_NOTFOUND : r;
    }
    if (r < 0 || batch_reserve(&w->batch, 4, 4 * KEY_MAX + DELETED_SIZE + 2))
        return apply_end(slot, r < 0 ? status_of(r) : STORE_FATAL);
    if (going) {
        f->recall = f->recall || d.flags & DELETED_RECALL;
    } else {
        d.epoch = (u.epoch > d.epoch ? u.epoch : d.epoch) + 1;
        d.last_id = idgen_last(&w->ids);
        batch_delete(&w->batch, KV_USER, key_user(&k, f->id));
        if (u.guest)
            batch_delete(&w->batch, KV_META, key_guest(&k, u.due_ms, f->id));
        flag_encode(batch_put(&w->batch, KV_META, key_going_user(&k, f->id), 2));
    }
    d.flags = DELETED_NOW | DELETED_GOING | (f->recall ? DELETED_RECALL : 0);
    deleted_put(w, f->id, &d);
    return apply_changed(slot);
}

static enum apply forget_end(struct writer *w, struct slot *slot)
{
    struct store_user_forget *f = (struct store_user_forget *)slot->op;
    struct deleted_record d;
    struct key k;
    uint32_t left = FORGET_STEP;
    if (group_dirty(w))
        return APPLY_CUT; /* its rows may be among what is pending */
    f->more = false;
    int r = deleted_get(w, f->id, &d);
    if (r < 0 || !(d.flags & DELETED_GOING))
        return apply_end(slot, r < 0 ? status_of(r) : STORE_OK);
    r = rows_of_user(w, f->id, &left);
    r = r ? r : batch_reserve(&w->batch, 2, 2 * KEY_MAX + DELETED_SIZE);
    struct inbox *box = inboxes_find(&w->heads, f->id);
    if (box) /* nobody will add to it before it is counted anew */
        inboxes_remove(&w->heads, box);
    f->more = left == 0;
    if (!r && !f->more) {
        d.flags = DELETED_NOW;
        d.last_id = idgen_last(&w->ids);
        deleted_put(w, f->id, &d);
        batch_delete(&w->batch, KV_META, key_going_user(&k, f->id));
    }
    slot->op->note |= NOTE_CHANGED;
    return apply_end(slot, status_of(r));
}

enum apply apply_user_forget(struct writer *w, struct slot *slot)
{
    struct store_user_forget *f = (struct store_user_forget *)slot->op;
    struct user_record u;
    struct kv_found pin;
    struct key from;
    uint32_t left = FORGET_MAX;
    if (!user_id_sane(f->id))
        return apply_end(slot, STORE_FATAL);
    if (f->force)
        return f->step == FORGET_BEGIN ? forget_begin(w, slot) : forget_end(w, slot);
    if (group_dirty(w))
        return APPLY_CUT; /* its rows may be among what is pending */
    int r = user_get(w, f->id, &u, &pin);
    bool guest = r == 1 && u.guest;
    uint64_t due = r == 1 ? u.due_ms : 0;
    kv_found_free(w->store->kv, &pin);
    if (r == 0)
        return apply_end(slot, STORE_OK);
    int pairs = guest ? has_pairs(w->store, f->id) : 0;
    if (pairs > 0)
        return apply_end(slot, STORE_DENIED); /* a private message came since it was found due */
    struct inbox *box = inboxes_find(&w->heads, f->id);
    if (r > 0 && !box && !(box = inboxes_add(&w->heads, f->id, atomic_load(&w->store->written_group))))
        r = ERR_NOMEM;
    r = pairs < 0 ? pairs : r;
    /* Deletes put before an error do no harm: the user is going anyway, and the caller asks again. */
    r = r < 0 ? r : batch_reserve(&w->batch, 2, 2 * KEY_MAX);
    if (!r) {
        batch_delete(&w->batch, KV_USER, key_user(&from, f->id));
        if (guest)
            batch_delete(&w->batch, KV_META, key_guest(&from, due, f->id));
        r = rows_of_user(w, f->id, &left);
    }
    if (box) { /* empty, which this group's operations cannot see in the database yet */
        box->count = 0;
        box->from = 0;
        box->until = UINT64_MAX;
        box->group = w->group;
        box->version = atomic_load(&w->store->live.version);
        if (r)
            inboxes_remove(&w->heads, box);
    }
    slot->op->note |= NOTE_CHANGED;
    return apply_end(slot, status_of(r));
}

/* --- Reading ------------------------------------------------------------------------------------------------ */

/* The user's record into the operation; the name into the arena. 1, 0 or an enum err. */
static int load_record(struct local *s, struct store_user_load *u, struct buf *arena)
{
    struct key k;
    struct user_record rec;
    struct kv_found f = kv_get(s->kv, KV_USER, key_user(&k, u->id));
    int r = f.code;
    if (r == 1 && user_decode(f.value, &rec)) {
        record_bad("user", u->id);
        r = ERR_INVALID;
    }
    if (r == 1) {
        u->user = (struct store_user){.epoch = rec.epoch,
                                      .guest = rec.guest,
                                      .revoked_ms = rec.revoked_ms,
                                      .guest_due_ms = rec.due_ms,
                                      .guest_due = rec.guest && rec.due_ms <= expiry_now(&s->expiry)};
        u->name.n = rec.name.n;
        buf_slice_put(arena, rec.name);
    }
    kv_found_free(s->kv, &f);
    return r;
}

/* The subscriptions; names go to the arena, and their lengths into the slices for now. */
static int load_subscriptions(struct local *s, struct store_user_load *u, struct buf *arena)
{
    struct key from, to;
    uint32_t cap = 0;
    struct slice prefix = key_sub(&from, u->id, SLICE_NONE);
    struct kv_iter *it = kv_iter_new(s->kv, KV_USER, prefix, key_after_prefix(&to, prefix));
    int r = it ? 0 : ERR_NOMEM;
    for (it ? kv_seek(it, prefix) : (void)0; !r && kv_valid(it); kv_next(it)) {
        struct sub_record sub;
        struct slice conv = key_tail(kv_key(it));
        if (sub_decode(kv_value(it), &sub) || conv.n < 2) {
            record_bad("subscription", kv_key(it));
            r = ERR_INVALID;
            break;
        }
        if (u->subscription_count == cap) {
            cap = cap ? cap * 2 : 8;
            struct store_subscription *grown = realloc(u->subscriptions, cap * sizeof(*grown));
            if (!grown) {
                r = ERR_NOMEM;
                break;
            }
            u->subscriptions = grown;
        }
        struct slice name = conv_channel_name(conv);
        u->subscriptions[u->subscription_count++] = (struct store_subscription){
            .channel = slice_of(NULL, name.n), .push = (enum push_mode)sub.push, .events = sub.events};
        buf_slice_put(arena, name);
    }
    r = r ? r : it ? kv_iter_error(it) : 0;
    kv_iter_free(it);
    return r;
}

enum store_status read_user_load(struct reader *by, struct store_op *op)
{
    struct local *s = by->store;
    struct store_user_load *u = (struct store_user_load *)op;
    struct buf arena = BUF_INIT;
    struct inbox_tally tally = {0};
    u->subscriptions = NULL;
    u->subscription_count = 0;
    u->inbox = 0;
    u->arena = NULL;
    u->name = SLICE_NONE;
    if (!user_id_sane(u->id))
        return STORE_NOTFOUND;
    int r = load_record(s, u, &arena);
    bool going = r == 0 && u->going;
    if (r == 1 || going) {
        r = load_subscriptions(s, u, &arena);
        r = r ? r : inbox_count(s, s->kv, u->id, &tally);
        r = r ? r : buf_ok(&arena) ? 1 : ERR_NOMEM;
    }
    if (r != 1) {
        buf_free(&arena);
        store_user_load_free(u);
        return r ? status_of(r) : STORE_NOTFOUND;
    }
    u->inbox = tally.count;
    u->arena = arena.p;
    const char *p = arena.p;
    u->name.p = p;
    p += u->name.n;
    for (uint32_t i = 0; i < u->subscription_count; i++) {
        u->subscriptions[i].channel.p = p;
        p += u->subscriptions[i].channel.n;
    }
    return STORE_OK;
}

enum store_status read_guests_due(struct reader *by, struct store_op *op)
{
    struct local *s = by->store;
    struct store_guests_due *g = (struct store_guests_due *)op;
    struct key from, to;
    struct buf arena = BUF_INIT;
    g->n = 0;
    g->arena = NULL;
    g->ids = calloc(g->limit ? g->limit : 1, sizeof(*g->ids));
    struct kv_iter *it = kv_iter_new(s->kv, KV_META, key_guest(&from, 0, SLICE_NONE),
                                     key_guest(&to, expiry_now(&s->expiry) + 1, SLICE_NONE));
    int r = it && g->ids ? 0 : ERR_NOMEM;
    for (it ? kv_seek(it, key_slice(&from)) : (void)0; !r && kv_valid(it) && g->n < g->limit; kv_next(it)) {
        struct slice key = kv_key(it);
        if (key.n < 10 || key.n > 9 + 64) {
            record_bad("guest", key);
            r = ERR_INVALID;
            break;
        }
        struct slice id = slice_of(key.p + 9, key.n - 9);
        int pairs = has_pairs(s, id);
        if (pairs < 0) {
            r = pairs;
        } else if (pairs) {
            hint_unguest(s, id);
        } else {
            g->ids[g->n++].n = id.n;
            buf_slice_put(&arena, id);
        }
    }
    r = r ? r : it ? kv_iter_error(it) : 0;
    r = r ? r : buf_ok(&arena) ? 0 : ERR_NOMEM;
    kv_iter_free(it);
    if (r) {
        free(g->ids);
        buf_free(&arena);
        g->ids = NULL;
        g->n = 0;
        return status_of(r);
    }
    g->arena = arena.p;
    for (uint32_t i = 0, at = 0; i < g->n; at += (uint32_t)g->ids[i++].n)
        g->ids[i].p = arena.p + at;
    return STORE_OK;
}
