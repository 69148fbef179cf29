/* The console's commands about the config. What they need of the server they ask for through callbacks. Main thread. */
#ifndef MAGPIE_CONFIG_CONFIG_COMMANDS_H
#define MAGPIE_CONFIG_CONFIG_COMMANDS_H

#include "core/base/buf.h"
#include "core/base/err.h"

struct config;
struct hub;

struct config_keeper {
    /* In force now. Borrowed until the next change. */
    const struct config *(*current)(void *ctx);
    /* What the server was started with: restarts are reported against it. */
    const struct config *(*boot)(void *ctx);
    /* Reads and checks the file; NULL, with lines in `errors`. */
    struct config *(*load)(void *ctx, struct buf *errors);
    /* Brings a config into force, and takes it; not 0, with lines in `errors`: it was not taken. ERR_AGAIN: the change
     * before is not yet on all shards. */
    int (*adopt)(void *ctx, struct config *fresh, struct buf *errors);
    void *ctx;
};

/* `show config`, `config check`, `config diff`, `config reload`, `set`. The keeper is borrowed. ERR_NOMEM. */
MUST_CHECK int config_commands_register(struct hub *hub, const struct config_keeper *keeper);

#endif
