/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's own counters, in both of their forms. */
#include <stdlib.h>

#include "user/snmp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct unowned_packets u[UNOWNED_KINDS] = { 0 };
	const struct slice text = { (const char *)data, size };

	snmp_parse(text, u);
	snmp6_parse(text, u);
	return 0;
}
