/* Requests to somebody else's server, for plugins that make them. Any thread. */
#ifndef MAGPIE_PLUGINS_COMMON_HTTP_OUT_H
#define MAGPIE_PLUGINS_COMMON_HTTP_OUT_H

#include "plugins/magpie_plugin.h"

enum { SECRET_MIN = 16 /* bytes of a key */, SIGNATURE_SIZE = 160 /* of its header line */ };

/* http://… or https://…. */
bool url_good(const char *url);
/* "Magpie-Signature: t=SECONDS,v1=HEX": HMAC-SHA256, by the secret, over "SECONDS.BODY". */
void signature_put(char out[SIGNATURE_SIZE], const char *secret, struct mp_str body);

#endif
