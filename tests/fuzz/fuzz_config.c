/* Any bytes as a config file: never a crash, a hang or a leak; what is taken can be loaded again by its own
 * defaults. */
#include "core/config/config.h"
#include "core/config/config_options.h"
#include "core/hub/shard/options.h"
#include "storage/store.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf errors = BUF_INIT, restart = BUF_INIT;
    struct config *c = config_parse(slice_of(data, size), "fuzz", &errors);
    /* Either a config or at least one error. */
    if (!c && errors.n == 0)
        abort();
    if (c) {
        struct hub_options hub;
        struct store_options store;
        config_hub_options(c, (const uint8_t[32]){0}, &hub);
        config_store_options(c, &store);
        if (config_needs_restart(c, c, &restart) != 0 || hub.content_max > hub.net.frame)
            abort();
    }
    config_free(c);
    buf_free(&errors);
    buf_free(&restart);
    return 0;
}
