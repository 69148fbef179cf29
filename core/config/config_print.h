/* What people read of the schema. Private to core/config. */
#ifndef MAGPIE_CONFIG_CONFIG_PRINT_H
#define MAGPIE_CONFIG_CONFIG_PRINT_H

#include "core/base/buf.h"

/* The options as a Markdown table: what docs/configuration.md holds. */
void config_schema_reference(struct buf *out);

#endif
