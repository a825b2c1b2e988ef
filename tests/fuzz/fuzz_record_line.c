/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a record, read again for people: no line is longer than a terminal, or has what it
 * obeys. */
#include <stdlib.h>
#include <string.h>

#include "user/record_line.h"
#include "user/util/json_reader.h"

static const char *const paths[] = { "a", "process.name", "event.reason", "a.b.c", "" };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice input = { (const char *)data, size }, value;
	struct record_facts facts;
	char line[RECORD_LINE_SIZE], text[24];
	uint64_t number;
	struct msg m;

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		if (json_find(input, paths[i], &value) &&
		    (value.p < input.p || value.p + value.len > input.p + input.len))
			abort();
		if (json_find_text(input, paths[i], text, sizeof(text)) >= sizeof(text))
			abort();
		json_find_u64(input, paths[i], &number);
	}
	for (int class = 0; class < MSG_CLASSES; class ++) {
		m = (struct msg){ .class = (enum msg_class) class,
				  .app = SLICE("app"),
				  .json = input,
				  .text = { input.p, class == MSG_JOURNAL ? size / 2 : 0 } };
		record_read(&m, &facts);
		record_line(&facts, line);
		if (strlen(line) >= sizeof(line))
			abort();
		for (const char *p = line; *p; p++)
			if ((unsigned char)*p < 0x20 || *p == 0x7f)
				abort();
	}
	return 0;
}
