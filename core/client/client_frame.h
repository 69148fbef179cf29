/* Frames to bytes and back, TCP and WebSocket. Private to core/client. */
#ifndef MAGPIE_CLIENT_CLIENT_FRAME_H
#define MAGPIE_CLIENT_CLIENT_FRAME_H

#include "core/client/client_private.h"

/* Takes frames (and the handshake's answer) off the bytes; returns how many it used up. The connection may be gone
 * afterwards. *need is raised to the size of a frame that has only begun, if that is known. */
size_t client_frame_feed(struct client_conn *conn, struct slice bytes, size_t *need);

#endif
