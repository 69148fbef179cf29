/*
 * Writes and reads through the Redis engine while somebody breaks the cluster, and says whether what it was told held.
 *
 *     drive PREFIX HOST:PORT,… [COPIES]
 *
 * Some writers, each with one message under way, repeat what is not known to be stored, under the same clientId.
 * Readers look at the newest page of each channel all the time. A line "stored N" goes out whenever N has grown, some
 * times a second. When the input closes, all that is under way is finished, and everything is read back: numbers
 * without a gap, ids that ascend, each message once and under the number that was acknowledged, and what any page ever
 * showed. The last line tells the figures; exit status 1 and a sentence where something is wrong.
 */
#include "tests/cluster/driver.h"

#include "core/base/clock.h"

#include <stdarg.h>

enum {
    CHANNELS = 24,
    WRITERS = 72, /* three a channel */
    TURN_MS = 20, /* a writer writes once in it, at most */
    SEQS = 100000,
    PAGE = 50,
    GIVE_UP_MS = 60000 /* after the end, for what is still under way */
};

/* What is known of a number of a channel. */
struct row {
    char content[24]; /* empty: nothing yet */
    uint64_t id;
};

struct channel {
    struct conv_key key;
    struct row *rows; /* by seq, SEQS of them */
    uint64_t newest;  /* that anybody was told of */
    struct store_range page;
    bool reading;
};

struct writer {
    struct store_append op;
    struct channel *channel;
    char name[12], content[24];
    unsigned number;      /* of the message under way */
    bool under;           /* it is under way */
    bool again;           /* it must be written again: what became of it is not known */
    bool unknown;         /* it may have been stored by a write before: then it is a repeat */
    uint64_t last, since; /* seq of the one before; when this one was written first */
};

struct drive {
    struct store *store;
    struct driver d;
    struct channel channels[CHANNELS];
    struct writer writers[WRITERS];
    uint64_t stored, retries, unknown, repeats, slowest_ms;
    bool ending;
    unsigned waits; /* operations of make_channels() */
};

__attribute__((format(printf, 1, 2), noreturn)) static void wrong(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    printf("wrong: ");
    vprintf(format, list);
    printf("\n");
    fflush(stdout);
    exit(1);
}

/* Somebody was told that this is the message of that number. */
static void told(struct channel *c, uint64_t seq, uint64_t id, struct slice content)
{
    if (seq == 0 || seq >= SEQS)
        wrong("seq %llu", (unsigned long long)seq);
    struct row *r = &c->rows[seq];
    if (r->content[0] && (!slice_eq(slice_str(r->content), content) || r->id != id))
        wrong("%.*s: %llu is \"%.*s\" (%llu), and was \"%s\" (%llu)", (int)c->key.n, c->key.p, (unsigned long long)seq,
              (int)content.n, content.p, (unsigned long long)id, r->content, (unsigned long long)r->id);
    snprintf(r->content, sizeof r->content, "%.*s", (int)content.n, content.p);
    r->id = id;
    c->newest = seq > c->newest ? seq : c->newest;
}

/* --- Writing and reading ----------------------------------------------------------------------------------------- */

static void written(void *owner, struct store_op *op)
{
    struct drive *d = owner;
    struct writer *w = (struct writer *)op;
    w->under = false;
    w->again = op->status != STORE_OK;
    if (op->status == STORE_RETRY || op->status == STORE_UNKNOWN) {
        d->retries += op->status == STORE_RETRY;
        d->unknown += op->status == STORE_UNKNOWN;
        w->unknown |= op->status == STORE_UNKNOWN;
        return;
    }
    if (op->status != STORE_OK)
        wrong("an append was answered %d", (int)op->status);
    uint64_t took = clock_mono_ms() - w->since;
    d->slowest_ms = took > d->slowest_ms ? took : d->slowest_ms;
    d->repeats += w->op.duplicate;
    if (w->op.duplicate && !w->unknown) /* nobody would be told of it */
        wrong("%s is called a repeat, and was written once", w->content);
    d->stored++;
    told(w->channel, w->op.seq, w->op.id, slice_str(w->content));
    if (w->op.seq <= w->last)
        wrong("%s has number %llu, and the one before it %llu", w->content, (unsigned long long)w->op.seq,
              (unsigned long long)w->last);
    w->last = w->op.seq;
}

static void write_next(struct drive *d, struct writer *w)
{
    if (w->under || (d->ending && !w->again))
        return;
    if (!w->again) {
        w->unknown = false;
        w->since = clock_mono_ms();
        snprintf(w->content, sizeof w->content, "%s.%u", w->name, w->number++);
    }
    w->under = true;
    w->op = (struct store_append){.op = {.home = &d->d.mb, .done = written, .lazy = true},
                                  .conv = conv_key_slice(&w->channel->key),
                                  .tier = TIER_SMALL,
                                  .sender = slice_str(w->name),
                                  .sender_name = slice_str(w->name),
                                  .content = slice_str(w->content),
                                  .client_id = slice_str(w->content)};
    store_append(d->store, &w->op);
}

static void was_read(void *owner, struct store_op *op)
{
    struct store_range *r = (struct store_range *)op;
    struct channel *c = (struct channel *)((char *)r - offsetof(struct channel, page));
    (void)owner;
    c->reading = false;
    if (op->status == STORE_RETRY)
        return;
    if (op->status != STORE_OK)
        wrong("a page was answered %d", (int)op->status);
    for (uint32_t i = 0; i < r->page.n; i++)
        told(c, r->page.messages[i].seq, r->page.messages[i].id, r->page.messages[i].content);
    store_page_free(&r->page);
}

static void read_next(struct drive *d, struct channel *c)
{
    if (c->reading)
        return;
    c->reading = true;
    c->page = (struct store_range){
        .op = {.home = &d->d.mb, .done = was_read}, .conv = conv_key_slice(&c->key), .limit = PAGE};
    store_range(d->store, &c->page);
}

static bool under_way(const struct drive *d)
{
    for (unsigned i = 0; i < WRITERS; i++)
        if (d->writers[i].under || d->writers[i].again)
            return true;
    for (unsigned i = 0; i < CHANNELS; i++)
        if (d->channels[i].reading)
            return true;
    return false;
}

/* Runs what has been answered, for so long at most; false: the input has closed. */
static bool pump(struct drive *d, int ms)
{
    char input[64];
    return !driver_wait(&d->d, d, !d->ending, ms) || read(0, input, sizeof input) > 0;
}

static void run(struct drive *d)
{
    uint64_t turn = 0, said = 0, said_at = 0, end = UINT64_MAX;
    while (!d->ending || under_way(d)) {
        uint64_t now = clock_mono_ms();
        if (now >= turn + TURN_MS) {
            turn = now;
            for (unsigned i = 0; i < WRITERS; i++)
                write_next(d, &d->writers[i]);
            for (unsigned i = 0; i < CHANNELS && !d->ending; i++)
                read_next(d, &d->channels[i]);
            store_kick(d->store);
        }
        if (now >= said_at + 200 && d->stored > said) {
            said = d->stored;
            said_at = now;
            printf("stored %llu\n", (unsigned long long)said);
            fflush(stdout);
        }
        if (now > end)
            wrong("what was under way at the end was not answered");
        if (!pump(d, 5)) {
            d->ending = true;
            end = clock_mono_ms() + GIVE_UP_MS;
        }
    }
}

/* --- Beginning and end ------------------------------------------------------------------------------------------- */

static void joined(void *owner, struct store_op *op)
{
    if (op->status != STORE_OK)
        wrong("a channel was not made: %d", (int)op->status);
    ((struct drive *)owner)->waits--;
}

static void make_channels(struct drive *d)
{
    static struct store_member_put puts[CHANNELS];
    struct store_user_save user = {
        .op = {.home = &d->d.mb, .done = joined}, .id = SLICE_LIT("maker"), .name = SLICE_LIT("maker")};
    d->waits = 1;
    store_user_save(d->store, &user);
    while (d->waits)
        pump(d, 100);
    d->waits = CHANNELS;
    for (unsigned i = 0; i < CHANNELS; i++) {
        char name[16];
        snprintf(name, sizeof name, "drive%u", i);
        d->channels[i].key = conv_key_channel(slice_str(name));
        d->channels[i].rows = calloc(SEQS, sizeof(struct row));
        puts[i] = (struct store_member_put){.op = {.home = &d->d.mb, .done = joined},
                                            .conv = conv_key_slice(&d->channels[i].key),
                                            .user = SLICE_LIT("maker"),
                                            .may_create = true};
        store_member_put(d->store, &puts[i]);
    }
    while (d->waits)
        pump(d, 100);
    for (unsigned i = 0; i < WRITERS; i++) {
        d->writers[i].channel = &d->channels[i % CHANNELS];
        snprintf(d->writers[i].name, sizeof d->writers[i].name, "w%u", i);
    }
}

/* Reads a channel from its first message; checks numbers and ids; returns how many there are. */
static uint64_t check_channel(struct drive *d, struct channel *c)
{
    uint64_t seq = 0, id = 0, end = clock_mono_ms() + GIVE_UP_MS;
    for (bool more = true; more;) {
        struct store_range r = {.op = {.home = &d->d.mb, .done = joined},
                                .conv = conv_key_slice(&c->key),
                                .has_after = true,
                                .after = seq,
                                .limit = 500};
        d->waits = 1;
        r.op.done = joined;
        store_range(d->store, &r);
        while (d->waits && clock_mono_ms() < end)
            pump(d, 100);
        for (uint32_t i = 0; i < r.page.n; i++) {
            const struct store_message *m = &r.page.messages[i];
            if (m->seq != seq + 1 || m->id <= id)
                wrong("%.*s: %llu (%llu) comes after %llu (%llu)", (int)c->key.n, c->key.p, (unsigned long long)m->seq,
                      (unsigned long long)m->id, (unsigned long long)seq, (unsigned long long)id);
            seq = m->seq;
            id = m->id;
            told(c, seq, id, m->content);
        }
        more = r.more;
        store_page_free(&r.page);
    }
    if (c->newest != seq)
        wrong("%.*s ends at %llu; %llu was told of", (int)c->key.n, c->key.p, (unsigned long long)seq,
              (unsigned long long)c->newest);
    return seq;
}

static void check(struct drive *d)
{
    uint64_t all = 0;
    for (unsigned i = 0; i < CHANNELS; i++)
        all += check_channel(d, &d->channels[i]);
    /* Each that is there was told as stored under one number; as many as there are, so none is there twice. */
    if (all != d->stored)
        wrong("%llu messages are there; %llu were stored", (unsigned long long)all, (unsigned long long)d->stored);
    printf("right: stored %llu, repeats %llu, retries %llu, unknown %llu, slowest %llu ms\n",
           (unsigned long long)d->stored, (unsigned long long)d->repeats, (unsigned long long)d->retries,
           (unsigned long long)d->unknown, (unsigned long long)d->slowest_ms);
}

int main(int argc, char **argv)
{
    static struct drive d;
    char why[512] = "";
    if (argc < 3 || argc > 4)
        wrong("usage: drive PREFIX HOST:PORT,… [COPIES]");
    driver_init(&d.d);
    struct store_options o = driver_options(argc, argv);
    if (store_open(&d.store, &o, why, sizeof why))
        wrong("%s", why);
    make_channels(&d);
    run(&d);
    check(&d);
    store_close(d.store);
    return 0;
}
