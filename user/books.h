/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The books: what each hop took, gave, and could not keep. At any quiet moment
 *
 *     seen      = submitted + filtered + ring_full + no_room + missed + live
 *     appended  = acknowledged + rejected + dropped + damaged + waiting + before
 *
 * where before (mostly 0) is what had come and gone when the output was first used.
 */
#pragma once

#include <stdio.h>

struct config;
struct kernel;
struct source;
struct spool;

struct books {
	const struct config *config;
	const struct kernel *kernel; /* may be NULL */
	struct spool *spool;
	struct source *const *sources;
	int n_sources;
};

/* A line for each hop: "books: NAME  key N  key N", parsable, 80 columns where it can be. */
void books_print(FILE *f, const struct books *b);
