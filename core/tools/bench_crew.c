/* Many connections of one purpose: see bench_crew.h. */
#include "core/tools/bench_crew.h"

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/client/client_fields.h"
#include "core/tools/bench.h"
#include "core/tools/bench_options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    HOPELESS = 64,     /* failures in a row, from the first on, after which the rest is not tried */
    SILENT_ROOM = 4096 /* SO_RCVBUF of those who do not read, bytes */
};

static void crew_open_more(struct bench_crew *crew);

static void member_settle(struct bench_member *member)
{
    struct bench_crew *crew = member->crew;

    crew->busy--;
    crew->settled++;
    crew->bench->steps++;
    if (crew->settled == crew->want)
        bench_phase_end(crew->bench);
}

/* The connection is gone or of no use. */
static void member_lose(struct bench_member *member)
{
    struct bench_crew *crew = member->crew;
    bool was_ready = member->ready;

    member->conn = NULL;
    member->ready = false;
    crew->bench->lost++;
    if (!was_ready) {
        member_settle(member);
        return;
    }
    crew->ready--;
    if (crew->lost)
        crew->lost(member);
}

/* As member_lose(), for one that still has its connection. */
static void member_give_up(struct bench_member *member)
{
    struct client_conn *conn = member->conn;

    member->conn = NULL; /* first: unanswered requests are told that the connection closed */
    client_conn_close(conn);
    member_lose(member);
    crew_open_more(member->crew);
}

static void member_become_ready(struct bench_member *member)
{
    struct bench_crew *crew = member->crew;

    bench_hist_record(&crew->ready_us, client_read_us(crew->bench->client) - member->started_us);
    if (crew->leave) {
        struct client_conn *conn = member->conn;
        member->conn = NULL;
        client_conn_close(conn);
        crew->left++;
    } else {
        member->ready = true;
        crew->ready++;
        if (crew->silent)
            client_conn_deafen(member->conn);
    }
    member_settle(member);
    crew_open_more(crew);
}

static void subscribe_answered(struct client_conn *conn, void *arg, int status, struct slice body)
{
    struct bench_member *member = arg;

    (void)conn;
    if (status == ERR_CLOSED)
        return; /* the close handler tells, or we closed it ourselves */
    if (status < 0) {
        bench_refused(member->crew->bench, "a subscription", body);
        member_give_up(member);
        return;
    }
    if (member->crew->joined)
        member->crew->joined(member, body);
    member_become_ready(member);
}

static int member_subscribe(struct bench_member *member)
{
    struct bench_crew *crew = member->crew;
    struct slice push = slice_str(crew->push);

    return client_subscribe(member->conn, slice_str(crew->channel), push, subscribe_answered, member);
}

/* Where the member's user has its token; NULL: each member is a new user. */
static char **member_token(const struct bench_member *member)
{
    const struct bench_crew *crew = member->crew;
    return crew->tokens ? &crew->tokens[member->index % crew->users] : NULL;
}

/* An older token does as well as the newest. */
static void token_keep(char **token, struct slice body)
{
    struct client_field field = CLIENT_FIELD("token");

    if (token && !*token && client_fields_read(body, &field, 1) == 1 && field.value.n > 2) {
        *token =
            strndup(field.value.p + 1, field.value.n - 2); /* without the quotes; NULL: then it is a new user again */
    }
}

static void login_answered(struct client_conn *conn, void *arg, int status, struct slice body)
{
    struct bench_member *member = arg;
    struct bench_crew *crew = member->crew;

    (void)conn;
    if (status == ERR_CLOSED)
        return;
    if (status < 0) {
        bench_refused(crew->bench, "a login", body);
        member_give_up(member);
        return;
    }
    bench_hist_record(&crew->login_us, client_read_us(crew->bench->client) - member->started_us);
    token_keep(member_token(member), body);
    if (crew->logged_in)
        crew->logged_in(member, body);
    if (!crew->channel) {
        member_become_ready(member);
    } else if (!crew->pipeline && member_subscribe(member) < 0) {
        bench_complain(crew->bench, "a %s cannot subscribe: out of memory", crew->what);
        member_give_up(member);
    }
}

static void member_open(struct client_conn *conn, void *user)
{
    struct bench_member *member = user;
    struct bench_crew *crew = member->crew;
    char name[32];
    char **kept = member_token(member);
    struct slice token = kept && *kept ? slice_str(*kept) : SLICE_NONE;

    /* Names of 8 bytes, as issue 5 measures memory with. */
    snprintf(name, sizeof(name), "u%07u", (kept ? member->index % crew->users : member->index) % 10000000u);
    if (client_login(conn, slice_str(name), token, crew->merge, login_answered, member) < 0 ||
        (crew->pipeline && crew->channel && member_subscribe(member) < 0)) {
        bench_complain(crew->bench, "a %s cannot log in: out of memory", crew->what);
        member_give_up(member);
    }
}

static void member_closed(struct client_conn *conn, void *user, int code, const char *why)
{
    struct bench_member *member = user;
    struct bench_crew *crew = member->crew;

    (void)conn;
    (void)code;
    bench_complain(crew->bench, "a %s's connection: %s", crew->what, why);
    member_lose(member);
    crew_open_more(crew);
}

void bench_crew_push(struct client_conn *conn, void *user, uint16_t action, struct slice body)
{
    struct bench_member *member = user;
    struct bench *bench = member->crew->bench;

    (void)conn;
    if (action == CLIENT_PUSH_BEHIND)
        member->crew->behind++;
    else if (action == CLIENT_PUSH_CLOSING)
        bench_complain(bench, "the server closes a %s's connection: %.*s", member->crew->what, (int)body.n, body.p);
    else if (action == CLIENT_ERROR)
        bench_refused(bench, "a frame", body);
}

/* Connects; false when that cannot even begin. */
static bool member_connect(struct bench_member *member)
{
    struct bench_crew *crew = member->crew;
    struct bench *bench = crew->bench;
    uint32_t nth = (uint32_t)(bench->opened++ / (uint64_t)bench->options->per_source);

    bench->target.source = bench->first_source ? htonl(bench->first_source + nth) : 0;
    bench->target.receive_buffer = crew->silent ? SILENT_ROOM : 0;
    member->started_us = clock_mono_us();
    member->conn = client_conn_open(bench->client, &bench->target, &crew->handlers, member);
    if (!member->conn) {
        bench_complain(bench, "a %s cannot connect: %s%s", crew->what, strerror(errno),
                       errno == EADDRNOTAVAIL ? " (no port left at the source address: use a smaller --per-source)"
                                              : "");
    }
    return member->conn;
}

static void crew_open_more(struct bench_crew *crew)
{
    while (crew->started < crew->want && (int64_t)crew->busy < crew->bench->options->concurrency) {
        if (crew->settled >= HOPELESS && crew->ready + crew->left == 0) {
            bench_complain(crew->bench, "the first %u %ss failed; the rest is not tried", crew->settled, crew->what);
            crew->started = crew->want;
            bench_phase_end(crew->bench);
            return;
        }
        struct bench_member *member = &crew->members[crew->started];
        member->crew = crew;
        member->index = crew->started++;
        crew->busy++;
        if (!member_connect(member))
            member_lose(member);
    }
}

int bench_crew_start(struct bench_crew *crew)
{
    crew->handlers = (struct client_handlers){
        .open = member_open,
        .push = crew->push_handler ? crew->push_handler : bench_crew_push,
        .close = member_closed,
    };
    crew->members = calloc(crew->want, sizeof(*crew->members));
    crew->tokens = crew->users ? calloc(crew->users, sizeof(*crew->tokens)) : NULL;
    if (!crew->members || (crew->users && !crew->tokens)) {
        fprintf(stderr, "magpie-bench: out of memory for %u %ss\n", crew->want, crew->what);
        return ERR_NOMEM;
    }
    crew_open_more(crew);
    return 0;
}

static void crew_progress(struct bench *bench, struct buf *out)
{
    const struct bench_crew *crew = bench->state;
    buf_printf(out, "%u of %u %ss ready", crew->ready + crew->left, crew->want, crew->what);
}

int bench_crew_muster(struct bench_crew *crew, const char *phase)
{
    struct bench *bench = crew->bench;
    void *state = bench->state;
    void (*progress)(struct bench *, struct buf *) = bench->progress;

    int status = bench_crew_start(crew);
    if (status < 0)
        return status;
    bench->state = crew;
    bench->progress = crew_progress;
    if (crew->busy > 0)
        bench_phase(bench, phase, 0, true);
    bench->state = state;
    bench->progress = progress;
    if (crew->ready + crew->left == 0 && !bench->interrupted)
        fprintf(stderr, "magpie-bench: no %s could be set up\n", crew->what);
    return crew->ready + crew->left == 0 ? ERR_IO : 0;
}

void bench_crew_end(struct bench_crew *crew)
{
    for (uint32_t i = 0; crew->members && i < crew->started; i++) {
        struct client_conn *conn = crew->members[i].conn;
        crew->members[i].conn = NULL;
        if (conn)
            client_conn_close(conn);
    }
    if (crew->members)
        client_flush(crew->bench->client);
    for (uint32_t i = 0; crew->tokens && i < crew->users; i++)
        free(crew->tokens[i]);
    free(crew->tokens);
    crew->tokens = NULL;
    free(crew->members);
    crew->members = NULL;
    crew->ready = 0;
}
