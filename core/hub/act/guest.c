#include "core/hub/act/guest.h"

#include "core/base/log.h"
#include "core/hub/act/login.h"
#include "core/hub/people/copy.h"
#include "core/hub/people/user.h"
#include "core/hub/people/user_news.h"
#include "core/hub/shard/op.h"
#include "core/hub/talk/channel_news.h"
#include "core/hub/talk/membership.h"
#include "storage/bus.h"

#include <stdlib.h>

enum { BATCH = 256 };

/* --- A guest's time begins --------------------------------------------------------------------------------------- */

struct guest_save {
    struct store_user_save op;
    char strings[128];
};

static void guest_saved(void *owner, struct store_op *op)
{
    /* When it failed the guest is found due a little early, or late; nobody waits. */
    free(OP_END(owner, op, struct guest_save, op.op));
}

void guest_left(struct shard *s, uint32_t user)
{
    const struct user *u = user_at(s, user);
    /* A login under way may be about to make it more than a guest: nothing here may overwrite that. */
    struct guest_save *g = s->opt->guest_ms && !u->waiting ? calloc(1, sizeof *g) : NULL;
    if (!g)
        return;
    memcpy(g->strings, u->strings, (size_t)u->id_len + u->name_len);
    g->op = (struct store_user_save){.id = slice_of(g->strings, u->id_len),
                                     .name = slice_of(g->strings + u->id_len, u->name_len),
                                     .user = {.epoch = u->epoch, .guest = true},
                                     .guest_ttl_ms = s->opt->guest_ms};
    copy_changed(s, user, STORE_VERSION_UNKNOWN);
    op_begin(s, &g->op.op, guest_saved);
    store_user_save(s->store, &g->op);
}

/* --- A guest has come back while the disk was full ---------------------------------------------------------------- */

enum { OWED_MS = 1000 }; /* between two attempts */

struct owed {
    struct owed *next; /* in shard.owed */
    uint32_t user;     /* pinned, so that it is no guest meanwhile, and is not forgotten */
    bool busy;         /* the store has it */
    struct store_user_save op;
    char strings[128];
};

static void owed_end(struct shard *s)
{
    struct owed *o = s->owed;
    s->owed = o->next;
    user_unpin(s, o->user);
    free(o);
}

static void owed_saved(void *owner, struct store_op *op)
{
    struct owed *o = OP_END(owner, op, struct owed, op.op);
    struct shard *s = owner;
    o->busy = false;
    copy_changed(s, o->user, copy_version(op->status, o->op.version));
    if (op->status == STORE_RETRY || op->status == STORE_UNKNOWN) {
        s->owed_at_ms = s->now_ms + OWED_MS;
    } else {
        owed_end(s);
        guests_owed_tick(s);
    }
}

void guests_owed_tick(struct shard *s)
{
    struct owed *o = s->owed;
    if (!o || o->busy || s->now_ms < s->owed_at_ms || s->draining)
        return;
    const struct user *u = user_at(s, o->user);
    memcpy(o->strings, u->strings, (size_t)u->id_len + u->name_len);
    o->op = (struct store_user_save){.id = slice_of(o->strings, u->id_len),
                                     .name = slice_of(o->strings + u->id_len, u->name_len),
                                     .user = {.epoch = u->epoch}};
    o->busy = true;
    op_begin(s, &o->op.op, owed_saved);
    store_user_save(s->store, &o->op);
}

void guest_returned(struct shard *s, uint32_t user)
{
    struct owed *o = calloc(1, sizeof *o);
    user_at(s, user)->guest = false;
    if (!o) /* then the next login does it */
        return;
    user_pin(s, user);
    o->user = user;
    if (!s->owed)
        s->owed_at_ms = s->now_ms + OWED_MS;
    struct owed **last = &s->owed;
    while (*last)
        last = &(*last)->next;
    *last = o;
}

void guests_drop(struct shard *s)
{
    while (s->owed)
        owed_end(s);
}

/* --- A guest is forgotten ----------------------------------------------------------------------------------------- */

/* On the guest's owner shard. Its user is loaded in state USER_FORGETTING meanwhile, so that logins wait. */
struct forget {
    struct mail mail; /* from shard 0 */
    struct shard *shard;
    uint32_t user;       /* pinned */
    uint32_t left;       /* memberships to end, and one for the starter */
    bool failed;         /* try again at the next hunt */
    bool online, shared; /* with a bus: it is connected to another node */
    struct slice self;   /* id, for the bus */
    struct store_user_load loaded;
    union {
        struct store_user_load load;
        struct store_user_save save;
        struct store_user_forget forget;
        struct bus_presence far;
    } op;
    uint8_t id_len, name_len;
    char id[64], name[64];
};

struct leave {
    struct owned_req o;
    struct store_member_del op;
    struct forget *forget;
};

static void forget_end(struct forget *f)
{
    struct shard *s = f->shard;
    login_retry(s, f->user);
    user_unpin(s, f->user);
    free(f);
}

static void forgotten(void *owner, struct store_op *op)
{
    struct forget *f = OP_END(owner, op, struct forget, op.forget.op);
    struct slice id = slice_of(f->id, f->id_len);
    if (op->status == STORE_OK) {
        log_event(LOG_DEBUG, "guest.forgotten", LOG_SLICE("user", id));
        user_news_tell(f->shard, USER_DELETED, id, slice_of(f->name, f->name_len));
    }
    forget_end(f);
}

static void forget_step(struct forget *f)
{
    struct shard *s = f->shard;
    if (--f->left)
        return;
    if (f->failed) {
        forget_end(f);
        return;
    }
    f->op.forget = (struct store_user_forget){.id = slice_of(f->id, f->id_len)};
    op_begin(s, &f->op.forget.op, forgotten);
    store_user_forget(s->store, &f->op.forget);
}

static void leave_after(struct req *r)
{
    struct leave *q = (struct leave *)r;
    if (r->code != CODE_OK && r->code != CODE_NOT_FOUND)
        q->forget->failed = true;
    forget_step(q->forget);
}

static void leave_stored(void *owner, struct store_op *op)
{
    struct leave *q = OP_END(owner, op, struct leave, op.op);
    membership_ended(q->o.owner, q->o.conv, &q->op, MEMBER_LEFT, slice_of(q->forget->name, q->forget->name_len));
    if (op->status != STORE_OK)
        req_fail_store(&q->o.r, op->status, "");
    owned_done(&q->o);
}

static void leave_ready(struct owned_req *o)
{
    struct leave *q = (struct leave *)o;
    q->op.conv = conv_slice(conv_at(o->owner, o->conv));
    q->op.user = slice_of(q->forget->id, q->forget->id_len);
    q->op.name = slice_of(q->forget->name, q->forget->name_len);
    q->op.change = channel_news_code(MEMBER_LEFT);
    owned_op(o, &q->op.op, leave_stored);
    store_member_del(o->owner->store, &q->op);
}

static void leave_channel(struct forget *f, struct slice channel)
{
    struct leave *q = calloc(1, sizeof *q);
    if (!q) {
        f->failed = true;
        return;
    }
    f->left++;
    q->forget = f;
    q->o.r.home = f->shard;
    q->o.r.conn = q->o.r.user = NONE;
    q->o.r.after = leave_after;
    q->o.ready = leave_ready;
    q->o.key = conv_key_channel(channel);
    f->shard->reqs++;
    owned_post(f->shard, &q->o);
}

/* Its time has come: it leaves its channels, and goes. */
static void forget_go(struct forget *f)
{
    f->left = 1;
    for (uint32_t i = 0; i < f->loaded.subscription_count; i++)
        leave_channel(f, f->loaded.subscriptions[i].channel);
    store_user_load_free(&f->loaded);
    forget_step(f);
}

static void forget_postponed(void *owner, struct store_op *op)
{
    forget_end(OP_END(owner, op, struct forget, op.save.op));
}

/* It is connected to another node: an open connection counts from its end, as here. */
static void forget_postpone(struct forget *f)
{
    struct shard *s = f->shard;
    f->op.save = (struct store_user_save){.id = slice_of(f->id, f->id_len),
                                          .name = slice_of(f->name, f->name_len),
                                          .user = {.epoch = f->loaded.user.epoch, .guest = true},
                                          .guest_ttl_ms = s->opt->guest_ms};
    store_user_load_free(&f->loaded);
    op_begin(s, &f->op.save.op, forget_postponed);
    store_user_save(s->store, &f->op.save);
}

static void forget_looked(void *owner, struct store_op *op)
{
    struct forget *f = OP_END(owner, op, struct forget, op.far.op);
    if (op->status == STORE_OK && !f->online) {
        forget_go(f);
    } else if (op->status == STORE_OK) {
        forget_postpone(f);
    } else { /* at the next hunt */
        store_user_load_free(&f->loaded);
        forget_end(f);
    }
}

static void forget_loaded(void *owner, struct store_op *op)
{
    struct forget *f = OP_END(owner, op, struct forget, op.load.op);
    struct shard *s = owner;
    f->loaded = f->op.load;
    f->name_len = (uint8_t)(f->loaded.name.n < sizeof f->name ? f->loaded.name.n : sizeof f->name);
    if (f->name_len)
        memcpy(f->name, f->loaded.name.p, f->name_len);
    if (op->status != STORE_OK || !f->loaded.user.guest_due) {
        store_user_load_free(&f->loaded);
        forget_end(f);
    } else if (s->bus) {
        f->self = slice_of(f->id, f->id_len);
        f->op.far = (struct bus_presence){.ids = &f->self, .n = 1, .online = &f->online, .shared = &f->shared};
        op_begin(s, &f->op.far.op, forget_looked);
        bus_presence(s->bus, &f->op.far);
    } else {
        forget_go(f);
    }
}

static void forget_arrive(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct forget *f = (struct forget *)m;
    struct slice id = slice_of(f->id, f->id_len);
    uint32_t user = user_find(s, id);
    if (user != NONE) {
        /* It is here, so its time has not begun; an open connection counts from its end. */
        if (user_at(s, user)->state == USER_READY && user_at(s, user)->guest)
            guest_left(s, user);
        free(f);
        return;
    }
    f->shard = s;
    f->user = user_new(s, id);
    if (f->user == NONE) {
        free(f);
        return;
    }
    user_at(s, f->user)->state = USER_FORGETTING;
    user_pin(s, f->user);
    f->op.load = (struct store_user_load){.id = id};
    op_begin(s, &f->op.load.op, forget_loaded);
    store_user_load(s->store, &f->op.load);
}

/* --- The hunt, on shard 0 ----------------------------------------------------------------------------------------- */

static void hunted(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct store_guests_due *g = OP_END(owner, op, struct store_guests_due, op);
    for (uint32_t i = 0; op->status == STORE_OK && i < g->n; i++) {
        struct forget *f = calloc(1, sizeof *f);
        if (!f)
            break;
        f->id_len = (uint8_t)g->ids[i].n;
        memcpy(f->id, g->ids[i].p, g->ids[i].n);
        f->mail.run = forget_arrive;
        shard_post(s, shard_of(s->hub, g->ids[i]), &f->mail);
    }
    /* A full batch means that there are more. */
    if (op->status == STORE_OK && g->n == BATCH)
        s->sweep_at_ms = s->now_ms + 50;
    s->sweeping = false;
    free(g->ids);
    free(g->arena);
    free(g);
}

void guests_tick(struct shard *s)
{
    uint64_t guest_ms = s->opt->guest_ms;
    if (!guest_ms || s->sweeping || s->now_ms < s->sweep_at_ms || s->draining)
        return;
    uint64_t every = guest_ms / 4;
    s->sweep_at_ms = s->now_ms + (every < 250 ? 250 : every > 30000 ? 30000 : every);
    struct store_guests_due *g = calloc(1, sizeof *g);
    if (!g)
        return;
    g->limit = BATCH;
    s->sweeping = true;
    op_begin(s, &g->op, hunted);
    store_guests_due(s->store, g);
}
