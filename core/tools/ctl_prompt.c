/* The interactive prompt: libedit with history and completion. Without a terminal, lines from standard input. */
#include "core/tools/ctl_prompt.h"

#include "core/tools/ctl.h"
#include "core/tools/ctl_complete.h"
#include "core/tools/ctl_conn.h"
#include "core/tools/ctl_top.h"

#include <cjson/cJSON.h>
#include <histedit.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct prompt {
    struct ctl *ctl;
    struct cJSON *commands, *options; /* for completion; owned */
    EditLine *el;
    History *history;
    char file[512]; /* of the history; "": none */
};

static char *prompt_text(EditLine *el)
{
    (void)el;
    static char text[] = "magpie> ";
    return text;
}

/* --- Completion --------------------------------------------------------------------------------------------------- */

struct matches {
    struct buf all;   /* words, each with a line break */
    char common[128]; /* what all begin with */
    unsigned count;
};

static void add_match(void *ctx, const char *word)
{
    struct matches *m = ctx;
    size_t n = 0;
    buf_printf(&m->all, "%s\n", word);
    if (m->count++ == 0) {
        snprintf(m->common, sizeof m->common, "%s", word);
        return;
    }
    while (m->common[n] && m->common[n] == word[n])
        n++;
    m->common[n] = '\0';
}

static unsigned char complete(EditLine *el, int key)
{
    struct prompt *p;
    struct matches m = {.count = 0};
    (void)key;
    el_get(el, EL_CLIENTDATA, &p);
    const LineInfo *li = el_line(el);
    struct slice before = slice_of(li->buffer, (size_t)(li->cursor - li->buffer));
    ctl_complete(p->commands, p->options, before, add_match, &m);
    size_t word = before.n;
    while (word > 0 && before.p[word - 1] != ' ')
        word--;
    unsigned char done = CC_ERROR;
    if (m.count && strlen(m.common) > before.n - word) {
        el_insertstr(el, m.common + (before.n - word));
        done = CC_REFRESH;
    }
    if (m.count == 1) {
        el_insertstr(el, " ");
        done = CC_REFRESH;
    } else if (m.count > 1 && done == CC_ERROR && buf_ok(&m.all)) {
        printf("\n%.*s", (int)m.all.n, m.all.p);
        done = CC_REDISPLAY;
    }
    buf_free(&m.all);
    return done;
}

/* --- Lines -------------------------------------------------------------------------------------------------------- */

static bool blank(const char *line)
{
    return line[strspn(line, " \t")] == '\0';
}

static bool is_quit(const char *line)
{
    line += strspn(line, " ");
    return strcmp(line, "quit") == 0 || strcmp(line, "exit") == 0;
}

/* Shows traced frames until a key is hit. */
static void follow_until_key(struct ctl *c)
{
    struct pollfd wait[2] = {{.fd = c->fd, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
    char bytes[16384];
    printf("(Enter ends it)\n");
    while (poll(wait, 2, -1) >= 0 && !wait[1].revents) {
        ssize_t n = wait[0].revents ? ctl_recv(c, bytes, sizeof bytes) : 0;
        if (n <= 0)
            return;
        fwrite(bytes, 1, (size_t)n, stdout);
        fflush(stdout);
    }
    (void)!read(STDIN_FILENO, bytes, sizeof bytes);
}

/* A line. -1: the connection is lost, and at a terminal cannot be had again; which has been told. */
static int run_line(struct ctl *c, const char *line, bool terminal)
{
    line += strspn(line, " \t");
    bool top = strcmp(line, "top") == 0 && terminal;
    int rc = top ? ctl_top(c, false) : ctl_run(c, line);
    if (rc == 0 && terminal && ctl_is_trace(line)) {
        char off[512];
        follow_until_key(c);
        snprintf(off, sizeof off, "%.*s off", (int)(strlen(line) - 3), line);
        rc = ctl_run(c, off);
    }
    if (rc < 0 && terminal) {
        ctl_close(c);
        if (ctl_connect(c) != 0) {
            fprintf(stderr, "magpiectl: %s\n", c->why);
            return -1;
        }
        fprintf(stderr, "magpiectl: connected again\n");
        rc = 1;
    }
    return rc;
}

static int batch(struct ctl *c)
{
    char *line = NULL;
    size_t room = 0;
    int status = 0;
    for (ssize_t n; (n = getline(&line, &room, stdin)) > 0;) {
        if (line[n - 1] == '\n')
            line[n - 1] = '\0';
        if (is_quit(line))
            break;
        int rc = blank(line) ? 0 : run_line(c, line, false);
        status = rc ? 1 : status;
        if (rc < 0)
            break;
    }
    free(line);
    return status;
}

static void history_open(struct prompt *p)
{
    HistEvent ev;
    const char *home = getenv("HOME");
    p->history = history_init();
    if (!p->history)
        return;
    history(p->history, &ev, H_SETSIZE, 1000);
    history(p->history, &ev, H_SETUNIQUE, 1);
    if (home)
        snprintf(p->file, sizeof p->file, "%s/.magpiectl_history", home);
    if (p->file[0])
        history(p->history, &ev, H_LOAD, p->file);
}

static void history_close(struct prompt *p)
{
    HistEvent ev;
    if (!p->history)
        return;
    mode_t before = umask(0077);
    if (p->file[0])
        history(p->history, &ev, H_SAVE, p->file);
    umask(before);
    history_end(p->history);
}

/* The exit status. */
static int loop(struct prompt *p)
{
    int n;
    const char *got;
    while ((got = el_gets(p->el, &n)) != NULL && n > 0) {
        HistEvent ev;
        char *line = strndup(got, (size_t)n);
        if (!line)
            return 1;
        line[strcspn(line, "\r\n")] = '\0';
        /* A password is nothing to keep. */
        bool secret = strstr(line, "auth ") != NULL;
        if (!blank(line) && !secret && p->history)
            history(p->history, &ev, H_ENTER, line);
        bool end = is_quit(line), lost = !end && !blank(line) && run_line(p->ctl, line, true) < 0;
        free(line);
        if (end || lost)
            return lost;
    }
    putchar('\n');
    return 0;
}

int ctl_prompt(struct ctl *c)
{
    if (!isatty(STDIN_FILENO))
        return batch(c);
    struct prompt p = {.ctl = c};
    p.commands = ctl_ask_json(c, "help");
    p.options = ctl_ask_json(c, "show config");
    p.el = el_init("magpiectl", stdin, stdout, stderr);
    if (!p.el) {
        fprintf(stderr, "magpiectl: the terminal cannot be used; give the command as arguments\n");
        return 1;
    }
    history_open(&p);
    el_set(p.el, EL_PROMPT, prompt_text);
    el_set(p.el, EL_EDITOR, "emacs");
    el_set(p.el, EL_SIGNAL, 1);
    el_set(p.el, EL_CLIENTDATA, &p);
    if (p.history)
        el_set(p.el, EL_HIST, history, p.history);
    el_set(p.el, EL_ADDFN, "magpie-complete", "complete a command", complete);
    el_set(p.el, EL_BIND, "^I", "magpie-complete", NULL);
    printf("Magpie's console at %s; help lists the commands, Tab completes, quit leaves.\n", c->address);
    int status = loop(&p);
    history_close(&p);
    el_end(p.el);
    cJSON_Delete(p.commands);
    cJSON_Delete(p.options);
    return status;
}
