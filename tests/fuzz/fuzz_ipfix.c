/* SPDX-License-Identifier: Apache-2.0 */
/* A stored record, whatever is in it, to IPFIX and NetFlow 9. */
#include <errno.h>
#include <stdlib.h>

#include "output/ipfix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode(enum ipfix_version version, size_t max_bytes, const struct ipfix_flow *flow)
{
	/* Of exact size, so that a sanitizer sees the first byte beyond it. */
	char *buf = malloc(max_bytes);
	struct ipfix x;
	size_t len;

	if (!buf)
		abort();
	ipfix_init(&x, version, 1, max_bytes, "host", 1000000);
	ipfix_begin(&x, buf, 1795440090500ull);
	if (ipfix_put_flow(&x, flow) < 0)
		abort(); /* one always fits */
	while (ipfix_put_flow(&x, flow) == 0)
		;
	len = ipfix_end(&x, 1795440090500ull);
	if (!len || len > max_bytes)
		abort();
	free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ipfix_flow flow;
	struct slice json = { (const char *)data, size };

	if (ipfix_parse(json, &flow) < 0)
		return 0;
	encode(IPFIX_10, IPFIX_MIN_BYTES, &flow);
	encode(IPFIX_10, 1420, &flow);
	encode(IPFIX_NETFLOW9, IPFIX_MIN_BYTES, &flow);
	return 0;
}
