#include "core/console/console_peer.h"

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/console/cmd_trace.h"
#include "core/console/console_call.h"
#include "core/console/console_line.h"
#include "core/net/tls/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static size_t unsent(const struct console_peer *p)
{
    return p->out.n - p->out_at;
}

/* --- Replies ------------------------------------------------------------------------------------------------------ */

/* Text as body lines: each ends, and one that begins with a dot gets another. */
static void put_body(struct buf *out, struct slice text)
{
    for (size_t at = 0; at < text.n;) {
        const char *end = memchr(text.p + at, '\n', text.n - at);
        size_t n = end ? (size_t)(end - (text.p + at)) : text.n - at;
        if (text.p[at] == '.')
            buf_byte(out, '.');
        buf_put(out, text.p + at, n);
        buf_byte(out, '\n');
        at += n + 1;
    }
}

/* details: JSON, or empty. */
static void put_error_with(struct buf *out, const char *code, const char *message, struct slice details, bool json)
{
    struct buf body = BUF_INIT;
    buf_printf(out, "ERR %s ", code);
    console_text_safe(out, slice_str(message), false);
    buf_byte(out, '\n');
    if (details.n && json_check(details))
        details = SLICE_NONE;
    if (json) {
        struct buf raw = BUF_INIT;
        buf_printf(&raw, "{\"error\":{\"code\":\"%s\",\"message\":", code);
        buf_json_string(&raw, slice_str(message));
        if (details.n) {
            buf_lit(&raw, ",\"details\":");
            buf_slice_put(&raw, details);
        }
        buf_lit(&raw, "}}");
        console_text_json(&body, buf_slice(&raw));
        buf_free(&raw);
    } else {
        (void)console_text_value(&body, details);
    }
    put_body(out, buf_slice(&body));
    buf_free(&body);
    buf_lit(out, ".\n");
}

static void put_error(struct buf *out, const char *code, const char *message, bool json)
{
    put_error_with(out, code, message, SLICE_NONE, json);
}

/* The answer as a body. False: it is no JSON. */
static bool put_value(struct buf *out, struct slice value, bool json)
{
    struct buf body = BUF_INIT;
    bool good = true;
    if (!json)
        good = console_text_value(&body, value);
    else if (value.n == 0)
        buf_lit(&body, "null");
    else if (json_check(value))
        good = false;
    else
        console_text_json(&body, value);
    if (good)
        put_body(out, buf_slice(&body));
    out->oom = out->oom || body.oom;
    buf_free(&body);
    return good;
}

/* Some elements of an array. False: they are no JSON. */
static bool put_piece(struct console_call *k, struct buf *out, struct slice elements)
{
    bool good = true;
    if (!k->begun)
        buf_str(out, k->c.json ? "OK\n[\n" : "OK\n");
    k->begun = true;
    if (elements.n == 0)
        return true;
    struct buf body = BUF_INIT;
    if (k->c.json) {
        buf_byte(&body, '[');
        buf_slice_put(&body, elements);
        buf_byte(&body, ']');
        good = buf_ok(&body) && !json_check(buf_slice(&body));
        if (good && k->elements)
            buf_lit(out, ",\n");
        if (good)
            console_text_json(out, elements);
    } else {
        good = console_text_rows(&body, elements, &k->table);
        if (good)
            put_body(out, buf_slice(&body));
    }
    k->elements = true;
    out->oom = out->oom || body.oom;
    buf_free(&body);
    return good;
}

static void put_pieces_end(struct console_call *k, struct buf *out)
{
    if (k->c.json)
        buf_str(out, k->elements ? "\n]\n" : "]\n");
    buf_lit(out, ".\n");
}

/* --- Calls -------------------------------------------------------------------------------------------------------- */

void peer_end(struct command_call *c, const char *code, const char *message)
{
    struct console_call *k = (struct console_call *)c;
    struct console_peer *p = k->from;
    if (!p) {
        call_free(k);
        return;
    }
    p->call = NULL;
    p->moved_ms = clock_mono_ms();
    if (!code && !buf_ok(&c->out)) {
        code = "internal";
        message = "out of memory";
    }
    if (code && k->begun) {
        /* The status line is out: only the missing end can tell. */
        p->ending = true;
    } else if (code) {
        put_error_with(&p->out, code, message, c->rows || !buf_ok(&c->out) ? SLICE_NONE : buf_slice(&c->out),
                       k->c.json);
    } else if (c->rows) {
        if (put_piece(k, &p->out, buf_slice(&c->out)))
            put_pieces_end(k, &p->out);
        else
            p->ending = true;
    } else {
        size_t before = p->out.n;
        buf_lit(&p->out, "OK\n");
        if (put_value(&p->out, buf_slice(&c->out), k->c.json)) {
            buf_lit(&p->out, ".\n");
        } else {
            p->out.n = before;
            put_error(&p->out, "internal", "the command's answer is no JSON", k->c.json);
        }
    }
    call_free(k);
    peer_turn(p);
}

void peer_more(struct command_call *c, void (*resume)(struct command_call *c))
{
    struct console_call *k = (struct console_call *)c;
    struct console_peer *p = k->from;
    k->resume = resume;
    if (!p) {
        resume(c);
        return;
    }
    if (!buf_ok(&c->out) || !put_piece(k, &p->out, buf_slice(&c->out)))
        p->dead = true;
    buf_reset(&c->out);
    p->moved_ms = clock_mono_ms();
    peer_turn(p);
}

/* Makes a call of a line's words and runs it. Takes `text`, which the words point into. */
static void run_line(struct console_peer *p, char *text, const struct console_line *line)
{
    struct call_error e;
    struct console_call *k = call_new(p->console, text, line, p->who, p->authed, true, &e);
    if (!k) {
        put_error(&p->out, e.code, e.text, line->json);
        return;
    }
    k->c.console = p;
    k->c.json = line->json;
    k->from = p;
    p->call = k;
    call_run(k);
}

/* --- Lines -------------------------------------------------------------------------------------------------------- */

/* Takes the next line, if there is one, and runs it. False: there is none. */
static bool take_line(struct console_peer *p)
{
    const char *end = p->in.n ? memchr(p->in.p, '\n', p->in.n) : NULL;
    size_t n = end ? (size_t)(end - p->in.p) : p->in.n, limit = p->authed ? LINE_MAX_BYTES : LINE_MAX_EARLY;
    if (n > limit) {
        put_error(&p->out, "too_large", "the line is too long", false);
        p->ending = true;
        return false;
    }
    if (!p->greeted && console_line_is_binary(slice_of(p->in.p, n), end != NULL)) {
        log_event(LOG_WARN, "console.binary", LOG_STR("who", p->who));
        put_error(&p->out, "bad_request", "the first line is no text; the console speaks lines of UTF-8", false);
        p->ending = true;
        return false;
    }
    if (!end)
        return false;
    static struct console_line line; /* the main thread's */
    char *text = strndup(p->in.p, n);
    bool nul = memchr(p->in.p, '\0', n) != NULL;
    p->in.n -= n + 1;
    memmove(p->in.p, end + 1, p->in.n);
    if (!text) {
        put_error(&p->out, "internal", "out of memory", false);
        return true;
    }
    size_t shown = strlen(text); /* less than n where the line has a NUL */
    if (shown && text[shown - 1] == '\r')
        text[shown - 1] = '\0';
    if (!p->greeted && console_line_is_http(slice_str(text))) {
        log_event(LOG_WARN, "console.http", LOG_STR("who", p->who));
        p->dead = true;
        free(text);
        return false;
    }
    p->greeted = p->greeted || text[strspn(text, " \t")] != '\0'; /* blank lines tell nothing of who speaks */
    const char *why = nul ? "the line has control characters; write them as escapes in quotes"
                          : console_line_parse(text, strlen(text), &line);
    if (why)
        put_error(&p->out, "bad_request", why, false);
    if (why || line.count == 0)
        free(text);
    else
        run_line(p, text, &line);
    return true;
}

/* The handshake is over: whose certificate it was. */
static void secured(struct console_peer *p)
{
    char name[64], safe[64];
    size_t n = 0;
    p->secured = true;
    p->authed = !p->console->has_password;
    tls_session_peer(p->tls, name, sizeof name);
    for (const char *c = name; *c; c++)
        safe[n++] = *c < ' ' || *c > '~' || *c == '"' ? '?' : *c;
    safe[n] = '\0';
    if (n) {
        n = strlen(p->who);
        snprintf(p->who + n, sizeof p->who - n, " (%s)", safe);
    }
    log_event(LOG_DEBUG, "console.secured", LOG_STR("who", p->who));
}

static ssize_t peer_recv(struct console_peer *p, char *to, size_t n)
{
    if (!p->tls)
        return recv(p->fd, to, n, 0);
    ssize_t got = tls_session_recv(p->tls, to, n);
    if (!p->secured && tls_session_ready(p->tls))
        secured(p);
    if (got < 0 && errno == EPROTO)
        log_event(LOG_WARN, "console.tls", LOG_STR("who", p->who), LOG_STR("because", tls_session_why(p->tls)));
    return got;
}

static ssize_t peer_send(struct console_peer *p, const char *from, size_t n)
{
    return p->tls ? tls_session_send(p->tls, from, n) : send(p->fd, from, n, MSG_NOSIGNAL);
}

static void receive(struct console_peer *p)
{
    char *to = buf_reserve(&p->in, 16384);
    ssize_t n = to ? peer_recv(p, to, 16384) : -1;
    if (n > 0) {
        p->in.n += (size_t)n;
        p->moved_ms = clock_mono_ms();
    } else if (n == 0) {
        p->eof = true;
    } else if (!to || (errno != EAGAIN && errno != EINTR)) {
        p->dead = true;
    }
}

static void flush(struct console_peer *p)
{
    if (!buf_ok(&p->out)) {
        p->dead = true;
        return;
    }
    while (unsent(p)) {
        ssize_t n = peer_send(p, p->out.p + p->out_at, unsent(p));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            p->dead = p->dead || errno != EAGAIN;
            break;
        }
        p->out_at += (size_t)n;
        p->moved_ms = clock_mono_ms();
    }
    if (unsent(p) == 0) {
        if (p->out.cap > OUTPUT_NEXT)
            buf_free(&p->out);
        buf_reset(&p->out);
        p->out_at = 0;
    } else if (p->out_at > OUTPUT_NEXT) {
        memmove(p->out.p, p->out.p + p->out_at, unsent(p));
        p->out.n -= p->out_at;
        p->out_at = 0;
    }
}

/* --- Traced frames ------------------------------------------------------------------------------------------------ */

void peer_event(struct console_peer *p, struct slice text)
{
    if (p->events.n > EVENTS_MAX || unsent(p) > EVENTS_MAX) {
        p->lost_events++;
        return;
    }
    if (p->lost_events) {
        buf_printf(&p->events, "* %llu left out: read faster\n", (unsigned long long)p->lost_events);
        p->lost_events = 0;
    }
    buf_lit(&p->events, "* ");
    buf_slice_put(&p->events, text);
    buf_byte(&p->events, '\n');
    peer_turn(p);
}

static void put_events(struct console_peer *p)
{
    if (p->events.n && buf_ok(&p->events))
        buf_slice_put(&p->out, buf_slice(&p->events));
    buf_free(&p->events);
}

/* --- The connection ----------------------------------------------------------------------------------------------- */

static void interest(struct console_peer *p)
{
    int events = unsent(p) || (p->tls && tls_session_wants_room(p->tls)) ? EV_WRITE : 0;
    if (!p->eof && !p->ending && p->in.n <= LINE_MAX_BYTES)
        events |= EV_READ;
    if (events == (p->io.events & (EV_READ | EV_WRITE)) && ev_is_active(&p->io))
        return;
    ev_io_stop(p->console->loop, &p->io);
    ev_io_set(&p->io, p->fd, events);
    if (events)
        ev_io_start(p->console->loop, &p->io);
}

/* One step; false: nothing is left to do now. */
static bool step(struct console_peer *p)
{
    struct console_call *k = p->call;
    flush(p);
    if (p->dead || p->ending)
        return false;
    if (k && k->resume && unsent(p) < OUTPUT_RESUME) {
        void (*resume)(struct command_call *) = k->resume;
        k->resume = NULL;
        resume(&k->c);
        return true;
    }
    if (k)
        return false;
    if (p->events.n) {
        put_events(p);
        return true;
    }
    return unsent(p) < OUTPUT_NEXT && take_line(p);
}

void peer_turn(struct console_peer *p)
{
    if (p->turning)
        return;
    p->turning = true;
    while (step(p))
        ;
    flush(p);
    p->turning = false;
    if (p->eof && !p->call)
        p->ending = true;
    if (p->dead || (p->ending && !p->call && unsent(p) == 0))
        peer_close(p);
    else
        interest(p);
}

static void on_io(struct ev_loop *loop, ev_io *w, int events)
{
    (void)loop;
    struct console_peer *p = w->data;
    if (events & EV_READ || (p->tls && !p->secured))
        receive(p);
    peer_turn(p);
}

struct console_peer *peer_new(struct console *c, int fd, bool spare, bool tls, const char *ip, const char *who)
{
    struct console_peer *p = calloc(1, sizeof *p);
    if (p && tls && (!c->tls || !(p->tls = tls_session_new(c->tls, fd)))) {
        free(p);
        return NULL;
    }
    if (!p)
        return NULL;
    p->console = c;
    p->fd = fd;
    p->spare = spare;
    p->number = ++c->numbers;
    p->moved_ms = p->opened_ms = clock_mono_ms();
    p->authed = !tls && !c->has_password;
    snprintf(p->ip, sizeof p->ip, "%s", ip);
    snprintf(p->who, sizeof p->who, "%s", who);
    p->next = c->first;
    c->first = p;
    c->count++;
    ev_io_init(&p->io, on_io, fd, EV_READ);
    p->io.data = p;
    ev_io_start(c->loop, &p->io);
    return p;
}

void peer_close(struct console_peer *p)
{
    struct console *c = p->console;
    struct console_peer **at = &c->first;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    c->count--;
    ev_io_stop(c->loop, &p->io);
    tls_session_free(p->tls);
    console_close(c, p->fd, p->spare);
    trace_forget(c, p);
    struct console_call *k = p->call;
    buf_free(&p->in);
    buf_free(&p->out);
    buf_free(&p->events);
    free(p);
    if (!k)
        return;
    k->from = NULL;
    k->c.gone = true;
    k->c.console = NULL;
    if (k->resume)
        k->resume(&k->c);
}

/* Whether its place may be given to another one. Who has given the password goes only when it seems forgotten, since
 * the newcomer has not. */
static bool may_yield(const struct console_peer *p, uint64_t now_ms)
{
    bool proven = p->authed && (p->console->has_password || p->tls);
    return !p->call && !p->traces && (!proven || now_ms - p->moved_ms >= YIELD_SECONDS * 1000ULL);
}

/* Connections from where this one comes from: an address, or a process of this machine. */
static unsigned siblings(const struct console_peer *p)
{
    unsigned n = 0;
    for (const struct console_peer *o = p->console->first; o; o = o->next)
        n += strcmp(o->ip, "unix") == 0 ? strcmp(o->who, p->who) == 0 : strcmp(o->ip, p->ip) == 0;
    return n;
}

bool peer_make_room(struct console *c)
{
    struct console_peer *best = NULL;
    unsigned best_siblings = 0;
    uint64_t now = clock_mono_ms();
    for (struct console_peer *p = c->first; p; p = p->next) {
        unsigned n = may_yield(p, now) ? siblings(p) : 0;
        /* Whose connections are the most gives one up, and that the one that was silent for longest. */
        if (n > best_siblings || (n && n == best_siblings && p->moved_ms <= best->moved_ms)) {
            best = p;
            best_siblings = n;
        }
    }
    if (!best)
        return false;
    log_event(LOG_WARN, "console.yielded", LOG_STR("who", best->who), LOG_INT("from_there", best_siblings));
    put_error(&best->out, "quota", "too many connections to the console; this one was silent for longest", false);
    flush(best);
    peer_close(best);
    return true;
}

void peer_check(struct console_peer *p, uint64_t now_ms)
{
    uint64_t silent = (now_ms - p->moved_ms) / 1000, age = (now_ms - p->opened_ms) / 1000;
    if ((!p->authed && age >= AUTH_SECONDS) || (unsent(p) && silent >= STUCK_SECONDS) ||
        (p->ending && silent >= AUTH_SECONDS))
        peer_close(p);
}
