/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks. Only loops and main read them; everyone else takes a time. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define CLOCK_RFC3339_SIZE 32 /* "2026-11-23T05:33:01.123456Z" and room */

uint64_t clock_mono_ms(void);
uint64_t clock_boot_ns(void);
uint64_t clock_real_us(void);

/* A number of this boot, never 0; 0 where /proc does not tell. */
uint64_t clock_boot_id(void);

/*
 * What to add to a CLOCK_BOOTTIME time (in ns) to get CLOCK_REALTIME (in ns).
 * Sampled between two reads of the boot clock, so it is right to a few us.
 * It changes when the clock is stepped: take it again every so often.
 */
int64_t clock_boot_to_real_ns(void);

/* Writes RFC 3339 in UTC with six decimals; returns the length, without the NUL. */
size_t clock_format_rfc3339(uint64_t real_us, char ret[static CLOCK_RFC3339_SIZE]);
