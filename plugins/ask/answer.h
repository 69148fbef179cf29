/* What a backend answers, and what a hook makes of it. */
#ifndef MAGPIE_PLUGINS_ASK_ANSWER_H
#define MAGPIE_PLUGINS_ASK_ANSWER_H

#include "plugins/magpie_plugin.h"

#include <stdatomic.h>

/* What is asked about. */
enum about { ABOUT_LOGIN, ABOUT_SUBSCRIBE, ABOUT_MESSAGE, ABOUTS };

/* Immutable; shared by all who asked the same, and by the cache. */
struct answer {
    _Atomic unsigned refs;
    enum mp_verdict verdict; /* pass, reject, drop */
    enum mp_code code;       /* reject */
    uint32_t retry_after_ms; /* reject with MP_CODE_RATE_LIMITED */
    char message[96];        /* reject; "": none */
    int64_t cache_ms;        /* how long it may be kept; -1: the backend does not say */
    char id[65], name[65];   /* login: who it is; "": not said */
    uint64_t expires_ms;     /* login: when it ends; 0: never, or not said */
    char *claims;            /* login: a JSON object; NULL: none; owned */
    size_t content_n;        /* message: bytes of what takes its place; 0: nothing does */
    char *content;           /* owned */
};

/* Reads the JSON that a backend has sent. Strict: what is not understood is no answer. NULL with a sentence in `why`.
 * The caller has one reference. */
struct answer *answer_read(mp_self *self, const struct mp_api *mp, enum about about, struct mp_str text, char *why,
                           size_t why_size);
/* One that only refuses or lets pass. NULL: no memory. */
struct answer *answer_plain(enum mp_verdict verdict, enum mp_code code, const char *message);
struct answer *answer_ref(struct answer *a);
void answer_unref(struct answer *a);
/* Bytes of memory. */
size_t answer_size(const struct answer *a);

#endif
