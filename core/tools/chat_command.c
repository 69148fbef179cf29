#include "core/tools/chat_command.h"

#include "core/base/buf.h"
#include "core/base/spelling.h"

#include <stdio.h>

enum takes {
    NOTHING,
    NAME,          /* the rest of the line, which must be there */
    NAME_OPTIONAL, /* the rest of the line */
    WHO_TEXT,      /* a word, quoted where it has blanks, and the rest */
    TEXT,          /* the rest, which must be there */
    COUNT,         /* a number */
    NUMBER,        /* #N */
    NUMBER_TEXT    /* #N, which may be left out, and the rest */
};

static const struct {
    const char *name;      /* with the stroke */
    enum chat_order order; /* what it is */
    enum takes takes;      /* what follows it */
    const char *usage;     /* for people */
    const char *help;      /* what it does */
} commands[] = {
    {"/join", CHAT_JOIN, NAME, "/join CHANNEL", "go to a channel; it is made if there is none"},
    {"/leave", CHAT_LEAVE, NAME_OPTIONAL, "/leave [CHANNEL]", "leave it for good"},
    {"/msg", CHAT_MSG, WHO_TEXT, "/msg WHO [TEXT]", "a private message, by name or id; without a text: go there"},
    {"/switch", CHAT_SWITCH, NAME, "/switch WHERE", "go to another of your conversations"},
    {"/list", CHAT_LIST, NOTHING, "/list", "your conversations, and what is unread"},
    {"/names", CHAT_NAMES, NOTHING, "/names", "who is here"},
    {"/history", CHAT_HISTORY, COUNT, "/history [COUNT]", "older messages; again: still older ones"},
    {"/edit", CHAT_EDIT, NUMBER_TEXT, "/edit [#N] TEXT", "another text for your last message, or for message N"},
    {"/recall", CHAT_RECALL, NUMBER, "/recall [#N]", "take your last message back, or message N"},
    {"/me", CHAT_ME, TEXT, "/me TEXT", "say what you do: * ada waves"},
    {"/help", CHAT_HELP, NOTHING, "/help", "this"},
    {"/quit", CHAT_QUIT, NOTHING, "/quit", "leave the program; you stay in your channels"},
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

const char *chat_command_name(unsigned i)
{
    return i < COMMANDS ? commands[i].name : NULL;
}

void chat_command_help(struct buf *out)
{
    for (unsigned i = 0; i < COMMANDS; i++)
        buf_printf(out, "%-18s %s\n", commands[i].usage, commands[i].help);
    buf_str(out, "Other lines are sent to where you are; //text sends /text.\n");
}

static struct slice trim(struct slice s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = slice_of(s.p + 1, s.n - 1);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* Takes the first word off, which may be quoted. */
static struct slice word_take(struct slice *rest)
{
    struct slice s = trim(*rest), word;
    const char *end = s.n && s.p[0] == '"' ? memchr(s.p + 1, '"', s.n - 1) : NULL;
    size_t n = 0;
    if (end) {
        word = slice_of(s.p + 1, (size_t)(end - s.p) - 1);
        n = word.n + 2;
    } else {
        while (n < s.n && s.p[n] != ' ' && s.p[n] != '\t')
            n++;
        word = slice_of(s.p, n);
    }
    *rest = trim(slice_of(s.p + n, s.n - n));
    return word;
}

/* A whole number above 0; 0: it is none. */
static uint64_t number_of(struct slice s)
{
    uint64_t n = 0;
    if (s.n == 0 || s.n > 18)
        return 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return 0;
        n = n * 10 + (uint64_t)(s.p[i] - '0');
    }
    return n;
}

static void unknown(const char *name, struct chat_command *out)
{
    unsigned best = ~0u;
    const char *nearest = NULL;
    out->order = CHAT_WRONG;
    for (unsigned i = 0; i < COMMANDS; i++) {
        unsigned d = spelling_distance(name, commands[i].name);
        if (d < best && d <= spelling_limit(name)) {
            best = d;
            nearest = commands[i].name;
        }
    }
    snprintf(out->why, sizeof out->why, "there is no command %s%s%s; /help lists them", name,
             nearest ? "; did you mean " : "", nearest ? nearest : "");
}

/* Reads what follows the command; false: that is not what it takes. */
static bool rest_read(enum takes takes, struct slice rest, struct chat_command *out)
{
    struct slice word;
    switch (takes) {
    case NOTHING:
        return rest.n == 0;
    case NAME:
    case NAME_OPTIONAL:
        out->who = rest.n ? rest : SLICE_NONE;
        if (rest.n > 2 && rest.p[0] == '"' && rest.p[rest.n - 1] == '"')
            out->who = slice_of(rest.p + 1, rest.n - 2);
        return rest.n || takes == NAME_OPTIONAL;
    case WHO_TEXT:
        out->who = word_take(&rest);
        out->text = rest;
        return out->who.n > 0;
    case TEXT:
        out->text = rest;
        return rest.n > 0;
    case COUNT:
        out->number = number_of(rest);
        return rest.n == 0 || out->number > 0;
    case NUMBER:
    case NUMBER_TEXT:
        out->text = rest;
        word = word_take(&rest);
        if (word.n && word.p[0] == '#' && number_of(slice_of(word.p + 1, word.n - 1))) {
            out->number = number_of(slice_of(word.p + 1, word.n - 1));
            out->text = rest;
        }
        return takes == NUMBER ? out->text.n == 0 : out->text.n > 0;
    }
    return false;
}

void chat_command_read(struct slice line, struct chat_command *out)
{
    char name[SPELLING_WORD_MAX];
    *out = (struct chat_command){.order = CHAT_SAY, .who = SLICE_NONE, .text = line};

    if (trim(line).n == 0) {
        out->order = CHAT_NOTHING;
        return;
    }
    if (line.p[0] != '/')
        return;
    if (line.n > 1 && line.p[1] == '/') {
        out->text = slice_of(line.p + 1, line.n - 1);
        return;
    }
    out->text = SLICE_NONE;
    struct slice rest = line, word = word_take(&rest);
    snprintf(name, sizeof name, "%.*s", (int)word.n, word.p);
    for (unsigned i = 0; i < COMMANDS; i++) {
        if (!slice_eq(slice_str(commands[i].name), word))
            continue;
        out->order = commands[i].order;
        if (!rest_read(commands[i].takes, rest, out)) {
            out->order = CHAT_WRONG;
            snprintf(out->why, sizeof out->why, "it is %s", commands[i].usage);
        }
        return;
    }
    unknown(name, out);
}
