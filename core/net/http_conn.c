#include "core/net/net_internal.h"
bool http_step(struct net *net, uint32_t idx, struct conn *c, struct ws_input *in)
{ (void)net,(void)idx,(void)c,(void)in; return false; }
void http_refuse(struct net *net, uint32_t idx, struct conn *c, unsigned status)
{ (void)status; conn_end_http(net, idx, c); }
