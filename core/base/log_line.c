#include "core/base/log_line.h"

#include "core/base/clock.h"

#include <string.h>

/* All by hand: a crash's line is made by a signal handler, where stdio and the time zone's lock may not be touched. */

static const char *const level_names[] = {"debug", "info", "warn", "error"};

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

/* Room is kept for what closes the line. */
static void put(struct log_line *l, const char *p, size_t n)
{
    if (n > sizeof l->p - 16 - l->n)
        n = l->n < sizeof l->p - 16 ? sizeof l->p - 16 - l->n : 0;
    memcpy(l->p + l->n, p, n);
    l->n += n;
}

static void put_str(struct log_line *l, const char *s)
{
    put(l, s, strlen(s));
}

/* A number in so many digits at least. */
static void put_number(struct log_line *l, uint64_t n, unsigned digits)
{
    char text[20];
    size_t at = sizeof text;
    while (n || at > sizeof text - digits) {
        text[--at] = (char)('0' + n % 10);
        n /= 10;
    }
    put(l, text + at, sizeof text - at);
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
static void put_escaped(struct log_line *l, struct slice s)
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
            static const char digits[] = "0123456789abcdef";
            memcpy(text, "\\u00", 4);
            text[4] = digits[*p >> 4];
            text[5] = digits[*p & 15];
            put(l, text, 6);
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

static void put_value(struct log_line *l, const struct log_field *f, enum log_format format)
{
    if (f->type == LOG_F_INT) {
        put_str(l, f->num < 0 ? "-" : "");
        put_number(l, f->num < 0 ? 0 - (uint64_t)f->num : (uint64_t)f->num, 1);
    } else if (format == LOG_TEXT && plain(f->str)) {
        put(l, f->str.p, f->str.n);
    } else {
        put(l, "\"", 1);
        put_escaped(l, f->str);
        l->p[l->n++] = '"';
    }
}

/* The date of a day since 1970, by the calendar of today counted from a March, so that leap days come last. */
static void put_date(struct log_line *l, uint64_t day)
{
    day += 719468;                                      /* since 0000-03-01 */
    uint64_t era = day / 146097, of_era = day % 146097; /* 400 years each */
    uint64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year = of_era - (365 * year + year / 4 - year / 100), month = (5 * of_year + 2) / 153;
    put_number(l, era * 400 + year + (month >= 10), 4);
    put_str(l, "-");
    put_number(l, month < 10 ? month + 3 : month - 9, 2);
    put_str(l, "-");
    put_number(l, of_year - (153 * month + 2) / 5 + 1, 2);
}

static void put_time(struct log_line *l)
{
    uint64_t now = clock_wall_ms(), second = now / 1000 % 86400;
    put_date(l, now / 86400000);
    put_str(l, "T");
    put_number(l, second / 3600, 2);
    put_str(l, ":");
    put_number(l, second / 60 % 60, 2);
    put_str(l, ":");
    put_number(l, second % 60, 2);
    put_str(l, ".");
    put_number(l, now % 1000, 3);
    put_str(l, "Z");
}

void log_line_format(struct log_line *l, enum log_level level, const char *id, const struct log_field *fields,
                     enum log_format format)
{
    bool json = format == LOG_JSON;
    l->n = 0;
    put_str(l, json ? "{\"time\":\"" : "");
    put_time(l);
    put_str(l, json ? "\",\"level\":\"" : " ");
    put_str(l, log_level_name(level));
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
