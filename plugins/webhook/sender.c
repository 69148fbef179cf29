#include "sender.h"

#include "journal.h"
#include "plugins/common/http_out.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

enum {
    WAITING_MAX = 16 << 20, /* bytes of events in memory */
    BACKOFF_MIN_MS = 1000,
    BACKOFF_MAX_MS = 300000,
    DISK_RETRY_MS = 1000,
    ANSWER_MAX = 16384,   /* bytes of an answer's body that are read, so that the connection can be used again */
    ANSWER_MAX_MS = 2000, /* how long they are waited for, once the head has come */
    ID_MAX = 80           /* bytes that write_event() puts around an event */
};

/* An event that is not on disk yet. */
struct event {
    struct event *next;
    size_t n;
    char text[];
};

struct sender {
    mp_self *self;
    const struct mp_api *mp;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;  /* something to do; monotonic clock */
    struct event *first, **last;
    size_t waiting;    /* bytes of them */
    uint64_t refused;  /* events that found no room, and that were not told yet */
    mp_held *settings; /* struct settings, for the thread to take; NULL: it has the newest */
    struct sender_stats stats;
    bool stop, kick;
    _Atomic bool abort; /* curl looks at it */
    /* The thread's own. */
    struct journal *journal;
    mp_held *held;     /* struct settings */
    uint64_t start_id; /* by chance, so that no clock can make two events look like one */
    uint64_t next_id;  /* of events since the start */
    CURL *curl;
    unsigned attempt;        /* that failed, of the batch that stands first */
    uint64_t retry_at_ms;    /* 0: at once */
    uint64_t retry_after_ms; /* the receiver's wish; 0: none */
    unsigned seed;           /* of rand_r() */
};

/* --- The journal's side ------------------------------------------------------------------------------------------- */

static void log_error(struct sender *s, const char *event, const char *text)
{
    struct mp_field f = mp_field_text("error", mp_str(text));
    s->mp->log(s->self, MP_ERROR, event, &f, 1);
}

static bool write_event(struct sender *s, const struct event *e)
{
    char id[ID_MAX];
    int n = snprintf(id, sizeof id, "{\"id\":\"%016llx-%llu\",", (unsigned long long)s->start_id,
                     (unsigned long long)s->next_id);
    char *text = malloc((size_t)n + e->n + 1);
    if (!text)
        return false;
    memcpy(text, id, (size_t)n);
    memcpy(text + n, e->text, e->n);
    text[(size_t)n + e->n] = '}';
    bool good = journal_append(s->journal, text, (size_t)n + e->n + 1) == 0;
    free(text);
    s->next_id += good;
    return good;
}

/* Brings what waits in memory to the disk. What the disk refuses goes back to the front of the queue. */
static bool write_waiting(struct sender *s)
{
    pthread_mutex_lock(&s->lock);
    struct event *list = s->first;
    s->first = NULL;
    s->last = &s->first;
    pthread_mutex_unlock(&s->lock);
    if (!list)
        return true;
    bool good = true;
    while (list && (good = write_event(s, list))) {
        struct event *next = list->next;
        pthread_mutex_lock(&s->lock);
        s->waiting -= list->n;
        pthread_mutex_unlock(&s->lock);
        free(list);
        list = next;
    }
    if (good)
        good = journal_sync(s->journal) == 0;
    if (!good)
        log_error(s, "disk", strerror(errno));
    if (list) {
        struct event *end = list;
        while (end->next)
            end = end->next;
        pthread_mutex_lock(&s->lock);
        end->next = s->first;
        if (!s->first)
            s->last = &end->next;
        s->first = list;
        pthread_mutex_unlock(&s->lock);
    }
    return good;
}

static void log_lost(struct sender *s, uint64_t events, const char *because)
{
    struct mp_field f[] = {mp_field_int("events", (int64_t)events), mp_field_text("because", mp_str(because))};
    if (events)
        s->mp->log(s->self, MP_WARN, "lost", f, sizeof f / sizeof f[0]);
}

/* Whatever was lost is counted and logged. */
static void note_losses(struct sender *s)
{
    struct journal_loss loss = journal_lost(s->journal);
    pthread_mutex_lock(&s->lock);
    s->stats.lost += loss.over_limit + loss.damaged;
    s->stats.backlog = journal_backlog(s->journal);
    uint64_t refused = s->refused;
    s->refused = 0;
    pthread_mutex_unlock(&s->lock);
    log_lost(s, refused, "too large, or no memory while the disk does not keep up");
    log_lost(s, loss.over_limit, "more waited than `backlog` allows");
    if (loss.damaged) {
        struct mp_field f[] = {mp_field_int("places", (int64_t)loss.damaged),
                               mp_field_int("bytes", (int64_t)loss.bytes)};
        s->mp->log(s->self, MP_ERROR, "damaged", f, sizeof f / sizeof f[0]);
    }
    if (loss.cursor)
        log_error(s, "damaged", "the file `cursor`: what had been delivered may come again");
}

/* --- The receiver's side ------------------------------------------------------------------------------------------ */

struct batch {
    const struct mp_api *mp;
    mp_out *out;
    unsigned count;
};

static void batch_add(void *ctx, const void *p, size_t n)
{
    struct batch *b = ctx;
    b->mp->out_put(b->out, mp_str(b->count++ ? "," : "{\"events\":["));
    b->mp->out_put(b->out, mp_str_of(p, n));
}

/* An answer on its way. */
struct answer {
    const struct sender *s;
    CURL *curl;
    long status;   /* 0: its head has not come whole */
    uint64_t head; /* mono_ms() when it had */
    size_t bytes;  /* of the body so far */
};

static size_t on_head(char *p, size_t size, size_t n, void *ctx)
{
    struct answer *a = ctx;
    long status = 0;
    if (!a->status && (size * n == 2 ? p[0] == '\r' : size * n == 1) &&
        curl_easy_getinfo(a->curl, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK && status >= 200) {
        a->status = status;
        a->head = a->s->mp->mono_ms();
    }
    return size * n;
}

/* The status has said all: of the body so much is read as may help to use the connection again. */
static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
    struct answer *a = ctx;
    (void)p;
    a->bytes += size * n;
    return a->bytes > ANSWER_MAX ? 0 : size * n;
}

static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct answer *answer = ctx;
    (void)a, (void)b, (void)c, (void)d;
    return atomic_load(&answer->s->abort) ||
           (answer->status && answer->s->mp->mono_ms() - answer->head > ANSWER_MAX_MS);
}

static struct curl_slist *make_headers(const struct sender *s, const struct settings *o, struct mp_str body)
{
    char signature[SIGNATURE_SIZE], attempt[40];
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    snprintf(attempt, sizeof attempt, "Magpie-Attempt: %u", s->attempt + 1);
    headers = curl_slist_append(headers, attempt);
    headers = curl_slist_append(headers, "Expect:");
    if (o->secret) {
        signature_put(signature, o->secret, body);
        headers = curl_slist_append(headers, signature);
    }
    return headers;
}

static CURLcode perform(struct sender *s, const struct settings *o, struct mp_str body, struct answer *a, char *error)
{
    struct curl_slist *headers = make_headers(s, o, body);
    curl_easy_reset(s->curl);
    curl_easy_setopt(s->curl, CURLOPT_URL, o->url);
    curl_easy_setopt(s->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(s->curl, CURLOPT_POST, 1L);
    curl_easy_setopt(s->curl, CURLOPT_POSTFIELDS, body.p);
    curl_easy_setopt(s->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
    curl_easy_setopt(s->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(s->curl, CURLOPT_USERAGENT, "magpie-webhook/1.0");
    curl_easy_setopt(s->curl, CURLOPT_TIMEOUT_MS, (long)o->timeout_ms);
    curl_easy_setopt(s->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(s->curl, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(s->curl, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(s->curl, CURLOPT_HEADERDATA, a);
    curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(s->curl, CURLOPT_WRITEDATA, a);
    curl_easy_setopt(s->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(s->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(s->curl, CURLOPT_XFERINFODATA, a);
    CURLcode rc = curl_easy_perform(s->curl);
    curl_slist_free_all(headers);
    return rc;
}

/* True: the receiver has it. That is so when the head of its answer says so, whatever becomes of the body. */
static bool post(struct sender *s, const struct settings *o, struct mp_str body)
{
    char error[CURL_ERROR_SIZE] = "";
    curl_off_t retry_after = 0;
    struct answer a = {.s = s, .curl = s->curl};
    CURLcode rc = perform(s, o, body, &a, error);
    if (a.status)
        curl_easy_getinfo(s->curl, CURLINFO_RETRY_AFTER, &retry_after);
    bool good = a.status >= 200 && a.status < 300;
    s->retry_after_ms = retry_after > 0 ? (uint64_t)retry_after * 1000 : 0;
    pthread_mutex_lock(&s->lock);
    s->stats.status = a.status;
    s->stats.failures += !good;
    if (good)
        s->stats.error[0] = '\0';
    else if (a.status)
        snprintf(s->stats.error, sizeof s->stats.error, "the receiver answered %ld", a.status);
    else
        snprintf(s->stats.error, sizeof s->stats.error, "%.*s", (int)sizeof s->stats.error - 1,
                 error[0] ? error : curl_easy_strerror(rc));
    pthread_mutex_unlock(&s->lock);
    return good;
}

static void plan_retry(struct sender *s)
{
    uint64_t wait = BACKOFF_MIN_MS;
    for (unsigned i = 0; i < s->attempt && wait < BACKOFF_MAX_MS; i++)
        wait *= 2;
    if (wait > BACKOFF_MAX_MS)
        wait = BACKOFF_MAX_MS;
    /* Half of it by chance, so that many servers do not come back together. */
    wait = wait / 2 + (uint64_t)rand_r(&s->seed) % (wait / 2 + 1);
    if (s->retry_after_ms > wait)
        wait = s->retry_after_ms < BACKOFF_MAX_MS ? s->retry_after_ms : BACKOFF_MAX_MS;
    s->attempt++;
    s->retry_at_ms = s->mp->mono_ms() + wait;
    struct mp_field f[] = {mp_field_int("attempt", s->attempt), mp_field_int("retry_ms", (int64_t)wait),
                           mp_field_text("error", mp_str(s->stats.error))};
    s->mp->log(s->self, MP_WARN, "failed", f, sizeof f / sizeof f[0]);
}

static const struct settings *newest_settings(struct sender *s)
{
    pthread_mutex_lock(&s->lock);
    mp_held *fresh = s->settings;
    s->settings = NULL;
    pthread_mutex_unlock(&s->lock);
    if (fresh) {
        s->mp->held_release(s->held);
        s->held = fresh;
    }
    return s->mp->held_value(s->held);
}

static void retry_disk(struct sender *s, const char *why)
{
    log_error(s, "disk", why);
    s->retry_at_ms = s->mp->mono_ms() + DISK_RETRY_MS;
}

/* Posts what journal_peek() found, `n` events. True: there may be more. */
static bool deliver_batch(struct sender *s, const struct settings *o, int n, struct mp_str body)
{
    if (!post(s, o, body)) {
        if (!atomic_load(&s->abort))
            plan_retry(s);
        return false;
    }
    if (journal_advance(s->journal) != 0)
        log_error(s, "disk", strerror(errno));
    s->attempt = 0;
    s->retry_at_ms = 0;
    pthread_mutex_lock(&s->lock);
    s->stats.delivered += (uint64_t)n;
    pthread_mutex_unlock(&s->lock);
    return true;
}

/* Posts a batch if one waits and it is time. True: there may be more. */
static bool deliver(struct sender *s)
{
    const struct settings *o = newest_settings(s);
    struct batch b = {.mp = s->mp, .out = s->mp->out_new(s->self)};
    bool more = false;
    if (!b.out) {
        retry_disk(s, "out of memory");
        return false;
    }
    journal_limit(s->journal, o->backlog_max);
    int n = journal_peek(s->journal, o->batch_max, batch_add, &b);
    const char *why = n < 0 ? strerror(errno) : "out of memory";
    s->mp->out_put(b.out, mp_str("]}"));
    struct mp_str body = s->mp->out_str(b.out);
    if (n < 0 || (n > 0 && !body.p))
        retry_disk(s, why);
    else if (n > 0)
        more = deliver_batch(s, o, n, body);
    else
        s->retry_at_ms = 0; /* nothing waits, though something did */
    s->mp->out_free(b.out);
    return more;
}

/* --- The thread --------------------------------------------------------------------------------------------------- */

static void sleep_until(struct sender *s, uint64_t at_ms)
{
    struct timespec t = {.tv_sec = (time_t)(at_ms / 1000), .tv_nsec = (long)(at_ms % 1000) * 1000000};
    pthread_mutex_lock(&s->lock);
    s->stats.retry_at_ms = s->retry_at_ms;
    if (!s->first && !s->stop && !s->kick && !s->refused) {
        if (at_ms)
            pthread_cond_timedwait(&s->wake, &s->lock, &t);
        else
            pthread_cond_wait(&s->wake, &s->lock);
    }
    if (s->kick)
        s->retry_at_ms = 0;
    s->kick = false;
    pthread_mutex_unlock(&s->lock);
}

static void *run(void *ctx)
{
    struct sender *s = ctx;
    for (;;) {
        bool written = write_waiting(s);
        note_losses(s);
        pthread_mutex_lock(&s->lock);
        bool stop = s->stop;
        pthread_mutex_unlock(&s->lock);
        if (stop)
            return NULL;
        if (!written) {
            /* A full disk: what waits stays in memory, bounded, and is tried again. */
            struct timespec t = {.tv_nsec = 200000000};
            nanosleep(&t, NULL);
        }
        bool due = !s->retry_at_ms || s->mp->mono_ms() >= s->retry_at_ms;
        if (due && deliver(s))
            continue;
        note_losses(s);
        sleep_until(s, s->retry_at_ms);
    }
}

/* --- From outside ------------------------------------------------------------------------------------------------- */

void sender_configure(struct sender *s, mp_held *settings)
{
    pthread_mutex_lock(&s->lock);
    mp_held *before = s->settings;
    s->settings = settings;
    s->kick = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    s->mp->held_release(before);
}

int sender_put(struct sender *s, struct mp_str inside)
{
    bool fits = inside.p && inside.n <= JOURNAL_RECORD_MAX - ID_MAX;
    struct event *e = fits ? malloc(sizeof *e + inside.n) : NULL;
    bool taken = false;
    if (e) {
        e->next = NULL;
        e->n = inside.n;
        memcpy(e->text, inside.p, inside.n);
    }
    pthread_mutex_lock(&s->lock);
    if (e && s->waiting + inside.n <= WAITING_MAX) {
        *s->last = e;
        s->last = &e->next;
        s->waiting += inside.n;
        s->stats.accepted++;
        taken = true;
    } else {
        s->stats.lost++;
        s->refused++;
    }
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    if (!taken)
        free(e);
    return taken ? 0 : -1;
}

void sender_kick(struct sender *s)
{
    pthread_mutex_lock(&s->lock);
    s->kick = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

void sender_get_stats(struct sender *s, struct sender_stats *out)
{
    pthread_mutex_lock(&s->lock);
    *out = s->stats;
    pthread_mutex_unlock(&s->lock);
}

static void sender_free(struct sender *s)
{
    while (s->first) {
        struct event *next = s->first->next;
        free(s->first);
        s->first = next;
    }
    journal_close(s->journal);
    if (s->curl)
        curl_easy_cleanup(s->curl);
    s->mp->held_release(s->settings);
    s->mp->held_release(s->held);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

struct sender *sender_start(mp_self *self, const struct mp_api *mp, const char *directory, mp_held *settings, char *why,
                            size_t why_size)
{
    const struct settings *o = mp->held_value(settings);
    pthread_condattr_t attr;
    struct sender *s = calloc(1, sizeof *s);
    snprintf(why, why_size, "out of memory");
    if (!s) {
        mp->held_release(settings);
        return NULL;
    }
    s->self = self;
    s->mp = mp;
    s->held = settings;
    s->last = &s->first;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (getrandom(&s->start_id, sizeof s->start_id, 0) != sizeof s->start_id)
        s->start_id = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    s->seed = (unsigned)now.tv_nsec;
    s->curl = curl_easy_init();
    if (s->curl)
        s->journal = journal_open(directory, o->backlog_max, why, why_size);
    if (!s->journal) {
        sender_free(s);
        return NULL;
    }
    s->stats.backlog = journal_backlog(s->journal);
    if (pthread_create(&s->thread, NULL, run, s) != 0) {
        snprintf(why, why_size, "no thread can be started");
        sender_free(s);
        return NULL;
    }
    pthread_setname_np(s->thread, "webhook");
    return s;
}

void sender_stop(struct sender *s)
{
    atomic_store(&s->abort, true);
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    sender_free(s);
}
