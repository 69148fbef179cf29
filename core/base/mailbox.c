#include "core/base/mailbox.h"

#include "core/base/err.h"

void mailbox_init(struct mailbox *mb, void (*wake)(void *ctx), void *ctx)
{
    pthread_mutex_init(&mb->lock, NULL);
    mb->head = NULL;
    mb->tail = &mb->head;
    mb->wake = wake;
    mb->ctx = ctx;
}

void mailbox_fini(struct mailbox *mb)
{
    ASSERT(mb->head == NULL);
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

size_t mailbox_run(struct mailbox *mb, void *owner)
{
    pthread_mutex_lock(&mb->lock);
    struct mail *m = mb->head;
    mb->head = NULL;
    mb->tail = &mb->head;
    pthread_mutex_unlock(&mb->lock);
    size_t n = 0;
    while (m) {
        struct mail *next = m->next;
        m->next = NULL;
        m->run(owner, m);
        m = next;
        n++;
    }
    return n;
}
