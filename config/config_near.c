/* SPDX-License-Identifier: Apache-2.0 */
/* How far one word is from another: for "did you mean". */
#include "config/private.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>

/* Levenshtein, with one row of the table at a time. */
unsigned config_distance(const char *a, const char *b)
{
	size_t a_len = strlen(a), b_len = strlen(b);
	unsigned row[CONFIG_NAME_SIZE];

	if (a_len >= CONFIG_NAME_SIZE || b_len >= CONFIG_NAME_SIZE)
		return UINT_MAX;
	for (size_t k = 0; k <= b_len; k++)
		row[k] = (unsigned)k;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned corner = row[0];

		row[0] = (unsigned)i;
		for (size_t k = 1; k <= b_len; k++) {
			int x = tolower((unsigned char)a[i - 1]),
			    y = tolower((unsigned char)b[k - 1]);
			unsigned best = corner + (x != y);

			if (row[k] + 1 < best)
				best = row[k] + 1;
			if (row[k - 1] + 1 < best)
				best = row[k - 1] + 1;
			corner = row[k];
			row[k] = best;
		}
	}
	return row[b_len];
}

bool config_is_near(unsigned distance, const char *given)
{
	size_t third = strlen(given) / 3;

	return distance <= (third > 2 ? third : 2);
}
