/* What the bus tells this node, and to whom it goes. A server alone hears nothing. Private to core/hub. */
#ifndef MAGPIE_HUB_EARS_H
#define MAGPIE_HUB_EARS_H

struct hub;

/* Listens from now on, and no more. Main thread. */
void ears_begin(struct hub *hub);
void ears_end(struct hub *hub);

#endif
