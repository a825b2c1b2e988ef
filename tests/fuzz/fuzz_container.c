/* SPDX-License-Identifier: Apache-2.0 */
/* The text of /proc/PID/cgroup. */
#include <stdlib.h>

#include "user/container.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct container_info c;

	container_parse_cgroup((struct slice){ (const char *)data, size }, &c);
	if (strnlen(c.id, sizeof(c.id)) == sizeof(c.id) ||
	    strnlen(c.pod_uid, sizeof(c.pod_uid)) == sizeof(c.pod_uid) ||
	    strnlen(c.unit, sizeof(c.unit)) == sizeof(c.unit) || (c.runtime && !c.id[0]))
		abort();
	return 0;
}
