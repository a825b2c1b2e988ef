/* SPDX-License-Identifier: Apache-2.0 */
#include "user/util/wrap.h"

#include <stdbool.h>
#include <string.h>

void wrap_print(FILE *f, const char *text, const char *prefix, size_t at)
{
	bool first = true;

	while (*text) {
		size_t len = strcspn(text, " ");

		if (!first && at + 1 + len > WRAP_WIDTH) {
			fprintf(f, "\n%s", prefix);
			at = strlen(prefix);
		} else if (!first) {
			fputc(' ', f);
			at++;
		}
		fprintf(f, "%.*s", (int)len, text);
		at += len;
		first = false;
		text += len;
		text += strspn(text, " ");
	}
	fputc('\n', f);
}
