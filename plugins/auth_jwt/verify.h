/* From a token to who it is: form, signature, algorithm, times, issuer, audience, id and name. Any thread. */
#ifndef MAGPIE_PLUGINS_AUTH_JWT_VERIFY_H
#define MAGPIE_PLUGINS_AUTH_JWT_VERIFY_H

#include "plugins/magpie_plugin.h"

struct policy;

enum { TOKEN_MAX = 8192 };

/* Now, in seconds since 1970, by the server's date_ms() and by its wall clock. They differ after one has jumped, and
 * nobody knows yet which is wrong: a token that is valid by either is valid. */
struct verify_time {
    double date, wall;
};

/* Fills in *answer: in, or why not. token[0..n): at most TOKEN_MAX bytes. room: n bytes that
 * are written over with what the token says. */
void verify(const struct policy *p, const char *token, size_t n, char *room, struct verify_time now,
            struct mp_auth_answer *answer);

#endif
