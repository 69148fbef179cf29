/* What the operating system knows of this process. Any thread. */
#ifndef MAGPIE_HUB_PROCESS_H
#define MAGPIE_HUB_PROCESS_H

#include <stdint.h>

/* Memory, bytes; 0 where the system does not tell. */
uint64_t process_resident(void);
uint64_t process_virtual(void);
/* Descriptors that are open, and that may be. */
double process_open_fds(void);
double process_max_fds(void);
/* When it began, seconds since 1970; 0 where the system does not tell. */
double process_start_time(void);
double process_cpu_seconds(void);

#endif
