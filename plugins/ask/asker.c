#include "asker.h"

#include "plugins/common/http_out.h"

#include <curl/curl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    BUCKETS = 1024,
    ANSWER_MAX = 262144,  /* bytes of an answer */
    BYTES_MAX = 64 << 20, /* of questions that wait */
    FAILURES = 5,         /* in a row, then … */
    PAUSE_MS = 1000,      /* … it is left alone for so long */
    IDLE_MS = 60000,      /* the thread's longest sleep */
    HANDLES_KEPT = 64     /* curl's, for the next questions */
};

/* One POST. */
struct question {
    struct question *next;       /* in the queue, and later in the list of those that are done */
    struct question *same;       /* in the bucket */
    unsigned char key[KEY_SIZE]; /* what is asked */
    enum about about;
    struct waiter *first, **last; /* who waits; under lock while it is in the bucket */
    mp_held *settings;
    const struct settings *options; /* of settings */
    uint64_t asked_ms, until_ms;    /* monotonic */
    CURL *easy;                     /* while it is under way */
    struct curl_slist *headers;     /* owned */
    char *answer;                   /* what has come of it; owned */
    size_t answer_n;
    bool too_long; /* it was more than ANSWER_MAX */
    char error[CURL_ERROR_SIZE];
    size_t n;    /* bytes of the body */
    char body[]; /* JSON */
};

/* How a URL fares. */
struct health {
    uint64_t number;   /* of the settings it is about */
    unsigned failures; /* in a row */
    uint64_t pause_ms; /* monotonic: it is left alone until then */
};

struct asker {
    mp_self *self;
    const struct mp_api *mp;
    pthread_t thread;
    CURLM *multi;
    pthread_mutex_t lock;              /* of what follows */
    struct question *first, **last;    /* waits to be sent */
    struct question *buckets[BUCKETS]; /* by key: waits, or is under way */
    struct health health[ABOUTS];
    struct cache *cache;
    struct asker_stats stats;
    size_t bytes; /* of questions that wait or are under way */
    bool stop;
    /* The thread's own. */
    unsigned active;             /* questions under way */
    CURL *handles[HANDLES_KEPT]; /* idle ones */
    unsigned handle_count;
};

/* --- Telling who waits -------------------------------------------------------------------------------------------- */

void asker_fill(struct mp_auth_answer *out, const struct answer *a)
{
    *out = (struct mp_auth_answer){.size = sizeof *out,
                                   .code = a->verdict == MP_REJECT ? a->code : MP_CODE_OK,
                                   .retry_after_ms = a->retry_after_ms,
                                   .expires_ms = a->expires_ms};
    snprintf(out->message, sizeof out->message, "%s", a->message);
    memcpy(out->id, a->id, sizeof out->id);
    memcpy(out->name, a->name, sizeof out->name);
    snprintf(out->claims, sizeof out->claims, "%s", a->claims ? a->claims : "");
    if (out->code != MP_CODE_OK || a->id[0])
        return;
    out->code = MP_CODE_INTERNAL;
    snprintf(out->message, sizeof out->message, "the backend let in somebody without an id");
}

static void tell_provider(struct asker *s, const struct waiter *w, const struct answer *a)
{
    struct mp_auth_answer out;
    asker_fill(&out, a);
    (void)!s->mp->auth_finish(s->self, w->ticket, &out);
}

static void tell_hook(struct asker *s, const struct waiter *w, const struct answer *a)
{
    struct mp_hook_answer out = {.size = sizeof out,
                                 .verdict = a->verdict,
                                 .code = a->code,
                                 .retry_after_ms = a->retry_after_ms,
                                 .message = mp_str(a->message),
                                 .content = mp_str_of(a->content, a->content_n)};
    /* Without memory for the content it is refused, for which there is always enough. */
    if (s->mp->hook_finish(s->self, w->ticket, &out) == MP_OK)
        return;
    struct mp_hook_answer no = {.size = sizeof no, .verdict = MP_REJECT, .code = MP_CODE_UNAVAILABLE};
    (void)!s->mp->hook_finish(s->self, w->ticket, &no);
}

static void tell(struct asker *s, struct waiter *list, const struct answer *a)
{
    uint32_t n = 0;
    while (list) {
        struct waiter *w = list;
        list = w->next;
        if (w->provider)
            tell_provider(s, w, a);
        else
            tell_hook(s, w, a);
        free(w);
        n++;
    }
    pthread_mutex_lock(&s->lock);
    s->stats.waiting -= n;
    pthread_mutex_unlock(&s->lock);
}

/* What a failure means. A provider that failed has named nobody, so that nobody is let in. */
static void tell_failure(struct asker *s, struct waiter *list, const struct settings *o, enum about about)
{
    struct answer pass = {.verdict = MP_PASS, .code = MP_CODE_OK},
                  no = {.verdict = MP_REJECT,
                        .code = MP_CODE_UNAVAILABLE,
                        .message = "the server cannot ask its backend now; try again"};
    while (list) {
        struct waiter *w = list;
        list = w->next;
        w->next = NULL;
        tell(s, w, o->open[about] && !w->provider ? &pass : &no);
    }
}

/* --- Questions ---------------------------------------------------------------------------------------------------- */

void asker_key(unsigned char key[KEY_SIZE], const struct settings *o, enum about about, struct mp_str body)
{
    uint64_t head[2] = {o->number, (uint64_t)about};
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    memset(key, 0, KEY_SIZE);
    if (md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 && EVP_DigestUpdate(md, head, sizeof head) == 1 &&
        EVP_DigestUpdate(md, body.p, body.n) == 1)
        EVP_DigestFinal_ex(md, key, NULL);
    EVP_MD_CTX_free(md);
}

/* The place of the question with that key, or of none. Under the lock. */
static struct question **place_of(struct asker *s, const unsigned char *key)
{
    struct question **at = &s->buckets[((unsigned)key[0] << 8 | key[1]) % BUCKETS];
    while (*at && memcmp((*at)->key, key, KEY_SIZE) != 0)
        at = &(*at)->same;
    return at;
}

static void question_free(struct asker *s, struct question *q)
{
    s->mp->held_release(q->settings);
    curl_slist_free_all(q->headers);
    free(q->answer);
    explicit_bzero(q->body, q->n); /* a login's token, perhaps */
    free(q);
}

/* Nobody can join it any more; who waited is the caller's. */
static struct waiter *question_close(struct asker *s, struct question *q)
{
    pthread_mutex_lock(&s->lock);
    struct question **at = place_of(s, q->key);
    if (*at == q)
        *at = q->same;
    s->bytes -= q->n;
    pthread_mutex_unlock(&s->lock);
    return q->first;
}

static struct question *question_new(struct asker *s, mp_held *settings, enum about about, const unsigned char *key,
                                     struct mp_str body, struct waiter *w)
{
    struct question *q = body.p ? malloc(sizeof *q + body.n) : NULL;
    if (!q)
        return NULL;
    *q = (struct question){.about = about, .settings = settings, .n = body.n};
    memcpy(q->key, key, KEY_SIZE);
    memcpy(q->body, body.p, body.n);
    q->options = s->mp->held_value(settings);
    q->asked_ms = s->mp->mono_ms();
    q->until_ms = q->asked_ms + q->options->timeout_ms;
    q->first = w;
    q->last = &w->next;
    return q;
}

static void log_failed(struct asker *s, enum about about, const char *why)
{
    static const char *const names[ABOUTS] = {"login", "subscribe", "message"};
    struct mp_field f[] = {mp_field_text("about", mp_str(names[about])), mp_field_text("error", mp_str(why))};
    s->mp->log(s->self, MP_WARN, "failed", f, sizeof f / sizeof f[0]);
    pthread_mutex_lock(&s->lock);
    snprintf(s->stats.error, sizeof s->stats.error, "%s: %.140s", names[about], why);
    pthread_mutex_unlock(&s->lock);
}

/* Why nothing more is asked now; NULL: it may be. Under the lock. After a pause one is let through, to see. */
static const char *refuse(struct asker *s, const struct settings *o, enum about about, size_t n)
{
    struct health *h = &s->health[about];
    uint64_t now = s->mp->mono_ms();
    if (s->stop)
        return "the plugin is being unloaded";
    if (s->stats.waiting >= o->waiting_max || s->bytes + n > BYTES_MAX)
        return "too many wait";
    if (h->number != o->number)
        *h = (struct health){.number = o->number};
    if (h->failures < FAILURES)
        return NULL;
    if (now < h->pause_ms)
        return "it has failed several times in a row";
    h->pause_ms = now + PAUSE_MS;
    return NULL;
}

void asker_ask(struct asker *s, mp_held *settings, enum about about, const unsigned char key[KEY_SIZE],
               struct mp_str body, struct waiter *w)
{
    const struct settings *o = s->mp->held_value(settings);
    w->next = NULL;
    pthread_mutex_lock(&s->lock);
    struct question **at = place_of(s, key), *q = *at;
    const char *why = refuse(s, o, about, q ? 0 : body.n);
    bool joined = q && !why;
    if (joined) {
        *q->last = w;
        q->last = &w->next;
        s->stats.shared++;
    } else if (!why) {
        q = question_new(s, settings, about, key, body, w);
        why = q ? NULL : "out of memory";
        if (q) {
            *at = q;
            *s->last = q;
            s->last = &q->next;
            s->bytes += q->n;
        }
    }
    s->stats.asked += !why && !joined;
    s->stats.failed += why != NULL;
    s->stats.waiting++;
    pthread_mutex_unlock(&s->lock);
    if (why) {
        log_failed(s, about, why);
        tell_failure(s, w, o, about);
    } else if (!joined) {
        curl_multi_wakeup(s->multi);
        return; /* it has the settings */
    }
    s->mp->held_release(settings);
}

/* --- Sending ------------------------------------------------------------------------------------------------------ */

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
    struct question *q = ctx;
    size_t more = size * n;
    q->too_long = q->too_long || more > ANSWER_MAX - q->answer_n;
    char *all = q->too_long ? NULL : realloc(q->answer, q->answer_n + more + 1);
    if (!all)
        return more + 1; /* anything but `more` ends it; 0 might be what came */
    memcpy(all + q->answer_n, p, more);
    q->answer = all;
    q->answer_n += more;
    return more;
}

static CURL *handle_get(struct asker *s)
{
    return s->handle_count ? s->handles[--s->handle_count] : curl_easy_init();
}

static void handle_put(struct asker *s, CURL *e)
{
    curl_easy_reset(e);
    if (s->handle_count < HANDLES_KEPT)
        s->handles[s->handle_count++] = e;
    else
        curl_easy_cleanup(e);
}

static bool make_headers(struct question *q)
{
    static const char *const fixed[] = {"Content-Type: application/json", "Accept: application/json", "Expect:"};
    char signature[SIGNATURE_SIZE];
    unsigned n = sizeof fixed / sizeof fixed[0];
    if (q->options->secret)
        signature_put(signature, q->options->secret, mp_str_of(q->body, q->n));
    for (unsigned i = 0; i < n + (q->options->secret != NULL); i++) {
        struct curl_slist *more = curl_slist_append(q->headers, i < n ? fixed[i] : signature);
        if (!more)
            return false;
        q->headers = more;
    }
    return true;
}

/* False: it cannot be sent. */
static bool send_question(struct asker *s, struct question *q, uint64_t now)
{
    CURL *e = handle_get(s);
    if (!e || !make_headers(q))
        goto fail;
    curl_easy_setopt(e, CURLOPT_URL, q->options->url[q->about]);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_POST, 1L);
    curl_easy_setopt(e, CURLOPT_POSTFIELDS, (const char *)q->body);
    curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->n);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, q->headers);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "magpie-ask/1.0");
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)(q->until_ms - now));
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, q->error);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, q);
    curl_easy_setopt(e, CURLOPT_PRIVATE, q);
    if (curl_multi_add_handle(s->multi, e) != CURLM_OK)
        goto fail;
    q->easy = e;
    s->active++;
    return true;
fail:
    if (e)
        handle_put(s, e);
    return false;
}

/* --- The end of a question ---------------------------------------------------------------------------------------- */

/* Counts, and what it means for those who ask next. */
static void note_end(struct asker *s, struct question *q, struct answer *a)
{
    uint64_t now = s->mp->mono_ms();
    int64_t keep = !a ? 0 : a->cache_ms >= 0 ? a->cache_ms : q->options->cache_ms;
    pthread_mutex_lock(&s->lock);
    struct health *h = &s->health[q->about];
    bool present = h->number == q->options->number;
    if (a) {
        s->stats.answered++;
        s->stats.latency_s += (double)(now - q->asked_ms) / 1000;
        if (present)
            h->failures = 0;
        if (keep > 0)
            cache_put(s->cache, q->key, a, now + (uint64_t)keep);
    } else {
        s->stats.failed++;
        if (present && ++h->failures >= FAILURES)
            h->pause_ms = now + PAUSE_MS;
    }
    pthread_mutex_unlock(&s->lock);
}

/* Takes the answer's reference; NULL: it failed, and why. */
static void question_end(struct asker *s, struct question *q, struct answer *a, const char *why)
{
    note_end(s, q, a); /* first, so that whoever comes between the two finds it kept */
    struct waiter *list = question_close(s, q);
    if (a) {
        tell(s, list, a);
    } else {
        log_failed(s, q->about, why);
        tell_failure(s, list, q->options, q->about);
    }
    answer_unref(a);
    question_free(s, q);
}

static void transfer_end(struct asker *s, CURL *e, CURLcode rc)
{
    char *private = NULL, why[300] = "out of memory", wrong[200] = "";
    long status = 0;
    struct answer *a = NULL;
    curl_easy_getinfo(e, CURLINFO_PRIVATE, &private);
    struct question *q = (struct question *)(void *)private;
    curl_easy_getinfo(e, CURLINFO_RESPONSE_CODE, &status);
    if (q->too_long)
        snprintf(why, sizeof why, "its answer is longer than %d bytes", ANSWER_MAX);
    else if (rc != CURLE_OK)
        snprintf(why, sizeof why, "%s", q->error[0] ? q->error : curl_easy_strerror(rc));
    else if (status != 200)
        snprintf(why, sizeof why, "it answered %ld", status);
    else if (!(a = answer_read(s->self, s->mp, q->about, mp_str_of(q->answer ? q->answer : "", q->answer_n), wrong,
                               sizeof wrong)))
        snprintf(why, sizeof why, "its answer is not understood: %s", wrong);
    curl_multi_remove_handle(s->multi, e);
    handle_put(s, e);
    s->active--;
    question_end(s, q, a, why);
}

/* --- The thread --------------------------------------------------------------------------------------------------- */

/* The next question to be sent; NULL: there is none, or enough are under way. *wait_ms: until the next one that waits
 * must be given up. */
static struct question *next_question(struct asker *s, int *wait_ms, bool *late)
{
    uint64_t now = s->mp->mono_ms();
    pthread_mutex_lock(&s->lock);
    struct question *q = s->first;
    *late = q && (now >= q->until_ms || s->stop);
    *wait_ms = q && q->until_ms > now && q->until_ms - now < IDLE_MS ? (int)(q->until_ms - now) : IDLE_MS;
    if (q && (*late || s->active < q->options->connections)) {
        s->first = q->next;
        if (!s->first)
            s->last = &s->first;
        q->next = NULL;
    } else {
        q = NULL;
    }
    pthread_mutex_unlock(&s->lock);
    return q;
}

/* Sends what may be sent. How long the thread may sleep then. */
static int send_some(struct asker *s)
{
    int wait_ms;
    bool late;
    struct question *q;
    while ((q = next_question(s, &wait_ms, &late))) {
        uint64_t now = s->mp->mono_ms();
        if (late || now >= q->until_ms)
            question_end(s, q, NULL, "too many wait: there was no connection in time");
        else if (!send_question(s, q, now))
            question_end(s, q, NULL, "out of memory");
    }
    return wait_ms;
}

static void *run(void *ctx)
{
    struct asker *s = ctx;
    for (bool stop = false; !stop;) {
        int running, left, wait_ms = send_some(s);
        CURLMsg *m;
        curl_multi_perform(s->multi, &running);
        bool ended = false;
        while ((m = curl_multi_info_read(s->multi, &left))) {
            ended = true;
            if (m->msg == CURLMSG_DONE)
                transfer_end(s, m->easy_handle, m->data.result);
        }
        if (!ended) /* else somebody may be sent at once */
            curl_multi_poll(s->multi, NULL, 0, wait_ms, NULL);
        pthread_mutex_lock(&s->lock);
        stop = s->stop;
        pthread_mutex_unlock(&s->lock);
    }
    return NULL;
}

/* --- From outside ------------------------------------------------------------------------------------------------- */

struct answer *asker_kept(struct asker *s, const unsigned char key[KEY_SIZE])
{
    pthread_mutex_lock(&s->lock);
    struct answer *a = cache_get(s->cache, key, s->mp->mono_ms());
    s->stats.cached += a != NULL;
    pthread_mutex_unlock(&s->lock);
    return a;
}

void asker_limit_cache(struct asker *s, size_t bytes)
{
    pthread_mutex_lock(&s->lock);
    cache_limit(s->cache, bytes);
    pthread_mutex_unlock(&s->lock);
}

void asker_flush(struct asker *s)
{
    pthread_mutex_lock(&s->lock);
    cache_clear(s->cache);
    pthread_mutex_unlock(&s->lock);
}

void asker_get_stats(struct asker *s, struct asker_stats *out)
{
    pthread_mutex_lock(&s->lock);
    *out = s->stats;
    out->kept = cache_count(s->cache);
    pthread_mutex_unlock(&s->lock);
}

static void asker_free(struct asker *s)
{
    for (unsigned i = 0; i < s->handle_count; i++)
        curl_easy_cleanup(s->handles[i]);
    curl_multi_cleanup(s->multi);
    cache_free(s->cache);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

struct asker *asker_start(mp_self *self, const struct mp_api *mp, char *why, size_t why_size)
{
    struct asker *s = calloc(1, sizeof *s);
    snprintf(why, why_size, "out of memory");
    if (!s)
        return NULL;
    s->self = self;
    s->mp = mp;
    s->last = &s->first;
    pthread_mutex_init(&s->lock, NULL);
    s->cache = cache_new();
    s->multi = curl_multi_init();
    if (!s->cache || !s->multi)
        goto fail;
    snprintf(why, why_size, "no thread can be started");
    if (pthread_create(&s->thread, NULL, run, s) != 0)
        goto fail;
    pthread_setname_np(s->thread, "ask");
    return s;
fail:
    asker_free(s);
    return NULL;
}

/* What is under way is answered for by the server, which has waited for nobody else. */
static void abandon(struct asker *s)
{
    for (unsigned i = 0; i < BUCKETS; i++) {
        while (s->buckets[i]) {
            struct question *q = s->buckets[i];
            s->buckets[i] = q->same;
            if (q->easy) {
                curl_multi_remove_handle(s->multi, q->easy);
                curl_easy_cleanup(q->easy);
            }
            while (q->first) {
                struct waiter *w = q->first;
                q->first = w->next;
                free(w);
            }
            question_free(s, q);
        }
    }
}

void asker_stop(struct asker *s)
{
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_mutex_unlock(&s->lock);
    curl_multi_wakeup(s->multi);
    pthread_join(s->thread, NULL);
    abandon(s);
    asker_free(s);
}
