/*
 * Showing and reading. On a terminal libedit has the line that is typed; what comes meanwhile is shown above it: the
 * line is taken off the screen, and drawn again afterwards. Elsewhere lines come from standard input, messages go to
 * standard output and all else to standard error.
 */
#include "core/tools/chat.h"
#include "core/tools/chat_text.h"

#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

enum { PROMPT_WHERE = 24, LINE_MAX_BYTES = 1 << 20 };

struct screen {
    EditLine *el;     /* NULL: no terminal */
    History *history; /* of lines; NULL without a terminal */
    bool dumb;        /* the terminal knows no control sequences */
    bool editing;     /* libedit is reading: its line is on the screen */
    bool hidden;      /* it was taken off, and is to be drawn again */
    bool cut;         /* the line that comes was given up by ^C */
    char prompt[160]; /* what stands before the line */
    struct buf typed; /* without a terminal: bytes that are no whole line yet */
    mbstate_t state;  /* of a character that has only begun */
};

static int signals[2] = {-1, -1}; /* a pipe: the handler of signals writes their numbers */

static void on_signal(int number)
{
    int error = errno;
    char byte = (char)number;
    (void)!write(signals[1], &byte, 1);
    errno = error;
}

static size_t columns(void)
{
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* --- The prompt --------------------------------------------------------------------------------------------------- */

static void prompt_make(struct chat *c, char *out, size_t cap)
{
    struct buf where = BUF_INIT, cut = BUF_INIT;
    uint64_t unread = 0;
    char more[48] = "";

    for (const struct talk *t = c->talks; t; t = t->next)
        unread += t != c->current && (!t->channel || t->joined) ? t->unread : 0;
    if (unread)
        snprintf(more, sizeof more, " (+%llu)", (unsigned long long)unread);
    if (c->current) {
        const char *name = c->current->channel ? c->current->name : chat_name_of(c, c->current->name);
        buf_str(&where, c->current->channel ? "#" : "@");
        chat_text_clean(&where, slice_str(name), false);
        chat_text_cut(&cut, buf_slice(&where), PROMPT_WHERE);
    }
    snprintf(out, cap, "%.*s%s%s> ", (int)(buf_ok(&cut) ? cut.n : 0), cut.p ? cut.p : "", more,
             c->ready ? "" : " (offline)");
    buf_free(&where);
    buf_free(&cut);
}

static char *prompt_text(EditLine *el)
{
    struct chat *c;
    el_get(el, EL_CLIENTDATA, &c);
    return c->screen->prompt;
}

/* Takes the line that is typed off the screen. */
static void hide(struct chat *c)
{
    struct screen *s = c->screen;
    if (!s || !s->editing || s->hidden)
        return;
    s->hidden = true;
    if (s->dumb) {
        fputs("\n", stdout);
        return;
    }
    const LineInfo *line = el_line(s->el);
    struct slice before = slice_of(line->buffer, (size_t)(line->cursor - line->buffer));
    size_t row = chat_text_row(chat_text_width(slice_str(s->prompt)), before, columns());
    fputs("\r", stdout);
    if (row)
        printf("\033[%zuA", row);
    fputs("\033[J", stdout);
}

/* Draws it again. */
static void redraw(struct chat *c)
{
    struct screen *s = c->screen;
    if (!s->hidden)
        return;
    s->hidden = false;
    fflush(stdout);
    el_set(s->el, EL_REFRESH);
}

void chat_prompt_changed(struct chat *c)
{
    char fresh[sizeof c->screen->prompt];
    if (!c->screen || !c->screen->el)
        return;
    prompt_make(c, fresh, sizeof fresh);
    if (strcmp(fresh, c->screen->prompt) == 0)
        return;
    hide(c);
    memcpy(c->screen->prompt, fresh, sizeof fresh);
}

/* --- Showing ------------------------------------------------------------------------------------------------------ */

static void put(struct chat *c, struct slice text, FILE *where)
{
    hide(c);
    fwrite(text.p, 1, text.n, c->terminal ? stdout : where);
    if (!c->terminal)
        fflush(where);
    if (ferror(where) && !c->terminal) { /* nobody reads it any more */
        c->quit = true;
        c->status = 1;
    }
}

/* Adds "14:03 ", in the time of here. */
static void put_time(struct buf *out, int64_t ms)
{
    time_t at = (time_t)(ms / 1000), now = time(NULL);
    struct tm tm, today;
    char text[32];
    if (!localtime_r(&at, &tm) || !localtime_r(&now, &today))
        return;
    bool here = tm.tm_yday == today.tm_yday && tm.tm_year == today.tm_year;
    if (strftime(text, sizeof text, here ? "%H:%M " : "%Y-%m-%d %H:%M ", &tm))
        buf_str(out, text);
}

void chat_show(struct chat *c, const struct talk *t, const struct magpie_push *m, bool mark)
{
    struct buf head = BUF_INIT, body = BUF_INIT, lines = BUF_INIT;
    const char *name = m->sender_name ? m->sender_name : m->sender_id ? m->sender_id : "?";

    if (c->terminal)
        put_time(&head, m->created_at);
    if (mark)
        buf_printf(&head, "#%llu ", (unsigned long long)m->seq);
    if (!c->terminal || t != c->current) {
        buf_str(&head, t->channel ? "[#" : "[@");
        chat_text_clean(&head, slice_str(t->channel ? t->name : chat_name_of(c, t->name)), false);
        buf_str(&head, "] ");
    }
    chat_text_clean(&head, slice_str(name), false);
    if (!c->terminal && m->sender_id)
        buf_printf(&head, " (%s)", m->sender_id);
    buf_str(&head, ": ");
    if (m->recalled)
        buf_str(&body, "(recalled)");
    else
        chat_text_clean(&body, slice_str(m->content), c->terminal);
    if (m->edited_at && !m->recalled)
        buf_str(&body, " (edited)");
    chat_text_lines(&lines, buf_slice(&head), buf_slice(&body), c->terminal ? columns() : 0);
    if (buf_ok(&head) && buf_ok(&body) && buf_ok(&lines))
        put(c, buf_slice(&lines), stdout);
    buf_free(&head);
    buf_free(&body);
    buf_free(&lines);
}

static void tell(struct chat *c, const char *format, va_list arguments)
{
    struct buf text = BUF_INIT, lines = BUF_INIT;
    va_list again;

    if (c->silent)
        return;
    va_copy(again, arguments);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *raw = malloc((size_t)n + 1);
    if (raw) {
        vsnprintf(raw, (size_t)n + 1, format, arguments);
        chat_text_clean(&text, slice_of(raw, (size_t)n), false);
        chat_text_lines(&lines, c->terminal ? SLICE_LIT("-- ") : SLICE_LIT("magpie-chat: "), buf_slice(&text),
                        c->terminal ? columns() : 0);
        if (buf_ok(&text) && buf_ok(&lines))
            put(c, buf_slice(&lines), stderr);
    }
    free(raw);
    buf_free(&text);
    buf_free(&lines);
}

void chat_say(struct chat *c, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    tell(c, format, arguments);
    va_end(arguments);
}

void chat_complain(struct chat *c, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    tell(c, format, arguments);
    va_end(arguments);
}

void chat_print(struct chat *c, struct slice lines)
{
    struct buf clean = BUF_INIT;
    chat_text_clean(&clean, lines, true);
    if (buf_ok(&clean))
        put(c, buf_slice(&clean), stdout);
    buf_free(&clean);
}

/* --- Waiting ------------------------------------------------------------------------------------------------------ */

/* Libedit's terminal while we are stopped is the shell's. */
static void stop(struct chat *c)
{
    el_set(c->screen->el, EL_PREP_TERM, 0);
    raise(SIGSTOP);
    el_set(c->screen->el, EL_PREP_TERM, 1);
    c->screen->hidden = true;
}

/* What ^C is for: first the line, then the program. */
static void interrupt(struct chat *c)
{
    const LineInfo *line = c->screen->editing ? el_line(c->screen->el) : NULL;
    if (line && line->lastchar > line->buffer)
        c->screen->cut = true;
    else
        c->quit = true;
}

static void signals_serve(struct chat *c)
{
    char numbers[64];
    ssize_t n = read(signals[0], numbers, sizeof numbers);
    for (ssize_t i = 0; i < n; i++) {
        if (numbers[i] == SIGWINCH && c->terminal) {
            hide(c);
            el_resize(c->screen->el);
        } else if (numbers[i] == SIGTSTP && c->terminal) {
            stop(c);
        } else if (numbers[i] == SIGINT && c->terminal) {
            interrupt(c);
        } else if (numbers[i] == SIGTERM || numbers[i] == SIGHUP || numbers[i] == SIGINT) {
            c->status = 128 + numbers[i];
            c->quit = true;
        }
    }
}

/* Nothing is under way: all that was asked for has been answered, and shown. */
static bool is_settled(const struct chat *c)
{
    for (const struct talk *t = c->talks; t; t = t->next)
        if (t->fill_at || t->asked)
            return false;
    return c->ready && !c->queue && c->conn && magpie_conn_pending(c->conn) == 0;
}

/* Serves the connection until something can be read (where `reading`), or all is over. True: it can be read. */
static bool wait_input(struct chat *c, bool reading)
{
    struct pollfd fds[3] = {{.fd = reading ? STDIN_FILENO : -1, .events = POLLIN},
                            {.fd = magpie_client_fd(c->client), .events = POLLIN},
                            {.fd = signals[0], .events = POLLIN}};
    (void)magpie_client_run(c->client, 0);
    int timeout = chat_tick(c);
    struct magpie_conn *conn = c->conn;
    magpie_client_flush(c->client);
    if (c->conn != conn) /* it was lost by that */
        timeout = 0;
    if (c->screen->el)
        redraw(c);
    if (!reading && !c->terminal && is_settled(c)) /* what was waited for has come just now */
        return false;
    if (c->quit || c->screen->cut || poll(fds, 3, timeout) < 0)
        return false;
    if (fds[1].revents) {
        c->heard = chat_now();
        (void)magpie_client_run(c->client, 0);
    }
    if (fds[2].revents)
        signals_serve(c);
    if (c->screen->el)
        redraw(c);
    return fds[0].revents != 0 && !c->quit;
}

/* --- A terminal --------------------------------------------------------------------------------------------------- */

/* Libedit's next character. */
static int get_char(EditLine *el, wchar_t *out)
{
    struct chat *c;
    el_get(el, EL_CLIENTDATA, &c);
    struct screen *s = c->screen;
    int rc = 0;

    s->editing = true;
    while (!c->quit && rc == 0) {
        char byte;
        bool input = wait_input(c, true);
        if (s->cut) { /* the key that empties the line */
            s->cut = false;
            *out = L'U' - L'@';
            rc = 1;
        } else if (input) {
            ssize_t n = read(STDIN_FILENO, &byte, 1);
            size_t used = n == 1 ? mbrtowc(out, &byte, 1, &s->state) : 0;
            if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) {
                c->ended = true;
                break;
            }
            if (n == 1 && used == (size_t)-1) { /* no UTF-8 */
                memset(&s->state, 0, sizeof s->state);
                *out = L'?';
                rc = 1;
            } else if (n == 1 && used != (size_t)-2) {
                rc = 1;
            }
        }
    }
    if (rc == 0)
        hide(c);
    s->editing = rc == 1; /* until the line ends: libedit comes again for the next */
    return rc;
}

/* The line as it was typed leaves the screen: as a message it comes back when it is stored. */
static void unwrite(struct chat *c, struct slice line)
{
    size_t rows = chat_text_row(chat_text_width(slice_str(c->screen->prompt)), line, columns()) + 1;
    if (!c->screen->dumb && line.n && (line.p[0] != '/' || (line.n > 1 && line.p[1] == '/')))
        printf("\033[%zuA\r\033[J", rows);
}

static void terminal_run(struct chat *c)
{
    struct screen *s = c->screen;
    HistEvent event;
    const char *got;
    int n;

    while (!c->quit && (got = el_gets(s->el, &n)) != NULL && n > 0) {
        char *line = strndup(got, (size_t)n);
        if (!line)
            break;
        s->editing = s->hidden = false;
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0])
            history(s->history, &event, H_ENTER, line);
        unwrite(c, slice_str(line));
        chat_line(c, slice_str(line));
        free(line);
        while (c->ended && !c->quit) /* what was typed is still sent */
            (void)wait_input(c, false);
    }
    s->editing = false;
    fputs(s->dumb || s->hidden ? "\n" : "\r\033[J", stdout); /* the prompt of a line that never came */
    c->ended = true;
    c->end_at = chat_now() + 5000;
    while (!c->quit)
        (void)wait_input(c, false);
}

/* --- Lines -------------------------------------------------------------------------------------------------------- */

/* The next whole line of what was read; false: there is none. */
static bool line_take(struct chat *c, bool last)
{
    struct buf *typed = &c->screen->typed;
    char *end = typed->n ? memchr(typed->p, '\n', typed->n) : NULL;
    if (!end && !(last && typed->n))
        return false;
    size_t n = end ? (size_t)(end - typed->p) : typed->n, used = end ? n + 1 : n;
    size_t text = n && typed->p[n - 1] == '\r' ? n - 1 : n;
    if (memchr(typed->p, '\0', text)) {
        chat_complain(c, "a line with a NUL byte is not sent");
        c->status = 1;
    } else {
        chat_line(c, slice_of(typed->p, text));
    }
    memmove(typed->p, typed->p + used, typed->n - used);
    typed->n -= used;
    return true;
}

/* Each line waits until the one before it has been done. */
static void lines_run(struct chat *c)
{
    struct buf *typed = &c->screen->typed;
    bool over = false;

    while (!c->quit) {
        bool settled = is_settled(c);
        if (settled && line_take(c, over))
            continue;
        if (settled && over)
            break;
        bool room = typed->n < LINE_MAX_BYTES;
        if (!room && !memchr(typed->p, '\n', typed->n)) {
            chat_complain(c, "a line of more than %d bytes is not sent", LINE_MAX_BYTES);
            c->status = 1;
            break;
        }
        if (!wait_input(c, settled && !over && room))
            continue;
        char *p = buf_reserve(typed, 65536);
        ssize_t n = p ? read(STDIN_FILENO, p, 65536) : -1;
        if (n > 0)
            typed->n += (size_t)n;
        over = over || n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN);
    }
}

/* --- Opening ------------------------------------------------------------------------------------------------------ */

static int signals_open(bool terminal)
{
    static const int all[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    if (pipe2(signals, O_CLOEXEC | O_NONBLOCK) < 0)
        return -1;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (terminal || all[i] != SIGTSTP)
            sigaction(all[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    return 0;
}

int chat_screen_open(struct chat *c)
{
    struct screen *s = calloc(1, sizeof *s);
    const char *terminal = getenv("TERM");
    HistEvent event;

    c->screen = s;
    c->terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    if (!setlocale(LC_ALL, "") || MB_CUR_MAX == 1) /* the protocol's texts are UTF-8 */
        setlocale(LC_CTYPE, "C.UTF-8");
    if (!s || signals_open(c->terminal) < 0)
        return -1;
    if (!c->terminal)
        return 0;
    s->dumb = !terminal || !*terminal || strcmp(terminal, "dumb") == 0;
    s->el = el_init("magpie-chat", stdin, stdout, stderr);
    s->history = history_init();
    if (!s->el || !s->history)
        return -1;
    history(s->history, &event, H_SETSIZE, 500);
    prompt_make(c, s->prompt, sizeof s->prompt);
    el_set(s->el, EL_CLIENTDATA, c);
    el_set(s->el, EL_PROMPT, prompt_text);
    el_set(s->el, EL_EDITOR, "emacs");
    el_set(s->el, EL_SIGNAL, 0);
    el_set(s->el, EL_HIST, history, s->history);
    el_set(s->el, EL_GETCFN, get_char);
    el_set(s->el, EL_BIND, "^U", "em-kill-line", NULL);
    return 0;
}

void chat_screen_run(struct chat *c)
{
    if (c->terminal)
        terminal_run(c);
    else
        lines_run(c);
}

void chat_screen_close(struct chat *c)
{
    struct screen *s = c->screen;
    if (!s)
        return;
    if (s->el)
        el_end(s->el);
    if (s->history)
        history_end(s->history);
    buf_free(&s->typed);
    free(s);
    c->screen = NULL;
    fflush(stdout);
}
