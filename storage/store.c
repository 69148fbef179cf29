/* The store: opening, closing, options, and the doors of its operations. */
#include "storage/local/store_private.h"

#include "core/base/clock.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "core/base/random.h"
#include "storage/local/durable.h"
#include "storage/local/hint.h"
#include "storage/local/idgen.h"
#include "storage/local/recent.h"
#include "storage/local/syncer.h"
#include "storage/local/writer.h"

#include <stdio.h>
#include <stdlib.h>

/* --- Shared small things -------------------------------------------------------------------------------------- */

int meta_get_u64(struct kv *kv, struct slice key, uint64_t *out)
{
    struct kv_found f = kv_get(kv, KV_META, key);
    int r = f.code;
    *out = 0;
    if (r == 1 && f.value.n >= 8) {
        *out = load_be64(f.value.p);
    } else if (r == 1) {
        record_bad("meta", key);
        r = ERR_INVALID;
    }
    kv_found_free(kv, &f);
    return r;
}

enum store_status status_of(int code)
{
    return code >= 0 ? STORE_OK : code == ERR_NOTFOUND ? STORE_NOTFOUND : code == ERR_IO ? STORE_RETRY : STORE_FATAL;
}

enum store_status record_bad(const char *what, struct slice key)
{
    (void)key; /* keys name users and channels; the log tells the kind and the size alone */
    log_event(LOG_ERROR, "storage.bad_record", LOG_STR("record", what), LOG_INT("key_bytes", key.n));
    return STORE_FATAL;
}

struct slice op_conv(const struct store_op *op)
{
    switch (op->kind) {
    case OP_APPEND:
        return ((const struct store_append *)op)->conv;
    case OP_CHANNEL_SAVE:
        return ((const struct store_channel_save *)op)->conv;
    case OP_MEMBER_PUT:
        return ((const struct store_member_put *)op)->conv;
    case OP_MEMBER_DEL:
        return ((const struct store_member_del *)op)->conv;
    case OP_MARK_READ:
        return ((const struct store_mark_read *)op)->conv;
    case OP_RECALL:
        return ((const struct store_recall *)op)->conv;
    case OP_FLOOR:
        return hint_key((const struct hint *)op);
    case OP_RANGE:
        return ((const struct store_range *)op)->conv;
    case OP_CONV_LOAD:
        return ((const struct store_conv_load *)op)->conv;
    case OP_MEMBERS:
        return ((const struct store_members *)op)->conv;
    default:
        return SLICE_NONE;
    }
}

struct slice op_user(const struct store_op *op)
{
    switch (op->kind) {
    case OP_INBOX_PEEK:
        return ((const struct store_inbox_peek *)op)->user;
    case OP_USER_LOAD:
        return ((const struct store_user_load *)op)->id;
    case OP_CONVERSATIONS:
        return ((const struct store_conversations *)op)->user;
    case OP_PAIRS:
        return ((const struct store_pairs *)op)->user;
    default:
        return SLICE_NONE;
    }
}

static void op_run(void *owner, struct mail *mail)
{
    struct store_op *op = (struct store_op *)mail; /* its first member */
    op->done(owner, op);
}

void op_list_answer(struct op_list *l)
{
    struct mail *m = l->head;
    op_list_init(l);
    while (m) { /* one home at a time, in order */
        struct mailbox *home = NULL;
        struct mail *first = NULL, **last = &first, *tail = NULL, *rest = NULL, **rest_last = &rest;
        for (struct mail *next; m; m = next) {
            struct store_op *op = (struct store_op *)m;
            next = m->next;
            m->next = NULL;
            if (!op->home) {
                hint_free(op);
            } else if (!home || op->home == home) {
                home = op->home;
                *last = tail = m;
                last = &m->next;
            } else {
                *rest_last = m;
                rest_last = &m->next;
            }
        }
        if (home)
            mailbox_post_chain(home, first, tail);
        m = rest;
    }
}

/* --- Options ---------------------------------------------------------------------------------------------------- */

void store_configure(struct store *s, const struct store_options *o)
{
    for (int t = 0; t < TIER_COUNT; t++) {
        atomic_store(&s->expiry.ttl_ms[t + 1], o->tiers[t].ttl_ms);
        atomic_store(&s->live.max[t], o->tiers[t].max);
        atomic_store(&s->live.durability[t], (uint32_t)o->tiers[t].durability);
    }
    atomic_store(&s->expiry.ttl_ms[EXPIRY_DEDUP], o->dedup_window_ms);
    atomic_store(&s->live.inbox_max, o->inbox_max);
    atomic_fetch_add(&s->live.version, 1);
}

void store_clock_accept(struct store *s)
{
    if (guard_accept(&s->guard))
        atomic_fetch_add(&s->live.version, 1);
}

void store_get_stats(struct store *s, struct store_stats *out)
{
    (void)guard_now(&s->guard);
    if (pthread_rwlock_tryrdlock(&s->swap) ==
        0) { /* while the database is replaced, which takes a disk's time, the last figure must do */
        struct kv_usage usage = {0};
        s->kv->engine->usage(s->kv, &usage);
        atomic_store_explicit(&s->memory, usage.memory, memory_order_relaxed);
        pthread_rwlock_unlock(&s->swap);
    }
    *out = (struct store_stats){.appended = atomic_load(&s->appended),
                                .groups = atomic_load(&s->groups),
                                .syncs = atomic_load(&s->syncs),
                                .duplicates = atomic_load(&s->duplicates),
                                .queue = atomic_load(&s->queue),
                                .errors = atomic_load(&s->errors),
                                .reopens = atomic_load(&s->reopens),
                                .memory = atomic_load(&s->memory),
                                .failing = atomic_load(&s->failing),
                                .clock_paused = guard_paused(&s->guard)};
}

/* --- Opening ---------------------------------------------------------------------------------------------------- */

/* What the database says of itself. */
struct identity {
    uint64_t version, instance, group, last_id_ms, loss, clock_ms, ids;
};

static int identity_read(struct kv *kv, struct identity *id)
{
    *id = (struct identity){0};
    struct kv_found f = kv_get(kv, KV_META, META_GROUP);
    int r = f.code;
    if (r == 1) {
        r = f.value.n == 16 ? 1 : ERR_INVALID;
        if (r == 1) {
            id->group = load_be64(f.value.p);
            id->last_id_ms = load_be64(f.value.p + 8);
        }
    }
    kv_found_free(kv, &f);
    const struct {
        struct slice key;
        uint64_t *to;
    } all[] = {{META_VERSION, &id->version},
               {META_INSTANCE, &id->instance},
               {META_LOSS, &id->loss},
               {META_CLOCK, &id->clock_ms},
               {META_IDS, &id->ids}};
    for (size_t i = 0; r >= 0 && i < sizeof(all) / sizeof(all[0]); i++)
        r = meta_get_u64(kv, all[i].key, all[i].to);
    return r < 0 ? r : 0;
}

/*
 * Looks at a database without changing anything: whether it can be read, and whether what had been synced is all there.
 * A database that is opened for writing first removes what its manifest does not name, so that a damaged manifest would
 * cost the data itself. torn: its log ends in a record that lost power cut short, and may be opened up to there.
 */
static int database_look(struct store *s, bool *torn, char *why, size_t why_size)
{
    struct kv_rocksdb_options look = s->reopen;
    struct kv *kv;
    struct identity id;
    look.read_only = true;
    *torn = false;
    int r = kv_rocksdb_open(&kv, &look, why, why_size);
    if (r == ERR_INVALID && durable_log_torn(s->durable)) {
        char other[512];
        look.tolerate_torn_log = *torn = true;
        if (kv_rocksdb_open(&kv, &look, other, sizeof(other)))
            return r;
        log_event(LOG_WARN, "storage.log_torn", LOG_STR("why", why));
        r = 0;
    }
    if (r)
        return r;
    r = identity_read(kv, &id);
    kv_close(kv);
    if (r) {
        snprintf(why, why_size, "the database in %s cannot be read", s->reopen.path);
        return r;
    }
    return durable_judge(s->durable, id.instance, id.group, why, why_size) == DURABLE_REFUSED ? ERR_INVALID : 0;
}

static int database_open(struct store *s, const struct store_options *o, char *why, size_t why_size)
{
    if (strcmp(o->engine, "memory") == 0) {
        s->kv = kv_memory_open(&s->expiry);
        snprintf(why, why_size, "out of memory");
        return s->kv ? 0 : ERR_NOMEM;
    }
    if (strcmp(o->engine, "rocksdb") != 0) {
        snprintf(why, why_size, "there is no storage engine \"%s\"", o->engine);
        return ERR_INVALID;
    }
    int r = durable_open(&s->durable, o->path, why, why_size);
    if (r)
        return r;
    s->reopen =
        (struct kv_rocksdb_options){.path = durable_db_path(s->durable), .memory = o->memory, .expiry = &s->expiry};
    struct kv_rocksdb_options first = s->reopen;
    first.create = !durable_used(s->durable);
    first.complete = !durable_begun(s->durable);
    if (durable_begun(s->durable))
        r = database_look(s, &first.tolerate_torn_log, why, why_size);
    return r ? r : kv_rocksdb_open(&s->kv, &first, why, why_size);
}

/* Writes what a beginning run must have on the platter. `lost`: numbering must go on beyond what may have been given
 * out. */
static int database_begin(struct store *s, struct identity *id, bool lost)
{
    char values[6][16];
    uint64_t now = guard_now(&s->guard), ms = idgen_ms(now);
    bool fresh = id->instance == 0;
    if (lost && id->ids > id->last_id_ms)
        id->last_id_ms = id->ids;
    id->loss += lost;
    id->group++;
    id->ids = (ms > id->last_id_ms ? ms : id->last_id_ms) + ID_AHEAD_MS;
    while (id->instance == 0)
        random_bytes(&id->instance, sizeof(id->instance));
    struct kv_change c[6];
    uint32_t n = 0;
    const struct {
        struct slice key;
        uint64_t v;
        bool write;
    } all[] = {{META_GROUP, id->group, true},        {META_IDS, id->ids, true},
               {META_LOSS, id->loss, true},          {META_CLOCK, now, true},
               {META_INSTANCE, id->instance, fresh}, {META_VERSION, STORE_FORMAT, fresh}};
    for (size_t i = 0; i < 6; i++) {
        if (all[i].write) {
            store_be64(values[n], all[i].v);
            store_be64(values[n] + 8, id->last_id_ms);
            c[n] = (struct kv_change){
                .family = KV_META, .kind = KV_PUT, .key = all[i].key, .value = slice_of(values[n], i == 0 ? 16 : 8)};
            n++;
        }
    }
    id->clock_ms = now;
    int r = s->kv->engine->write(s->kv, c, n);
    r = r ? r : s->kv->engine->sync(s->kv);
    return r ? r : durable_begin(s->durable, id->instance, id->group);
}

static int store_begin(struct store *s, char *why, size_t why_size)
{
    struct identity id;
    char damage[512] = "";
    int r = identity_read(s->kv, &id);
    if (r || (id.version && id.version != STORE_FORMAT)) {
        if (r) {
            snprintf(why, why_size, "the database cannot be read");
        } else {
            snprintf(why, why_size, "the database has format %llu; this server knows %d",
                     (unsigned long long)id.version, STORE_FORMAT);
        }
        return r ? r : ERR_INVALID;
    }
    enum durable_verdict verdict =
        id.instance ? durable_judge(s->durable, id.instance, id.group, damage, sizeof(damage)) : DURABLE_WHOLE;
    if (!id.instance && s->durable && durable_used(s->durable) && id.group)
        verdict = DURABLE_LOST;
    if (verdict == DURABLE_REFUSED) {
        snprintf(why, why_size, "%s", damage);
        return ERR_INVALID;
    }
    if (verdict == DURABLE_LOST) {
        log_event(LOG_WARN, "storage.loss_assumed", LOG_INT("group", id.group),
                  LOG_STR("effect", "what was not synced may be missing; message numbers jump"));
    }
    guard_init(&s->guard, &s->hooks.clock, &s->expiry, id.clock_ms);
    r = database_begin(s, &id, verdict == DURABLE_LOST);
    if (r) {
        snprintf(why, why_size, "the database cannot be written: %s", err_str(r));
        return r;
    }
    r = writer_start(s, &(struct writer_begin){.group = id.group,
                                               .last_id_ms = id.last_id_ms,
                                               .id_limit = id.ids,
                                               .generation = id.loss,
                                               .clock_ms = id.clock_ms});
    r = r ? r : readers_start(s);
    if (r)
        snprintf(why, why_size, "cannot start the storage threads: %s", err_str(r));
    return r;
}

static void store_free(struct store *s)
{
    if (s->guard.expiry)
        guard_fini(&s->guard);
    kv_close(s->kv);
    durable_close(s->durable);
    recent_free(s->recent);
    pthread_rwlock_destroy(&s->swap);
    pthread_mutex_destroy(&s->written_lock);
    pthread_cond_destroy(&s->written_cond);
    pthread_mutex_destroy(&s->work_lock);
    pthread_cond_destroy(&s->work_cond);
    free(s);
}

int store_open_hooked(struct store **out, const struct store_options *options, const struct store_hooks *hooks,
                      char *why, size_t why_size)
{
    struct store *s = calloc(1, sizeof(*s));
    *out = NULL;
    if (!s) {
        snprintf(why, why_size, "out of memory");
        return ERR_NOMEM;
    }
    s->hooks = hooks ? *hooks : (struct store_hooks){0};
    s->node = options->node;
    s->sync_every_ms = options->sync_every_ms ? options->sync_every_ms : 1;
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&s->swap, &attr);
    pthread_rwlockattr_destroy(&attr);
    pthread_mutex_init(&s->written_lock, NULL);
    pthread_cond_init(&s->written_cond, NULL);
    pthread_mutex_init(&s->work_lock, NULL);
    pthread_cond_init(&s->work_cond, NULL);
    store_configure(s, options);
    s->recent = recent_new();
    snprintf(why, why_size, "out of memory");
    int r = s->recent ? database_open(s, options, why, why_size) : ERR_NOMEM;
    r = r ? r : store_begin(s, why, why_size);
    if (r) {
        readers_stop(s);
        if (s->writer) {
            writer_stop(s);
            syncer_stop(s);
            writer_free(s);
        }
        store_free(s);
        return r;
    }
    *out = s;
    return 0;
}

int store_open(struct store **out, const struct store_options *options, char *why, size_t why_size)
{
    return store_open_hooked(out, options, NULL, why, why_size);
}

void store_close(struct store *s)
{
    store_work_end(s);
    readers_stop(s);
    writer_stop(s);
    syncer_stop(s);
    if (!atomic_load(&s->failing)) {
        uint64_t group = atomic_load(&s->written_group);
        char now[8];
        store_be64(now, guard_now(&s->guard));
        struct kv_change c = {.family = KV_META, .kind = KV_PUT, .key = META_CLOCK, .value = slice_of(now, 8)};
        if (s->kv->engine->write(s->kv, &c, 1) == 0 && s->kv->engine->sync(s->kv) == 0) {
            s->kv->engine->flush(s->kv);
            durable_end(s->durable, group);
        }
    }
    writer_free(s);
    store_free(s);
}

/* --- Doors ------------------------------------------------------------------------------------------------------ */

static void hand_over(struct store *s, struct store_op *op, enum op_kind kind)
{
    op->mail = (struct mail){.run = op_run};
    op->kind = (uint8_t)kind;
    op->note = 0;
    if (kind < OP_WRITES)
        writer_post(s, op);
    else
        reader_post(s, op);
}

void store_kick(struct store *s)
{
    writer_kick(s);
}
void store_append(struct store *s, struct store_append *a)
{
    hand_over(s, &a->op, OP_APPEND);
}
void store_range(struct store *s, struct store_range *r)
{
    hand_over(s, &r->op, OP_RANGE);
}
void store_inbox_peek(struct store *s, struct store_inbox_peek *p)
{
    hand_over(s, &p->op, OP_INBOX_PEEK);
}
void store_inbox_ack(struct store *s, struct store_inbox_ack *a)
{
    hand_over(s, &a->op, OP_INBOX_ACK);
}
void store_user_load(struct store *s, struct store_user_load *u)
{
    hand_over(s, &u->op, OP_USER_LOAD);
}
void store_user_save(struct store *s, struct store_user_save *u)
{
    hand_over(s, &u->op, OP_USER_SAVE);
}
void store_user_forget(struct store *s, struct store_user_forget *u)
{
    hand_over(s, &u->op, OP_USER_FORGET);
}
void store_guests_due(struct store *s, struct store_guests_due *g)
{
    hand_over(s, &g->op, OP_GUESTS_DUE);
}
void store_conv_load(struct store *s, struct store_conv_load *c)
{
    hand_over(s, &c->op, OP_CONV_LOAD);
}
void store_channel_save(struct store *s, struct store_channel_save *c)
{
    hand_over(s, &c->op, OP_CHANNEL_SAVE);
}
void store_member_put(struct store *s, struct store_member_put *m)
{
    hand_over(s, &m->op, OP_MEMBER_PUT);
}
void store_member_del(struct store *s, struct store_member_del *m)
{
    hand_over(s, &m->op, OP_MEMBER_DEL);
}
void store_members(struct store *s, struct store_members *m)
{
    hand_over(s, &m->op, OP_MEMBERS);
}
void store_mark_read(struct store *s, struct store_mark_read *m)
{
    hand_over(s, &m->op, OP_MARK_READ);
}
void store_conversations(struct store *s, struct store_conversations *c)
{
    hand_over(s, &c->op, OP_CONVERSATIONS);
}
void store_recall(struct store *s, struct store_recall *r)
{
    hand_over(s, &r->op, OP_RECALL);
}
void store_block(struct store *s, struct store_block *b)
{
    hand_over(s, &b->op, OP_BLOCK);
}
void store_note_put(struct store *s, struct store_note_put *n)
{
    hand_over(s, &n->op, OP_NOTE_PUT);
}
void store_notes(struct store *s, struct store_notes *n)
{
    hand_over(s, &n->op, OP_NOTES);
}
void store_pairs(struct store *s, struct store_pairs *p)
{
    hand_over(s, &p->op, OP_PAIRS);
}
