/* `list users all`, `list channels all`: what is stored. */
#ifndef MAGPIE_CONSOLE_CMD_STORED_H
#define MAGPIE_CONSOLE_CMD_STORED_H

#include "core/hub/registry/command.h"
#include "storage/store.h"

/* Lists users or channels of the store, page by page; ends the call. Its first argument has been looked at. */
void stored_list(struct command_call *c, enum store_scan_what what);

#endif
