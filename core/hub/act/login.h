/*
 * Logins under way: from "it is this user" to the answer. act_login.c reads the request and finds out who it is;
 * login.c moves the connection to that user's shard, loads or makes the user, and answers. Private to core/hub.
 */
#ifndef MAGPIE_HUB_LOGIN_H
#define MAGPIE_HUB_LOGIN_H

#include "core/hub/registry/code.h"
#include "core/hub/shard/shard.h"
#include "storage/bus.h"

struct call;

/*
 * One login under way. Its connection is paused; after the token has told who it is, it moves to the user's owner
 * shard.
 */
struct login {
    struct mail mail;          /* for the move */
    struct login *next;        /* in user.waiting */
    struct shard *shard;       /* where it is now */
    uint32_t conn, generation; /* handle there */
    uint32_t user;             /* pinned; NONE before it is found */
    struct call *call;         /* while the handler runs; NULL later */
    struct hook_wait *wait;    /* of a hook that answers later; NULL: none */
    struct conn_record record; /* while it moves */
    uint64_t issued_ms;        /* of a provider's token, by its date; 0: not known */
    uint64_t revoked_ms;       /* when the user's tokens were revoked last; 0: never */
    uint64_t expires_ms;       /* when the login ends, by the store's date; 0: never */
    char *claims;              /* that a provider gave; NULL: none; owned */
    uint64_t version;          /* with a bus: of the user, as it was loaded for this login */
    uint64_t arrivals;         /* likewise, in its inbox */
    uint32_t changes;          /* with a bus: user_copy.changes, before it was loaded */
    uint32_t restores;         /* with a bus: shard.restores, when the bus was told of it */
    uint32_t epoch;            /* of the token */
    uint32_t inbox;
    uint16_t action, seq;
    uint8_t id_len, name_len, device_len;
    char *token;    /* that a provider accepted: the client's, handed back; NULL: one of ours; owned */
    bool asked;     /* a provider's answer is awaited */
    bool fresh;     /* a new user */
    bool provided;  /* by a provider: known or not, it is let in */
    bool renews;    /* of a connection that has logged in: its end moves, and nothing else changes */
    bool merge;     /* accepts 104 */
    bool gzip;      /* accepts gzip (TCP) */
    bool busy;      /* a store operation is under way, or it is in shard.roaming */
    bool missed;    /* a private message came meanwhile: count the inbox again */
    bool stale;     /* a membership ended meanwhile: read them again */
    bool told;      /* the bus has been told of it: see roam.h */
    bool known;     /* … and it has its device, if it names one */
    bool placed;    /* … and others know */
    bool older;     /* … and that what was loaded is not the newest */
    uint8_t counts; /* of the inbox, so far */
    union {
        struct store_user_load load;
        struct store_user_save save;
        struct bus_session_put put;
        struct bus_order order;
    } op;
    struct bus_handle replaces[BUS_REPLACES]; /* with a bus: of its device, to be closed before it is answered */
    uint8_t replaced;                         /* … how many have been asked for */
    struct login *next_roaming;               /* in one of the lists of shard.roaming */
    char id[64], name[64], device[65];
};

static inline struct slice login_id(const struct login *l)
{
    return slice_of(l->id, l->id_len);
}
static inline struct slice login_name(const struct login *l)
{
    return slice_of(l->name, l->name_len);
}

/* It is known who it is: moves it, loads or makes the user, answers, and frees it. It may be gone, or on another shard,
 * when this returns. */
void login_go(struct login *l);
/* Answers with an error and frees it. retry_after_ms: of CODE_RATE_LIMITED. */
/* A line of the security log: who it is, as far as that is known, and from where. */
void login_note(const struct login *l, const char *event, const char *code, const char *message);
void login_refuse(struct login *l, enum code code, uint32_t retry_after_ms, const char *message);
/* Asks the store for the user (and the size of its inbox), or waits for the one who does. */
void login_start(struct login *l);
/* All that it needs is known: answers and frees it, or has it wait until others know of it (roam.h). */
void login_complete(struct login *l);
/* The connection of a login that waits for a provider is gone. */
void login_abandon(struct login *l);
/* A private message for this user arrives: logins under way count the inbox anew. */
void login_missed(struct shard *s, uint32_t user);
/* A membership of this user ended: what logins under way have read of it may be older. */
void login_stale(struct shard *s, uint32_t user);
/* A user was held back (USER_FORGETTING) and is so no more: its waiting logins ask the store again. The caller holds a
 * pin. */
void login_retry(struct shard *s, uint32_t user);
/* … and nothing about it has changed: its waiting logins go on. */
void login_unhold(struct shard *s, uint32_t user);
/* Closes the user's connections (kicked), and those whose login as this user is under way. message: of push 105; may be
 * empty. Returns how many. */
uint32_t login_kick(struct shard *s, uint32_t user, struct slice message);
/* Closes a connection whose device another one has taken over. */
void login_replace(struct shard *s, uint32_t conn);

#endif
