/* SPDX-License-Identifier: Apache-2.0 */
/* Text in lines that fit a terminal of 80 columns. */
#pragma once

#include <stddef.h>
#include <stdio.h>

#define WRAP_WIDTH 79 /* without its last column */

/*
 * Prints text in lines that begin with prefix and end before WRAP_WIDTH, and a
 * newline. The cursor stands in column at, behind a first prefix.
 */
void wrap_print(FILE *f, const char *text, const char *prefix, size_t at);
