/*
 * The store against RocksDB alone, on the same disk, in the same run, in turns.
 *
 *     store_bench [--dir FOLDER] [--seconds N] [--json] [append] [latency] [history]
 *
 *   append   private messages at durability `sync` through the store, against RocksDB committing the same rows in
 *            groups of 256, one fsync each
 *   latency  one private message at a time, against one fdatasync of as many bytes on the same disk
 *   history  pages of 50 from a channel of 10,000 messages, after a seq and (`before`) before one, against an
 *            iterator over the same tables
 *
 * FOLDER must be on the disk that is meant; it is made, and emptied again. Exit status 1 when a target of
 * docs/performance.md is missed.
 */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "storage/local/batch.h"
#include "storage/conv_key.h"
#include "storage/local/local_private.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    GROUP = 256,
    CONTENT = 128, /* bytes of a message */
    USERS = 2000,
    WIDTH = 2048,     /* appends under way */
    ROUNDS = 15,      /* of appends */
    MESSAGES = 10000, /* of the channel */
    PAGE = 50,
    ASKED = 32, /* pages under way */
    TURNS = 5000,
    TURN = 1000, /* pages that one side reads before it is the other's turn */
    WARM = 500   /* pages before those, not counted: a processor that slept is slow at first */
};

enum part { APPEND, LATENCY, HISTORY, PARTS };
static const char *const part_names[PARTS] = {"append", "latency", "history"};

struct bench {
    char dir[512];
    double seconds; /* a measurement takes */
    bool json;
    unsigned parts; /* bits 1 << enum part */
    struct store *store;
    struct mailbox mb;
    sem_t wake;
    uint64_t done; /* operations answered */
    uint64_t bad;  /* not with STORE_OK */
    char text[CONTENT];
};

static double now_s(void)
{
    return (double)clock_mono_us() / 1e6;
}

static void wake(void *ctx)
{
    sem_post(&((struct bench *)ctx)->wake);
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "store_bench: %s: %s\n", what, why);
    exit(1);
}

static void run_shell(const char *fmt, const char *dir)
{
    char cmd[1200];
    snprintf(cmd, sizeof(cmd), fmt, dir);
    if (system(cmd) != 0)
        die(cmd, "failed");
}

static void pump(struct bench *b)
{
    while (sem_wait(&b->wake) && errno == EINTR) {
    }
    mailbox_run(&b->mb, b);
}

static struct store_options options_of(const char *dir)
{
    return (struct store_options){
        .engine = "rocksdb",
        .path = dir,
        .memory = 128u << 20,
        .sync_every_ms = 1000,
        .tiers = {{0, 100000, DURABILITY_SYNC}, {0, 20000, DURABILITY_COMMIT}, {0, 20000, DURABILITY_COMMIT}},
        .dedup_window_ms = 600000,
        .inbox_max = 10000};
}

/* --- Appending through the store ---------------------------------------------------------------------------------- */

struct send {
    struct store_append op;
    struct conv_key conv;
    char from[16], to[16], client[24];
    struct send *next; /* free ones */
};

static struct send sends[WIDTH];
static struct send *idle;
static uint64_t send_count;

static void send_done(void *owner, struct store_op *op)
{
    struct bench *b = owner;
    struct send *q = (struct send *)op; /* its first member's first member */
    b->done++;
    b->bad += op->status != STORE_OK;
    q->next = idle;
    idle = q;
}

static void send_fill(struct bench *b, struct send *q, uint64_t n)
{
    uint64_t from = n * 7919 % USERS, to = (from + 1 + n % 10) % USERS;
    int f = snprintf(q->from, sizeof(q->from), "user%06u", (unsigned)from),
        t = snprintf(q->to, sizeof(q->to), "user%06u", (unsigned)to);
    int c = snprintf(q->client, sizeof(q->client), "client-%010llu", (unsigned long long)n);
    q->conv = conv_key_pair(slice_of(q->from, (size_t)f), slice_of(q->to, (size_t)t));
    q->op = (struct store_append){.op = {.home = &b->mb, .done = send_done},
                                  .conv = conv_key_slice(&q->conv),
                                  .tier = TIER_DM,
                                  .sender = slice_of(q->from, (size_t)f),
                                  .sender_name = SLICE_LIT("Somebody"),
                                  .content = slice_of(b->text, CONTENT),
                                  .client_id = slice_of(q->client, (size_t)c),
                                  .receiver = slice_of(q->to, (size_t)t)};
}

static void send_next(struct bench *b)
{
    struct send *q = idle;
    idle = q->next;
    send_fill(b, q, send_count++);
    store_append(b->store, &q->op);
}

/* Appends a second. */
static double append_store(struct bench *b)
{
    uint64_t start = b->done, sent = 0;
    double began = now_s(), end = began + b->seconds / 3;
    while (now_s() < end) {
        for (; idle; sent++)
            send_next(b);
        pump(b);
    }
    while (b->done < start + sent)
        pump(b);
    return (double)sent / (now_s() - began);
}

/* --- The same rows by RocksDB alone ------------------------------------------------------------------------------- */

/* The rows of one message, as the store writes them. */
static void rows_put(struct batch *batch, struct send *q, uint64_t seq, uint64_t id)
{
    struct store_append *a = &q->op;
    struct key k;
    uint64_t now = clock_wall_ms();
    if (batch_reserve(batch, 6, 4096))
        die("rows", "out of memory");
    struct message_record m = {.row = {.cls = EXPIRY_DM, .birth_ms = now},
                               .id = id,
                               .created_ms = now,
                               .sender = a->sender,
                               .sender_name = a->sender_name,
                               .content = a->content};
    message_encode(batch_put(batch, KV_DM, key_message(&k, a->conv, seq), message_size(&m)), &m);
    struct head_record h = {.seq = seq, .last_id = id, .tiers_used = 1};
    head_encode(batch_put(batch, KV_CHANNEL, key_head(&k, a->conv), HEAD_SIZE), &h);
    mark_encode(batch_put(batch, KV_USER, key_mark(&k, a->sender, a->conv), MARK_SIZE), seq);
    struct dedup_record d = {.row = {.cls = EXPIRY_DEDUP, .birth_ms = now}, .seq = seq, .id = id, .created_ms = now};
    dedup_encode(batch_put(batch, KV_DEDUP, key_dedup(&k, a->sender, a->conv, a->client_id), DEDUP_SIZE), &d);
    struct inbox_record r = {.row = m.row, .seq = seq, .conv = a->conv};
    inbox_encode(batch_put(batch, KV_INBOX, key_inbox(&k, a->receiver, id), inbox_size(&r)), &r);
}

/* Messages a second; only RocksDB's own work is timed. */
static double append_raw(struct bench *b, struct kv *kv)
{
    static uint64_t n;
    struct batch batch = {0};
    struct send *q = malloc(sizeof(*q));
    double spent = 0;
    uint64_t count = 0;
    while (spent < b->seconds / 3) {
        batch_reset(&batch);
        for (int i = 0; i < GROUP; i++, n++) {
            send_fill(b, q, n);
            rows_put(&batch, q, n / USERS + 1, n + 1);
        }
        struct kv_change *changes = malloc(batch.count * sizeof(*changes));
        for (uint32_t i = 0; i < batch.count; i++)
            changes[i] = batch.entries[i].change;
        double began = now_s();
        if (kv->ops->write(kv, changes, batch.count) || kv->ops->sync(kv))
            die("rocksdb", "a write failed");
        spent += now_s() - began;
        count += GROUP;
        free(changes);
    }
    batch_fini(&batch);
    free(q);
    return (double)count / spent;
}

/* --- Latency ------------------------------------------------------------------------------------------------------ */

static int cmp_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Medians in µs of n appends and n fdatasyncs, in turns. */
static void latency(struct bench *b, uint64_t *append_us, uint64_t *sync_us)
{
    enum { N = 1000 };
    static uint64_t appends[N], syncs[N];
    char name[600], bytes[1024];
    snprintf(name, sizeof(name), "%s/fdatasync", b->dir);
    int fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    memset(bytes, 'x', sizeof(bytes));
    if (fd < 0)
        die(name, strerror(errno));
    for (int i = 0; i < N; i++) {
        uint64_t t = clock_mono_us(), start = b->done;
        send_next(b);
        while (b->done == start)
            pump(b);
        appends[i] = clock_mono_us() - t;
        usleep(1000);
        t = clock_mono_us();
        if (write(fd, bytes, 640) != 640 || fdatasync(fd))
            die(name, strerror(errno));
        syncs[i] = clock_mono_us() - t;
        usleep(1000);
    }
    close(fd);
    unlink(name);
    qsort(appends, N, sizeof(appends[0]), cmp_u64);
    qsort(syncs, N, sizeof(syncs[0]), cmp_u64);
    *append_us = appends[N / 2];
    *sync_us = syncs[N / 2];
}

/* --- History ------------------------------------------------------------------------------------------------------ */

struct ask {
    struct store_range op;
    bool free;
};
static struct ask asks[ASKED];

static void ask_done(void *owner, struct store_op *op)
{
    struct bench *b = owner;
    struct ask *q = (struct ask *)op;
    b->done++;
    b->bad += op->status != STORE_OK || q->op.page.n != PAGE;
    store_page_free(&q->op.page);
    q->free = true;
}

static void fill_done(void *owner, struct store_op *op)
{
    struct bench *b = owner;
    b->done++;
    b->bad += op->status != STORE_OK;
}

static void history_fill(struct bench *b, const struct conv_key *conv)
{
    static struct store_append ops[MESSAGES];
    struct store_member_put made = {.op = {.home = &b->mb, .done = fill_done},
                                    .conv = conv_key_slice(conv),
                                    .user = SLICE_LIT("user000001"),
                                    .may_create = true};
    uint64_t start = b->done + 1;
    store_member_put(b->store, &made);
    for (int i = 0; i < MESSAGES; i++) {
        ops[i] = (struct store_append){.op = {.home = &b->mb, .done = fill_done},
                                       .conv = conv_key_slice(conv),
                                       .tier = TIER_SMALL,
                                       .sender = SLICE_LIT("user000001"),
                                       .sender_name = SLICE_LIT("Somebody"),
                                       .content = slice_of(b->text, CONTENT)};
        store_append(b->store, &ops[i]);
    }
    while (b->done < start + MESSAGES)
        pump(b);
}

/* Where page n begins: everywhere in turn. */
static uint64_t page_at(uint64_t n)
{
    return n * 7919 % (MESSAGES - PAGE);
}

/* Processor time of a thread, s, which unlike wall time does not tell of what else runs on the machine. */
static double cpu_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/*
 * Of this thread and the readers, s. Not the process's clock: that knows of a thread that runs at this moment only what
 * was so at the kernel's last tick, up to 4 ms ago, and the readers run when the first look is taken and sleep at the
 * second.
 */
static double cpu_s(const struct bench *b)
{
    double sum = cpu_of(CLOCK_THREAD_CPUTIME_ID);
    clockid_t clock;
    for (uint32_t i = 0; i < local_of(b->store)->reader_count; i++)
        if (pthread_getcpuclockid(local_of(b->store)->readers[i].thread, &clock) == 0)
            sum += cpu_of(clock);
    return sum;
}

static void ask(struct bench *b, struct ask *q, const struct conv_key *conv, uint64_t n, bool up)
{
    q->op = (struct store_range){.op = {.home = &b->mb, .done = ask_done},
                                 .conv = conv_key_slice(conv),
                                 .has_after = up,
                                 .has_before = !up,
                                 .after = page_at(n),
                                 .before = page_at(n) + PAGE + 1,
                                 .limit = PAGE,
                                 .page_bytes = 256 * 1024};
    q->free = false;
    store_range(b->store, &q->op);
}

/* The pages of one turn; µs of processor time each, the asking and the answering thread's together. */
static double history_store(struct bench *b, const struct conv_key *conv, uint64_t n, bool up)
{
    uint64_t start = b->done, sent = 0, warm = 0;
    double began = 0;
    for (int i = 0; i < ASKED; i++)
        asks[i].free = true;
    while (b->done < start + WARM + TURN) {
        for (int i = 0; i < ASKED && sent < WARM + TURN; i++)
            if (asks[i].free)
                ask(b, &asks[i], conv, n + sent++, up);
        pump(b);
        if (!warm && b->done >= start + WARM) {
            warm = b->done;
            began = cpu_s(b);
        }
    }
    return (cpu_s(b) - began) * 1e6 / (double)(b->done - warm);
}

/* The same pages by an iterator alone, which goes the way that it is quicker at: up. */
static double history_raw(struct kv *kv, const struct conv_key *conv, uint64_t n)
{
    static volatile uint64_t bytes;
    (void)bytes; /* written so that rows are read */
    double began = 0;
    for (int i = 0; i < WARM + TURN; i++, n++) {
        struct key at;
        struct slice key, value;
        if (i == WARM)
            began = cpu_of(CLOCK_THREAD_CPUTIME_ID);
        struct kv_iter *it = kv_iter_new(kv, KV_SMALL, SLICE_NONE, SLICE_NONE);
        int rows = 0;
        kv_seek(it, key_message(&at, conv_key_slice(conv), page_at(n) + 1));
        while (kv_row(it, &key, &value)) {
            bytes += key.n + value.n;
            if (++rows == PAGE)
                break;
            kv_next(it);
        }
        if (rows != PAGE)
            die("history", "a page is not whole");
        kv_iter_free(it);
    }
    return (cpu_of(CLOCK_THREAD_CPUTIME_ID) - began) * 1e6 / TURN;
}

/* --- All of it ---------------------------------------------------------------------------------------------------- */

static void store_start(struct bench *b)
{
    char dir[600], why[512];
    snprintf(dir, sizeof(dir), "%s/store", b->dir);
    struct store_options o = options_of(dir);
    if (store_open(&b->store, &o, why, sizeof(why)))
        die("store", why);
}

static int cmp_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}
static double median(double *v, size_t n)
{
    qsort(v, n, sizeof(*v), cmp_double);
    return v[n / 2];
}

static struct kv *kv_start(struct bench *b, const char *sub, bool create)
{
    static struct expiry expiry; /* nothing expires */
    char dir[600], why[512];
    struct kv *kv;
    snprintf(dir, sizeof(dir), "%s/%s", b->dir, sub);
    if (create)
        mkdir(dir, 0700);
    struct kv_rocksdb_options o = {.path = dir,
                                   .memory = 128u << 20,
                                   .expiry = &expiry,
                                   .create = create,
                                   .complete = create,
                                   .read_only = !create};
    if (kv_rocksdb_open(&kv, &o, why, sizeof(why)))
        die("rocksdb", why);
    return kv;
}

static bool report(struct bench *b, const char *name, const char *unit, double store, double raw, double bound,
                   bool higher)
{
    double ratio = store / raw;
    bool good = higher ? store >= bound : store <= bound;
    if (b->json) {
        printf(
            "{\"name\":\"%s\",\"unit\":\"%s\",\"store\":%.1f,\"raw\":%.1f,\"ratio\":%.3f,\"bound\":%.1f,\"good\":%s}\n",
            name, unit, store, raw, ratio, bound, good ? "true" : "false");
    } else {
        printf("%-8s %12.0f %12.0f %8.2f   %s %.0f %s: %s\n", name, store, raw, ratio, higher ? "at least" : "at most",
               bound, unit, good ? "good" : "MISSED");
    }
    fflush(stdout);
    return good;
}

/* Both sides in short turns, many of them, so that whatever else the machine does falls on both alike. */
static bool history(struct bench *b)
{
    static double up[TURNS], down[TURNS], raw[TURNS];
    struct conv_key conv = conv_key_channel(SLICE_LIT("history"));
    size_t n = 0;
    history_fill(b, &conv);
    store_close(b->store); /* into tables */
    struct kv *kv = kv_start(b, "store/db", false);
    store_start(b);
    kv_thread(kv); /* no counters per row, as in the store */
    for (double end = now_s() + b->seconds * 3; n < TURNS && now_s() < end; n++) {
        down[n] = history_store(b, &conv, n * TURN, false);
        up[n] = history_store(b, &conv, n * TURN, true);
        raw[n] = history_raw(kv, &conv, n * TURN);
    }
    kv_close(kv);
    double alone = median(raw, n);
    bool good = report(b, "history", "us", median(up, n), alone, alone * 1.5, false);
    return report(b, "before", "us", median(down, n), alone, alone * 1.5, false) && good;
}

static bool measure(struct bench *b)
{
    double store[ROUNDS], raw[ROUNDS];
    uint64_t append_us, sync_us;
    bool good = true;
    if (!b->json)
        printf("%-8s %12s %12s %8s\n", "", "store", "raw", "ratio");
    store_start(b);
    struct kv *kv = kv_start(b, "raw", true);
    for (int i = 0; i < WIDTH; i++) {
        sends[i].next = idle;
        idle = &sends[i];
    }
    double r;
    if (b->parts & 1u << APPEND) {
        for (int i = 0; i < ROUNDS; i++) {
            store[i] = append_store(b);
            raw[i] = append_raw(b, kv);
        }
        r = median(raw, ROUNDS);
        good &= report(b, "append", "messages/s", median(store, ROUNDS), r, r / 2, true);
    }
    if (b->parts & 1u << LATENCY) {
        latency(b, &append_us, &sync_us);
        good &= report(b, "latency", "us", (double)append_us, (double)sync_us, (double)sync_us * 1.5 + 200, false);
    }
    kv_close(kv);
    if (b->parts & 1u << HISTORY)
        good &= history(b);
    store_close(b->store);
    if (b->bad)
        die("store", "an operation failed");
    return good;
}

static unsigned part_of(const char *name)
{
    unsigned i = 0;
    while (i < PARTS && strcmp(part_names[i], name) != 0)
        i++;
    return i;
}

int main(int argc, char **argv)
{
    static struct bench b = {.dir = "build/store-bench", .seconds = 2};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            b.json = true;
        } else if (strcmp(argv[i], "--dir") == 0 && i + 1 < argc) {
            snprintf(b.dir, sizeof(b.dir), "%s", argv[++i]);
        } else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc && atof(argv[i + 1]) > 0) {
            b.seconds = atof(argv[++i]);
        } else if (part_of(argv[i]) < PARTS) {
            b.parts |= 1u << part_of(argv[i]);
        } else {
            fprintf(stderr, "usage: store_bench [--dir FOLDER] [--seconds N] [--json] [append] [latency] [history]\n");
            return 2;
        }
    }
    b.parts = b.parts ? b.parts : (1u << PARTS) - 1;
    log_open(NULL, LOG_TEXT, LOG_WARN);
    sem_init(&b.wake, 0, 0);
    mailbox_init(&b.mb, wake, &b);
    memset(b.text, 'm', CONTENT);
    run_shell("rm -rf '%s'", b.dir);
    run_shell("mkdir -p '%s'", b.dir);
    bool good = measure(&b);
    run_shell("rm -rf '%s'", b.dir);
    mailbox_fini(&b.mb);
    return good ? 0 : 1;
}
