/* What other nodes order, carried out here. A server alone hears of none. Private to core/hub. */
#ifndef MAGPIE_HUB_ORDERED_H
#define MAGPIE_HUB_ORDERED_H

struct bus_order;

/* As bus_ears.ordered, with the hub. Any thread. */
void ordered_arrive(void *hub, struct bus_order *o);

#endif
