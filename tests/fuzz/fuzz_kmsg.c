/* SPDX-License-Identifier: Apache-2.0 */
/* One record of /dev/kmsg, and the message that is made of it. */
#include <stdlib.h>

#include "user/kernel_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct kmsg k;
	static struct record *r;
	struct msg m;

	if (!r && record_new(&(struct record_opts){ .hostname = SLICE("host") }, &r) < 0)
		abort();
	if (kmsg_parse((struct slice){ (const char *)data, size }, &k) < 0)
		return 0;
	if (k.pri > 191 || k.text.len + k.subsystem.len + k.device.len > size)
		abort();
	if (kernel_record_format(r, &k, &m) < 0)
		return 0;
	if (!m.text.len || !m.json.len)
		abort();
	return 0;
}
