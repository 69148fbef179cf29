/* magpie-chat: a chat in a terminal, by libmagpie-client. */
#include "core/base/stdio_fds.h"
#include "core/tools/chat.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum { CHANNELS_MAX = 32 };

static const char usage[] =
    "usage: magpie-chat [OPTION …] [NAME]\n"
    "\n"
    "A chat in a terminal, as NAME (your login name without it). Lines go where you are; /help lists the commands.\n"
    "With lines from a pipe each one is a message.\n"
    "\n"
    "  -s, --server ADDRESS   HOST:PORT, unix:PATH, ws://HOST:PORT/; by TLS tcps://HOST:PORT, wss://HOST/\n"
    "                         (localhost:8081)\n"
    "  -c, --channel CHANNEL  be in it from the start; may be given again (lobby)\n"
    "      --token-file FILE  keep the token there, not in $XDG_STATE_HOME/magpie-chat\n"
    "      --new              be a new user, whoever had this name here before\n"
    "      --cacert FILE      the authorities that a server's certificate must come from; without it the system's\n"
    "      --version, --help\n";

static const struct option options[] = {
    {"server", required_argument, NULL, 's'},
    {"channel", required_argument, NULL, 'c'},
    {"token-file", required_argument, NULL, 't'},
    {"new", no_argument, NULL, 'n'},
    {"cacert", required_argument, NULL, 'a'},
    {"version", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* What the command line asks for beside what stands in struct chat. */
struct wanted {
    const char *channels[CHANNELS_MAX]; /* borrowed */
    bool fresh;                         /* --new */
};

/* The exit status, or -1 to go on. */
static int options_read(int argc, char **argv, struct chat *c, struct wanted *w)
{
    for (int o; (o = getopt_long(argc, argv, "s:c:h", options, NULL)) != -1;) {
        if (o == 's') {
            c->server = optarg;
        } else if (o == 'a') {
            c->authority = optarg;
        } else if (o == 't') {
            free(c->token_file);
            c->token_file = strdup(optarg);
        } else if (o == 'n') {
            w->fresh = true;
        } else if (o == 'v' || o == 'h') {
            fputs(o == 'v' ? "magpie-chat " MAGPIE_VERSION "\n" : usage, stdout);
            return 0;
        } else if (o == 'c' && c->channel_count < CHANNELS_MAX) {
            w->channels[c->channel_count++] = optarg[0] == '#' && optarg[1] ? optarg + 1 : optarg;
        } else if (o == 'c') {
            fprintf(stderr, "magpie-chat: at most %d times --channel\n", CHANNELS_MAX);
            return 2;
        } else {
            fputs("magpie-chat --help tells the options\n", stderr);
            return 2;
        }
    }
    c->name = optind < argc ? argv[optind] : getenv("USER");
    if (argc - optind > 1 || !c->name || !c->name[0]) {
        fprintf(stderr, "magpie-chat: %s\n",
                argc - optind > 1 ? "one name; quote it where it has blanks" : "say who you are: magpie-chat NAME");
        return 2;
    }
    if (c->channel_count == 0)
        w->channels[c->channel_count++] = "lobby";
    c->channels = w->channels;
    return -1;
}

static int run(struct chat *c, bool fresh)
{
    const char *why = "out of memory";

    if (!c->token_file)
        c->token_file = chat_file_path(c->name, c->server);
    c->token = c->token_file && !fresh ? chat_file_read(c->token_file) : NULL;
    c->token_kept = c->token != NULL;
    if (chat_screen_open(c) < 0) {
        fputs("magpie-chat: the terminal cannot be used\n", stderr);
        return 1;
    }
    c->client = magpie_client_new();
    if (!c->client || (c->authority && magpie_client_secure(c->client, c->authority, &why) < 0)) {
        chat_complain(c, "%s%s%s", c->authority ? c->authority : "", c->authority ? ": " : "", why);
        return 1;
    }
    chat_screen_run(c);
    unsigned left = chat_send_left(c);
    if (left) {
        chat_complain(c, "%u line%s %s not sent", left, left > 1 ? "s" : "", left > 1 ? "were" : "was");
        c->status = c->status ? c->status : 1;
    }
    return c->status;
}

int main(int argc, char **argv)
{
    struct chat c = {.server = "localhost:8081"};
    struct wanted w = {.fresh = false};

    stdio_fds_open();
    int status = options_read(argc, argv, &c, &w);
    if (status < 0)
        status = run(&c, w.fresh);
    c.quit = c.silent = true; /* the end of the connection is no news */
    magpie_client_free(c.client);
    chat_screen_close(&c);
    chat_send_free(&c);
    chat_talks_free(&c);
    free(c.token_file);
    free(c.token);
    free(c.id);
    return status;
}
