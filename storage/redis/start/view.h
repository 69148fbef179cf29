/*
 * The members of the cluster as one of them sees it: CLUSTER NODES, in parts. For what is asked before the engine's
 * thread runs, and for people.
 */
#ifndef MAGPIE_STORAGE_REDIS_VIEW_H
#define MAGPIE_STORAGE_REDIS_VIEW_H

#include "core/base/err.h"
#include "storage/redis/start/ask.h"

#include <stdbool.h>
#include <stddef.h>

struct view_member {
    char id[41], master[41];       /* NUL-terminated; master: of a replica */
    char address[ASK_ADDRESS_MAX]; /* "HOST:PORT" */
    bool is_master;
    bool failed;    /* the cluster believes it dead, or has no address of it */
    bool has_zero;  /* it serves slot 0 */
    unsigned slots; /* that it serves */
};

struct view {
    struct view_member *members; /* owned */
    unsigned n;
};

/* Asks; ERR_IO, ERR_NOMEM, or ERR_INVALID: it is no cluster's. `view` is empty then. */
MUST_CHECK int view_ask(struct ask *a, struct view *view);
/* The same of a text; own: the address it was asked at, for a member that does not know its own. */
MUST_CHECK int view_parse(const char *text, const char *own, struct view *view);
void view_free(struct view *view);

/* Connects to the master of slot 0, where partition 0 is. As ask_open(); ERR_IO: nobody has it. */
MUST_CHECK int view_open_zero(const struct view *view, struct ask *a, const char *username, const char *password);

/* The bytes of an address that are its host. */
size_t view_host(const char *address);
/* Replicas of a master that the cluster believes alive. */
unsigned view_replicas(const struct view *view, const struct view_member *master);

#endif
