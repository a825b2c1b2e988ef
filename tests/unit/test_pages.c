/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/util/pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/test.h"
#include "user/util/buf.h"

#define PAGES 16

static size_t page;

/* How many pages of a mapping are memory. */
static int resident(const char *p)
{
	char line[256];
	uintptr_t from;
	int kib = -1;
	FILE *f = fopen("/proc/self/smaps", "r");

	CHECK(f != NULL);
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-", &from) == 1 && from == (uintptr_t)p)
			break;
	while (f && kib < 0 && fgets(line, sizeof(line), f))
		sscanf(line, "Rss: %d kB", &kib);
	fclose(f);
	return kib / (int)(page / 1024);
}

static char *map(void)
{
	char *p;

	page = (size_t)sysconf(_SC_PAGESIZE);
	/* A hole on both sides, so that it is a mapping of its own. */
	p = mmap(NULL, (PAGES + 2) * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED);
	CHECK_INT(mprotect(p + page, PAGES * page, PROT_READ | PROT_WRITE), 0);
	memset(p + page, 'x', PAGES * page);
	return p + page;
}

static void unmap(char *p)
{
	munmap(p - page, (PAGES + 2) * page);
}

TEST(whole_pages_go)
{
	char *p = map();

	CHECK_INT(resident(p), PAGES);
	pages_forget(p, PAGES * page);
	CHECK_INT(resident(p), 0);
	CHECK_INT(p[0], 0);
	unmap(p);
}

TEST(of_a_ring_goes_what_is_not_between_its_ends)
{
	static const struct {
		uint64_t head, tail;
		const char *left; /* of its eight pages */
	} cases[] = {
		{ 0, 0, "........" },  { 11, 11, "........" }, { 1, 3, ".xx....." },
		{ 8, 16, "xxxxxxxx" }, { 14, 17, "x.....xx" }, { 13, 16, ".....xxx" },
		{ 3, 11, "xxxxxxxx" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *p = map(), left[9] = "";

		pages_forget_ring(p, page, 7, cases[i].head, cases[i].tail);
		for (int n = 0; n < 8; n++)
			left[n] = p[n * page] ? 'x' : '.';
		CHECK_STR(left, cases[i].left);
		unmap(p);
	}
}

TEST(what_is_beside_them_stays)
{
	char *p = map();

	pages_forget(p + 1, 3 * page);
	CHECK_INT(resident(p), PAGES - 2);
	CHECK_INT(p[page - 1], 'x');
	CHECK_INT(p[page], 0);
	CHECK_INT(p[3 * page - 1], 0);
	CHECK_INT(p[3 * page], 'x');
	pages_forget(p + 4 * page + 1, page);
	pages_forget(p + 5 * page, page - 1);
	pages_forget(p + 5 * page, 0);
	pages_forget(NULL, 0);
	CHECK_INT(resident(p), PAGES - 2);
	CHECK_INT(p[5 * page], 'x');
	unmap(p);
}

TEST(a_buffer_keeps_its_content)
{
	struct buf b;
	char *at;

	page = (size_t)sysconf(_SC_PAGESIZE);
	buf_init(&b, 1 << 20);
	buf_rest(&b);
	CHECK_INT(buf_reserve(&b, 1 << 20, &at), 0);
	for (size_t i = 0; i < 1 << 20; i++)
		at[i] = (char)('a' + i % 23);
	buf_added(&b, (1 << 20) - 5);
	buf_consume(&b, 100000);
	buf_rest(&b);
	CHECK_INT(b.len, (1 << 20) - 5 - 100000);
	for (size_t i = 0; i < b.len && !test_failed; i++)
		CHECK_INT(buf_data(&b)[i], 'a' + (i + 100000) % 23);
	CHECK_INT(b.base[page], 0);
	buf_consume(&b, b.len);
	buf_rest(&b);
	CHECK_INT(buf_puts(&b, "again"), 0);
	CHECK(!memcmp(buf_data(&b), "again", 5));
	buf_done(&b);
}
