/*
 * Sessions: what a connection needs only while something is under way, or because it named a device. Private to
 * core/hub.
 */
#ifndef MAGPIE_HUB_SESSION_H
#define MAGPIE_HUB_SESSION_H

#include "core/hub/shard/shard.h"

struct held;
struct login;
struct slot;

struct session {
    char *device;        /* as given at login, NUL-terminated; NULL: none; owned */
    struct slot *slots;  /* answers awaited, oldest first; owned */
    struct login *login; /* waits for an authentication provider's answer; NULL: none */
    struct held *held;   /* a frame that waits for the class to change; owned */
    uint32_t slot_count; /* in use */
    uint32_t slot_cap;   /* allocated */
    uint32_t ordinal;    /* of the next slot */
    uint64_t looked;   /* hash of the channel that the held frame is about, and membership was looked up of; 0: none */
    uint32_t inflight; /* requests under way */
    uint8_t class;     /* enum action_class of those */
    bool looking;      /* it is being looked up … */
    bool vouched;      /* … and the user is a member of `looked` */
    bool waiting;      /* a hook answers later: what comes after waits, whatever its class */
    bool paused;       /* CONN_PAUSE was returned; resume when there is room */
    bool closing;      /* close (shutdown) as soon as nothing is under way */
    bool ended;        /* the other side has said its last: hang up as soon as nothing is under way */
    uint16_t end_code; /* its Close's, to give back */
};

/* The connection's session, made when needed; NULL: out of memory. */
struct session *session_get(struct shard *s, uint32_t conn);
/* Frees the connection's session when it holds nothing. */
void session_trim(struct shard *s, uint32_t conn);
void session_free(struct session *x);

/* Takes a place in the order of answers; false: out of memory. */
bool session_expect(struct session *x, uint64_t order, uint32_t *ordinal);
/* Sends an answer, or keeps it until the earlier ones of the same order are out. ordinal: from session_expect(), or
 * NONE for an answer that had no place yet. order 0: not ordered. */
void session_answer(struct shard *s, uint32_t conn, uint64_t order, uint32_t ordinal, uint16_t action, uint16_t seq,
                    struct slice body);
/* Sends an answer that holds a secret: at once, and never compressed. */
void session_answer_secret(struct shard *s, uint32_t conn, uint16_t action, uint16_t seq, struct slice body);

#endif
