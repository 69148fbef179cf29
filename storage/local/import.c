/* The records of an export into a database: see import.h. */
#include "storage/local/import.h"

#include "core/base/random.h"
#include "storage/dump.h"
#include "storage/local/batch.h"
#include "storage/local/idgen.h"
#include "storage/local/local_private.h"
#include "storage/local/meta.h"

#include <stdio.h>

enum {
    BATCH_FULL = 1024 * 1024, /* bytes of keys and values from which on a batch is written */
    LOSS = 1,                 /* of the store. A head of another count goes on after what it may have given out */
    NOTE_FIXED = 2            /* as notes.c has it: version, flags */
};

struct importer {
    struct local *s;
    struct dump_reader *in;
    struct batch batch;
    struct guard_state clock;
    uint64_t last_id; /* no id passes it */
    /* The conversation whose messages come, put when the last of them has come. */
    bool open;
    struct head_record head;
    uint64_t seq, id; /* of its message before; 0: none yet */
    uint8_t conv_n;
    char conv[CONV_KEY_MAX];
    const char *bad; /* what is wrong with a record; NULL: nothing */
};

static struct slice conv_of(const struct importer *im)
{
    return slice_of(im->conv, im->conv_n);
}

static int batch_flush(struct importer *im)
{
    int r = im->batch.count ? batch_write(&im->batch, im->s->kv) : 0;
    batch_reset(&im->batch);
    return r;
}

static int room(struct importer *im, size_t puts, size_t values)
{
    return batch_reserve(&im->batch, puts, puts * KEY_MAX + values);
}

static void put_flag(struct importer *im, enum kv_family family, struct slice key)
{
    flag_encode(batch_put(&im->batch, family, key, 2));
}

static void put_u64(struct importer *im, struct slice meta_key, uint64_t v)
{
    store_be64(batch_put(&im->batch, KV_META, meta_key, 8), v);
}

static void id_seen(struct importer *im, uint64_t id)
{
    im->last_id = id > im->last_id ? id : im->last_id;
}

/* --- Conversations ------------------------------------------------------------------------------------------------ */

/* The last of its messages has come. */
static int conv_end(struct importer *im)
{
    struct key k;
    if (!im->open)
        return 0;
    im->open = false;
    int r = room(im, 3, HEAD_SIZE + 2);
    if (r)
        return r;
    head_encode(batch_put(&im->batch, KV_CHANNEL, key_head(&k, conv_of(im)), head_size(&im->head)), &im->head);
    if (im->head.flags & HEAD_GONE)
        put_flag(im, KV_META, key_gone(&k, im->head.gone_ms, conv_of(im)));
    if (im->head.flags & HEAD_CLOSING)
        put_flag(im, KV_META, key_going_channel(&k, conv_of(im)));
    return 0;
}

static int take_conv(struct importer *im, const struct dump_conv *c)
{
    im->open = true;
    im->conv_n = (uint8_t)c->key.n;
    memcpy(im->conv, c->key.p, c->key.n);
    im->seq = c->low;
    im->id = 0;
    im->head = (struct head_record){.seq = c->seq,
                                    .last_id = c->last_id,
                                    .reserved = c->given,
                                    .low = {c->low, c->low, c->low},
                                    .skip_at = c->skip_at,
                                    .losses = c->given > c->seq ? 0 : LOSS,
                                    .gone_ms = c->gone_ms,
                                    .skip = c->skip,
                                    .max = c->max,
                                    .tier = c->tier};
    im->head.flags = (c->flags & DUMP_CONV_MADE ? HEAD_CHANNEL : 0u) | (c->flags & DUMP_CONV_GONE ? HEAD_GONE : 0u) |
                     (c->flags & DUMP_CONV_CLOSING ? HEAD_CLOSING : 0u);
    id_seen(im, c->last_id);
    return 0;
}

static int take_message(struct importer *im, const struct dump_message *m)
{
    struct key k;
    const struct message_record row = {.row = {.flags = (uint8_t)((m->flags & DUMP_RECALLED ? ROW_RECALLED : 0) |
                                                                  (m->flags & DUMP_EDITED ? ROW_EDITED : 0)),
                                               .cls = tier_class((enum store_tier)m->tier),
                                               .birth_ms = m->birth_ms,
                                               .ttl_ms = m->ttl_ms},
                                       .id = m->id,
                                       .created_ms = m->created_ms,
                                       .edited_ms = m->edited_ms,
                                       .sender = m->sender,
                                       .sender_name = m->name,
                                       .content = m->content};
    if (m->seq <= im->seq || m->seq > im->head.seq || m->id <= im->id || m->id > im->head.last_id ||
        im->head.flags & HEAD_GONE) {
        im->bad = "has a number that does not follow";
        return ERR_INVALID;
    }
    int r = room(im, 1, message_size(&row));
    if (r)
        return r;
    message_encode(
        batch_put(&im->batch, tier_family(m->tier), key_message(&k, conv_of(im), m->seq), message_size(&row)), &row);
    im->seq = m->seq;
    im->id = m->id;
    im->head.tiers_used |= (uint8_t)(1u << m->tier);
    return 0;
}

/* --- Users -------------------------------------------------------------------------------------------------------- */

static int take_user(struct importer *im, const struct dump_user *u)
{
    struct key k;
    const struct user_record row = {.epoch = u->epoch,
                                    .guest = u->flags & DUMP_GUEST,
                                    .due_ms = u->due_ms,
                                    .revoked_ms = u->revoked_ms,
                                    .name = u->name};
    int r = room(im, 2, user_size(&row) + 2);
    if (r)
        return r;
    user_encode(batch_put(&im->batch, KV_USER, key_user(&k, u->id), user_size(&row)), &row);
    if (row.guest)
        put_flag(im, KV_META, key_guest(&k, row.due_ms, u->id));
    return 0;
}

static int take_deleted(struct importer *im, const struct dump_deleted *d)
{
    struct key k;
    const struct deleted_record row = {.epoch = d->epoch, .last_id = d->last_id, .flags = d->flags};
    int r = room(im, 2, DELETED_SIZE + 2);
    if (r)
        return r;
    deleted_encode(batch_put(&im->batch, KV_USER, key_deleted(&k, d->id), DELETED_SIZE), &row);
    if (d->flags & DUMP_GOING)
        put_flag(im, KV_META, key_going_user(&k, d->id));
    return 0;
}

static int take_member(struct importer *im, const struct dump_member *m)
{
    struct key k;
    const struct sub_record sub = {.push = m->push, .events = m->flags & DUMP_EVENTS};
    int r = room(im, 3, SUB_SIZE + MARK_SIZE + 2);
    if (r)
        return r;
    sub_encode(batch_put(&im->batch, KV_USER, key_sub(&k, m->user, m->conv), SUB_SIZE), &sub);
    mark_encode(batch_put(&im->batch, KV_USER, key_mark(&k, m->user, m->conv), MARK_SIZE), m->read);
    put_flag(im, KV_CHANNEL, key_member(&k, conv_channel_name(m->conv), m->user));
    return 0;
}

static int take_pair(struct importer *im, const struct dump_pair *p)
{
    struct key k;
    int r = room(im, 1, MARK_SIZE);
    if (!r)
        mark_encode(batch_put(&im->batch, KV_USER, key_mark(&k, p->user, p->conv), MARK_SIZE), p->read);
    return r;
}

static int take_block(struct importer *im, const struct dump_block *b)
{
    struct key k;
    int r = room(im, 1, 2);
    if (!r)
        put_flag(im, KV_USER, key_block(&k, b->user, b->target));
    return r;
}

static int take_inbox(struct importer *im, const struct dump_inbox *i)
{
    struct key k;
    const struct inbox_record row = {
        .row = {.cls = tier_class((enum store_tier)i->tier), .birth_ms = i->birth_ms, .ttl_ms = i->ttl_ms},
        .seq = i->seq,
        .conv = i->conv};
    int r = room(im, 1, inbox_size(&row));
    if (!r)
        inbox_encode(batch_put(&im->batch, KV_INBOX, key_inbox(&k, i->user, i->id), inbox_size(&row)), &row);
    return r;
}

/* --- The rest ----------------------------------------------------------------------------------------------------- */

static int take_store(struct importer *im, const struct dump_store *d)
{
    struct guard_state *g = &im->clock;
    *g = (struct guard_state){.guarded_ms = d->clock_ms,
                              .steady_ms = d->steady_ms,
                              .paused_from_ms = d->paused_from_ms,
                              .paused = d->flags & DUMP_PAUSED,
                              .unsure = d->flags & DUMP_UNSURE};
    clock_moves_decode(&g->moves, d->moves);
    id_seen(im, d->last_id);
    return 0;
}

static int take_dedup(struct importer *im, const struct dump_dedup *d)
{
    struct key k;
    const struct dedup_record row = {
        .row = {.cls = EXPIRY_DEDUP, .birth_ms = d->birth_ms}, .seq = d->seq, .id = d->id, .created_ms = d->created_ms};
    int r = room(im, 1, DEDUP_SIZE);
    if (!r)
        dedup_encode(batch_put(&im->batch, KV_DEDUP, key_dedup(&k, d->sender, d->conv, d->client_id), DEDUP_SIZE),
                     &row);
    return r;
}

static int take_note(struct importer *im, const struct dump_note *n)
{
    struct key k = {.n = 1 + n->key.n, .p = {'n'}};
    memcpy(k.p + 1, n->key.p, n->key.n);
    int r = room(im, 1, NOTE_FIXED + n->value.n);
    if (r)
        return r;
    char *out = batch_put(&im->batch, KV_META, key_slice(&k), NOTE_FIXED + n->value.n);
    out[0] = RECORD_VERSION;
    out[1] = 0;
    if (n->value.n)
        memcpy(out + NOTE_FIXED, n->value.p, n->value.n);
    return 0;
}

static int take_floor(struct importer *im, const struct dump_floor *f)
{
    struct key k;
    int r = room(im, 1, 8);
    if (!r)
        put_u64(im, key_floor(&k, f->place), f->seq);
    return r;
}

static int take(struct importer *im, const struct dump_record *r)
{
    switch (r->kind) {
    case DUMP_STORE:
        return take_store(im, &r->store);
    case DUMP_USER:
        return take_user(im, &r->user);
    case DUMP_DELETED:
        return take_deleted(im, &r->deleted);
    case DUMP_CONV:
        return take_conv(im, &r->conv);
    case DUMP_MESSAGE:
        return take_message(im, &r->message);
    case DUMP_MEMBER:
        return take_member(im, &r->member);
    case DUMP_PAIR:
        return take_pair(im, &r->pair);
    case DUMP_BLOCK:
        return take_block(im, &r->block);
    case DUMP_INBOX:
        return take_inbox(im, &r->inbox);
    case DUMP_DEDUP:
        return take_dedup(im, &r->dedup);
    case DUMP_NOTE:
        return take_note(im, &r->note);
    case DUMP_FLOOR:
        return take_floor(im, &r->floor);
    default: /* DUMP_DIGEST: the clientId itself is needed here */
        return 0;
    }
}

/* --- Channels as a whole ------------------------------------------------------------------------------------------ */

/* A membership in a channel that the file does not have: the other rows that it has put go with it. */
static int member_drop(struct importer *im, struct slice member_key)
{
    struct slice user = key_tail(member_key);
    struct conv_key conv = conv_key_channel(slice_of(member_key.p + 1, member_key.n - user.n - 2));
    struct key k;
    int r = room(im, 3, 0);
    if (r)
        return r;
    batch_delete(&im->batch, KV_USER, key_sub(&k, user, conv_key_slice(&conv)));
    batch_delete(&im->batch, KV_USER, key_mark(&k, user, conv_key_slice(&conv)));
    batch_delete(&im->batch, KV_CHANNEL, member_key);
    return 0;
}

/* Counts a channel's members, and drops those of channels before it, which are not there. `it` goes on behind them. */
static int members_count(struct importer *im, struct kv_iter *it, struct slice name, uint32_t *n)
{
    *n = 0;
    for (; kv_valid(it); kv_next(it)) {
        struct slice key = kv_key(it), user = key_tail(key);
        int order = name.p ? slice_cmp(slice_of(key.p + 1, key.n - user.n - 2), name) : -1;
        if (order > 0)
            break;
        int r = order < 0 ? member_drop(im, key) : 0;
        if (r)
            return r;
        *n += order == 0;
    }
    return kv_iter_error(it);
}

/* Looks at a head: its members go into it. */
static int head_finish(struct importer *im, struct kv_iter *members, struct slice key, struct slice value,
                       uint64_t *channels, uint64_t *names)
{
    struct head_record h;
    if (head_decode(value, &h))
        return ERR_INVALID;
    *names += h.flags & HEAD_GONE ? 1 : 0;
    if (!(h.flags & HEAD_CHANNEL))
        return 0;
    ++*channels;
    int r = members_count(im, members, slice_of(key.p + 2, key.n - 2), &h.members);
    if (r || !h.members)
        return r;
    r = room(im, 1, HEAD_SIZE);
    if (!r)
        head_encode(batch_put(&im->batch, KV_CHANNEL, key, head_size(&h)), &h);
    return r || im->batch.bytes < BATCH_FULL ? r : batch_flush(im);
}

/* Heads and members stand in the same order. */
static int channels_finish(struct importer *im)
{
    struct kv *kv = im->s->kv;
    struct kv_iter *heads = kv_iter_new(kv, KV_CHANNEL, SLICE_LIT("hc"), SLICE_LIT("hd"));
    struct kv_iter *members = kv_iter_new(kv, KV_CHANNEL, SLICE_LIT("m"), SLICE_LIT("n"));
    uint64_t channels = 0, names = 0;
    uint32_t none;
    int r = heads && members ? 0 : ERR_NOMEM;
    if (!r) {
        kv_seek(heads, SLICE_LIT("hc"));
        kv_seek(members, SLICE_LIT("m"));
    }
    for (; !r && kv_valid(heads); kv_next(heads))
        r = head_finish(im, members, kv_key(heads), kv_value(heads), &channels, &names);
    r = r ? r : kv_iter_error(heads);
    r = r ? r : members_count(im, members, SLICE_NONE, &none);
    kv_iter_free(heads);
    kv_iter_free(members);
    r = r ? r : room(im, 2, 16);
    if (!r) {
        put_u64(im, META_CHANNELS, channels);
        put_u64(im, META_NAMES, names);
    }
    return r;
}

/* --- All of it ---------------------------------------------------------------------------------------------------- */

/* Until store_finish(), no server takes it for a database. */
static int store_begin(struct importer *im)
{
    int r = room(im, 1, 8);
    if (r)
        return r;
    put_u64(im, META_VERSION, META_FILLING);
    r = batch_flush(im);
    return r ? r : im->s->kv->ops->sync(im->s->kv);
}

static int store_finish(struct importer *im, uint64_t *instance)
{
    char clock[GUARD_SIZE], limits[LIMITS_SIZE];
    size_t clock_n = guard_state_encode(&im->clock, clock);
    size_t limits_n = limits_encode(&im->s->limits, im->last_id, limits);
    uint64_t last_ms = im->last_id >> 22;
    int r = room(im, 7, 64 + sizeof clock + sizeof limits);
    if (r)
        return r;
    *instance = 0;
    while (*instance == 0)
        random_bytes(instance, sizeof *instance);
    put_u64(im, META_VERSION, STORE_FORMAT);
    put_u64(im, META_INSTANCE, *instance);
    put_u64(im, META_LOSS, LOSS);
    put_u64(im, META_IDS, last_ms);
    char *group = batch_put(&im->batch, KV_META, META_GROUP, 16);
    store_be64(group, IMPORT_GROUP);
    store_be64(group + 8, last_ms);
    memcpy(batch_put(&im->batch, KV_META, META_CLOCK, clock_n), clock, clock_n);
    memcpy(batch_put(&im->batch, KV_META, META_LIMITS, limits_n), limits, limits_n);
    r = batch_flush(im);
    return r ? r : im->s->kv->ops->sync(im->s->kv);
}

static int records_take(struct importer *im)
{
    struct dump_record rec;
    int r;
    while ((r = dump_next(im->in, &rec)) == 1) {
        r = rec.kind == DUMP_MESSAGE ? 0 : conv_end(im);
        r = r ? r : take(im, &rec);
        r = r || im->batch.bytes < BATCH_FULL ? r : batch_flush(im);
        if (r)
            return r;
    }
    r = r ? r : conv_end(im);
    return r ? r : batch_flush(im);
}

int import_all(struct local *s, struct dump_reader *in, uint64_t *instance, char *why, size_t why_size)
{
    struct importer im = {.s = s, .in = in};
    int r = store_begin(&im);
    r = r ? r : records_take(&im);
    r = r ? r : channels_finish(&im);
    r = r ? r : store_finish(&im, instance);
    batch_fini(&im.batch);
    if (!r)
        return 0;
    if (dump_error(in)[0])
        snprintf(why, why_size, "%s", dump_error(in));
    else if (im.bad)
        snprintf(why, why_size, "message %llu of the export %s", (unsigned long long)dump_read(in, DUMP_MESSAGE),
                 im.bad);
    else
        snprintf(why, why_size, "the database cannot be written: %s", err_str(r));
    return r;
}

int local_import(const struct store_options *options, struct dump_reader *in, char *why, size_t why_size)
{
    struct local *s;
    uint64_t instance;
    if (strcmp(options->engine, "memory") == 0) {
        snprintf(why, why_size, "storage.engine is \"memory\", which keeps nothing: there is nowhere to import to");
        return ERR_INVALID;
    }
    int r = local_open_empty(&s, options, NULL, why, why_size);
    if (r)
        return r;
    r = import_all(s, in, &instance, why, why_size);
    if (r) {
        local_close_cleared(s);
        return r;
    }
    r = local_close_filled(s, instance, IMPORT_GROUP);
    if (r)
        snprintf(why, why_size, "the database in %s cannot be written", options->path);
    return r;
}
