/* What the two files of magpie.store share. Private to script_store*.c. */
#ifndef MAGPIE_SCRIPT_SCRIPT_STORE_PRIVATE_H
#define MAGPIE_SCRIPT_SCRIPT_STORE_PRIVATE_H

#include "core/hub/shard/note_ears.h"
#include "core/script/script_store.h"
#include "core/script/state.h"
#include "storage/store.h"

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>

enum { PENDING_MAX = 10000 /* changes on their way to the store */ };

struct script_space {
    struct script_space *next;
    struct script_store *store;
    struct values *values; /* owned */
    char name[SCRIPT_NAME_MAX];
};

struct change;
struct flights;

struct script_store {
    struct hub *hub;                       /* NULL: nothing is kept */
    _Atomic(struct script_space *) spaces; /* list; owned */
    pthread_mutex_t grow_lock;             /* of making spaces */
    const uint64_t *clock;                 /* of a test; NULL: the store's */
    _Atomic uint64_t limit;                /* bytes of all */
    _Atomic uint32_t pending;              /* changes under way, those that failed included */
    struct mail arm;                       /* to shard 0: starts the timer */
    ev_timer again;                        /* on shard 0 */
    bool armed;                            /* `arm` or `again` is under way; under failed_lock */
    pthread_mutex_t failed_lock;           /* of the next two */
    struct change *failed;                 /* oldest first; owned */
    struct change **failed_tail;
    struct flights *flights; /* of script_store_flights.h; NULL: the server is alone; owned */
};

uint64_t script_store_now(const struct script_store *s);
/* "s/SCRIPT/KEY": a script's name may have slashes, which become colons there. `out` has room for a note's key. */
size_t script_note_key(const struct script_space *p, struct slice key, char *out);
bool script_note_split(struct slice note, char name[SCRIPT_NAME_MAX], struct slice *key);
/* A value as a note has it, of a server alone or of a node. False: it is of a later version. */
bool script_note_read(struct slice note, struct script_value *v, uint64_t *until_ms);
/* Has what failed tried again in a second. */
void script_store_arm(struct script_store *s);

/* --- script_store_nodes.c --- */

/* The server is one of several. ERR_NOMEM. What other nodes change is heard from now on, but kept back until
 * flights_loaded(). */
MUST_CHECK int flights_open(struct script_store *s);
void flights_loaded(struct script_store *s);

/* --- script_store_flights.c --- */

/* Before the hub stops to hear. */
void flights_free(struct script_store *s);
/* As values_watch() tells it. */
bool flights_change(struct script_space *p, const struct values_change *c);
/* On shard 0: those that failed are done again. */
void flights_again(struct script_store *s);

#endif
