#include "core/hub/shard/notes_load.h"

#include "storage/store.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 1000 };

struct load {
    struct store_notes op;
    struct mailbox home;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool woken, done;
};

static void load_wake(void *ctx)
{
    struct load *l = ctx;
    pthread_mutex_lock(&l->lock);
    l->woken = true;
    pthread_cond_signal(&l->cond);
    pthread_mutex_unlock(&l->lock);
}

static void load_done(void *owner, struct store_op *op)
{
    (void)op;
    ((struct load *)owner)->done = true;
}

/* A page of notes, waited for. */
static void load_page(struct store *store, struct load *l)
{
    l->done = false;
    store_notes(store, &l->op);
    while (!l->done) {
        pthread_mutex_lock(&l->lock);
        while (!l->woken)
            pthread_cond_wait(&l->cond, &l->lock);
        l->woken = false;
        pthread_mutex_unlock(&l->lock);
        mailbox_run(&l->home, l);
    }
}

int notes_load(struct store *store, struct slice prefix, int (*each)(void *ctx, const struct store_note *n), void *ctx)
{
    struct load l = {.woken = false};
    char cursor[200];
    int rc = 0;
    pthread_mutex_init(&l.lock, NULL);
    pthread_cond_init(&l.cond, NULL);
    mailbox_init(&l.home, load_wake, &l);
    l.op = (struct store_notes){.prefix = prefix, .limit = PAGE, .op = {.home = &l.home, .done = load_done}};
    do {
        load_page(store, &l);
        rc = l.op.op.status == STORE_OK ? 0 : ERR_IO;
        for (uint32_t i = 0; rc == 0 && i < l.op.n; i++)
            rc = each(ctx, &l.op.notes[i]);
        if (l.op.n) {
            struct slice last = l.op.notes[l.op.n - 1].key;
            memcpy(cursor, last.p, last.n);
            l.op.cursor = slice_of(cursor, last.n);
        }
        free(l.op.notes);
        free(l.op.arena);
    } while (rc == 0 && l.op.more);
    mailbox_fini(&l.home);
    pthread_cond_destroy(&l.cond);
    pthread_mutex_destroy(&l.lock);
    return rc;
}
