/* The command line: one table, which is the parser's and the help's. */
#include "core/tools/bench_options.h"

#include "core/base/err.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum option_type { OPTION_FLAG, OPTION_TEXT, OPTION_CHOICE, OPTION_INT, OPTION_SECONDS };

struct option_row {
    char letter;           /* 0: none */
    enum option_type type; /* of the field */
    int scenarios;         /* bits of those that have it */
    const char *name;      /* without the dashes */
    const char *argument;  /* what the help calls it; of a choice: the words, separated by | */
    size_t offset;         /* of the field in struct bench_options */
    double min, max;       /* of numbers, inclusive */
    const char *help;
};

#define FIELD(name) offsetof(struct bench_options, name)

static const struct option_row rows[] = {
    {'a', OPTION_TEXT, BENCH_ALL, "address", "HOST:PORT", FIELD(address), 0, 0,
     "the server, or unix:PATH (default 127.0.0.1:8081, with -w 127.0.0.1:8082)"},
    {'w', OPTION_FLAG, BENCH_ALL, "websocket", NULL, FIELD(websocket), 0, 0, "WebSocket instead of TCP"},
    {'t', OPTION_FLAG, BENCH_ALL, "tls", NULL, FIELD(tls), 0, 0, "by TLS (the certificate is not looked at)"},
    {0, OPTION_FLAG, BENCH_ALL, "tls12", NULL, FIELD(tls12), 0, 0, "by TLS 1.2"},
    {0, OPTION_FLAG, BENCH_ALL, "resume", NULL, FIELD(resume), 0, 0,
     "by TLS, handshakes resumed by the first connection's ticket, once it has come"},
    {0, OPTION_FLAG, BENCH_ALL, "gzip", NULL, FIELD(gzip), 0, 0, "accept gzip (TCP)"},
    {0, OPTION_TEXT, BENCH_ALL, "path", "PATH", FIELD(path), 0, 0, "WebSocket path (default /)"},
    {'c', OPTION_INT, BENCH_ALL, "connections", "N", FIELD(connections), 1, 2e6, "see the scenario"},
    {'k', OPTION_INT, BENCH_ALL & ~BENCH_CONNECT, "outstanding", "K", FIELD(outstanding), 1, 60000, "see the scenario"},
    {'d', OPTION_SECONDS, BENCH_ALL, "duration", "S", FIELD(duration), 0, 86400, "seconds to measure (default 10)"},
    {'n', OPTION_INT, BENCH_ALL & ~BENCH_CONNECT, "messages", "N", FIELD(messages), 1, 1e12,
     "messages (or pages) to measure, instead of a duration"},
    {0, OPTION_SECONDS, BENCH_CHANNEL, "rate", "R", FIELD(rate), 0, 1000000,
     "messages a second at most (default 0: as -k lets through)"},
    {0, OPTION_SECONDS, BENCH_CHANNEL, "hold", "S", FIELD(hold), 0, 86400,
     "seconds to hold still before the load (default 0)"},
    {0, OPTION_SECONDS, BENCH_ALL & ~BENCH_CONNECT, "warmup", "S", FIELD(warmup), 0, 3600,
     "seconds of load before the measurement (default 1)"},
    {'s', OPTION_INT, BENCH_ALL & ~BENCH_CONNECT, "size", "BYTES", FIELD(size), 16, 1 << 20,
     "content size (default 128)"},
    {0, OPTION_TEXT, BENCH_ALL & ~BENCH_DM, "channel", "NAME", FIELD(channel), 0, 0,
     "the channel (default: a new one)"},
    {0, OPTION_FLAG, BENCH_CONNECT, "no-subscribe", NULL, FIELD(no_subscribe), 0, 0, "log in only"},
    {0, OPTION_FLAG, BENCH_CONNECT, "pipeline", NULL, FIELD(pipeline), 0, 0,
     "send login and subscription in one write"},
    {0, OPTION_FLAG, BENCH_CONNECT, "leave", NULL, FIELD(leave), 0, 0,
     "each goes as soon as it is there; --concurrency at once"},
    {0, OPTION_INT, BENCH_CONNECT, "users", "N", FIELD(users), 1, 1e6,
     "so many users, who come again with their tokens (default: each connection is a new one)"},
    {0, OPTION_FLAG, BENCH_CONNECT, "silent", NULL, FIELD(silent), 0, 0,
     "read nothing once subscribed, with little room in the socket"},
    {0, OPTION_INT, BENCH_CHANNEL, "senders", "N", FIELD(senders), 1, 60000, "connections that send (default 1)"},
    {0, OPTION_CHOICE, BENCH_CHANNEL, "push", "all|merged|none", FIELD(push), 0, 0,
     "the receivers' push mode (default all); merged also accepts merged frames"},
    {0, OPTION_INT, BENCH_DM, "ack", "N", FIELD(ack), 0, 10000,
     "receivers acknowledge their inbox after N messages (default 0: never)"},
    {0, OPTION_INT, BENCH_HISTORY, "fill", "M", FIELD(fill), 0, 1e9,
     "messages to put into the channel first (default 10000, or 0 with --channel)"},
    {0, OPTION_INT, BENCH_HISTORY, "page", "N", FIELD(page), 1, 200, "messages a page (default 50)"},
    {0, OPTION_CHOICE, BENCH_HISTORY, "position", "random|newest|walk", FIELD(position), 0, 0,
     "which pages (default random); walk: from the newest backwards"},
    {0, OPTION_INT, BENCH_ALL, "concurrency", "N", FIELD(concurrency), 1, 100000,
     "connections being set up at once (default 64)"},
    {0, OPTION_INT, BENCH_ALL, "pid", "PID", FIELD(pid), 1, 1 << 22,
     "the server's process (default: who listens at the address, on this machine)"},
    {0, OPTION_TEXT, BENCH_ALL, "source", "IPV4", FIELD(source), 0, 0,
     "first address to connect from (default 127.0.0.2 to a loopback server)"},
    {0, OPTION_INT, BENCH_ALL, "per-source", "N", FIELD(per_source), 1, 60000,
     "connections from one address, before the next is used (default 10000; the kernel takes long to find a port from "
     "14000 "
     "on)"},
    {0, OPTION_SECONDS, BENCH_ALL, "timeout", "S", FIELD(timeout), 1, 3600,
     "seconds without progress after which a run is given up (default 10)"},
    {0, OPTION_FLAG, BENCH_ALL, "json", NULL, FIELD(json), 0, 0, "the result as one JSON object (times in µs)"},
    {'q', OPTION_FLAG, BENCH_ALL, "quiet", NULL, FIELD(quiet), 0, 0, "no progress on stderr"},
    {'h', OPTION_FLAG, BENCH_ALL, "help", NULL, FIELD(help), 0, 0, "this text; after a scenario, about that"},
    {0, OPTION_FLAG, BENCH_ALL, "version", NULL, FIELD(version), 0, 0, "the version"},
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

/* ---- nearest match ---- */

/* Edit distance of two short words. */
static unsigned word_distance(const char *a, const char *b)
{
    unsigned row[64];
    size_t n = strlen(b);

    if (n >= 64)
        return 64;
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 1; a[i - 1]; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= n; j++) {
            unsigned change = diagonal + (a[i - 1] != b[j - 1]);
            unsigned shift = 1 + (row[j] < row[j - 1] ? row[j] : row[j - 1]);
            diagonal = row[j];
            row[j] = change < shift ? change : shift;
        }
    }
    return row[n];
}

static int option_unknown(const char *name)
{
    const char *nearest = NULL;
    unsigned best = 4;

    for (size_t i = 0; i < ROWS; i++) {
        unsigned distance = word_distance(name, rows[i].name);
        if (distance < best) {
            best = distance;
            nearest = rows[i].name;
        }
    }
    fprintf(stderr, "magpie-bench: unknown option --%s%s%s%s\n", name, nearest ? "; did you mean --" : "",
            nearest ? nearest : "", nearest ? "?" : "; --help lists them");
    return ERR_INVALID;
}

static const struct bench_scenario *scenario_find(const char *name)
{
    const char *nearest = NULL;
    unsigned best = 4;

    for (size_t i = 0; bench_scenarios[i]; i++) {
        unsigned distance = word_distance(name, bench_scenarios[i]->name);
        if (distance == 0)
            return bench_scenarios[i];
        if (distance < best) {
            best = distance;
            nearest = bench_scenarios[i]->name;
        }
    }
    fprintf(stderr, "magpie-bench: unknown scenario %s%s%s%s; there are", name, nearest ? " (did you mean " : "",
            nearest ? nearest : "", nearest ? "?)" : "");
    for (size_t i = 0; bench_scenarios[i]; i++)
        fprintf(stderr, " %s", bench_scenarios[i]->name);
    fputc('\n', stderr);
    return NULL;
}

/* ---- values ---- */

static bool choice_has(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = words; p; p = strchr(p, '|'), p = p ? p + 1 : NULL)
        if (n > 0 && strncmp(p, word, n) == 0 && (p[n] == '|' || p[n] == '\0'))
            return true;
    return false;
}

/* A number, with k or M for thousands and millions. */
static int number_read(const char *text, double *out)
{
    char *end;

    errno = 0;
    double v = strtod(text, &end);
    if (end == text || errno || !isfinite(v))
        return ERR_INVALID;
    if (*end == 'k' || *end == 'M') {
        v *= *end == 'k' ? 1e3 : 1e6;
        end++;
    }
    *out = v;
    return *end ? ERR_INVALID : 0;
}

static int value_set(struct bench_options *options, const struct option_row *row, const char *text)
{
    char *field = (char *)options + row->offset;
    double v = 0;

    if (row->type == OPTION_FLAG) {
        *(bool *)field = true;
        return 0;
    }
    if (row->type == OPTION_TEXT || row->type == OPTION_CHOICE) {
        if (row->type == OPTION_CHOICE ? !choice_has(row->argument, text) : !text[0]) {
            fprintf(stderr, "magpie-bench: --%s: expected %s, found \"%s\"\n", row->name, row->argument, text);
            return ERR_INVALID;
        }
        *(const char **)field = text;
        return 0;
    }
    bool whole = row->type == OPTION_INT;
    if (number_read(text, &v) < 0 || (whole && v != floor(v)) || v < row->min || v > row->max) {
        fprintf(stderr, "magpie-bench: --%s: expected %s from %.0f to %.0f, found \"%s\"\n", row->name,
                whole ? "a whole number" : "seconds", row->min, row->max, text);
        return ERR_INVALID;
    }
    if (whole)
        *(int64_t *)field = (int64_t)v;
    else
        *(double *)field = v;
    return 0;
}

/* ---- arguments ---- */

struct reader {
    struct bench_options *options;
    char **argv;            /* borrowed */
    int argc;               /* arguments */
    int at;                 /* the next one */
    const char *seen[ROWS]; /* options given, to be checked against the scenario once that is known */
    size_t seen_count;      /* in use */
};

static int option_apply(struct reader *r, const struct option_row *row, const char *value)
{
    if (row->type != OPTION_FLAG && !value) {
        if (r->at == r->argc) {
            fprintf(stderr, "magpie-bench: --%s: its argument %s is missing\n", row->name, row->argument);
            return ERR_INVALID;
        }
        value = r->argv[r->at++];
    }
    bool known = false;
    for (size_t i = 0; i < r->seen_count; i++)
        known = known || r->seen[i] == row->name;
    if (!known)
        r->seen[r->seen_count++] = row->name;
    return value_set(r->options, row, value);
}

/* --name, --name VALUE or --name=VALUE. */
static int option_long(struct reader *r, const char *argument)
{
    const char *equals = strchr(argument, '=');
    size_t n = equals ? (size_t)(equals - argument) : strlen(argument);

    for (size_t i = 0; i < ROWS; i++) {
        if (strncmp(rows[i].name, argument, n) == 0 && rows[i].name[n] == '\0') {
            if (equals && rows[i].type == OPTION_FLAG) {
                fprintf(stderr, "magpie-bench: --%s takes no argument\n", rows[i].name);
                return ERR_INVALID;
            }
            return option_apply(r, &rows[i], equals ? equals + 1 : NULL);
        }
    }
    return option_unknown(argument);
}

/* -x, -xy (flags), -xVALUE or -x VALUE. */
static int option_short(struct reader *r, const char *argument)
{
    for (const char *p = argument; *p; p++) {
        const struct option_row *row = NULL;
        for (size_t i = 0; i < ROWS; i++)
            row = rows[i].letter == *p ? &rows[i] : row;
        if (!row) {
            fprintf(stderr, "magpie-bench: unknown option -%c; --help lists them\n", *p);
            return ERR_INVALID;
        }
        if (row->type != OPTION_FLAG)
            return option_apply(r, row, p[1] ? p + 1 : NULL);
        int status = option_apply(r, row, NULL);
        if (status < 0)
            return status;
    }
    return 0;
}

/* Options that the scenario does not have are errors: silently doing something else would spoil a measurement. */
static int options_check(const struct reader *r, const struct bench_scenario *scenario)
{
    for (size_t i = 0; i < r->seen_count; i++) {
        for (size_t k = 0; k < ROWS; k++) {
            if (rows[k].name == r->seen[i] && !(rows[k].scenarios & (int)scenario->bit)) {
                fprintf(stderr, "magpie-bench: --%s is no option of the scenario %s\n", rows[k].name, scenario->name);
                return ERR_INVALID;
            }
        }
    }
    return 0;
}

int bench_options_read(struct bench_options *options, const struct bench_scenario **scenario, int argc, char **argv)
{
    struct reader r = {.options = options, .argv = argv, .argc = argc, .at = 1};

    *options = (struct bench_options){.path = "/",
                                      .push = "all",
                                      .position = "random",
                                      .duration = -1,
                                      .warmup = 1,
                                      .timeout = 10,
                                      .size = 128,
                                      .concurrency = 64,
                                      .per_source = 10000,
                                      .senders = 1,
                                      .fill = -1,
                                      .page = 50};
    *scenario = NULL;
    while (r.at < argc) {
        const char *argument = argv[r.at++];
        int status = 0;
        if (argument[0] == '-' && argument[1] == '-') {
            status = option_long(&r, argument + 2);
        } else if (argument[0] == '-' && argument[1]) {
            status = option_short(&r, argument + 1);
        } else if (*scenario) {
            fprintf(stderr, "magpie-bench: unexpected argument \"%s\"\n", argument);
            status = ERR_INVALID;
        } else {
            *scenario = scenario_find(argument);
            status = *scenario ? 0 : ERR_INVALID;
        }
        if (status < 0)
            return status;
    }
    if (options->help || options->version)
        return 0;
    if (!*scenario) {
        fprintf(stderr, "magpie-bench: which scenario? --help lists them\n");
        return ERR_INVALID;
    }
    options->connections = options->connections ? options->connections : (*scenario)->connections;
    options->outstanding = options->outstanding ? options->outstanding : (*scenario)->outstanding;
    options->duration = options->duration >= 0 ? options->duration : (*scenario)->duration;
    options->fill = options->fill >= 0 ? options->fill : options->channel ? 0 : 10000;
    if (!options->address)
        options->address = options->websocket ? "127.0.0.1:8082" : "127.0.0.1:8081";
    if (options->resume && !options->tls && !options->tls12) {
        fprintf(stderr, "magpie-bench: --resume is for --tls or --tls12\n");
        return ERR_INVALID;
    }
    return options_check(&r, *scenario);
}

static void option_help(FILE *out, const struct option_row *row)
{
    char left[64];

    if (row->letter) {
        snprintf(left, sizeof(left), "-%c, --%s%s%s", row->letter, row->name, row->argument ? " " : "",
                 row->argument ? row->argument : "");
    } else {
        snprintf(left, sizeof(left), "    --%s%s%s", row->name, row->argument ? " " : "",
                 row->argument ? row->argument : "");
    }
    fprintf(out, "  %-34s %s\n", left, row->help);
}

void bench_options_help(FILE *out, const struct bench_scenario *scenario)
{
    fputs("Usage: magpie-bench [OPTIONS] SCENARIO [OPTIONS]\n\nMeasures a Magpie server from outside.\n\nScenarios:\n",
          out);
    for (size_t i = 0; bench_scenarios[i]; i++) {
        if (!scenario || scenario == bench_scenarios[i]) {
            const struct bench_scenario *s = bench_scenarios[i];
            fprintf(out, "  %-10s %s\n             %s\n", s->name, s->summary, s->connections_mean);
        }
    }
    fputs(scenario ? "\nOptions of this scenario:\n" : "\nOptions of all scenarios:\n", out);
    for (size_t i = 0; i < ROWS; i++)
        if (scenario ? rows[i].scenarios & (int)scenario->bit : rows[i].scenarios == BENCH_ALL)
            option_help(out, &rows[i]);
    if (!scenario) {
        fputs("\nOptions of some (magpie-bench SCENARIO --help says of which):\n", out);
        for (size_t i = 0; i < ROWS; i++)
            if (rows[i].scenarios != BENCH_ALL)
                option_help(out, &rows[i]);
    }
    fputs("\nNumbers may end in k or M. SIGINT ends a run early with the results so far. The exit status is 0 when all "
          "went "
          "well,\n"
          "1 when the run failed or something was lost, doubled or refused, 2 for a wrong command line.\n"
          "The server's rate limits apply: run it with rate = { user = 0, channel = 0 }.\n",
          out);
}
