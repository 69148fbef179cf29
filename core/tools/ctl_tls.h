/* magpiectl: TLS to a console at "tls:HOST:PORT". Private to core/tools. */
#ifndef MAGPIE_TOOLS_CTL_TLS_H
#define MAGPIE_TOOLS_CTL_TLS_H

#include "core/tools/ctl.h"

#include <sys/types.h>

/* The handshake on c->fd, with a server that must prove to be `host`. 0, or -1 with ctl->why. */
int ctl_tls_connect(struct ctl *c, const char *host);
/* As recv(2) and send(2) of a blocking socket: 0 is the end, -1 with errno; EPROTO: ctl_tls_why() says what. */
ssize_t ctl_tls_recv(struct ctl *c, void *p, size_t n);
ssize_t ctl_tls_send(struct ctl *c, const void *p, size_t n);
/* Says that it ends, and frees what it has. No effect without TLS. */
void ctl_tls_close(struct ctl *c);

#endif
