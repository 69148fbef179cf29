/* Going on with a connection that was paused. Its thread. */
#ifndef MAGPIE_NET_INPUT_H
#define MAGPIE_NET_INPUT_H

#include "core/net/conn.h"

/* Lets a paused connection go on: kept input is parsed before the loop sleeps (never inside this call). Inside the
 * connection's own message callback it cancels the CONN_PAUSE that the callback returns. */
void conn_resume(struct net *net, uint32_t conn);

#endif
