/* What logins are judged by: the options, with the keys read from their files. Immutable once in force. */
#ifndef MAGPIE_PLUGINS_AUTH_JWT_POLICY_H
#define MAGPIE_PLUGINS_AUTH_JWT_POLICY_H

#include "keys.h"
#include "plugins/magpie_plugin.h"

#include <sys/stat.h>

enum { CLAIMS_MAX = 32 };

/* When a key file was written last: one that is replaced is noticed. */
struct stamp {
    struct timespec changed;
    ino_t inode;
    off_t size; /* -1: it is not there */
};

struct policy {
    struct keys keys;
    char *issuer, *audience;     /* what must stand there; NULL: anything; owned */
    char *id_claim, *name_claim; /* owned */
    double leeway;               /* seconds that clocks may differ */
    bool require_expiry;
    char *claims[CLAIMS_MAX + 1];  /* names of those that are told to the server; NULL at the end; owned */
    char *secret;                  /* of the option; NULL: none; owned */
    char *files[KEYS_MAX];         /* of the option; NULL at the end; owned */
    struct stamp stamps[KEYS_MAX]; /* of the files, from before they were read */
};

/* Both are for the main thread, and return NULL with a sentence in `why`: */
struct policy *policy_new(const struct mp_api *mp, const mp_options *o, char *why, size_t why_size);
/* The same options with the key files read anew. */
struct policy *policy_again(const struct policy *before, char *why, size_t why_size);
/* Of a policy; NULL is none. Secrets are wiped. */
void policy_free(void *policy);

/* Whether a key file is another one than at `seen`, which becomes what is there now. KEYS_MAX places. */
bool policy_changed(const struct policy *p, struct stamp *seen);

#endif
