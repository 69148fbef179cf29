/*
 * Messages between threads: many producers, one consumer.
 *
 * A mail is the first member of a larger struct that its poster allocates; whoever runs it frees it. Mails from one
 * poster arrive in the order posted. The consumer detaches the whole list under the lock and works outside it (h2o's
 * multithread queue), and is woken only when the list was empty.
 */
#ifndef MAGPIE_BASE_MAILBOX_H
#define MAGPIE_BASE_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct mail {
    struct mail *next;                           /* the mailbox's; NULL elsewhere */
    void (*run)(void *owner, struct mail *mail); /* called once on the consumer's thread; takes ownership of `mail` */
};

struct mailbox {
    pthread_mutex_t lock;
    struct mail *head, **tail; /* under lock: in the order posted */
    struct mail *rest;         /* the consumer's: detached, and not run yet; older than those */
    /* called by a poster, any thread, when the list was empty; must be async-safe for the consumer's loop */
    void (*wake)(void *ctx);
    void *ctx; /* of wake */
};

void mailbox_init(struct mailbox *mb, void (*wake)(void *ctx), void *ctx);
/* The mailbox must be empty. */
void mailbox_fini(struct mailbox *mb);
/* Any thread. Takes the mail; cannot fail. */
void mailbox_post(struct mailbox *mb, struct mail *mail);
/* Posts a chain linked by `next`, in its order, under one lock and with one wake: for those who answer in groups. */
void mailbox_post_chain(struct mailbox *mb, struct mail *first, struct mail *last);
/* Consumer's thread: runs everything that was posted before the call with `owner`; returns how many ran. */
size_t mailbox_run(struct mailbox *mb, void *owner);
/* The same, but `max` of them at most. True: there is more, and perhaps nobody will be woken for that. */
bool mailbox_run_some(struct mailbox *mb, void *owner, size_t max);

#endif
