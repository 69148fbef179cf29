#include "core/hub/act/acts.h"

#include <stddef.h>

#define ACT_ROW(name) name##_register,

int acts_register(struct hub *hub)
{
    static int (*const parts[])(struct hub *) = {ACTS(ACT_ROW)};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        int rc = parts[i](hub);
        if (rc != 0)
            return rc;
    }
    return 0;
}
