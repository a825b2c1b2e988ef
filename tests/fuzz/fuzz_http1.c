/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an HTTP server may send, and the intake's answer in it. In one piece
 * and byte by byte the result must be the same.
 */
#include <stdlib.h>

#include "output/http1.h"
#include "output/intake_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
	struct http1_response r;
	struct intake_answer a;
	uint64_t sum;
	size_t used;
	int err, json_err;
};

static void on_refused(void *arg, uint64_t index, unsigned status)
{
	struct run *run = arg;

	run->sum = run->sum * 31 + index * 1000 + status + 1;
}

static void feed(struct run *run, const char *p, size_t size, size_t step)
{
	size_t end = 0;

	*run = (struct run){ .a = { .refused = on_refused, .arg = run } };
	while (end < size && !run->err && run->r.state != HTTP1_DONE) {
		end = end + step < size ? end + step : size;
		for (;;) {
			struct slice body;
			ssize_t n = http1_parse(
				&run->r, (struct slice){ p + run->used, end - run->used }, &body);

			if (n < 0) {
				run->err = (int)n;
				break;
			}
			if ((size_t)n > end - run->used)
				abort();
			if (body.len && !run->json_err)
				run->json_err = intake_answer_feed(&run->a, body);
			run->used += (size_t)n;
			if (!n || run->r.state == HTTP1_DONE)
				break;
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data;
	struct intake_answer plain;
	struct run whole, bytes;
	uint64_t date;

	feed(&whole, p, size, size ? size : 1);
	feed(&bytes, p, size, 1);
	if (whole.err != bytes.err || whole.json_err != bytes.json_err || whole.sum != bytes.sum ||
	    whole.r.state != bytes.r.state || whole.a.entries != bytes.a.entries)
		abort();
	if (!whole.err && whole.used != bytes.used)
		abort();
	http1_parse_eof(&whole.r);

	whole.sum = 0;
	plain = (struct intake_answer){ .refused = on_refused, .arg = &whole };
	intake_answer_feed(&plain, (struct slice){ p, size });
	intake_answer_end(&plain);
	http1_parse_date((struct slice){ p, size }, &date);
	return 0;
}
