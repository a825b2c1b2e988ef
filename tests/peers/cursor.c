/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows a cursor of a spool while others use it: all of it, a line for each
 * counter, or the one that is named.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output/spool.h"
#include "user/util/log.h"

int main(int argc, char **argv)
{
	struct spool_cursor c;
	int err;

	if (argc < 3 || argc > 4) {
		fprintf(stderr, "Usage: cursor SPOOL_DIR OUTPUT [COUNTER]\n");
		return 2;
	}
	err = spool_cursor_peek(argv[1], argv[2], &c);
	if (err && argc < 4) {
		fprintf(stderr, "cursor: %s: %s: %s\n", argv[1], argv[2], log_strerror(err));
		return EXIT_FAILURE;
	}
	/* A counter of what does not exist yet is nothing, so that a test can wait for it. */
	if (err)
		memset(&c, 0, sizeof(c));
#define SHOW(name)                                                                                 \
	if (argc == 3)                                                                             \
		printf(#name "=%" PRIu64 "\n", c.name);                                            \
	else if (strcmp(argv[3], #name) == 0)                                                      \
		printf("%" PRIu64 "\n", c.name);
	SHOW(spool_id)
	SHOW(cursor_seq)
	SHOW(acked)
	SHOW(rejected)
	SHOW(lost_limit)
	SHOW(lost_damage)
	SHOW(sent)
	SHOW(connects)
	SHOW(failures)
	SHOW(dead_lettered)
	SHOW(dead_unwritten)
	SHOW(dead_dropped)
	SHOW(target_since_us)
#define TEXT(name)                                                                                 \
	if (argc == 3)                                                                             \
		printf(#name "=%s\n", c.name);                                                     \
	else if (strcmp(argv[3], #name) == 0)                                                      \
		printf("%s\n", c.name);
	TEXT(state)
	TEXT(target)
	TEXT(others)
	TEXT(last_error)
	return EXIT_SUCCESS;
}
