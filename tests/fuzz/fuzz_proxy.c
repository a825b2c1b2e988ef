/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A proxy's URL and a proxy's answer. The first byte says which; for an answer
 * it is also the size of the pieces, and the outcome must not depend on that.
 */
#include "output/proxy.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond)                                                                              \
	do {                                                                                       \
		if (!(cond))                                                                       \
			abort();                                                                   \
	} while (0)

static void fuzz_url(const uint8_t *data, size_t size)
{
	char *url = strndup((const char *)data, size);
	const char *why = NULL;
	struct proxy p = { 0 };
	struct buf request;
	int err;

	REQUIRE(url);
	err = proxy_parse(url, &p, &why);
	REQUIRE(err == 0 || (err == -EINVAL && why && !p.host && !p.credentials));
	if (!err) {
		REQUIRE(p.host && p.host[0] && strlen(p.host) <= 255 && p.port);
		buf_init(&request, 4096);
		REQUIRE(proxy_format_request(&p, p.host, p.port, &request) == 0);
		/* Nothing of the URL may add a line of its own: request, Host, agent, two ends. */
		int lines = 0;
		for (size_t i = 0; i < request.len; i++)
			lines += buf_data(&request)[i] == '\n';
		REQUIRE(lines == (p.credentials ? 5 : 4));
		buf_wipe(&request);
		proxy_done(&p);
	}
	free(url);
}

/* The answer's status, 0 for "more is needed", or the error; *used is how far it went. */
static int feed(const char *p, size_t n, size_t piece, size_t *used)
{
	struct proxy_answer a = { 0 };
	ssize_t taken;

	*used = 0;
	while (*used < n && !a.done) {
		size_t want = n - *used < piece ? n - *used : piece;

		taken = proxy_parse_answer(&a, p + *used, want);
		if (taken < 0) {
			*used = 0;
			return (int)taken;
		}
		REQUIRE(a.done ? (size_t)taken <= want : (size_t)taken == want);
		*used += (size_t)taken;
	}
	if (!a.done)
		return 0;
	REQUIRE(a.status >= 101 && a.status <= 999);
	REQUIRE(*used <= PROXY_ANSWER_MAX);
	for (const char *c = a.reason; *c; c++)
		REQUIRE(*c >= 0x20 && *c < 0x7f);
	return a.status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t used_whole, used_pieces;

	if (!size)
		return 0;
	if (data[0] == 'u') {
		fuzz_url(data + 1, size - 1);
		return 0;
	}
	REQUIRE(feed((const char *)data + 1, size - 1, size, &used_whole) ==
		feed((const char *)data + 1, size - 1, data[0] ? data[0] : 1, &used_pieces));
	REQUIRE(used_whole == used_pieces);
	return 0;
}
