/* Sending: to one connection, by class, with limits on what waits. One net, on its thread. */
#ifndef MAGPIE_NET_SEND_H
#define MAGPIE_NET_SEND_H

#include "core/net/conn.h"

/* Queues a wire, which must be of the connection's form; takes its own reference. 0, also for one of no bytes;
 * ERR_AGAIN: skipped; ERR_CLOSED: closing; ERR_NOMEM: the connection is closing because of it (MUST) or the wire was
 * skipped (MAY). */
int conn_send(struct net *net, uint32_t conn, struct wire *w, enum conn_class class);
/* The same on a claimed path, where nobody has logged in: what is not read is counted, and whoever there is no room for
 * is closed: ERR_CLOSED. */
int conn_send_claimed(struct net *net, uint32_t conn, bool text, struct slice data);
/* A wire in the connection's form, for what goes to it alone, with one reference. NULL: out of memory. */
struct wire *conn_wire(const struct net *net, uint32_t conn, uint16_t action, uint16_t seq, struct slice body,
                       uint32_t tag);
/* The same, never compressed: for a body that holds a secret. What others have a hand in, a name for one, stands beside
 * it, and the length of what is compressed together would tell how much is alike. */
struct wire *conn_wire_plain(const struct net *net, uint32_t conn, uint16_t action, uint16_t seq, struct slice body,
                             uint32_t tag);
/* The name of the form. */
const char *conn_form(const struct net *net, uint32_t conn);
/* How what is sent may be compressed: "gzip", "deflate", or "none". */
const char *conn_compression(const struct net *net, uint32_t conn);
/* Another form of a protocol that the owner of a claimed path, or a gateway, speaks: a row behind those of this server
 * (encoder.h). Borrowed for the net's life, and on the same row in all nets that connections move between. ERR_EXISTS:
 * the row is taken; ERR_INVALID: there is no such row. */
MUST_CHECK int net_set_encoder(struct net *net, uint8_t form, const struct encoder *e);
/* From now on the connection is sent that form, whose encoder must be there. */
void conn_set_form(struct net *net, uint32_t conn, uint8_t form);
/* conn_send() of the frame in the connection's form. */
int conn_send_frame(struct net *net, uint32_t conn, struct frame *f, enum conn_class class);
/* Several wires that stand or fall together (a merged slice's back-to-back frames). As conn_send(). */
int conn_send_frames(struct net *net, uint32_t conn, struct frame *const *f, uint32_t n, enum conn_class class);
/* Writes a bundle to a connection that has nothing unsent, past its queue: for a fan-out that comes by each connection
 * only once, where waiting for the flush would gather nothing more. What the socket does not take is queued. Calls and
 * closes nobody. False: nothing was done, because the connection has something unsent, closes or is looked at, or the
 * bundle is large: conn_send_frame() is for them. */
bool conn_send_now(struct net *net, uint32_t conn, struct bundle *b);
/* The connection, whose index must be in use, will be sent something soon. */
void conn_prefetch(const struct net *net, uint32_t conn);
/* The same of what its stream will want, once the connection itself is there. */
void conn_prefetch_stream(const struct net *net, uint32_t conn);
/* Drops what is queued under the tag and not yet begun to be written, and the tag from what was skipped. */
void conn_purge(struct net *net, uint32_t conn, uint32_t tag);
/* Bytes queued. */
uint32_t conn_queued(const struct net *net, uint32_t conn);
/* Seconds since it was heard (before login: since it was opened). */
uint32_t conn_silent(const struct net *net, uint32_t conn);

#endif
