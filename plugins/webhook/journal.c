#include "journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { HEAD = 8, SEGMENT_BYTES = 1 << 20, CHUNK = 65536 };

struct journal {
    char *directory;             /* owned */
    uint64_t limit;              /* bytes of all segments */
    uint64_t oldest, newest;     /* numbers of segments; oldest <= newest */
    int fd;                      /* of the newest */
    uint64_t end;                /* bytes in it */
    uint64_t at_segment, at;     /* the cursor */
    uint64_t next_segment, next; /* where the last peek ended */
    uint64_t backlog;            /* bytes from the cursor to the end */
    struct journal_loss loss;    /* since it was last told */
    struct journal_loss skipped; /* by the last peek; `damaged` and `bytes` alone */
    char *buffer;                /* of one record; owned */
    size_t room;                 /* bytes of it */
};

static void segment_path(const struct journal *j, uint64_t number, char *out, size_t size)
{
    snprintf(out, size, "%s/%016llx.events", j->directory, (unsigned long long)number);
}

static uint32_t crc32_of(const unsigned char *p, size_t n)
{
    return (uint32_t)crc32(0, p, (uInt)n);
}

static void put32(unsigned char *p, uint32_t v)
{
    p[0] = (unsigned char)(v >> 24);
    p[1] = (unsigned char)(v >> 16);
    p[2] = (unsigned char)(v >> 8);
    p[3] = (unsigned char)v;
}

static uint32_t get32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

static bool make_room(struct journal *j, size_t n)
{
    if (n <= j->room)
        return true;
    char *p = realloc(j->buffer, n);
    if (!p) {
        errno = ENOMEM;
        return false;
    }
    j->buffer = p;
    j->room = n;
    return true;
}

/* The record at an offset into j->buffer: its size with the head; 0: no whole one stands there; -1: the disk
 * refused. */
static ssize_t read_record(struct journal *j, int fd, uint64_t at, uint64_t end)
{
    unsigned char head[HEAD];
    ssize_t n = pread(fd, head, HEAD, (off_t)at);
    if (n < 0)
        return -1;
    uint32_t size = n == HEAD ? get32(head) : 0;
    if (size == 0 || size > JOURNAL_RECORD_MAX || at + HEAD + size > end)
        return 0;
    if (!make_room(j, size))
        return -1;
    n = pread(fd, j->buffer, size, (off_t)(at + HEAD));
    if (n < 0)
        return -1;
    if ((uint32_t)n != size || crc32_of((const unsigned char *)j->buffer, size) != get32(head + 4))
        return 0;
    return (ssize_t)size + HEAD;
}

/* Where the next whole record stands behind damage at `at`; `end`: there is none; -1: the disk refused. Events are text
 * without zero bytes, and a length begins with one: hardly a place but a true head is ever tried. */
static int64_t find_record(struct journal *j, int fd, uint64_t at, uint64_t end)
{
    unsigned char chunk[CHUNK];
    for (at++; at + HEAD < end; at += CHUNK - 3) {
        ssize_t n = pread(fd, chunk, CHUNK, (off_t)at);
        if (n < 0)
            return -1;
        for (ssize_t i = 0; i + 4 <= n; i++) {
            uint32_t size = get32(chunk + i);
            if (size == 0 || size > JOURNAL_RECORD_MAX)
                continue;
            ssize_t whole = read_record(j, fd, at + (uint64_t)i, end);
            if (whole)
                return whole < 0 ? -1 : (int64_t)at + i;
        }
    }
    return (int64_t)end;
}

/* Moves *at over damage that ends before `end`, or to `end`. -1: the disk refused. */
static int skip_damage(struct journal *j, int fd, uint64_t *at, uint64_t end, struct journal_loss *loss)
{
    int64_t next = find_record(j, fd, *at, end);
    if (next < 0)
        return -1;
    loss->damaged++;
    loss->bytes += (uint64_t)next - *at;
    *at = (uint64_t)next;
    return 0;
}

static uint64_t segment_size(const struct journal *j, uint64_t number)
{
    char path[4096];
    struct stat st;
    segment_path(j, number, path, sizeof path);
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* A descriptor, or -errno. */
static int open_segment(const struct journal *j, uint64_t number)
{
    char path[4096];
    segment_path(j, number, path, sizeof path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 ? fd : -errno;
}

/* Records of a segment from an offset on, those that cannot be read counted as damaged. */
static uint64_t count_records(struct journal *j, uint64_t number, uint64_t at)
{
    uint64_t n = 0, end = segment_size(j, number);
    struct journal_loss loss = {0};
    ssize_t size;
    int fd = open_segment(j, number);
    while (fd >= 0 && at < end && (size = read_record(j, fd, at, end)) >= 0) {
        at += (uint64_t)size;
        n += size > 0;
        if (size == 0 && skip_damage(j, fd, &at, end, &loss) != 0)
            break;
    }
    if (fd >= 0)
        close(fd);
    return n + loss.damaged;
}

static uint64_t segment_end(const struct journal *j, uint64_t number)
{
    return number == j->newest ? j->end : segment_size(j, number);
}

/* Reads on at j->next: 1: a record stands there, in the buffer; 0: none, and it moved on; -1: the disk refused; -2: the
 * end. *fd is of j->next_segment, from open_segment(). */
static int peek_step(struct journal *j, int *fd, ssize_t *size)
{
    uint64_t end = segment_end(j, j->next_segment);
    bool newest = j->next_segment >= j->newest;
    if (*fd < 0 && (*fd != -ENOENT || (newest && j->next < end))) { /* older ones may be missing */
        errno = -*fd;
        return -1;
    }
    if (*fd >= 0 && j->next < end) {
        *size = read_record(j, *fd, j->next, end);
        if (*size != 0)
            return *size > 0 ? 1 : -1;
        return skip_damage(j, *fd, &j->next, end, &j->skipped);
    }
    if (newest)
        return -2;
    if (*fd >= 0)
        close(*fd);
    else
        j->skipped.damaged++; /* a segment is missing */
    j->next_segment++;
    j->next = 0;
    *fd = open_segment(j, j->next_segment);
    return 0;
}

int journal_peek(struct journal *j, size_t max, void (*fn)(void *ctx, const void *p, size_t n), void *ctx)
{
    int count = 0, step;
    size_t taken = 0;
    ssize_t size = 0;
    j->next_segment = j->at_segment;
    j->next = j->at;
    j->skipped = (struct journal_loss){0};
    int fd = open_segment(j, j->next_segment);
    while ((step = peek_step(j, &fd, &size)) >= 0) {
        if (step == 0)
            continue;
        if (count && taken + (size_t)size > max)
            break;
        fn(ctx, j->buffer, (size_t)size - HEAD);
        j->next += (uint64_t)size;
        taken += (size_t)size;
        count++;
    }
    int e = errno;
    if (fd >= 0)
        close(fd);
    errno = e;
    if (count)
        return count;
    if (step == -1)
        return -1;
    /* Nothing but damage was left: that is dealt with. */
    return j->next_segment == j->at_segment && j->next == j->at ? 0 : journal_advance(j);
}

/* --- The cursor --------------------------------------------------------------------------------------------------- */

static int cursor_write(const struct journal *j)
{
    char path[4096], fresh[4096], text[64];
    snprintf(path, sizeof path, "%s/cursor", j->directory);
    snprintf(fresh, sizeof fresh, "%s/cursor.new", j->directory);
    int n = snprintf(text, sizeof text, "%llu %llu", (unsigned long long)j->at_segment, (unsigned long long)j->at);
    uint32_t crc = crc32_of((const unsigned char *)text, (size_t)n);
    n += snprintf(text + n, sizeof text - (size_t)n, " %08x\n", crc);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    bool good = write(fd, text, (size_t)n) == n && fdatasync(fd) == 0;
    good = close(fd) == 0 && good;
    return good && rename(fresh, path) == 0 ? 0 : -1;
}

/* What the file says: without its checksum it is of an older version. False: it is damaged. */
static bool cursor_parse(const char *text, struct journal *j)
{
    unsigned long long segment, at;
    int n = 0;
    char sum[16];
    if (sscanf(text, "%llu %llu%n", &segment, &at, &n) != 2)
        return false;
    snprintf(sum, sizeof sum, " %08x\n", crc32_of((const unsigned char *)text, (size_t)n));
    if (strcmp(text + n, "\n") != 0 && strcmp(text + n, sum) != 0)
        return false;
    if (segment < j->oldest || segment > j->newest)
        return false;
    j->at_segment = segment;
    j->at = at;
    return true;
}

/* Without a good one everything that is there is delivered, perhaps once more. */
static void cursor_read(struct journal *j)
{
    char path[4096], text[64] = "";
    snprintf(path, sizeof path, "%s/cursor", j->directory);
    FILE *f = fopen(path, "re");
    j->at_segment = j->oldest;
    j->at = 0;
    j->loss.cursor = f && (!fgets(text, sizeof text, f) || !cursor_parse(text, j));
    if (f)
        fclose(f);
}

static void measure(struct journal *j)
{
    j->backlog = 0;
    for (uint64_t i = j->at_segment; i <= j->newest; i++)
        j->backlog += i == j->newest ? j->end : segment_size(j, i);
    j->backlog -= j->at < j->backlog ? j->at : j->backlog;
}

static void remove_before(struct journal *j, uint64_t number)
{
    char path[4096];
    for (; j->oldest < number; j->oldest++) {
        segment_path(j, j->oldest, path, sizeof path);
        unlink(path);
    }
}

int journal_advance(struct journal *j)
{
    /* The limit may have thrown it away meanwhile. */
    if (j->next_segment < j->at_segment)
        return 0;
    j->loss.damaged += j->skipped.damaged;
    j->loss.bytes += j->skipped.bytes;
    j->skipped = (struct journal_loss){0};
    j->at_segment = j->next_segment;
    j->at = j->next;
    measure(j);
    int rc = cursor_write(j);
    if (rc == 0)
        remove_before(j, j->at_segment);
    return rc;
}

/* --- Writing ------------------------------------------------------------------------------------------------------ */

static int segment_begin(struct journal *j, uint64_t number)
{
    char path[4096];
    segment_path(j, number, path, sizeof path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    int directory = open(j->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory >= 0) {
        (void)!fsync(directory);
        close(directory);
    }
    if (j->fd >= 0) {
        (void)!fdatasync(j->fd);
        close(j->fd);
    }
    j->fd = fd;
    j->newest = number;
    j->end = 0;
    return 0;
}

/* Beyond the limit the oldest go: whoever cannot be reached for so long gets the newer ones. */
static void keep_limit(struct journal *j)
{
    while (j->limit && j->backlog > j->limit && j->at_segment < j->newest) {
        j->loss.over_limit += count_records(j, j->at_segment, j->at);
        j->at_segment++;
        j->at = 0;
        measure(j);
        if (cursor_write(j) == 0)
            remove_before(j, j->at_segment);
    }
}

int journal_append(struct journal *j, const void *p, size_t n)
{
    unsigned char head[HEAD];
    if (n == 0 || n > JOURNAL_RECORD_MAX) {
        errno = EMSGSIZE;
        return -1;
    }
    if (j->end && j->end + HEAD + n > SEGMENT_BYTES && segment_begin(j, j->newest + 1) != 0)
        return -1;
    put32(head, (uint32_t)n);
    put32(head + 4, crc32_of(p, n));
    if (pwrite(j->fd, head, HEAD, (off_t)j->end) != HEAD || pwrite(j->fd, p, n, (off_t)(j->end + HEAD)) != (ssize_t)n) {
        int e = errno ? errno : ENOSPC;
        (void)!ftruncate(j->fd, (off_t)j->end);
        errno = e;
        return -1;
    }
    j->end += HEAD + n;
    j->backlog += HEAD + n;
    keep_limit(j);
    return 0;
}

int journal_sync(struct journal *j)
{
    return fdatasync(j->fd);
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

/* The segments that are there. */
static int find_segments(struct journal *j)
{
    DIR *d = opendir(j->directory);
    if (!d)
        return -1;
    bool any = false;
    for (struct dirent *e; (e = readdir(d));) {
        char *end = NULL;
        unsigned long long number = strtoull(e->d_name, &end, 16);
        if (end != e->d_name + 16 || strcmp(end, ".events") != 0)
            continue;
        if (!any || number < j->oldest)
            j->oldest = number;
        if (!any || number > j->newest)
            j->newest = number;
        any = true;
    }
    closedir(d);
    if (!any)
        j->oldest = j->newest = 1;
    return 0;
}

/* Finds the end of the newest segment, behind its last whole record, and cuts off what is torn there. Damage before
 * that is passed over when it is read. */
static int mend_end(struct journal *j)
{
    struct stat st;
    struct journal_loss passed = {0};
    uint64_t at = 0;
    if (fstat(j->fd, &st) != 0)
        return -1;
    uint64_t end = (uint64_t)st.st_size;
    j->end = 0;
    while (at < end) {
        ssize_t size = read_record(j, j->fd, at, end);
        if (size < 0 || (size == 0 && skip_damage(j, j->fd, &at, end, &passed) != 0))
            return -1;
        at += (uint64_t)size;
        if (size > 0)
            j->end = at;
    }
    j->loss.damaged += j->end < end;
    j->loss.bytes += end - j->end;
    return j->end < end ? ftruncate(j->fd, (off_t)j->end) : 0;
}

struct journal *journal_open(const char *directory, uint64_t limit, char *why, size_t why_size)
{
    struct journal *j = calloc(1, sizeof *j);
    if (!j) {
        snprintf(why, why_size, "out of memory");
        return NULL;
    }
    j->fd = -1;
    j->limit = limit;
    j->directory = strdup(directory);
    if (!j->directory) {
        snprintf(why, why_size, "out of memory");
        journal_close(j);
        return NULL;
    }
    if (find_segments(j) != 0 || segment_begin(j, j->newest) != 0 || mend_end(j) != 0) {
        snprintf(why, why_size, "%s: %s", directory, strerror(errno));
        journal_close(j);
        return NULL;
    }
    cursor_read(j);
    if (j->at_segment == j->newest && j->at > j->end) {
        /* What comes stands there again: by the old cursor the next start would begin in the middle of it. */
        j->at = j->end;
        (void)!cursor_write(j);
    }
    measure(j);
    return j;
}

void journal_close(struct journal *j)
{
    if (!j)
        return;
    if (j->fd >= 0) {
        (void)!fdatasync(j->fd);
        close(j->fd);
    }
    free(j->directory);
    free(j->buffer);
    free(j);
}

void journal_limit(struct journal *j, uint64_t limit)
{
    j->limit = limit;
    keep_limit(j);
}

uint64_t journal_backlog(const struct journal *j)
{
    return j->backlog;
}

struct journal_loss journal_lost(struct journal *j)
{
    struct journal_loss loss = j->loss;
    j->loss = (struct journal_loss){0};
    return loss;
}
