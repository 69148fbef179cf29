/* HTTP requests on the WebSocket port. The thread of the net. */
#ifndef MAGPIE_NET_HTTP_CONN_H
#define MAGPIE_NET_HTTP_CONN_H

#include "core/net/conn.h"

/* Whether an HTTP request may be answered without credentials, as far as the name goes under which it asked: it came to
 * no loopback address, or under a name that is known to be this server's (origin.h). */
bool conn_knows_host(struct net *net, uint32_t conn, const struct http_head *h);
/* Whether it comes from this machine (a loopback address) and, as far as anything tells, no proxy has handed it on. */
bool conn_is_local(struct net *net, uint32_t conn, const struct http_head *h);
/* Whether the client's browser spoke TLS: with this server, or with a trusted proxy that says so (X-Forwarded-Proto, or
 * proto of Forwarded). */
bool conn_by_tls(struct net *net, uint32_t conn, const struct http_head *h);
/* Answers an HTTP request and closes after it. `fields`: whole header lines, CRLF at the end of each; length, date and
 * connection are added. `no_body`: the answer to a HEAD. A connection that is gone, or has been answered, is passed
 * over. ERR_NOMEM: it is closed without a word. */
int conn_http_answer(struct net *net, uint32_t conn, uint32_t generation, unsigned status, struct slice fields,
                     struct slice body, bool no_body);

#endif
