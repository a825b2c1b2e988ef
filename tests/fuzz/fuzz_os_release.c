/* SPDX-License-Identifier: Apache-2.0 */
/* os-release(5): whatever it holds, the two values are terminated lines that fit. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "user/host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct host h;

	h = (struct host){ .n_ips = 0 };
	host_parse_os_release((struct slice){ (const char *)data, size }, &h);
	if (!memchr(h.os_name, 0, sizeof(h.os_name)) ||
	    !memchr(h.os_version, 0, sizeof(h.os_version)) || strchr(h.os_name, '\n') ||
	    strchr(h.os_version, '\n') || h.n_ips || h.name[0] || h.id[0])
		abort();
	return 0;
}
