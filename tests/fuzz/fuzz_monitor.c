/* SPDX-License-Identifier: Apache-2.0 */
/* A request to the monitor socket, whole and byte by byte: the answer is the same. */
#include <stdint.h>
#include <stdlib.h>

#include "user/monitor_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum monitor_page page = MONITOR_PAGE, part_page = MONITOR_PAGE;
	struct slice all = { (const char *)data, size };
	int whole, part = 0;

	if (size > MONITOR_REQUEST_MAX)
		all.len = MONITOR_REQUEST_MAX;
	whole = monitor_parse(all, &page);
	for (size_t n = 0; n <= all.len && !part; n++)
		part = monitor_parse((struct slice){ all.p, n }, &part_page);
	/* What was whole, or wrong, once is not healed by more of it. */
	if (part != whole || (whole == 1 && part_page != page))
		abort();
	if (whole == 1 && page > MONITOR_NOT_ALLOWED)
		abort();
	return 0;
}
