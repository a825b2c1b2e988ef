/* SPDX-License-Identifier: Apache-2.0 */
/* Decimal numbers for frames, without printf: it would cost more than the frame. */
#pragma once

#include <stdint.h>

#define DECIMAL_U64_MAX 20 /* digits */

static inline unsigned decimal_len(uint64_t value)
{
	unsigned n = 1;

	while (value >= 10) {
		value /= 10;
		n++;
	}
	return n;
}

/* Writes value at dst, unterminated; returns one past its last digit. */
static inline char *decimal_put(char *dst, uint64_t value)
{
	char *end = dst + decimal_len(value), *at = end;

	do {
		*--at = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	return end;
}
