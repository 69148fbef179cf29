/*
 * The sender: a thread that brings events to the receiver. It writes what is handed over to the journal, and posts
 * batches from there until the receiver takes them.
 *
 * A batch is `{"events":[…]}` in one POST with
 *     Magpie-Signature: t=SECONDS,v1=HEX     HEX: HMAC-SHA256, by the secret, over "SECONDS.BODY"
 *     Magpie-Attempt: N                      1 at first
 * and is delivered when the head of the answer says 2xx, whatever its body is. Anything else is tried again after 1, 2,
 * 4 … seconds (a part of it random), 5 minutes at most, or what Retry-After says. So each event comes at least once,
 * and in order; `id` in an event tells a repeat.
 */
#ifndef MAGPIE_PLUGINS_WEBHOOK_SENDER_H
#define MAGPIE_PLUGINS_WEBHOOK_SENDER_H

#include "plugins/magpie_plugin.h"

struct sender;

/* What the options say. A value in force: immutable. */
struct settings {
    char *url, *secret;   /* secret NULL: not signed; owned */
    uint64_t backlog_max; /* bytes on disk */
    uint32_t batch_max;   /* bytes of events in one POST */
    uint32_t timeout_ms;  /* of one POST */
    unsigned kinds;       /* bits of the events that are wanted */
    bool content;         /* with the text of messages */
};

struct sender_stats {
    uint64_t accepted, delivered, lost,
        failures;         /* events taken, delivered and thrown away; attempts that failed: since the start */
    uint64_t backlog;     /* bytes on disk that wait */
    long status;          /* HTTP status of the last attempt; 0: none, or no answer */
    uint64_t retry_at_ms; /* mono_ms() of the next attempt; 0: nothing failed */
    char error[160];      /* of the last attempt; empty: it went well */
};

/* Opens the journal and starts the thread. NULL with a sentence in `why`. `self` is for logging. Takes the held struct
 * settings, also when it fails. */
struct sender *sender_start(mp_self *self, const struct mp_api *mp, const char *directory, mp_held *settings, char *why,
                            size_t why_size);
/* Writes what was handed over, gives up the attempt under way (it comes again), joins the thread. */
void sender_stop(struct sender *s);
/* From the next batch on; takes the held struct settings. Any thread, like what follows. */
void sender_configure(struct sender *s, mp_held *settings);
/* Takes an event: a JSON object's inside, without braces ("\"type\":\"login\",…"), to which the sender adds "id". 0;
 * -1: thrown away, since too many wait in memory (the disk does not keep up) or there is none. */
int sender_put(struct sender *s, struct mp_str inside);
/* The next attempt begins now. */
void sender_kick(struct sender *s);
void sender_get_stats(struct sender *s, struct sender_stats *out);

#endif
