/* From a token to who it is: form, signature, algorithm, times, issuer, audience, id and name. Any thread. */
#ifndef MAGPIE_PLUGINS_AUTH_JWT_VERIFY_H
#define MAGPIE_PLUGINS_AUTH_JWT_VERIFY_H

#include "plugins/magpie_plugin.h"

struct policy;

enum { TOKEN_MAX = 8192 };

/* Fills in *answer: in, or why not. now: seconds since 1970. token[0..n): at most TOKEN_MAX bytes. room: n bytes that
 * are written over with what the token says. */
void verify(const struct policy *p, const char *token, size_t n, char *room, double now, struct mp_auth_answer *answer);

#endif
