/* What other nodes order, carried out here. A server alone hears of none. Private to core/hub. */
#ifndef MAGPIE_HUB_ORDERED_H
#define MAGPIE_HUB_ORDERED_H

struct hub;

/* Listens to them from now on, and no more. Main thread. */
void ordered_begin(struct hub *hub);
void ordered_end(struct hub *hub);

#endif
