/* top: the live view. The server makes the figures (command `top`); here they are drawn, once a second. */
#include "core/tools/ctl_top.h"

#include "core/tools/ctl.h"
#include "core/tools/ctl_conn.h"

#include <cjson/cJSON.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static double number(const struct cJSON *o, const char *section, const char *key)
{
    if (section)
        o = cJSON_GetObjectItemCaseSensitive(o, section);
    const struct cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);
    return cJSON_IsNumber(v) ? v->valuedouble : 0;
}

static const char *text(const struct cJSON *o, const char *key)
{
    const struct cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);
    return cJSON_IsString(v) ? v->valuestring : "-";
}

/* "12", "3.4k", "56M". */
static const char *shortly(double v, char out[16])
{
    static const char units[] = " kMGTP";
    unsigned u = 0;
    for (; v >= 1000 && units[u + 1]; v /= 1000)
        u++;
    if (u == 0)
        snprintf(out, 16, v < 10 && v > 0 && v < (double)(int)v + 0.95 && v > (double)(int)v + 0.05 ? "%.1f" : "%.0f",
                 v);
    else
        snprintf(out, 16, v < 10 ? "%.1f%c" : "%.0f%c", v, units[u]);
    return out;
}

struct screen {
    struct buf *out;
    unsigned width, left; /* columns; lines left (0 at the end) */
    bool bounded;
};

/* One line, cut at the width (characters, not bytes); what could act on a terminal is left out. */
static void line(struct screen *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void line(struct screen *s, const char *fmt, ...)
{
    char t[1024];
    va_list ap;
    if (s->bounded && s->left == 0)
        return;
    va_start(ap, fmt);
    vsnprintf(t, sizeof t, fmt, ap);
    va_end(ap);
    unsigned columns = 0;
    for (const char *p = t; *p; p++) {
        bool begins = ((unsigned char)*p & 0xC0) != 0x80;
        columns += begins;
        if (s->width && columns > s->width)
            break;
        if ((unsigned char)*p >= 0x20 && *p != 0x7F)
            buf_byte(s->out, (uint8_t)*p);
    }
    buf_byte(s->out, '\n');
    s->left -= s->bounded;
}

static void draw_head(struct screen *s, const struct cJSON *now)
{
    char a[16], b[16], c[16], d[16], e[16], f[16];
    unsigned up = (unsigned)number(now, NULL, "uptime");
    line(
        s,
        "magpied, up %ud %02u:%02u:%02u, %s    connections %.0f  users %.0f  channels %.0f    memory %sB, database %sB",
        up / 86400, up / 3600 % 24, up / 60 % 60, up % 60, text(now, "state"), number(now, NULL, "connections"),
        number(now, NULL, "users"), number(now, NULL, "channels"), shortly(number(now, "memory", "rss"), a),
        shortly(number(now, "memory", "storage"), b));
    line(s, "per second: connects %s  requests %s  messages %s  deliveries %s  in %sB  out %sB",
         shortly(number(now, "rates", "connects"), a), shortly(number(now, "rates", "requests"), b),
         shortly(number(now, "rates", "messages"), c), shortly(number(now, "rates", "deliveries"), d),
         shortly(number(now, "rates", "bytes_in"), e), shortly(number(now, "rates", "bytes_out"), f));
    const struct cJSON *st = cJSON_GetObjectItemCaseSensitive(now, "storage");
    line(s, "storage %s: queue %.0f  appends %s/s  groups %s/s  syncs %s/s  latency %.2f ms, longest %.2f ms",
         text(st, "state"), number(st, NULL, "queue"), shortly(number(st, NULL, "appends"), a),
         shortly(number(st, NULL, "groups"), b), shortly(number(st, NULL, "syncs"), c),
         number(st, NULL, "latency_us") / 1000, number(st, NULL, "latency_max_us") / 1000);
}

static void draw_shards(struct screen *s, const struct cJSON *now)
{
    const struct cJSON *shard;
    line(s, "%s", "");
    line(s, "%5s %6s  %-20s %8s %8s", "shard", "load", "", "users", "channels");
    cJSON_ArrayForEach(shard, cJSON_GetObjectItemCaseSensitive(now, "shards"))
    {
        double load = number(shard, NULL, "load");
        int bar = load > 100 ? 20 : (int)(load / 5 + 0.5);
        line(s, "%5.0f %5.1f%%  %.*s%*s %8.0f %8.0f", number(shard, NULL, "shard"), load, bar, "####################",
             20 - bar, "", number(shard, NULL, "users"), number(shard, NULL, "channels"));
    }
}

/* CPU of the scripts since the picture before; counters come as they are. */
static void draw_scripts(struct screen *s, const struct cJSON *now, const struct cJSON *before)
{
    static const char cpu[] = "magpie_script_cpu_seconds_total", calls[] = "magpie_script_calls_total";
    const struct cJSON *scripts = cJSON_GetObjectItemCaseSensitive(now, "scripts"), *m;
    const struct cJSON *was = before ? cJSON_GetObjectItemCaseSensitive(before, "scripts") : scripts;
    char a[16];
    bool head = false;
    cJSON_ArrayForEach(m, cJSON_GetObjectItemCaseSensitive(scripts, cpu))
    {
        if (!head) {
            line(s, "%s", "");
            line(s, "%-20s %10s %10s", "script", "CPU ms/s", "calls/s");
            head = true;
        }
        line(s, "%-20s %10.2f %10s", m->string, (m->valuedouble - number(was, cpu, m->string)) * 1000,
             shortly(number(scripts, calls, m->string) - number(was, calls, m->string), a));
    }
}

static void draw_lists(struct screen *s, const struct cJSON *now)
{
    const struct cJSON *i;
    char a[16];
    line(s, "%s", "");
    line(s, "%-40s %12s %10s", "hottest channels", "messages/s", "members");
    cJSON_ArrayForEach(i, cJSON_GetObjectItemCaseSensitive(now, "hottest")) line(
        s, "%-40s %12.1f %10s", text(i, "channel"), number(i, NULL, "rate"), shortly(number(i, NULL, "members"), a));
    line(s, "%s", "");
    line(s, "%-24s %-36s %10s    (%.0f in all, %s pushes/s skipped)", "slow receivers", "user", "queued",
         number(now, NULL, "slow_receivers"), shortly(number(now, "rates", "skipped"), a));
    cJSON_ArrayForEach(i, cJSON_GetObjectItemCaseSensitive(now, "slow"))
        line(s, "%-24s %-36s %9sB%s", text(i, "connection"), text(i, "user"), shortly(number(i, NULL, "queued"), a),
             cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(i, "skipping")) ? "  skipping" : "");
}

void ctl_top_draw(struct buf *out, const struct cJSON *now, const struct cJSON *before, unsigned width, unsigned height)
{
    struct screen s = {.out = out, .width = width, .left = height, .bounded = height > 0};
    draw_head(&s, now);
    draw_shards(&s, now);
    draw_scripts(&s, now, before);
    draw_lists(&s, now);
}

/* --- The terminal ------------------------------------------------------------------------------------------------- */

static volatile sig_atomic_t stopped;

static void on_signal(int n)
{
    (void)n;
    stopped = 1;
}

/* Waits a second; false: q was hit, or a signal came. */
static bool wait_second(void)
{
    struct pollfd key = {.fd = STDIN_FILENO, .events = POLLIN};
    char c = 0;
    if (poll(&key, 1, 1000) > 0 && read(STDIN_FILENO, &c, 1) <= 0)
        return false;
    return !stopped && c != 'q' && c != 'Q' && c != 3;
}

/* One picture. -1 with ctl->why: the server refuses or is gone. */
static int picture(struct ctl *c, struct cJSON **before, bool screen)
{
    struct winsize size = {.ws_row = 0};
    struct buf out = BUF_INIT;
    struct cJSON *now = ctl_ask_json(c, "top");
    if (!now)
        return -1;
    if (screen)
        (void)!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    ctl_top_draw(&out, now, *before, size.ws_col, size.ws_row > 1 ? size.ws_row - 1u : 0);
    if (screen)
        fputs("\033[H\033[J", stdout);
    fwrite(out.p ? out.p : "", 1, out.n, stdout);
    fflush(stdout);
    buf_free(&out);
    cJSON_Delete(*before);
    *before = now;
    return 0;
}

/* Pictures until somebody leaves, on a screen of their own. */
static int watch(struct ctl *c, struct cJSON **before)
{
    struct termios was, raw;
    struct sigaction stop = {.sa_handler = on_signal}, old_int, old_term;
    bool terminal = tcgetattr(STDIN_FILENO, &was) == 0;
    int rc = 0;
    if (terminal) {
        raw = was;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    stopped = 0;
    c->stop = &stopped;
    sigaction(SIGINT, &stop, &old_int);
    sigaction(SIGTERM, &stop, &old_term);
    fputs("\033[?1049h", stdout);
    do
        rc = picture(c, before, true);
    while (rc == 0 && wait_second());
    fputs("\033[?1049l", stdout);
    fflush(stdout);
    sigaction(SIGINT, &old_int, NULL);
    sigaction(SIGTERM, &old_term, NULL);
    c->stop = NULL;
    if (terminal)
        tcsetattr(STDIN_FILENO, TCSANOW, &was);
    return rc && !stopped ? -1 : 0;
}

int ctl_top(struct ctl *c, bool once)
{
    struct cJSON *before = NULL;
    int rc = once ? picture(c, &before, false) : watch(c, &before);
    if (rc != 0) /* now that the screen is the caller's again, and this stays on it */
        fprintf(stderr, "magpiectl: %s\n", c->why);
    cJSON_Delete(before);
    return rc;
}
