/* HTTP requests that wait for an answer; WebSockets of claimed paths. Private to core/plugin. */
#ifndef MAGPIE_PLUGIN_HTTP_H
#define MAGPIE_PLUGIN_HTTP_H

#include "core/plugin/plugin_private.h"

void http_run(const struct route_call *q, void *ctx);
void http_done(mp_http *h, const struct mp_http_answer *a);
struct mp_str http_header_of(const mp_http *h, const char *name);
int http_param_of(const mp_http *h, const char *name, char *out, size_t size);
int http_decode(struct mp_str s, char *out, size_t size);
void ws_opened(struct shard *s, uint32_t conn, uint32_t generation, void *ctx);
void ws_message(struct shard *s, uint32_t conn, uint32_t generation, bool text, struct slice data, void *ctx);
void ws_closed(struct shard *s, uint32_t conn, uint32_t generation, void *ctx);
int ws_send_to(mp_self *p, struct mp_conn conn, bool text, struct mp_str data);
int ws_close_it(mp_self *p, struct mp_conn conn, uint16_t code, struct mp_str reason);

#endif
