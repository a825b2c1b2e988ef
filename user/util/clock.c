/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/util/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "user/util/cleanup.h"
#include "user/util/crc32c.h"

static uint64_t read_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

uint64_t clock_mono_ms(void)
{
	return read_ns(CLOCK_MONOTONIC) / 1000000;
}

uint64_t clock_boot_ns(void)
{
	return read_ns(CLOCK_BOOTTIME);
}

uint64_t clock_real_us(void)
{
	return read_ns(CLOCK_REALTIME) / 1000;
}

uint64_t clock_boot_id(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
	char id[64] = "";

	if (!f || !fgets(id, sizeof(id), f))
		return 0;
	return (uint64_t)crc32c(0, id, strlen(id)) << 32 | crc32c(1, id, strlen(id)) | 1;
}

int64_t clock_boot_to_real_ns(void)
{
	uint64_t best = UINT64_MAX;
	int64_t ret = 0;

	/* The shortest of a few rounds: the others were interrupted. */
	for (int i = 0; i < 5; i++) {
		uint64_t before = read_ns(CLOCK_BOOTTIME);
		uint64_t real = read_ns(CLOCK_REALTIME);
		uint64_t after = read_ns(CLOCK_BOOTTIME);

		if (after - before < best) {
			best = after - before;
			ret = (int64_t)(real - (before + best / 2));
		}
	}
	return ret;
}

static void put_digits(char *at, unsigned value, int digits)
{
	while (digits-- > 0) {
		at[digits] = (char)('0' + value % 10);
		value /= 10;
	}
}

/*
 * Days to a civil date, by counting from 1 March of year 0 in eras of 400
 * years: ten times faster than gmtime_r(), which takes a lock, and this runs
 * several times for each record.
 */
static void put_date(char *at, uint64_t days_since_epoch)
{
	uint64_t z = days_since_epoch + 719468;
	uint64_t era = z / 146097;
	unsigned doe = (unsigned)(z - era * 146097);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned mp = (5 * doy + 2) / 153;
	unsigned day = doy - (153 * mp + 2) / 5 + 1;
	unsigned month = mp < 10 ? mp + 3 : mp - 9;
	unsigned year = (unsigned)(yoe + era * 400) + (month <= 2);

	put_digits(at, year, 4);
	put_digits(at + 5, month, 2);
	put_digits(at + 8, day, 2);
}

size_t clock_format_rfc3339(uint64_t real_us, char ret[static CLOCK_RFC3339_SIZE])
{
	static const char shape[] = "0000-00-00T00:00:00.000000Z";
	uint64_t s = real_us / 1000000;
	unsigned in_day = (unsigned)(s % 86400);

	__builtin_memcpy(ret, shape, sizeof(shape));
	put_date(ret, s / 86400);
	put_digits(ret + 11, in_day / 3600, 2);
	put_digits(ret + 14, in_day / 60 % 60, 2);
	put_digits(ret + 17, in_day % 60, 2);
	put_digits(ret + 20, (unsigned)(real_us % 1000000), 6);
	return sizeof(shape) - 1;
}
