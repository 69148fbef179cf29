/* Clocks. All times are 64-bit milliseconds or microseconds; which clock is part of the name. Any thread. */
#ifndef MAGPIE_BASE_CLOCK_H
#define MAGPIE_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

enum { CLOCK_BOOT_ID_SIZE = 16 };

/* CLOCK_REALTIME, ms and µs since 1970: what people see. Jumps. */
uint64_t clock_wall_ms(void);
uint64_t clock_wall_us(void);
/* CLOCK_MONOTONIC, ms and µs: for timeouts and rates. */
uint64_t clock_mono_ms(void);
uint64_t clock_mono_us(void);
/* CLOCK_BOOTTIME, ms: monotonic, counts suspended time too. */
uint64_t clock_boot_ms(void);
/* Which boot of the machine CLOCK_BOOTTIME counts from: a random number that each boot has. False, and all zero, where
 * the system does not tell. */
bool clock_boot_id(uint8_t out[CLOCK_BOOT_ID_SIZE]);
/* CPU time that the calling thread has used, µs. */
uint64_t clock_thread_cpu_us(void);

#endif
