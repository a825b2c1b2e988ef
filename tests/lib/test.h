/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A one-page test harness. Each file is a program: TEST() bodies run in the
 * order in which they stand, CHECK() reports and goes on, and the output is TAP.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test_case {
	const char *name;
	void (*fn)(void);
};

static struct test_case test_cases[256];
static int test_count;
static bool test_failed;

#define TEST(name)                                                                                 \
	static void test_##name(void);                                                             \
	__attribute__((constructor)) static void test_add_##name(void)                             \
	{                                                                                          \
		test_cases[test_count++] = (struct test_case){ #name, test_##name };               \
	}                                                                                          \
	static void test_##name(void)

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			printf("# %s:%d: not so: %s\n", __FILE__, __LINE__, #cond);                \
			test_failed = true;                                                        \
		}                                                                                  \
	} while (0)

#define CHECK_INT(got, want)                                                                       \
	do {                                                                                       \
		long long got_ = (long long)(got), want_ = (long long)(want);                      \
		if (got_ != want_) {                                                               \
			printf("# %s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #got, got_,  \
			       want_);                                                             \
			test_failed = true;                                                        \
		}                                                                                  \
	} while (0)

/* got is a pointer and a length; want is a string. */
#define CHECK_MEM(got, got_len, want)                                                              \
	do {                                                                                       \
		const char *want_ = (want);                                                        \
		size_t len_ = (got_len);                                                           \
		if (len_ != strlen(want_) || memcmp((got), want_, len_) != 0) {                    \
			printf("# %s:%d: %s is \"%.*s\", not \"%s\"\n", __FILE__, __LINE__, #got,  \
			       (int)len_, (const char *)(got), want_);                             \
			test_failed = true;                                                        \
		}                                                                                  \
	} while (0)

#define CHECK_STR(got, want)                                                                       \
	do {                                                                                       \
		const char *got_ = (got);                                                          \
		CHECK_MEM(got_ ? got_ : "(null)", strlen(got_ ? got_ : "(null)"), want);           \
	} while (0)

int main(void)
{
	int failures = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("1..%d\n", test_count);
	for (int i = 0; i < test_count; i++) {
		test_failed = false;
		test_cases[i].fn();
		printf("%s %d - %s\n", test_failed ? "not ok" : "ok", i + 1, test_cases[i].name);
		failures += test_failed;
	}
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
