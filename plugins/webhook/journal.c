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

enum { HEAD = 8, SEGMENT_BYTES = 1 << 20, RECORD_MAX = 1 << 20 };

struct journal {
    char *directory;             /* owned */
    uint64_t limit;              /* bytes of all segments */
    uint64_t oldest, newest;     /* numbers of segments; oldest <= newest */
    int fd;                      /* of the newest */
    uint64_t end;                /* bytes in it */
    uint64_t at_segment, at;     /* the cursor */
    uint64_t next_segment, next; /* where the last peek ended */
    uint64_t backlog;            /* bytes from the cursor to the end */
    uint64_t lost;               /* records */
    char *buffer;                /* of one record; owned */
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

/* The record at an offset into j->buffer: its size with the head; 0: no whole one stands there; -1: the disk
 * refused. */
static ssize_t read_record(struct journal *j, int fd, uint64_t at)
{
    unsigned char head[HEAD];
    ssize_t n = pread(fd, head, HEAD, (off_t)at);
    if (n < 0)
        return -1;
    uint32_t size = n == HEAD ? get32(head) : 0;
    if (size == 0 || size > RECORD_MAX)
        return 0;
    n = pread(fd, j->buffer, size, (off_t)(at + HEAD));
    if (n < 0)
        return -1;
    if ((uint32_t)n != size || crc32_of((const unsigned char *)j->buffer, size) != get32(head + 4))
        return 0;
    return (ssize_t)size + HEAD;
}

static uint64_t count_records(struct journal *j, uint64_t number, uint64_t from)
{
    char path[4096];
    uint64_t n = 0;
    ssize_t size;
    segment_path(j, number, path, sizeof path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    while ((size = read_record(j, fd, from)) > 0) {
        from += (uint64_t)size;
        n++;
    }
    close(fd);
    return n;
}

static uint64_t segment_size(const struct journal *j, uint64_t number)
{
    char path[4096];
    struct stat st;
    segment_path(j, number, path, sizeof path);
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static int open_segment(const struct journal *j, uint64_t number)
{
    char path[4096];
    segment_path(j, number, path, sizeof path);
    return open(path, O_RDONLY | O_CLOEXEC);
}

int journal_peek(struct journal *j, size_t max, void (*fn)(void *ctx, const void *p, size_t n), void *ctx)
{
    int count = 0;
    size_t taken = 0;
    j->next_segment = j->at_segment;
    j->next = j->at;
    int fd = open_segment(j, j->next_segment);
    for (;;) {
        ssize_t size = fd >= 0 ? read_record(j, fd, j->next) : errno == ENOENT ? 0 : -1;
        if (size < 0 || (size > 0 && count && taken + (size_t)size > max))
            break;
        if (size > 0) {
            fn(ctx, j->buffer, (size_t)size - HEAD);
            j->next += (uint64_t)size;
            taken += (size_t)size;
            count++;
            continue;
        }
        if (j->next_segment >= j->newest)
            break;
        /* A segment ends where no whole record follows; what stands behind that cannot be read any more. */
        if (j->next < segment_size(j, j->next_segment))
            j->lost++;
        if (fd >= 0)
            close(fd);
        j->next_segment++;
        j->next = 0;
        fd = open_segment(j, j->next_segment);
    }
    int e = errno;
    bool failed = fd < 0;
    if (fd >= 0)
        close(fd);
    errno = e;
    return count ? count : failed ? -1 : 0;
}

/* --- The cursor --------------------------------------------------------------------------------------------------- */

static int cursor_write(const struct journal *j)
{
    char path[4096], fresh[4096], text[64];
    snprintf(path, sizeof path, "%s/cursor", j->directory);
    snprintf(fresh, sizeof fresh, "%s/cursor.new", j->directory);
    int n = snprintf(text, sizeof text, "%llu %llu\n", (unsigned long long)j->at_segment, (unsigned long long)j->at);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    bool good = write(fd, text, (size_t)n) == n && fdatasync(fd) == 0;
    good = close(fd) == 0 && good;
    return good && rename(fresh, path) == 0 ? 0 : -1;
}

static void cursor_read(struct journal *j)
{
    char path[4096];
    unsigned long long segment = 0, at = 0;
    snprintf(path, sizeof path, "%s/cursor", j->directory);
    FILE *f = fopen(path, "re");
    if (!f || fscanf(f, "%llu %llu", &segment, &at) != 2)
        segment = at = 0;
    if (f)
        fclose(f);
    j->at_segment = segment;
    j->at = at;
    if (segment < j->oldest || segment > j->newest) {
        j->at_segment = j->oldest;
        j->at = 0;
    }
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
        j->lost += count_records(j, j->at_segment, j->at);
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
    if (n == 0 || n > RECORD_MAX) {
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

/* Cuts off what was torn at the end of the newest segment. */
static int mend_end(struct journal *j)
{
    ssize_t size;
    j->end = 0;
    while ((size = read_record(j, j->fd, j->end)) > 0)
        j->end += (uint64_t)size;
    return size < 0 || ftruncate(j->fd, (off_t)j->end) != 0 ? -1 : 0;
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
    j->buffer = malloc(RECORD_MAX);
    if (!j->directory || !j->buffer) {
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
    if (j->at_segment == j->newest && j->at > j->end)
        j->at = j->end;
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

uint64_t journal_lost(struct journal *j)
{
    uint64_t n = j->lost;
    j->lost = 0;
    return n;
}
