#include "core/net/net_internal.h"
bool websocket_step(struct net *net, uint32_t idx, struct conn *c, struct ws_parser *ws, struct ws_input *in)
{ (void)net,(void)idx,(void)c,(void)ws,(void)in; return false; }
