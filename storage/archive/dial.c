#include "storage/archive/dial.h"

#include "storage/archive/setup.h"

#include <ev.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Shared by the thread and whoever waits for it. */
struct dial {
    struct dial *next; /* of `left` */
    pthread_t thread;
    pthread_mutex_t lock;
    bool done, abandoned;        /* under lock: there is a result; nobody waits for it */
    struct dial_options options; /* own copy */
    struct ev_loop *loop;        /* under lock, and until it is abandoned: whom to wake */
    struct ev_async *wake;
    PGconn *conn; /* under lock, once done: the connection, or NULL */
    char why[DIAL_WHY];
};

/* Those that nobody waits for any more, and whose threads may still be inside libpq. They are the process's: they
 * outlive the archive that began them, and matter to the end of the process alone. */
static struct {
    pthread_mutex_t lock;
    struct dial *first;
} left = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Its thread has ended. */
static void dial_free(struct dial *d)
{
    if (d->conn)
        PQfinish(d->conn);
    pthread_mutex_destroy(&d->lock);
    free(d->options.url);
    free(d);
}

static void silent(void *arg, const PGresult *res)
{
    (void)arg;
    (void)res; /* libpq would write notices to standard error */
}

/* What libpq says, which is a line for each host that was tried, as one line. Its advice, which begins with a tab, is
 * left out. */
static void one_line(const char *text, char why[DIAL_WHY])
{
    size_t n = 0;
    for (const char *line = text; *line && n + 1 < DIAL_WHY;) {
        size_t len = strcspn(line, "\n");
        if (len && *line != '\t')
            n += (size_t)snprintf(why + n, DIAL_WHY - n, "%s%.*s", n ? "; " : "", (int)len, line);
        line += line[len] ? len + 1 : len;
    }
}

static PGconn *connect_now(const struct dial_options *o, char why[DIAL_WHY])
{
    /* Before the URL stands what it may override. A connection whose other side is gone without a word must be found
     * out: by keepalives where nothing is sent, by the user timeout where something is. */
    static const char *const keys[] = {"connect_timeout",           "keepalives_idle",  "keepalives_interval",
                                       "keepalives_count",          "tcp_user_timeout", "target_session_attrs",
                                       "fallback_application_name", "dbname",           NULL};
    const char *values[] = {"5", "10", "3", "3", "10000", "read-write", "magpied", o->url, NULL};
    PGconn *conn = PQconnectdbParams(keys, values, 1);
    if (!conn) {
        (void)snprintf(why, DIAL_WHY, "out of memory");
        return NULL;
    }
    if (PQstatus(conn) != CONNECTION_OK) {
        one_line(PQerrorMessage(conn), why);
        PQfinish(conn);
        return NULL;
    }
    PQsetNoticeReceiver(conn, silent, NULL);
    if (setup_run(conn, &(struct setup_options){o->timeout_ms, o->partitions}, why, DIAL_WHY) != 0) {
        PQfinish(conn);
        return NULL;
    }
    if (PQsetnonblocking(conn, 1) != 0 || !PQenterPipelineMode(conn)) {
        one_line(PQerrorMessage(conn), why);
        PQfinish(conn);
        return NULL;
    }
    return conn;
}

static void *dial_thread(void *arg)
{
    struct dial *d = arg;
    char why[DIAL_WHY] = "";
    PGconn *conn = connect_now(&d->options, why);
    pthread_mutex_lock(&d->lock);
    d->conn = conn;
    memcpy(d->why, why, sizeof why);
    d->done = true;
    if (!d->abandoned) {
        ev_async_send(d->loop, d->wake);
    } else if (conn) {
        PQfinish(conn);
        d->conn = NULL;
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

struct dial *dial_begin(const struct dial_options *options, struct ev_loop *loop, struct ev_async *wake)
{
    struct dial *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    pthread_mutex_init(&d->lock, NULL);
    d->options = *options;
    d->options.url = strdup(options->url);
    d->loop = loop;
    d->wake = wake;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the main thread */
    int code = d->options.url ? pthread_create(&d->thread, NULL, dial_thread, d) : -1;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code == 0)
        return d;
    dial_free(d);
    return NULL;
}

int dial_take(struct dial *d, PGconn **conn, char why[DIAL_WHY])
{
    *conn = NULL;
    pthread_mutex_lock(&d->lock);
    bool done = d->done;
    pthread_mutex_unlock(&d->lock);
    if (!done)
        return ERR_AGAIN;
    pthread_join(d->thread, NULL); /* it is on its way out */
    *conn = d->conn;
    d->conn = NULL;
    memcpy(why, d->why, DIAL_WHY);
    dial_free(d);
    return 0;
}

void dial_abandon(struct dial *d)
{
    pthread_mutex_lock(&d->lock);
    bool done = d->done;
    d->abandoned = true;
    pthread_mutex_unlock(&d->lock);
    if (done) {
        pthread_join(d->thread, NULL);
        dial_free(d);
        return;
    }
    pthread_mutex_lock(&left.lock);
    d->next = left.first;
    left.first = d;
    pthread_mutex_unlock(&left.lock);
}

bool dial_left(void)
{
    pthread_mutex_lock(&left.lock);
    for (struct dial **at = &left.first, *d; (d = *at) != NULL;) {
        if (pthread_tryjoin_np(d->thread, NULL) != 0) {
            at = &d->next;
            continue;
        }
        *at = d->next;
        dial_free(d);
    }
    bool any = left.first != NULL;
    pthread_mutex_unlock(&left.lock);
    return any;
}
