/* magpiectl: the console's client. One command and out, or a prompt. */
#include "core/base/stdio_fds.h"
#include "core/tools/ctl.h"
#include "core/tools/ctl_conn.h"
#include "core/tools/ctl_prompt.h"
#include "core/tools/ctl_top.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CTL_LINE_MAX = 64 << 10 }; /* what the console takes */

static const char usage[] =
    "usage: magpiectl [-s ADDRESS] [-f text|json] [-w] [COMMAND ...]\n"
    "\n"
    "  -s ADDRESS   HOST:PORT, tls:HOST:PORT or unix:PATH of the console (default: $MAGPIE_CONSOLE, else\n"
    "               unix:" MAGPIE_CONSOLE_SOCKET " of an installed service, else 127.0.0.1:8083)\n"
    "  -f FORMAT    text (default) or json\n"
    "  -w           with trace ... on: show the frames until interrupted (what a terminal gets anyway)\n"
    "  --cacert FILE, --cert FILE, --key FILE\n"
    "               with tls:... the authorities that the server's certificate must come from (default: the "
    "system's),\n"
    "               and our own certificate and its key, where the console wants one (PEM)\n"
    "  --version, --help\n"
    "\n"
    "Without a command: a prompt with history and completion, or the lines of standard input.\n"
    "`magpiectl top` is a live view. $MAGPIE_PASSWORD is given to consoles that ask for one.\n"
    "Exit status: 0, 1 when the server refuses or cannot be reached, 2 for a wrong command line.\n";

static int wrong_usage(const char *why, const char *what)
{
    fprintf(stderr, "magpiectl: %s%s\n%s", why, what, usage);
    return 2;
}

/* Whether the line gives a password: everybody on the machine sees it in the list of processes. */
static bool line_tells_password(const char *line)
{
    static const char word[] = "auth", json[] = "json";
    line += strspn(line, " \t");
    if (strncmp(line, json, sizeof json - 1) == 0 && strchr(" \t", line[sizeof json - 1]))
        line += sizeof json - 1 + strspn(line + sizeof json - 1, " \t");
    line += *line == '"'; /* a word may be quoted */
    return strncmp(line, word, sizeof word - 1) == 0 && strchr(" \t\"", line[sizeof word - 1]);
}

/* What is wrong with a line for the console; NULL: nothing. */
static const char *line_bad(const char *line)
{
    if (line_tells_password(line))
        return "a password is not given on the command line, where others can read it: it is taken from "
               "$MAGPIE_PASSWORD, or from standard input";
    if (line[strspn(line, " \t")] == '\0')
        return "the command is empty";
    if (strpbrk(line, "\r\n"))
        return "a command is one line; a line break in a text is written \"\\n\"";
    return strlen(line) > CTL_LINE_MAX ? "the command is longer than 64 KiB" : NULL;
}

static int one_shot(struct ctl *c, int argc, char **argv, bool follow)
{
    struct buf line = BUF_INIT;
    bool terminal = isatty(STDOUT_FILENO);
    ctl_join(&line, argc, argv);
    if (!buf_ok(&line)) {
        fprintf(stderr, "magpiectl: out of memory\n");
        return 1;
    }
    const char *bad = line_bad(line.p);
    if (bad) {
        fprintf(stderr, "magpiectl: %s\n", bad);
        buf_free(&line);
        return 2;
    }
    int rc;
    if (strcmp(line.p, "top") == 0 && !c->json)
        rc = ctl_top(c, !terminal);
    else
        rc = ctl_run(c, line.p);
    if (rc == 0 && (follow || terminal) && ctl_is_trace(line.p)) {
        rc = ctl_follow(c);
        if (rc != 0)
            fprintf(stderr, "magpiectl: %s\n", c->why);
    }
    buf_free(&line);
    return rc == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"cacert", required_argument, NULL, 'A'}, {"cert", required_argument, NULL, 'C'},
        {"key", required_argument, NULL, 'K'},    {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    /* The socket first: only the service's own user could make it, while anybody may listen on that port. */
    static const char *const usual[] = {"unix:" MAGPIE_CONSOLE_SOCKET, "127.0.0.1:8083", NULL};
    const char *address = getenv("MAGPIE_CONSOLE");
    struct ctl c = {.address = address && *address ? address : NULL, .password = getenv("MAGPIE_PASSWORD"), .fd = -1};
    bool follow = false;
    opterr = 0;
    if (stdio_fds_open() != 0) /* or the answers would go to the console, as commands */
        return 1;
    for (int o; (o = getopt_long(argc, argv, "+:s:f:wh", options, NULL)) != -1;) {
        const char letter[3] = {'-', (char)optopt};
        switch (o) {
        case 's':
            c.address = optarg;
            break;
        case 'f':
            if (strcmp(optarg, "text") != 0 && strcmp(optarg, "json") != 0)
                return wrong_usage("-f: expected text or json, found ", optarg);
            c.json = strcmp(optarg, "json") == 0;
            break;
        case 'w':
            follow = true;
            break;
        case 'A':
            c.authority = optarg;
            break;
        case 'C':
            c.certificate = optarg;
            break;
        case 'K':
            c.key = optarg;
            break;
        case 'V':
            return printf("magpiectl %s\n", MAGPIE_VERSION) < 0;
        case 'h':
            return fputs(usage, stdout) < 0;
        case ':':
            return wrong_usage(optopt > ' ' && optopt != 'A' && optopt != 'C' && optopt != 'K' ? letter
                                                                                               : argv[optind - 1],
                               " needs a value");
        default:
            return wrong_usage("unknown option ", optopt ? letter : argv[optind - 1]);
        }
    }
    c.usual = c.address ? NULL : usual;
    if (ctl_connect(&c) != 0) {
        fprintf(stderr, "magpiectl: %s\n", c.why);
        ctl_close(&c);
        return 1;
    }
    int status = optind < argc ? one_shot(&c, argc - optind, argv + optind, follow) : ctl_prompt(&c);
    ctl_close(&c);
    return status;
}
