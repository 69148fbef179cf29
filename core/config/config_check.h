/* Relations between values. Private to core/config. */
#ifndef MAGPIE_CONFIG_CONFIG_CHECK_H
#define MAGPIE_CONFIG_CONFIG_CHECK_H

#include "core/config/config_read.h"

/* Relations between values (a value with an error of its own counts as its default). May settle a value that was not
 * given by those that were. */
void config_check_relations(struct config_reader *r);

#endif
