/* A connection's birth, timeouts and ends. Private to core/net. */
#ifndef MAGPIE_NET_CONN_PRIVATE_H
#define MAGPIE_NET_CONN_PRIVATE_H

#include "core/net/net_private.h"

/* A slot for the descriptor, in the epoll set, CONN_ST_HEAD or CONN_ST_OPEN by transport; CONN_NONE: out of memory (the
 * descriptor stays the caller's). */
uint32_t conn_new(struct net *net, int fd, enum conn_transport transport, uint8_t stream);
/* What it is in when nothing stands before the client's own bytes any more. */
enum conn_state conn_first_state(const struct net *net, const struct conn *c);
/* Its address is another from now on: counted there, by this slot, and no more where it was. What it holds may be
 * counted by no address yet. */
void conn_renamed(struct net *net, struct conn *c, uint32_t ip_slot);
/* Tells the epoll set what the connection waits for now. */
void conn_interest(struct net *net, uint32_t idx, struct conn *c);
/* Where its address is counted, IP_SLOT_NONE when it has none; finds it out when that is not known yet. */
uint32_t conn_ip_slot(struct net *net, struct conn *c);
/* Sets its timeout anew. */
void conn_arm(struct net *net, uint32_t idx, struct conn *c);
uint64_t conn_due(void *net, uint32_t idx);
/* Tells the owner that a connection exists; the connection may be gone after it. */
void conn_tell_opened(struct net *net, uint32_t idx, struct conn *c);
/* conn_close() with the WebSocket close code (0: no close frame). */
void conn_end(struct net *net, uint32_t idx, enum close_reason reason, uint16_t ws_code, const char *message,
              uint32_t retry_after_ms);
/* Framing is lost: an error frame, then conn_end(). `code`: "bad_request" or "too_large". */
void conn_protocol_error(struct net *net, uint32_t idx, uint16_t ws_code, const char *code, const char *message);
/* Closes an HTTP exchange after what is queued. */
void conn_end_http(struct net *net, uint32_t idx, struct conn *c);
/* The other side is gone: writes what it may still take, and finishes. Top level only. */
void conn_lost(struct net *net, uint32_t idx);
/* The other side has said its last, by a WebSocket Close with this code, or (eof, code 0) by closing its half. True:
 * the owner owes answers, and the connection waits for them. */
bool conn_ended(struct net *net, uint32_t idx, struct conn *c, uint16_t code, bool eof);
/* Tells the other side of our end where its stream has words for it, and the socket's own is not enough. */
void conn_say_end(struct net *net, const struct conn *c);
/* The end: `closing` if it is owed, `closed`, the slot is free. Top level only. */
void conn_finish(struct net *net, uint32_t idx);
/* A closing connection's output is out. May finish it. */
void conn_drained_closing(struct net *net, uint32_t idx, struct conn *c);

#endif
