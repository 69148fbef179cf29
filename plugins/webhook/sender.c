#include "sender.h"

#include "journal.h"

#include <curl/curl.h>
#include <errno.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

enum {
    WAITING_MAX = 16 << 20, /* bytes of events in memory */
    BACKOFF_MIN_MS = 1000,
    BACKOFF_MAX_MS = 300000,
    DISK_RETRY_MS = 1000
};

/* An event that is not on disk yet. */
struct event {
    struct event *next;
    size_t n;
    char text[];
};

struct settings {
    char *url, *secret; /* owned */
    uint64_t backlog_max;
    uint32_t batch_max, timeout_ms;
};

struct sender {
    mp_self *self;
    const struct mp_api *mp;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;  /* something to do; monotonic clock */
    struct event *first, **last;
    size_t waiting; /* bytes of them */
    struct settings settings;
    struct sender_stats stats;
    bool stop, kick;
    _Atomic bool abort; /* curl looks at it */
    /* The thread's own. */
    struct journal *journal;
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
    char id[80];
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

static void note_journal(struct sender *s)
{
    uint64_t lost = journal_lost(s->journal);
    if (lost) {
        struct mp_field f = mp_field_int("events", (int64_t)lost);
        s->mp->log(s->self, MP_WARN, "lost", &f, 1);
    }
    pthread_mutex_lock(&s->lock);
    s->stats.lost += lost;
    s->stats.backlog = journal_backlog(s->journal);
    pthread_mutex_unlock(&s->lock);
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

static size_t throw_away(char *p, size_t size, size_t n, void *ctx)
{
    (void)p, (void)ctx;
    return size * n;
}

static int look_at_abort(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct sender *s = ctx;
    (void)a, (void)b, (void)c, (void)d;
    return atomic_load(&s->abort);
}

static void sign(char *out, size_t size, const char *secret, struct mp_str body)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned mac_n = 0;
    char stamp[32];
    long long now = (long long)time(NULL);
    int n = snprintf(stamp, sizeof stamp, "%lld.", now);
    char *text = malloc((size_t)n + body.n);
    if (text) {
        memcpy(text, stamp, (size_t)n);
        memcpy(text + n, body.p, body.n);
        HMAC(EVP_sha256(), secret, (int)strlen(secret), (unsigned char *)text, (size_t)n + body.n, mac, &mac_n);
        free(text);
    }
    int at = snprintf(out, size, "Magpie-Signature: t=%lld,v1=", now);
    for (unsigned i = 0; i < mac_n && (size_t)at + 2 < size; i++)
        at += snprintf(out + at, size - (size_t)at, "%02x", mac[i]);
}

/* True: the receiver has it. */
static bool post(struct sender *s, const struct settings *o, struct mp_str body)
{
    char error[CURL_ERROR_SIZE] = "", signature[160], attempt[40];
    long status = 0;
    curl_off_t retry_after = 0;
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    snprintf(attempt, sizeof attempt, "Magpie-Attempt: %u", s->attempt + 1);
    headers = curl_slist_append(headers, attempt);
    headers = curl_slist_append(headers, "Expect:");
    if (o->secret) {
        sign(signature, sizeof signature, o->secret, body);
        headers = curl_slist_append(headers, signature);
    }
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
    curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, throw_away);
    curl_easy_setopt(s->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(s->curl, CURLOPT_XFERINFOFUNCTION, look_at_abort);
    curl_easy_setopt(s->curl, CURLOPT_XFERINFODATA, s);
    CURLcode rc = curl_easy_perform(s->curl);
    if (rc == CURLE_OK) {
        curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(s->curl, CURLINFO_RETRY_AFTER, &retry_after);
    }
    curl_slist_free_all(headers);
    bool good = status >= 200 && status < 300;
    s->retry_after_ms = retry_after > 0 ? (uint64_t)retry_after * 1000 : 0;
    pthread_mutex_lock(&s->lock);
    s->stats.status = status;
    s->stats.failures += !good;
    if (good)
        s->stats.error[0] = '\0';
    else if (status)
        snprintf(s->stats.error, sizeof s->stats.error, "the receiver answered %ld", status);
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

static struct settings settings_copy(struct sender *s)
{
    pthread_mutex_lock(&s->lock);
    struct settings o = s->settings;
    o.url = strdup(o.url);
    o.secret = o.secret ? strdup(o.secret) : NULL;
    bool good = o.url && (o.secret || !s->settings.secret);
    pthread_mutex_unlock(&s->lock);
    if (!good) {
        free(o.url);
        free(o.secret);
        o.url = o.secret = NULL;
    }
    return o;
}

/* Posts a batch if one waits and it is time. True: there may be more. */
static bool deliver(struct sender *s)
{
    struct settings o = settings_copy(s);
    struct batch b = {.mp = s->mp, .out = s->mp->out_new(s->self)};
    bool more = false;
    if (!o.url || !b.out) {
        s->retry_at_ms = s->mp->mono_ms() + DISK_RETRY_MS;
    } else {
        journal_limit(s->journal, o.backlog_max);
        int n = journal_peek(s->journal, o.batch_max, batch_add, &b);
        s->mp->out_put(b.out, mp_str("]}"));
        struct mp_str body = s->mp->out_str(b.out);
        if (n < 0 || (n > 0 && !body.p)) {
            log_error(s, "disk", n < 0 ? strerror(errno) : "out of memory");
            s->retry_at_ms = s->mp->mono_ms() + DISK_RETRY_MS;
        } else if (n > 0 && post(s, &o, body)) {
            if (journal_advance(s->journal) != 0)
                log_error(s, "disk", strerror(errno));
            s->attempt = 0;
            s->retry_at_ms = 0;
            pthread_mutex_lock(&s->lock);
            s->stats.delivered += (uint64_t)n;
            pthread_mutex_unlock(&s->lock);
            more = true;
        } else if (n > 0 && !atomic_load(&s->abort)) {
            plan_retry(s);
        }
    }
    if (b.out)
        s->mp->out_free(b.out);
    free(o.url);
    free(o.secret);
    return more;
}

/* --- The thread --------------------------------------------------------------------------------------------------- */

static void sleep_until(struct sender *s, uint64_t at_ms)
{
    struct timespec t = {.tv_sec = (time_t)(at_ms / 1000), .tv_nsec = (long)(at_ms % 1000) * 1000000};
    pthread_mutex_lock(&s->lock);
    s->stats.retry_at_ms = s->retry_at_ms;
    if (!s->first && !s->stop && !s->kick) {
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
        note_journal(s);
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
        note_journal(s);
        sleep_until(s, s->retry_at_ms);
    }
}

/* --- From outside ------------------------------------------------------------------------------------------------- */

static bool settings_set(struct settings *to, const struct sender_options *o)
{
    struct settings fresh = {.url = strdup(o->url),
                             .secret = o->secret ? strdup(o->secret) : NULL,
                             .backlog_max = o->backlog_max,
                             .batch_max = o->batch_max,
                             .timeout_ms = o->timeout_ms};
    if (!fresh.url || (o->secret && !fresh.secret)) {
        free(fresh.url);
        free(fresh.secret);
        return false;
    }
    free(to->url);
    if (to->secret)
        explicit_bzero(to->secret, strlen(to->secret));
    free(to->secret);
    *to = fresh;
    return true;
}

int sender_configure(struct sender *s, const struct sender_options *o)
{
    pthread_mutex_lock(&s->lock);
    bool good = settings_set(&s->settings, o);
    s->kick = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    return good ? 0 : -1;
}

int sender_put(struct sender *s, struct mp_str inside)
{
    struct event *e = inside.p ? malloc(sizeof *e + inside.n) : NULL;
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
        pthread_cond_signal(&s->wake);
    } else {
        s->stats.lost++;
    }
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
    free(s->settings.url);
    if (s->settings.secret)
        explicit_bzero(s->settings.secret, strlen(s->settings.secret));
    free(s->settings.secret);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

struct sender *sender_start(mp_self *self, const struct mp_api *mp, const char *directory,
                            const struct sender_options *o, char *why, size_t why_size)
{
    pthread_condattr_t attr;
    struct sender *s = calloc(1, sizeof *s);
    snprintf(why, why_size, "out of memory");
    if (!s)
        return NULL;
    s->self = self;
    s->mp = mp;
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
    if (s->curl && settings_set(&s->settings, o))
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
