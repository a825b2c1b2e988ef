/* SPDX-License-Identifier: Apache-2.0 */
/* One record of /dev/kmsg, and the message that is made of it. */
#include <stdlib.h>

#include "user/kernel_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_object(struct slice json)
{
	return json.len > 2 && json.p[0] == '{' && json.p[json.len - 1] == '}';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum config_journal_schema schemas[] = { JOURNAL_SCHEMA_RAW,
							      JOURNAL_SCHEMA_ECS };
	static struct kmsg k;
	static struct record *r;
	struct msg m;

	if (!r && record_new(&(struct record_opts){ .hostname = SLICE("host") }, &r) < 0)
		abort();
	if (kmsg_parse((struct slice){ (const char *)data, size }, &k) < 0)
		return 0;
	if (k.pri > 191 || k.text.len + k.subsystem.len + k.device.len > size)
		abort();
	for (unsigned i = 0; i < sizeof(schemas) / sizeof(schemas[0]); i++) {
		r->journal_schema = schemas[i];
		if (kernel_record_format(r, &k, &m) < 0)
			return 0;
		/* The raw text, or one whole object. */
		if (m.text.len + m.json.len > RECORD_MAX_BYTES)
			abort();
		if (schemas[i] == JOURNAL_SCHEMA_RAW ? !m.text.len || m.json.len
						     : m.text.len || !is_object(m.json))
			abort();
	}
	return 0;
}
