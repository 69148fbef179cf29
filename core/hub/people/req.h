/*
 * Requests: from a client's frame to its answer. Private to core/hub.
 *
 * A handler gets a `struct call` (call.h). It answers at once, or makes a `struct req` that goes to other shards and
 * the store and comes home with the answer. A req is the first member of the handler's own struct.
 *
 * Order. Requests of one connection about one conversation take effect and are answered in the order sent:
 *  - requests of class CLASS_SEND may be under way together, likewise those of CLASS_READ; one of another class waits
 *    until they are answered (and one of CLASS_ALONE keeps all later ones waiting);
 *  - an answer waits for the earlier ones with the same `order` (the conversation's hash).
 */
#ifndef MAGPIE_HUB_REQ_H
#define MAGPIE_HUB_REQ_H

#include "core/base/buf.h"
#include "core/hub/people/call.h"
#include "core/hub/registry/code.h"
#include "core/hub/shard/shard.h"

struct req {
    struct mail mail;          /* for the way between shards */
    struct shard *home;        /* where the connection is */
    uint32_t conn, generation; /* handle of the connection */
    uint32_t user;             /* index on home, pinned; NONE before login */
    uint32_t ordinal;          /* of the answer, see struct session */
    uint64_t order;            /* as in struct call */
    uint16_t action, seq;
    enum code code;                 /* CODE_OK: body is the answer */
    uint32_t retry_after_ms;        /* of CODE_RATE_LIMITED; of others 0, or as code_wait() says */
    char message[96];               /* for people, of an error */
    struct buf body;                /* the answer; empty means {} */
    char *claims;                   /* of the connection's login; NULL: none; owned */
    void (*finish)(struct req *r);  /* on home, before the answer goes out; may change it; NULL: nothing */
    void (*after)(struct req *r);   /* on home, after the answer has gone out; NULL: nothing */
    void (*destroy)(struct req *r); /* frees what the derived struct owns, not r itself; NULL: nothing */
};

/* A zeroed req of `size` bytes for this call, pinned to its user; on failure answers `internal` and returns NULL. */
void *req_begin(struct call *c, size_t size);
void req_fail(struct req *r, enum code code, const char *message);
/* The failure of a store operation that changes something; of one that reads. `what` is said for STORE_NOTFOUND. */
void req_fail_store(struct req *r, enum store_status status, const char *what);
void req_fail_read(struct req *r, enum store_status status, const char *what);
/* A hook answers this request later: the connection's next frames wait. On home, right after
 * req_begin(). */
void req_wait(struct req *r);
/* It has answered: they may follow, once the request is on its way or answered, … */
void req_wait_over(const struct req *r);
/* … and are looked at. The connection may be closed by it, or be gone already. */
void req_go_on(struct shard *s, uint32_t conn, uint32_t generation);
/* On a node that is not read from (HALT_BURIED): keeps a frame, and no further one comes. */
enum conn_verdict req_keep(struct shard *s, uint32_t conn, const struct net_message *m);
/* It is read from again: all connections go on. */
void req_go_on_all(struct shard *s);
/* Another struct of `size` bytes takes the place of a request that is still at home; the old one is freed, with what it
 * owns. NULL: out of memory, and r stays. */
void *req_become(struct req *r, size_t size);
/* Sends the request home with its answer, from whatever shard it is on; it is freed there. */
void req_done(struct shard *here, struct req *r);

/* A frame of a logged-in or a new connection arrives: net_ops.message. */
enum conn_verdict dispatch(struct shard *s, uint32_t conn, const struct net_message *m);

#endif
