/*
 * Authentication providers: who answers a login when auth.mode names them ("script", "jwt"). Mode "open" is the hub's
 * own.
 */
#ifndef MAGPIE_HUB_AUTH_H
#define MAGPIE_HUB_AUTH_H

#include "core/base/err.h"
#include "core/base/slice.h"
#include "core/hub/registry/code.h"

#include <stdbool.h>
#include <stdint.h>

struct hub;
struct shard;

/* Names a login that waits for its answer; a copy may be kept on any thread. */
struct auth_ticket {
    uint32_t shard, conn, generation;
};

/* A provider's answer. */
struct auth_answer {
    enum code code; /* CODE_OK: in; else the refusal (unauthorized, forbidden, rate_limited, unavailable, internal) */
    uint32_t retry_after_ms;
    char message[96]; /* of a refusal, for people */
    uint8_t id_len;   /* in: 1-64, a valid user id other than "system" */
    uint8_t name_len; /* in: 0: the client's, or the one known, or the id */
    char id[64], name[64];
    uint64_t issued_ms;  /* in: when the token was made, by its own date; 0: it does not say. Older than a revocation of
                          * the user's tokens, it is `unauthorized` */
    uint64_t expires_ms; /* in: when the login ends, since 1970; 0: never */
    char *claims;        /* in: what else is vouched for, a JSON object, NUL-terminated; NULL: nothing; given away */
};

struct auth_call {
    struct shard *shard;
    struct auth_ticket ticket;
    struct slice name, token, device, ip; /* as the client gave them; borrowed for the call; empty: absent */
    bool websocket;                       /* else TCP */
    bool secure;                          /* by TLS */
    struct auth_answer answer;            /* to be filled in by AUTH_NOW; all zero at first */
};

enum auth_when { AUTH_NOW, AUTH_LATER };

struct auth_provider {
    char name[32]; /* as in auth.mode */
    /* On the shard of the connection. AUTH_LATER: auth_finish() will be called with the ticket; the connection waits
     * (timeouts.login goes on). */
    enum auth_when (*ask)(struct auth_call *a, void *ctx);
    void *ctx;
    const void *owner; /* who registered it; NULL: built in */
};

/* Into the draft (tables.h). ERR_EXISTS, ERR_FULL. */
MUST_CHECK int auth_register(struct hub *hub, const struct auth_provider *p);

#endif
