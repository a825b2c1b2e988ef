/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/util/pages.h"

#include <sys/mman.h>
#include <unistd.h>

void pages_forget(void *p, size_t size)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t at = (uintptr_t)p, from = (at + page - 1) & ~(page - 1);
	uintptr_t to = (at + size) & ~(page - 1);

	/* What can not be given back stays, and that is all. */
	if (from < to)
		(void)madvise((char *)p + (from - at), to - from, MADV_DONTNEED);
}

void pages_forget_ring(void *ring, size_t slot, uint64_t mask, uint64_t head, uint64_t tail)
{
	char *base = ring;
	uint64_t slots = mask + 1, first = head & mask, end = tail & mask;

	if (head == tail) {
		pages_forget(base, slots * slot);
	} else if (first < end) {
		pages_forget(base, first * slot);
		pages_forget(base + end * slot, (slots - end) * slot);
	} else {
		pages_forget(base + end * slot, (first - end) * slot);
	}
}
