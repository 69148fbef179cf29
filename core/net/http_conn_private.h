/* A connection until it is upgraded or answered. Private to core/net. */
#ifndef MAGPIE_NET_HTTP_CONN_PRIVATE_H
#define MAGPIE_NET_HTTP_CONN_PRIVATE_H

#include "core/net/net_private.h"

/* Takes a request. Of a chunked body what has come is kept as a message's is: in->msg, and in `ws` where it stands. */
bool http_step(struct net *net, uint32_t idx, struct conn *c, struct ws_parser *ws, struct ws_input *in);
/* Answers with a status and a line of text and closes after it. */
void http_answer_text(struct net *net, uint32_t idx, struct conn *c, unsigned status, const char *text);
/* Answers with a status and closes after it. */
void http_refuse(struct net *net, uint32_t idx, struct conn *c, unsigned status);

#endif
