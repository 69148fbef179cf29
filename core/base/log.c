#include "core/base/log.h"

#include "core/base/clock.h"
#include "core/base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 4096, RATE = 20, IDS = 64, PROBES = 8, ID_BYTES = 48 };

/* The one mutable global of the program: where log lines go, from what level, and how often each event came this
 * second. */
static struct {
    pthread_mutex_t lock;
    _Atomic int level;
    int fd;
    enum log_format format;
    struct {
        uint64_t second;     /* clock_mono_ms() / 1000 of the counts */
        uint32_t count;      /* lines in that second */
        uint32_t suppressed; /* not written since the last report */
        char id[ID_BYTES];
    } rate[IDS];
} logger = {.lock = PTHREAD_MUTEX_INITIALIZER, .level = LOG_INFO, .fd = STDERR_FILENO};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

int log_level_parse(struct slice name)
{
    for (int i = 0; i < 4; i++)
        if (slice_eq(name, slice_str(level_names[i])))
            return i;
    return -1;
}

int log_open(const char *file, enum log_format format, enum log_level level)
{
    int fd = STDERR_FILENO;
    if (file) {
        fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
        if (fd < 0)
            return -6; /* ERR_IO */
    }
    pthread_mutex_lock(&logger.lock);
    int old = logger.fd;
    logger.fd = fd;
    logger.format = format;
    pthread_mutex_unlock(&logger.lock);
    atomic_store(&logger.level, (int)level);
    if (old != STDERR_FILENO)
        close(old);
    return 0;
}

void log_set_level(enum log_level level)
{
    atomic_store(&logger.level, (int)level);
}
bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&logger.level, memory_order_relaxed);
}

/* --- A line, cut at its end rather than ever failing -------------------------------------------------------------- */

struct line {
    size_t n;
    char p[LINE_MAX_BYTES];
};

/* Room is kept for what closes the line. */
static void put(struct line *l, const char *p, size_t n)
{
    if (n > sizeof l->p - 16 - l->n)
        n = l->n < sizeof l->p - 16 ? sizeof l->p - 16 - l->n : 0;
    memcpy(l->p + l->n, p, n);
    l->n += n;
}

static void put_str(struct line *l, const char *s)
{
    put(l, s, strlen(s));
}

/* Length of the valid, printable UTF-8 character at p; 0 when it must be escaped. */
static size_t printable(const uint8_t *p, size_t n)
{
    if (p[0] < 0x80)
        return p[0] >= 0x20 && p[0] != 0x7F;
    size_t len = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : p[0] >= 0xC2 ? 2 : 0;
    if (len == 0 || p[0] > 0xF4 || len > n || (p[0] == 0xC2 && p[1] < 0xA0))
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) || (p[0] == 0xF0 && p[1] < 0x90) ||
        (p[0] == 0xF4 && p[1] > 0x8F))
        return 0;
    return len;
}

/* Both forms share the escapes of JSON; a byte that is no character becomes that of the same number. */
static void put_escaped(struct line *l, struct slice s)
{
    for (size_t i = 0; i < s.n && l->n < sizeof l->p - 32;) {
        const uint8_t *p = (const uint8_t *)s.p + i;
        size_t len = printable(p, s.n - i);
        char text[8];
        if (*p == '"' || *p == '\\') {
            text[0] = '\\';
            text[1] = (char)*p;
            put(l, text, 2);
        } else if (len) {
            put(l, s.p + i, len);
        } else {
            put(l, text, (size_t)snprintf(text, sizeof text, "\\u%04x", *p));
        }
        i += len ? len : 1;
    }
}

static bool plain(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 0x7F || s.p[i] == '"' || s.p[i] == '\\' ||
            s.p[i] == '=')
            return false;
    return s.n > 0;
}

static void put_value(struct line *l, const struct log_field *f, enum log_format format)
{
    char text[24];
    if (f->type == LOG_F_INT) {
        put(l, text, (size_t)snprintf(text, sizeof text, "%lld", (long long)f->num));
    } else if (format == LOG_TEXT && plain(f->str)) {
        put(l, f->str.p, f->str.n);
    } else {
        put(l, "\"", 1);
        put_escaped(l, f->str);
        l->p[l->n++] = '"';
    }
}

static void put_time(struct line *l)
{
    char text[40];
    uint64_t now = clock_wall_ms();
    time_t second = (time_t)(now / 1000);
    struct tm tm;
    gmtime_r(&second, &tm);
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, sizeof text - n, ".%03uZ", (unsigned)(now % 1000));
    put_str(l, text);
}

static void format_line(struct line *l, enum log_level level, const char *id, const struct log_field *fields,
                        enum log_format format)
{
    bool json = format == LOG_JSON;
    put_str(l, json ? "{\"time\":\"" : "");
    put_time(l);
    put_str(l, json ? "\",\"level\":\"" : " ");
    put_str(l, level_names[level]);
    put_str(l, json ? "\",\"event\":\"" : " ");
    put_str(l, id);
    put_str(l, json ? "\"" : "");
    for (; fields->type != LOG_F_END; fields++) {
        /* A field that would not fit whole is left out, so that the line stays well-formed. */
        size_t before = l->n, room = fields->type == LOG_F_STR ? 6 * fields->str.n : 24;
        if (before + room + strlen(fields->key) + 48 > sizeof l->p && before + 512 > sizeof l->p)
            break;
        put_str(l, json ? ",\"" : " ");
        put_str(l, fields->key);
        put_str(l, json ? "\":" : "=");
        put_value(l, fields, format);
    }
    if (json)
        l->p[l->n++] = '}';
    l->p[l->n++] = '\n';
}

/* A full disk or a closed pipe costs the line, nothing else. */
static void write_line(const struct line *l)
{
    ssize_t n;
    do
        n = write(logger.fd, l->p, l->n);
    while (n < 0 && errno == EINTR);
}

/* The event's counts: near where its hash points, or those of one that was not heard this second. */
static size_t slot_of(const char *id, uint64_t second)
{
    size_t first = hash_stable(slice_str(id)) % IDS, stale = IDS;
    for (size_t k = 0; k < PROBES; k++) {
        size_t i = (first + k) % IDS;
        if (strncmp(logger.rate[i].id, id, ID_BYTES - 1) == 0)
            return i;
        if (stale == IDS && logger.rate[i].second != second)
            stale = i;
    }
    return stale == IDS ? first : stale;
}

/* Whether the event may be written; *missed tells how many of `of` were not since the last report. Under the lock. */
static bool admit(const char *id, uint32_t *missed, char of[ID_BYTES])
{
    uint64_t second = clock_mono_ms() / 1000;
    size_t i = slot_of(id, second);
    *missed = 0;
    if (strncmp(logger.rate[i].id, id, sizeof logger.rate[i].id - 1) != 0 || logger.rate[i].second != second) {
        *missed = logger.rate[i].suppressed;
        memcpy(of, logger.rate[i].id, ID_BYTES);
        logger.rate[i].suppressed = 0;
        logger.rate[i].count = 0;
        logger.rate[i].second = second;
        snprintf(logger.rate[i].id, sizeof logger.rate[i].id, "%s", id);
    }
    if (logger.rate[i].count++ < RATE)
        return true;
    logger.rate[i].suppressed++;
    return false;
}

void log_write_all(enum log_level level, const char *id, const struct log_field *fields)
{
    struct line line = {.n = 0};
    pthread_mutex_lock(&logger.lock);
    format_line(&line, level, id, fields, logger.format);
    write_line(&line);
    pthread_mutex_unlock(&logger.lock);
}

void log_write(enum log_level level, const char *id, const struct log_field *fields)
{
    struct line line;
    uint32_t missed;
    char of[ID_BYTES];
    line.n = 0;
    pthread_mutex_lock(&logger.lock);
    if (admit(id, &missed, of)) {
        if (missed) {
            format_line(&line, LOG_WARN, "log.suppressed",
                        (const struct log_field[]){LOG_STR("of", of), LOG_INT("lines", missed), {.type = LOG_F_END}},
                        logger.format);
            write_line(&line);
            line.n = 0;
        }
        format_line(&line, level, id, fields, logger.format);
        write_line(&line);
    }
    pthread_mutex_unlock(&logger.lock);
}
