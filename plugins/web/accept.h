/*
 * What a browser says it has already, and what it can read: fields of its request. Pure functions.
 */
#ifndef MAGPIE_PLUGIN_WEB_ACCEPT_H
#define MAGPIE_PLUGIN_WEB_ACCEPT_H

#include "plugins/magpie_plugin.h"

/* Whether the value of Accept-Encoding lets the answer be gzipped. An absent field (p NULL) does not. */
bool accept_gzip(struct mp_str field);

/* Whether the value of If-None-Match names this entity tag (quotes included), weakly compared. "*" names every one. */
bool etag_listed(struct mp_str field, const char *etag);

#endif
