/* The records of an export into a cluster: see import.h. Conversations are in import_conv.c, users in import_user.c. */
#include "storage/redis/dump/import.h"

#include "storage/redis/dump/import_private.h"
#include "storage/redis/nodes/cluster_clock.h"
#include "storage/redis/redis_private.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    UNDER_MOST = 4096,         /* changes under way, and … */
    BYTES_MOST = 8 << 20,      /* … bytes of them */
    WINDOW_MS = 10 * 60 * 1000 /* of one set of digests */
};

/* In the place of the format, while an import fills the prefix: no node joins then. */
#define FILLING SLICE_LIT("import")

int import_send(struct importer *im, struct call *c)
{
    im->bytes += c->body.n;
    still_send(im->s, c);
    if (im->bytes < BYTES_MOST)
        return still_wait_few(im->s, UNDER_MOST);
    im->bytes = 0;
    return still_wait(im->s);
}

void import_id(struct importer *im, uint64_t id)
{
    im->last_id = id > im->last_id ? id : im->last_id;
}

/* A field of a hash of partition 0. */
static int put(struct importer *im, char kind, struct slice field, struct slice value)
{
    struct call *c = still_change(im->s, "HSET", 0);
    if (!c)
        return ERR_NOMEM;
    call_key(im->s->r, c, kind, SLICE_NONE);
    call_arg(c, field);
    call_arg(c, value);
    return import_send(im, c);
}

static int put_u64(struct importer *im, char kind, const char *field, uint64_t v)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)v);
    return put(im, kind, slice_str(field), slice_str(text));
}

/* --- Records ------------------------------------------------------------------------------------------------------ */

static int take_store(struct importer *im, const struct dump_store *d)
{
    im->store = *d;
    if (d->moves.n > sizeof im->moves)
        return ERR_INVALID;
    memcpy(im->moves, d->moves.p, d->moves.n);
    im->store.moves.p = im->moves;
    import_id(im, d->last_id);
    return 0;
}

static int put_digest(struct importer *im, unsigned part, struct slice digest, uint64_t born_ms, uint64_t id,
                      uint64_t seq, uint64_t created_ms)
{
    uint64_t window = born_ms / WINDOW_MS;
    char rest[24];
    struct buf value = BUF_INIT;
    struct call *c = still_change(im->s, "HSET", part);
    if (!c)
        return ERR_NOMEM;
    snprintf(rest, sizeof rest, "%llu", (unsigned long long)window);
    layout_dedup_put(&value, id, seq, created_ms);
    call_key(im->s->r, c, 'd', slice_str(rest));
    call_arg(c, digest);
    call_arg(c, buf_slice(&value));
    buf_free(&value);
    if (!im->parts[part].window || window < im->parts[part].window)
        im->parts[part].window = window;
    return import_send(im, c);
}

static int take_dedup(struct importer *im, const struct dump_dedup *d)
{
    char digest[LAYOUT_DIGEST];
    layout_digest(digest, d->sender, d->conv, d->client_id);
    return put_digest(im, partition_of(d->conv), slice_of(digest, sizeof digest), d->birth_ms, d->id, d->seq,
                      d->created_ms);
}

static int take(struct importer *im, const struct dump_record *r)
{
    switch (r->kind) {
    case DUMP_STORE:
        return take_store(im, &r->store);
    case DUMP_USER:
        return import_user(im, &r->user);
    case DUMP_DELETED:
        return import_deleted(im, &r->deleted);
    case DUMP_CONV:
        return import_conv(im, &r->conv);
    case DUMP_MESSAGE:
        return import_message(im, &r->message);
    case DUMP_MEMBER:
        return import_member(im, &r->member);
    case DUMP_PAIR:
        return import_pair(im, &r->pair);
    case DUMP_BLOCK:
        return import_block(im, &r->block);
    case DUMP_INBOX:
        return import_inbox(im, &r->inbox);
    case DUMP_DEDUP:
        return take_dedup(im, &r->dedup);
    case DUMP_DIGEST:
        return put_digest(im, r->digest.part, r->digest.digest, r->digest.created_ms, r->digest.id, r->digest.seq,
                          r->digest.created_ms);
    case DUMP_NOTE:
        im->notes++;
        return put(im, 'V', r->note.key, r->note.value);
    case DUMP_FLOOR:
        im->floor = r->floor.seq > im->floor ? r->floor.seq : im->floor;
        return 0;
    default:
        return 0;
    }
}

static int records_take(struct importer *im)
{
    struct dump_record rec;
    int r;
    while ((r = dump_next(im->in, &rec)) == 1) {
        r = rec.kind == DUMP_MESSAGE ? 0 : import_conv_end(im);
        r = r || rec.kind == DUMP_INBOX ? r : import_inbox_end(im);
        r = r ? r : take(im, &rec);
        if (r)
            return r;
    }
    r = r ? r : import_conv_end(im);
    r = r ? r : import_inbox_end(im);
    return r ? r : still_wait(im->s);
}

/* --- Beginning and end -------------------------------------------------------------------------------------------- */

/* Names that were dropped before the export: it does not say which, and has other places than a partition. */
static int floors_finish(struct importer *im)
{
    char field[8];
    int r = 0;
    for (unsigned p = 0; !r && im->floor && p < PARTITIONS; p++) {
        struct call *c = still_change(im->s, "HSET", p);
        if (!c)
            return ERR_NOMEM;
        call_key(im->s->r, c, 'c', SLICE_NONE);
        for (unsigned i = 0; i < LAYOUT_NAME_FLOORS; i++) {
            snprintf(field, sizeof field, "f%u", i);
            call_arg(c, slice_str(field));
            call_arg_u64(c, im->floor);
        }
        r = import_send(im, c);
    }
    return r;
}

/* What partitions know of themselves: how many channels, the oldest digests, and above which place ids go on. */
static int parts_finish(struct importer *im)
{
    int r = 0;
    for (unsigned p = 0; !r && p < PARTITIONS; p++) {
        struct call *c = still_change(im->s, "SET", p);
        if (!c)
            return ERR_NOMEM;
        call_key(im->s->r, c, 'g', SLICE_NONE);
        call_arg_u64(c, (im->last_id >> 22) * 4096 + 4095);
        r = import_send(im, c);
        if (r || (!im->parts[p].channels && !im->parts[p].window))
            continue;
        c = still_change(im->s, "HSET", p);
        if (!c)
            return ERR_NOMEM;
        call_key(im->s->r, c, 'c', SLICE_NONE);
        call_arg(c, SLICE_LIT("n"));
        call_arg_u64(c, im->parts[p].channels);
        if (im->parts[p].window) {
            call_arg(c, SLICE_LIT("w"));
            call_arg_u64(c, im->parts[p].window);
        }
        r = import_send(im, c);
    }
    return r;
}

/* The first node goes on from this clock. */
static int clock_finish(struct importer *im)
{
    const struct dump_store *d = &im->store;
    char bytes[CLOCK_RECORD_SIZE];
    int64_t by = (int64_t)(d->steady_ms - d->clock_ms);
    struct clock_record record = {.version = 1,
                                  .paused = d->flags & DUMP_PAUSED,
                                  .expiry_ms = d->flags & DUMP_PAUSED ? d->clock_ms : 0,
                                  .from_ms = d->paused_from_ms,
                                  .steady_by_ms = by,
                                  .sure_by_ms = by};
    clock_moves_decode(&record.moves, d->moves);
    int r = put_u64(im, 'N', "clock", d->clock_ms);
    if (!r && (record.paused || record.moves.n || by))
        r = put(im, 'N', SLICE_LIT("time"), slice_of(bytes, clock_record_encode(&record, bytes)));
    return r;
}

static int finish(struct importer *im)
{
    char format[8];
    snprintf(format, sizeof format, "%d", LAYOUT_FORMAT);
    int r = import_channels(im);
    r = r ? r : parts_finish(im);
    r = r ? r : floors_finish(im);
    r = r ? r : clock_finish(im);
    if (!r && im->notes)
        r = put_u64(im, 'V', "", im->notes);
    r = r ? r : still_wait(im->s);
    r = r ? r : put(im, 'C', SLICE_LIT("format"), slice_str(format)); /* last: from now on nodes may come */
    return r ? r : still_wait(im->s);
}

static int found_one(void *ctx, const struct still_key *keys, uint32_t n)
{
    (void)ctx, (void)keys;
    return n ? 1 : 0;
}

static int unlink_all(void *ctx, const struct still_key *keys, uint32_t n)
{
    struct importer *im = ctx;
    int r = 0;
    size_t kind = strlen(im->s->prefix);
    for (uint32_t i = 0; !r && i < n; i++) {
        if (keys[i].rest.p[kind] == 'C')
            continue; /* it says what this is, and goes last */
        struct call *c = still_change(im->s, "UNLINK", keys[i].part);
        if (!c)
            return ERR_NOMEM;
        call_arg(c, keys[i].rest);
        r = import_send(im, c);
    }
    return r;
}

/* Removes all that stands under the prefix; what says that an import is under way, at the end. */
static int clear(struct importer *im)
{
    im->s->status = STORE_OK;
    im->bytes = 0;
    int r = still_scan(im->s, 0, &(struct still_pages){unlink_all, im});
    r = r ? r : still_wait(im->s);
    struct call *c = r ? NULL : still_change(im->s, "UNLINK", 0);
    if (!c)
        return r ? r : ERR_NOMEM;
    call_key(im->s->r, c, 'C', SLICE_NONE);
    still_send(im->s, c);
    return still_wait(im->s);
}

/* Sees to it that there is nothing under the prefix, and that no node comes. */
static int begin(struct importer *im, char *why, size_t why_size)
{
    struct still_ask a;
    struct slice value = SLICE_NONE;
    still_begin(im->s, &a, "HGET", 0, true);
    call_key(im->s->r, &a.call, 'C', SLICE_NONE);
    call_arg(&a.call, SLICE_LIT("format"));
    still_post(im->s, &a);
    int r = still_wait(im->s);
    bool half = !r && still_next(&a.left, &value) && slice_eq(value, FILLING);
    still_free(&a);
    r = r ? r : half ? clear(im) : still_scan(im->s, 0, &(struct still_pages){found_one, im});
    if (r == 1) {
        snprintf(why, why_size,
                 "there is something under the prefix %s of the cluster: an import needs one that has "
                 "nothing",
                 im->s->prefix);
        return ERR_EXISTS;
    }
    r = r ? r : put(im, 'C', SLICE_LIT("format"), FILLING);
    return r ? r : still_wait(im->s);
}

static void tell(const struct importer *im, int r, char *why, size_t why_size)
{
    if (im->in && dump_error(im->in)[0])
        snprintf(why, why_size, "%s", dump_error(im->in));
    else if (im->bad)
        snprintf(why, why_size, "message %llu of the export %s", (unsigned long long)dump_read(im->in, DUMP_MESSAGE),
                 im->bad);
    else if (im->s->status != STORE_OK)
        still_tell(im->s, why, why_size);
    else if (r == ERR_AGAIN)
        snprintf(why, why_size, "the cluster's masters change again and again: try it when all of them are well");
    else
        snprintf(why, why_size, "the cluster cannot be filled: %s", err_str(r));
}

int import_fill(struct importer *im, int (*take_all)(struct importer *im), char *why, size_t why_size)
{
    int r = begin(im, why, why_size);
    if (r && r != ERR_EXISTS)
        tell(im, r, why, why_size);
    if (r)
        return r;
    r = take_all(im);
    r = r ? r : finish(im);
    if (!r)
        return 0;
    tell(im, r, why, why_size);
    if (im->rows) {
        call_drop(im->s->r, im->rows);
        free(im->rows);
    }
    still_drain(im->s); /* what is under way is not to come after the clearing */
    if (clear(im))
        still_tell(im->s, why, why_size);
    return r;
}

int redis_import(const struct store_options *options, struct dump_reader *in, char *why, size_t why_size)
{
    struct still s;
    struct importer *im = calloc(1, sizeof *im);
    snprintf(why, why_size, "out of memory");
    if (!im)
        return ERR_NOMEM;
    im->s = &s;
    im->in = in;
    int r = still_open(&s, options, why, why_size);
    if (!r) {
        r = import_fill(im, records_take, why, why_size);
        still_close(&s);
    }
    free(im);
    return r;
}
