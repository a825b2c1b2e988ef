/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The saved state as a disk may have it, then lines and reports: what was
 * suppressed is reported, all of it, and what is saved again is read again.
 */
#include <stdlib.h>

#include "user/rate_limit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t told;

static bool on_report(void *arg, const struct rate_limit_report *report)
{
	(void)arg;
	if (!report->lines || report->name.len > RATE_LIMIT_NAME_MAX)
		abort();
	told += report->lines;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = { (const char *)data, size };
	struct rate_limit *r, *again;
	uint64_t suppressed = 0, before;
	struct buf saved;

	if (rate_limit_new(3, 1000, 8, &r) < 0 || rate_limit_new(3, 1000, 8, &again) < 0)
		abort();
	buf_init(&saved, 1 << 16);
	rate_limit_restore(r, in);
	told = 0;
	rate_limit_report(r, 0, true, on_report, NULL);
	if (rate_limit_is_due(r, UINT64_MAX))
		abort();
	told = 0;
	for (size_t i = 0; i < size; i++)
		suppressed += !rate_limit_take(r, (struct slice){ in.p + i, 1 }, i);
	if (rate_limit_save(r, &saved) < 0 || rate_limit_restore(again, buf_slice(&saved)) < 0)
		abort();
	rate_limit_report(r, size, true, on_report, NULL);
	before = told;
	rate_limit_report(again, size, true, on_report, NULL);
	if (before != suppressed || told != 2 * before)
		abort();
	buf_done(&saved);
	rate_limit_free(r);
	rate_limit_free(again);
	return 0;
}
