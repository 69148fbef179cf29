#include "core/script/fetcher.h"

#include "core/base/clock.h"
#include "core/script/fetch_address.h"
#include "core/script/waiting.h"

#include <stdlib.h>
#include <string.h>

/* --- A request ---------------------------------------------------------------------------------------------------- */

static struct slice keep(char **at, struct slice s)
{
    struct slice kept = slice_of(*at, s.n);
    if (s.n)
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return kept;
}

struct fetch *fetch_new(const struct fetch_request *q)
{
    size_t texts = q->method.n + q->body.n + q->url.path.n + q->url.query.n;
    for (unsigned i = 0; i < q->header_count; i++)
        texts += q->headers[i].name.n + q->headers[i].value.n;
    struct fetch *x = calloc(1, sizeof *x + sizeof *q + texts);
    if (!x)
        return NULL;
    struct fetch_request *copy = (struct fetch_request *)(x + 1);
    char *at = (char *)(copy + 1);
    *copy = *q;
    copy->method = keep(&at, q->method);
    copy->body = keep(&at, q->body);
    copy->url.path = keep(&at, q->url.path);
    copy->url.query = keep(&at, q->url.query);
    for (unsigned i = 0; i < q->header_count; i++) {
        copy->headers[i].name = keep(&at, q->headers[i].name);
        copy->headers[i].value = keep(&at, q->headers[i].value);
    }
    x->q = copy;
    x->bytes = texts;
    return x;
}

void fetch_free(struct fetch *x)
{
    buf_free(&x->head);
    buf_free(&x->body);
    free(x);
}

#ifdef MAGPIE_HAVE_CURL

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

enum { POLL_MS = 1000 };

struct fetcher {
    pthread_t thread;
    CURLM *multi;         /* the thread's, but for curl_multi_wakeup() */
    pthread_mutex_t lock; /* of what follows */
    struct fetch *fresh, **fresh_tail;
    unsigned count; /* under way */
    size_t bytes;   /* of their requests */
    bool ending;    /* set by the main thread alone */
    /* the thread's */
    struct fetch *queue, **queue_tail; /* that wait for a place among the running ones */
    struct fetch *running;             /* list */
    unsigned running_count;
};

bool fetcher_built(void)
{
    return true;
}

/* --- What curl asks while it runs --------------------------------------------------------------------------------- */

static curl_socket_t on_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct fetch *x = ctx;
    const struct fetch_url *u = &x->q->url;
    const char *kind = fetch_address_kind(&a->addr);
    (void)purpose;
    if (kind && !(u->literal && fetch_address_is(&a->addr, u->host))) {
        char text[INET6_ADDRSTRLEN];
        fetch_address_text(&a->addr, text);
        snprintf(x->error, sizeof x->error, "forbidden: %.80s is %s, %s; such ones scripts.fetch must list by address",
                 u->host, text, kind);
        return CURL_SOCKET_BAD;
    }
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static size_t too_large(struct fetch *x)
{
    x->too_large = true;
    return 0;
}

/* A line of the answer's head; that of an earlier, interim answer is forgotten. */
static size_t on_head(char *p, size_t size, size_t n, void *ctx)
{
    struct fetch *x = ctx;
    size_t all = size * n, end = all;
    while (end && (p[end - 1] == '\r' || p[end - 1] == '\n'))
        end--;
    if (end >= 5 && memcmp(p, "HTTP/", 5) == 0) {
        buf_reset(&x->head);
        return all;
    }
    const char *colon = memchr(p, ':', end);
    if (!colon || memchr(p, '\0', end))
        return all;
    if (x->head.n + end > FETCH_HEAD_MAX)
        return too_large(x);
    for (const char *c = p; c < colon; c++)
        buf_byte(&x->head, (uint8_t)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c));
    buf_byte(&x->head, 0);
    for (colon++; colon < p + end && (*colon == ' ' || *colon == '\t'); colon++)
        ;
    buf_put(&x->head, colon, (size_t)(p + end - colon));
    buf_byte(&x->head, 0);
    return buf_ok(&x->head) ? all : 0;
}

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
    struct fetch *x = ctx;
    if (x->body.n + size * n > FETCH_BODY_MAX)
        return too_large(x);
    buf_put(&x->body, p, size * n);
    return buf_ok(&x->body) ? size * n : 0;
}

/* Whether nobody waits for it any more. */
static bool dropped(const struct fetch *x)
{
    return atomic_load_explicit(&x->waiting->dropped, memory_order_relaxed);
}

/* Not 0: ends it. */
static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    return dropped(ctx);
}

/* --- One request -------------------------------------------------------------------------------------------------- */

/* Posts it home. */
static void finish(struct fetcher *f, struct fetch *x)
{
    if (x->curl)
        curl_easy_cleanup(x->curl);
    curl_slist_free_all(x->list);
    x->curl = x->list = NULL;
    pthread_mutex_lock(&f->lock);
    f->count--;
    f->bytes -= x->bytes;
    pthread_mutex_unlock(&f->lock);
    mailbox_post(x->home, &x->mail);
}

static bool add_header(struct fetch *x, const char *fmt, struct slice name, struct slice value)
{
    char line[9000];
    int n = snprintf(line, sizeof line, fmt, (int)name.n, name.p, (int)value.n, value.p ? value.p : "");
    struct curl_slist *list = n >= 0 && (size_t)n < sizeof line ? curl_slist_append(x->list, line) : NULL;
    x->list = list ? list : x->list;
    return list != NULL;
}

static bool make_headers(struct fetch *x)
{
    bool good = true, typed = false;
    for (unsigned i = 0; good && i < x->q->header_count; i++) {
        const struct fetch_header *h = &x->q->headers[i];
        good = add_header(x, h->value.n ? "%.*s: %.*s" : "%.*s;%.*s", h->name, h->value);
        typed |= h->name.n == 12 && strncasecmp(h->name.p, "content-type", 12) == 0;
    }
    /* curl's own additions. */
    good = good && add_header(x, "%.*s:%.*s", SLICE_LIT("Expect"), SLICE_NONE);
    return good && (typed || add_header(x, "%.*s:%.*s", SLICE_LIT("Content-Type"), SLICE_NONE));
}

static void set_method(CURL *c, const struct fetch_request *q)
{
    char method[16];
    snprintf(method, sizeof method, "%.*s", (int)q->method.n, q->method.p);
    if (q->body.n || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0) {
        curl_easy_setopt(c, CURLOPT_POST, 1L);
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body.n);
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, q->body.n ? q->body.p : "");
    }
    if (strcmp(method, "HEAD") == 0)
        curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
    else
        curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
}

/* False: out of memory. */
static bool prepare(struct fetch *x, uint64_t left_ms)
{
    char url[FETCH_URL_MAX + 64];
    CURL *c = x->curl = curl_easy_init();
    if (!c || !make_headers(x) || !fetch_url_text(&x->q->url, url, sizeof url))
        return false;
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_PROXY, ""); /* and none of the environment's */
    curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "magpie/" MAGPIE_VERSION);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, x->list);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)left_ms);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, x);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, x);
    curl_easy_setopt(c, CURLOPT_PRIVATE, x);
    set_method(c, x->q);
    return true;
}

static void take_result(struct fetch *x, CURLcode rc)
{
    long status = 0;
    if (rc == CURLE_OK) {
        curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &status);
        x->status = (unsigned)status;
        x->error[0] = '\0'; /* of an address that it did without */
        return;
    }
    if (x->too_large)
        snprintf(x->error, sizeof x->error, "too_large: the answer has more than 256 KiB, or 32 KiB of headers");
    else if (rc == CURLE_OPERATION_TIMEDOUT)
        snprintf(x->error, sizeof x->error, "timeout: no answer within %u ms", x->q->timeout_ms);
    else if (!x->error[0])
        snprintf(x->error, sizeof x->error, "unreachable: %s", curl_easy_strerror(rc));
}

/* --- The thread --------------------------------------------------------------------------------------------------- */

/* Begins what waits, as far as there is room. */
static void start_queued(struct fetcher *f)
{
    while (f->queue && f->running_count < FETCH_RUNNING) {
        struct fetch *x = f->queue;
        f->queue = x->next;
        if (!f->queue)
            f->queue_tail = &f->queue;
        uint64_t now = clock_mono_ms();
        if (dropped(x)) {
            take_result(x, CURLE_ABORTED_BY_CALLBACK);
            finish(f, x);
        } else if (now >= x->deadline_ms) {
            take_result(x, CURLE_OPERATION_TIMEDOUT);
            finish(f, x);
        } else if (!prepare(x, x->deadline_ms - now) || curl_multi_add_handle(f->multi, x->curl) != CURLM_OK) {
            snprintf(x->error, sizeof x->error, "unreachable: out of memory");
            finish(f, x);
        } else {
            x->next = f->running;
            f->running = x;
            f->running_count++;
        }
    }
}

static void unlink_running(struct fetcher *f, struct fetch *x)
{
    struct fetch **at = &f->running;
    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    f->running_count--;
    curl_multi_remove_handle(f->multi, x->curl);
}

static void collect(struct fetcher *f)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(f->multi, &left))) {
        struct fetch *x = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        CURLcode rc = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&x);
        take_result(x, rc);
        unlink_running(f, x);
        finish(f, x);
    }
}

static void end_all(struct fetcher *f)
{
    while (f->running) {
        struct fetch *x = f->running;
        unlink_running(f, x);
        snprintf(x->error, sizeof x->error, "unreachable: the server is stopping");
        finish(f, x);
    }
    while (f->queue) {
        struct fetch *x = f->queue;
        f->queue = x->next;
        snprintf(x->error, sizeof x->error, "unreachable: the server is stopping");
        finish(f, x);
    }
    f->queue_tail = &f->queue;
}

static void *run(void *arg)
{
    struct fetcher *f = arg;
    bool ending = false;
    pthread_setname_np(pthread_self(), "script-fetch");
    while (!ending) {
        int running;
        pthread_mutex_lock(&f->lock);
        ending = f->ending;
        if (f->fresh) {
            *f->queue_tail = f->fresh;
            f->queue_tail = f->fresh_tail;
            f->fresh = NULL;
            f->fresh_tail = &f->fresh;
        }
        pthread_mutex_unlock(&f->lock);
        start_queued(f);
        curl_multi_perform(f->multi, &running);
        collect(f);
        if (!ending && !(f->queue && f->running_count < FETCH_RUNNING))
            curl_multi_poll(f->multi, NULL, 0, POLL_MS, NULL);
    }
    end_all(f);
    return NULL;
}

int fetcher_start(struct fetcher *f, struct fetch *x)
{
    int rc = 0;
    x->deadline_ms = clock_mono_ms() + x->q->timeout_ms;
    x->next = NULL;
    pthread_mutex_lock(&f->lock);
    if (f->ending || f->count >= FETCH_QUEUED || f->bytes + x->bytes > FETCH_QUEUED_BYTES)
        rc = ERR_AGAIN;
    if (rc == 0) {
        f->count++;
        f->bytes += x->bytes;
        *f->fresh_tail = x;
        f->fresh_tail = &x->next;
    }
    pthread_mutex_unlock(&f->lock);
    if (rc == 0)
        curl_multi_wakeup(f->multi); /* which lives until fetcher_free() */
    return rc;
}

struct fetcher *fetcher_new(void)
{
    struct fetcher *f = calloc(1, sizeof *f);
    sigset_t all, before;
    if (!f)
        return NULL;
    f->fresh_tail = &f->fresh;
    f->queue_tail = &f->queue;
    pthread_mutex_init(&f->lock, NULL);
    f->multi = curl_global_init(CURL_GLOBAL_DEFAULT) == 0 ? curl_multi_init() : NULL;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = f->multi ? pthread_create(&f->thread, NULL, run, f) : -1;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        return f;
    if (f->multi)
        curl_multi_cleanup(f->multi);
    pthread_mutex_destroy(&f->lock);
    free(f);
    return NULL;
}

void fetcher_stop(struct fetcher *f)
{
    if (!f || f->ending)
        return;
    pthread_mutex_lock(&f->lock);
    f->ending = true;
    pthread_mutex_unlock(&f->lock);
    curl_multi_wakeup(f->multi);
    pthread_join(f->thread, NULL);
}

void fetcher_free(struct fetcher *f)
{
    if (!f)
        return;
    fetcher_stop(f);
    curl_multi_cleanup(f->multi);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

#else

bool fetcher_built(void)
{
    return false;
}

struct fetcher *fetcher_new(void)
{
    return NULL;
}

void fetcher_stop(struct fetcher *f)
{
    (void)f;
}

void fetcher_free(struct fetcher *f)
{
    (void)f;
}

int fetcher_start(struct fetcher *f, struct fetch *x)
{
    (void)f, (void)x;
    return ERR_AGAIN;
}

#endif
