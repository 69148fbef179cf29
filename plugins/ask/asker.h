/*
 * The asker: a thread that puts questions to the backend, many at a time over connections that are kept, and brings the
 * answers to those who wait for them.
 *
 * A question is one POST. Who asks the same while it is under way waits for the same answer; who asks it later is given
 * the answer that was kept, as long as it is good. Every question is answered: by the backend within the time, or by
 * what a failure means. A backend that has failed FAILURES times in a row is left alone for a second after each further
 * failure, so that clients do not wait for it in vain.
 */
#ifndef MAGPIE_PLUGINS_ASK_ASKER_H
#define MAGPIE_PLUGINS_ASK_ASKER_H

#include "cache.h"

struct asker;

/* What the options say. A value in force: immutable. */
struct settings {
    char *url[ABOUTS];   /* NULL: not asked; owned */
    char *secret;        /* NULL: not signed; owned */
    bool open[ABOUTS];   /* a failure lets pass */
    uint32_t timeout_ms; /* from the question to the answer */
    int64_t cache_ms;    /* for answers that do not say */
    size_t cache_bytes;
    uint32_t connections; /* questions under way */
    uint32_t waiting_max; /* who may wait for answers */
    bool provides;        /* auth.mode is "ask": logins are asked about there, and nowhere else */
    uint64_t number;      /* counts changes of the options: what was asked by others is another question */
};

/* Who waits. Made by malloc(). */
struct waiter {
    struct waiter *next;
    struct mp_ticket ticket;
    bool provider; /* a login that auth_finish() answers; else a hook */
};

/* Since the start; `latency_s`: of all that the backend answered, together. */
struct asker_stats {
    uint64_t asked, answered, failed, cached, shared;
    double latency_s;
    uint32_t waiting;
    size_t kept;     /* answers in the cache */
    char error[160]; /* of the last failure; "": none yet */
};

/* NULL with a sentence in `why`. */
struct asker *asker_start(mp_self *self, const struct mp_api *mp, char *why, size_t why_size);
/* Gives up what is under way, joins the thread. */
void asker_stop(struct asker *s);

/* What an answer says of a login that nobody but the backend knows. */
void asker_fill(struct mp_auth_answer *out, const struct answer *a);
/* What is asked, by its hash. */
void asker_key(unsigned char key[KEY_SIZE], const struct settings *o, enum about about, struct mp_str body);
/* A reference to the answer that is kept, or NULL. Any thread, like what follows. */
struct answer *asker_kept(struct asker *s, const unsigned char key[KEY_SIZE]);
/* Asks; `w` is answered, later or at once. Takes w and the held struct settings. */
void asker_ask(struct asker *s, mp_held *settings, enum about about, const unsigned char key[KEY_SIZE],
               struct mp_str body, struct waiter *w);
void asker_limit_cache(struct asker *s, size_t bytes);
void asker_flush(struct asker *s);
void asker_get_stats(struct asker *s, struct asker_stats *out);

#endif
