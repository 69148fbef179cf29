#include "core/net/websocket.h"
size_t ws_close_frame(uint8_t out[127], uint16_t code, struct slice reason) { (void)out,(void)code,(void)reason; return 0; }
size_t ws_control_frame(uint8_t out[127], enum ws_opcode opcode, struct slice payload) { (void)out,(void)opcode,(void)payload; return 0; }
