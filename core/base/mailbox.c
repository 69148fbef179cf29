#include "core/base/mailbox.h"

#include "core/base/err.h"

#include <stdint.h>

void mailbox_init(struct mailbox *mb, void (*wake)(void *ctx), void *ctx)
{
    pthread_mutex_init(&mb->lock, NULL);
    mb->head = mb->rest = NULL;
    mb->tail = &mb->head;
    mb->wake = wake;
    mb->ctx = ctx;
}

void mailbox_fini(struct mailbox *mb)
{
    ASSERT(mb->head == NULL && mb->rest == NULL);
    pthread_mutex_destroy(&mb->lock);
}

void mailbox_post_chain(struct mailbox *mb, struct mail *first, struct mail *last)
{
    last->next = NULL;
    pthread_mutex_lock(&mb->lock);
    bool was_empty = mb->head == NULL;
    *mb->tail = first;
    mb->tail = &last->next;
    pthread_mutex_unlock(&mb->lock);
    if (was_empty && mb->wake)
        mb->wake(mb->ctx);
}

void mailbox_post(struct mailbox *mb, struct mail *mail)
{
    mailbox_post_chain(mb, mail, mail);
}

/* Behind what is left of the last time. */
static void detach(struct mailbox *mb)
{
    struct mail **end = &mb->rest;
    pthread_mutex_lock(&mb->lock);
    struct mail *fresh = mb->head;
    mb->head = NULL;
    mb->tail = &mb->head;
    pthread_mutex_unlock(&mb->lock);
    while (fresh && *end)
        end = &(*end)->next;
    if (fresh)
        *end = fresh;
}

static size_t run(struct mailbox *mb, void *owner, size_t max)
{
    size_t n = 0;
    for (; mb->rest && n < max; n++) {
        struct mail *m = mb->rest;
        mb->rest = m->next;
        m->next = NULL;
        m->run(owner, m);
    }
    return n;
}

size_t mailbox_run(struct mailbox *mb, void *owner)
{
    detach(mb);
    return run(mb, owner, SIZE_MAX);
}

bool mailbox_run_some(struct mailbox *mb, void *owner, size_t max)
{
    if (!mb->rest)
        detach(mb);
    (void)run(mb, owner, max);
    if (mb->rest)
        return true;
    /* What was posted since has woken the consumer, who may be here for that very reason. */
    pthread_mutex_lock(&mb->lock);
    bool more = mb->head != NULL;
    pthread_mutex_unlock(&mb->lock);
    return more;
}
