/* The file of an export: blocks with sums, written and read once from beginning to end. See dump.h. */
#include "storage/dump.h"

#include "core/base/buf.h"
#include "core/base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * magic (8 bytes), version u16, 0 u16; then blocks: length u32, records, sum u64. A sum is hash_stable() over the sum
 * before it (of the first block: over the file's first 12 bytes), the length and the records.
 */
enum {
    HEAD = 12,
    SUM = 8,
    LENGTH = 4,
    BLOCK_FULL = 256 * 1024,                       /* bytes of records from which on a block ends */
    BLOCK_MAX = DUMP_CONTENT_MAX + 2 * BLOCK_FULL, /* no block is longer */
    READ_STEP = 1024 * 1024                        /* no more memory at once, whatever a length says */
};
static const char magic[8] = {'\x89', 'M', 'a', 'g', 'p', 'i', 'e', '\n'};

/* --- Writing ------------------------------------------------------------------------------------------------------ */

struct dump_writer {
    int fd;             /* -1: closed */
    char *path, *temp;  /* NULL: standard output; owned */
    bool done;          /* it has its name */
    int error;          /* enum err of the first failure; 0: none */
    int os_error;       /* errno of it */
    enum dump_kind bad; /* kind of the record that was refused; 0: none */
    struct buf block;   /* the sum before, room for the length, then the records so far */
    uint64_t counts[DUMP_KINDS];
};

static int write_all(struct dump_writer *w, const char *p, size_t n)
{
    while (n) {
        ssize_t done = write(w->fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0) {
            w->os_error = errno;
            return ERR_IO;
        }
        p += done;
        n -= (size_t)done;
    }
    return 0;
}

/* Begins a block behind the sum of the one before. */
static void block_begin(struct dump_writer *w, uint64_t sum)
{
    char *p;
    buf_reset(&w->block);
    if ((p = buf_reserve(&w->block, SUM + LENGTH))) {
        store_be64(p, sum);
        memset(p + SUM, 0, LENGTH);
        w->block.n += SUM + LENGTH;
    }
}

static int block_end(struct dump_writer *w)
{
    if (!buf_ok(&w->block))
        return ERR_NOMEM;
    store_be32(w->block.p + SUM, (uint32_t)(w->block.n - SUM - LENGTH));
    uint64_t sum = hash_stable(buf_slice(&w->block));
    char bytes[SUM];
    store_be64(bytes, sum);
    buf_put(&w->block, bytes, SUM);
    int r = buf_ok(&w->block) ? write_all(w, w->block.p + SUM, w->block.n - SUM) : ERR_NOMEM;
    block_begin(w, sum);
    return r;
}

static int writer_begin(struct dump_writer *w)
{
    char head[HEAD] = {0};
    memcpy(head, magic, sizeof magic);
    store_be16(head + sizeof magic, DUMP_VERSION);
    block_begin(w, hash_stable(slice_of(head, HEAD)));
    return buf_ok(&w->block) ? write_all(w, head, HEAD) : ERR_NOMEM;
}

int dump_create(struct dump_writer **out, const char *path, char *why, size_t why_size)
{
    struct dump_writer *w = calloc(1, sizeof *w);
    bool plain = strcmp(path, "-") != 0;
    *out = NULL;
    snprintf(why, why_size, "out of memory");
    if (!w)
        return ERR_NOMEM;
    w->fd = STDOUT_FILENO;
    if (plain) {
        w->fd = -1;
        w->path = strdup(path);
        w->temp = malloc(strlen(path) + sizeof ".tmp");
        if (!w->path || !w->temp) {
            dump_writer_free(w);
            return ERR_NOMEM;
        }
        sprintf(w->temp, "%s.tmp", path);
        w->fd = open(w->temp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    }
    if (!plain && isatty(w->fd)) {
        snprintf(why, why_size, "standard output is a terminal: name a file, or a pipe");
        dump_writer_free(w);
        return ERR_INVALID;
    }
    if (w->fd < 0) {
        snprintf(why, why_size, "cannot write %s: %s", w->temp, strerror(errno));
        free(w->temp); /* it is not ours to remove */
        w->temp = NULL;
        dump_writer_free(w);
        return ERR_IO;
    }
    w->error = writer_begin(w);
    *out = w;
    return 0;
}

int dump_put(struct dump_writer *w, const struct dump_record *r)
{
    if (w->error)
        return w->error;
    w->error = r->kind == DUMP_END ? ERR_INVALID : dump_encode(&w->block, r);
    if (w->error) {
        w->bad = r->kind;
        return w->error;
    }
    w->counts[r->kind]++;
    if (w->block.n >= BLOCK_FULL || !buf_ok(&w->block))
        w->error = block_end(w);
    return w->error;
}

static int put_end(struct dump_writer *w)
{
    char counts[(DUMP_END - 1) * 8];
    for (unsigned k = 1; k < DUMP_END; k++)
        store_be64(counts + 8 * (k - 1), w->counts[k]);
    const struct dump_record end = {.kind = DUMP_END, .end = {slice_of(counts, sizeof counts)}};
    int r = dump_encode(&w->block, &end);
    return r ? r : block_end(w);
}

/* Syncs the directory that has the file's name. */
static int name_sync(const char *path)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd >= 0 && fsync(fd) == 0 ? 0 : ERR_IO;
    if (fd >= 0)
        close(fd);
    return r;
}

static int file_end(struct dump_writer *w)
{
    int fd = w->fd;
    if (fsync(fd) != 0)
        return ERR_IO;
    w->fd = -1;
    if (close(fd) != 0 || rename(w->temp, w->path) != 0)
        return ERR_IO;
    w->done = true;
    return name_sync(w->path);
}

int dump_finish(struct dump_writer *w, char *why, size_t why_size)
{
    w->error = w->error ? w->error : put_end(w);
    if (!w->error && w->temp && (w->error = file_end(w)))
        w->os_error = errno;
    const char *name = w->path ? w->path : "standard output";
    if (w->error == ERR_IO)
        snprintf(why, why_size, "cannot write %s: %s", name, strerror(w->os_error));
    else if (w->error == ERR_INVALID)
        snprintf(why, why_size, "one of the %s has a value that no export may have: the data is damaged",
                 dump_kind_name(w->bad));
    else if (w->error)
        snprintf(why, why_size, "out of memory");
    return w->error;
}

bool dump_failed(const struct dump_writer *w)
{
    return w->error != 0;
}

uint64_t dump_written(const struct dump_writer *w, enum dump_kind kind)
{
    return w->counts[kind];
}

void dump_writer_free(struct dump_writer *w)
{
    if (!w)
        return;
    if (w->fd >= 0 && w->path)
        close(w->fd);
    if (w->temp && !w->done)
        unlink(w->temp);
    free(w->path);
    free(w->temp);
    buf_free(&w->block);
    free(w);
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

struct dump_reader {
    int fd;
    bool own;          /* fd is to be closed */
    char *name;        /* for people; owned */
    struct buf block;  /* the sum before, the length, the records of the present block, their sum */
    struct slice left; /* of its records */
    uint64_t sum;      /* of the block before */
    uint64_t at;       /* bytes read */
    int state;         /* 1: there is more; 0: at a good end; an enum err */
    bool in_conv;      /* messages may come */
    uint64_t counts[DUMP_KINDS];
    char why[DUMP_WHY_MAX];
};

static int reader_fail(struct dump_reader *r, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int reader_fail(struct dump_reader *r, int code, const char *format, ...)
{
    int n = snprintf(r->why, sizeof r->why, "%s ", r->name);
    va_list args;
    va_start(args, format);
    if (n > 0 && (size_t)n < sizeof r->why)
        vsnprintf(r->why + n, sizeof r->why - (size_t)n, format, args);
    va_end(args);
    return r->state = code;
}

/* Appends n bytes of the file to the block; fewer where it ends. Negative: an enum err. */
static int read_more(struct dump_reader *r, size_t n, size_t *got)
{
    *got = 0;
    while (*got < n) {
        size_t step = n - *got < READ_STEP ? n - *got : READ_STEP;
        char *p = buf_reserve(&r->block, step);
        if (!p)
            return reader_fail(r, ERR_NOMEM, "cannot be read: out of memory");
        ssize_t done = read(r->fd, p, step);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return reader_fail(r, ERR_IO, "cannot be read: %s", strerror(errno));
        if (done == 0)
            return 0;
        r->block.n += (size_t)done;
        r->at += (uint64_t)done;
        *got += (size_t)done;
    }
    return 0;
}

static int read_head(struct dump_reader *r)
{
    size_t got;
    buf_reset(&r->block);
    if (read_more(r, HEAD, &got))
        return r->state;
    if (got < sizeof magic || memcmp(r->block.p, magic, sizeof magic) != 0)
        return reader_fail(r, ERR_INVALID, "is no export of magpied");
    if (got < HEAD)
        return reader_fail(r, ERR_INVALID, "is cut short after %llu bytes", (unsigned long long)r->at);
    unsigned version = load_be16(r->block.p + sizeof magic), more = load_be16(r->block.p + sizeof magic + 2);
    if (version != DUMP_VERSION || more)
        return reader_fail(r, ERR_INVALID, "is an export of version %u.%u; this server reads %d.0", version, more,
                           DUMP_VERSION);
    r->sum = hash_stable(slice_of(r->block.p, HEAD));
    r->state = 1;
    return 0;
}

/* Reads the next block and checks its sum. */
static int read_block(struct dump_reader *r)
{
    size_t got;
    uint64_t from = r->at;
    char sum[SUM];
    store_be64(sum, r->sum);
    buf_reset(&r->block);
    buf_put(&r->block, sum, SUM);
    if (read_more(r, LENGTH, &got))
        return r->state;
    uint32_t n = got == LENGTH ? load_be32(r->block.p + SUM) : 0;
    if (got == LENGTH && (n == 0 || n > BLOCK_MAX))
        return reader_fail(r, ERR_INVALID, "is damaged: no block is %u bytes long, as that at byte %llu says", n,
                           (unsigned long long)from);
    if (got == LENGTH && read_more(r, n + SUM, &got))
        return r->state;
    if (!buf_ok(&r->block))
        return reader_fail(r, ERR_NOMEM, "cannot be read: out of memory");
    if (r->at < from + LENGTH + n + SUM || got < SUM)
        return reader_fail(r, ERR_INVALID, "is cut short after %llu bytes", (unsigned long long)r->at);
    r->sum = hash_stable(slice_of(r->block.p, SUM + LENGTH + n));
    if (r->sum != load_be64(r->block.p + SUM + LENGTH + n))
        return reader_fail(r, ERR_INVALID, "is damaged: the block at byte %llu has another sum than it says",
                           (unsigned long long)from);
    r->left = slice_of(r->block.p + SUM + LENGTH, n);
    return 0;
}

/* END has come: the counts are right, and nothing follows. */
static int read_end(struct dump_reader *r, const struct dump_end *end)
{
    size_t got;
    for (unsigned k = 1; k < DUMP_END; k++) {
        uint64_t n = load_be64(end->counts.p + 8 * (k - 1));
        if (n != r->counts[k])
            return reader_fail(r, ERR_INVALID, "has %llu %s and says it has %llu", (unsigned long long)r->counts[k],
                               dump_kind_name((enum dump_kind)k), (unsigned long long)n);
    }
    if (r->left.n)
        return reader_fail(r, ERR_INVALID, "goes on after its last record");
    buf_reset(&r->block);
    if (read_more(r, 1, &got))
        return r->state;
    return got ? reader_fail(r, ERR_INVALID, "goes on after its end, at byte %llu", (unsigned long long)r->at - 1)
               : (r->state = 0);
}

/* Whether a record may stand here. */
static bool in_order(struct dump_reader *r, enum dump_kind kind)
{
    bool first = !r->counts[DUMP_STORE];
    if (kind == DUMP_MESSAGE)
        return r->in_conv;
    r->in_conv = kind == DUMP_CONV;
    return (kind == DUMP_STORE) == first;
}

int dump_next(struct dump_reader *r, struct dump_record *out)
{
    if (r->state != 1)
        return r->state;
    if (!r->left.n && read_block(r))
        return r->state;
    if (dump_decode(&r->left, out))
        return reader_fail(r, ERR_INVALID,
                           "has a record before byte %llu that is none, or has a value that is not "
                           "allowed",
                           (unsigned long long)r->at);
    if (!in_order(r, out->kind))
        return reader_fail(r, ERR_INVALID, "has one of its %s before byte %llu where none may stand",
                           dump_kind_name(out->kind), (unsigned long long)r->at);
    if (out->kind == DUMP_END)
        return read_end(r, &out->end);
    r->counts[out->kind]++;
    return 1;
}

const char *dump_error(const struct dump_reader *r)
{
    return r->why;
}

uint64_t dump_read(const struct dump_reader *r, enum dump_kind kind)
{
    return r->counts[kind];
}

int dump_open(struct dump_reader **out, const char *path, char *why, size_t why_size)
{
    struct dump_reader *r = calloc(1, sizeof *r);
    bool plain = strcmp(path, "-") != 0;
    *out = NULL;
    snprintf(why, why_size, "out of memory");
    if (!r)
        return ERR_NOMEM;
    r->own = plain;
    r->fd = plain ? -1 : STDIN_FILENO;
    r->name = strdup(plain ? path : "standard input");
    int code = r->name ? 0 : ERR_NOMEM;
    if (!code && plain && (r->fd = open(path, O_RDONLY | O_CLOEXEC)) < 0) {
        snprintf(why, why_size, "cannot read %s: %s", path, strerror(errno));
        code = ERR_IO;
    } else if (!code && (code = read_head(r))) {
        snprintf(why, why_size, "%s", r->why);
    }
    if (code) {
        dump_reader_free(r);
        return code;
    }
    *out = r;
    return 0;
}

bool dump_can_rewind(const struct dump_reader *r)
{
    struct stat st;
    return r->own && fstat(r->fd, &st) == 0 && S_ISREG(st.st_mode);
}

int dump_rewind(struct dump_reader *r)
{
    if (lseek(r->fd, 0, SEEK_SET) != 0)
        return reader_fail(r, ERR_IO, "cannot be read again: %s", strerror(errno));
    r->left = SLICE_NONE;
    r->at = 0;
    r->in_conv = false;
    r->why[0] = '\0';
    memset(r->counts, 0, sizeof r->counts);
    return read_head(r);
}

void dump_reader_free(struct dump_reader *r)
{
    if (!r)
        return;
    if (r->own && r->fd >= 0)
        close(r->fd);
    free(r->name);
    buf_free(&r->block);
    free(r);
}
