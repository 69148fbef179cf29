/* The threads of work on the whole: see work.h. */
#include "storage/local/work.h"

#include "storage/local/durable.h"
#include "storage/local/local_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct work_thread {
    struct local *store;
    struct store_work *work;
};

static bool work_closing(struct local *s)
{
    pthread_mutex_lock(&s->work_lock);
    bool closed = s->work_closed;
    pthread_mutex_unlock(&s->work_lock);
    return closed;
}

/* The database lies in a data directory as the server makes them; the key of resume tokens is not copied. */
static int checkpoint(struct local *s, struct store_work *w)
{
    char path[4096];
    const char *base = strrchr(s->reopen.path ? s->reopen.path : "/db", '/');
    if (mkdir(w->directory, 0700) != 0) {
        snprintf(w->why, sizeof(w->why), "%s: %s", w->directory, strerror(errno));
        return ERR_IO;
    }
    if ((size_t)snprintf(path, sizeof(path), "%s/%s", w->directory, base ? base + 1 : "db") >= sizeof(path)) {
        snprintf(w->why, sizeof(w->why), "the path is too long");
        rmdir(w->directory);
        return ERR_IO;
    }
    pthread_rwlock_rdlock(&s->swap);
    int r = s->kv->ops->checkpoint(s->kv, path, w->why, sizeof(w->why));
    pthread_rwlock_unlock(&s->swap);
    if (r)
        rmdir(w->directory);
    return r;
}

/* One family at a time, so that a failing disk need not wait long to be dealt with. */
static int compact(struct local *s)
{
    int r = 0;
    for (unsigned f = 0; f < KV_FAMILIES && !r && !work_closing(s); f++) {
        pthread_rwlock_rdlock(&s->swap);
        r = s->kv->ops->compact(s->kv, (enum kv_family)f);
        pthread_rwlock_unlock(&s->swap);
    }
    return r;
}

static void flush(struct local *s)
{
    pthread_rwlock_rdlock(&s->swap);
    s->kv->ops->flush(s->kv);
    pthread_rwlock_unlock(&s->swap);
}

static void work_answer(struct store_work *w, int r)
{
    w->op.status = r ? STORE_RETRY : STORE_OK;
    store_answer(&w->op);
}

static void *work_main(void *arg)
{
    struct work_thread t = *(struct work_thread *)arg;
    struct local *s = t.store;
    int r = 0;
    free(arg);
    pthread_setname_np(pthread_self(), "store-work");
    switch (t.work->kind) {
    case STORE_FLUSH:
        flush(s);
        break;
    case STORE_COMPACT:
        r = compact(s);
        break;
    case STORE_CHECKPOINT:
        r = checkpoint(s, t.work);
        break;
    }
    if (!r && work_closing(s)) {
        snprintf(t.work->why, sizeof(t.work->why), "the store is closing");
        r = ERR_CLOSED;
    }
    work_answer(t.work, r);
    pthread_mutex_lock(&s->work_lock);
    if (--s->working == 0)
        pthread_cond_signal(&s->work_cond);
    pthread_mutex_unlock(&s->work_lock);
    return NULL;
}

void work_post(struct local *s, struct store_work *w)
{
    pthread_t thread;
    pthread_attr_t attr;
    struct work_thread *t = malloc(sizeof(*t));
    pthread_mutex_lock(&s->work_lock);
    bool go = t && !s->work_closed;
    s->working += go;
    pthread_mutex_unlock(&s->work_lock);
    if (go) {
        *t = (struct work_thread){.store = s, .work = w};
        pthread_attr_init(&attr);
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        go = pthread_create(&thread, &attr, work_main, t) == 0;
        pthread_attr_destroy(&attr);
        if (!go) {
            pthread_mutex_lock(&s->work_lock);
            s->working--;
            pthread_mutex_unlock(&s->work_lock);
        }
    }
    if (!go) {
        free(t);
        snprintf(w->why, sizeof(w->why), "no thread for it");
        work_answer(w, ERR_NOMEM);
    }
}

void work_end(struct local *s)
{
    pthread_mutex_lock(&s->work_lock);
    s->work_closed = true;
    unsigned working = s->working;
    pthread_mutex_unlock(&s->work_lock);
    if (working) {
        pthread_rwlock_rdlock(&s->swap);
        s->kv->ops->interrupt(s->kv);
        pthread_rwlock_unlock(&s->swap);
    }
    pthread_mutex_lock(&s->work_lock);
    while (s->working)
        pthread_cond_wait(&s->work_cond, &s->work_lock);
    pthread_mutex_unlock(&s->work_lock);
}
