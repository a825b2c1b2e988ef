/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file. What is read without a mistake can be written, and
 * what was written is read as the same.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Returns the number of mistakes. */
static int read_bytes(struct config *c, const void *data, size_t size)
{
	_cleanup_fclose_ FILE *f = fmemopen((void *)data, size, "r");
	struct config_errors e;
	int n;

	if (!f)
		abort();
	config_errors_init(&e);
	config_read_file(c, f, "fuzz", &e);
	n = e.n;
	/* A mistake says something, and in text. */
	if ((n > 0) != (e.text.len > 0) ||
	    (e.text.len && memchr(buf_data(&e.text), '\0', e.text.len)))
		abort();
	config_errors_done(&e);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(config_freep) struct config *c = NULL, *again = NULL;
	struct buf first, second;

	if (!size || config_new(&c) || config_new(&again))
		return 0;
	if (read_bytes(c, data, size))
		return 0;
	buf_init(&first, 1 << 20);
	buf_init(&second, 1 << 20);
	if (config_write(c, &first))
		abort();
	if (first.len && read_bytes(again, buf_data(&first), first.len))
		abort();
	if (config_write(again, &second) || first.len != second.len ||
	    (first.len && memcmp(buf_data(&first), buf_data(&second), first.len) != 0))
		abort();
	buf_wipe(&first);
	buf_wipe(&second);
	return 0;
}
