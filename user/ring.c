/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/ring.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Large enough that mapping the next one costs nothing beside what was in it. */
#define WINDOW (256u << 10)

struct ring {
	int map_fd;
	unsigned long *consumer; /* ours to write */
	unsigned long *producer;
	/* A part of the data, which the kernel has twice in a row, so that no sample wraps. */
	const char *window;
	uint64_t window_at; /* where it begins in there */
	size_t window_size;
	uint64_t size, mask;
	uint64_t position;
	size_t page;
};

int ring_new(int map_fd, struct ring **ret)
{
	_cleanup_(ring_freep) struct ring *r = NULL;
	struct bpf_map_info info = { 0 };
	__u32 info_len = sizeof(info);
	void *p;

	r = malloc(sizeof(*r));
	if (!r)
		return -ENOMEM;
	*r = (struct ring){ .map_fd = -1 };
	if (bpf_obj_get_info_by_fd(map_fd, &info, &info_len) < 0)
		return -errno;
	if (info.type != BPF_MAP_TYPE_RINGBUF)
		return -EINVAL;
	r->page = (size_t)sysconf(_SC_PAGESIZE);
	r->size = info.max_entries;
	r->mask = r->size - 1;
	r->map_fd = fcntl(map_fd, F_DUPFD_CLOEXEC, 3);
	if (r->map_fd < 0)
		return -errno;
	p = mmap(NULL, r->page, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	r->consumer = p;
	p = mmap(NULL, r->page, PROT_READ, MAP_SHARED, map_fd, (off_t)r->page);
	if (p == MAP_FAILED)
		return -errno;
	r->producer = p;
	r->position = __atomic_load_n(r->consumer, __ATOMIC_ACQUIRE);
	*ret = TAKE_PTR(r);
	return 0;
}

void ring_free(struct ring *r)
{
	if (!r)
		return;
	if (r->consumer)
		munmap(r->consumer, r->page);
	if (r->producer)
		munmap(r->producer, r->page);
	if (r->window)
		munmap((void *)r->window, r->window_size);
	close_fd(r->map_fd);
	free(r);
}

/* What is at this position, size bytes of it; NULL when it can not be mapped. */
static const void *look_at(struct ring *r, uint64_t position, uint64_t size)
{
	uint64_t from = position & r->mask, begin = from & ~(uint64_t)(r->page - 1), n = WINDOW;
	void *p;

	if (r->window && from >= r->window_at && from + size <= r->window_at + r->window_size)
		return r->window + (from - r->window_at);
	if (n < from + size - begin)
		n = (from + size - begin + r->page - 1) & ~(uint64_t)(r->page - 1);
	if (n > 2 * r->size - begin)
		n = 2 * r->size - begin;
	if (n < from + size - begin)
		return NULL; /* longer than any sample can be */
	p = mmap(NULL, n, PROT_READ, MAP_SHARED, r->map_fd, (off_t)(2 * r->page + begin));
	if (p == MAP_FAILED)
		return NULL;
	if (r->window)
		munmap((void *)r->window, r->window_size);
	r->window = p;
	r->window_at = begin;
	r->window_size = n;
	return r->window + (from - begin);
}

int ring_seek(struct ring *r, uint64_t position)
{
	uint64_t from = __atomic_load_n(r->consumer, __ATOMIC_ACQUIRE);
	uint64_t to = __atomic_load_n(r->producer, __ATOMIC_ACQUIRE);

	if (position - from > to - from || position & 7)
		return -ERANGE;
	r->position = position;
	ring_release(r, position);
	return 0;
}

int ring_next(struct ring *r, const void **sample, size_t *size)
{
	for (;;) {
		uint64_t to = __atomic_load_n(r->producer, __ATOMIC_ACQUIRE);
		const uint32_t *header;
		uint32_t len;

		if (r->position >= to)
			return 0;
		header = look_at(r, r->position, BPF_RINGBUF_HDR_SZ);
		if (!header)
			return 0;
		len = __atomic_load_n(header, __ATOMIC_ACQUIRE);
		if (len & BPF_RINGBUF_BUSY_BIT)
			return 0;
		*size = len & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
		header = look_at(r, r->position, BPF_RINGBUF_HDR_SZ + *size);
		if (!header)
			return 0;
		*sample = (const char *)header + BPF_RINGBUF_HDR_SZ;
		r->position += (*size + BPF_RINGBUF_HDR_SZ + 7) & ~7ull;
		if (!(len & BPF_RINGBUF_DISCARD_BIT))
			return 1;
	}
}

void ring_unread(struct ring *r, uint64_t position)
{
	r->position = position;
}

uint64_t ring_position(const struct ring *r)
{
	return r->position;
}

void ring_release(struct ring *r, uint64_t position)
{
	__atomic_store_n(r->consumer, position, __ATOMIC_RELEASE);
}

uint64_t ring_waiting(const struct ring *r)
{
	return __atomic_load_n(r->producer, __ATOMIC_ACQUIRE) - r->position;
}

uint64_t ring_size(const struct ring *r)
{
	return r->size;
}

uint64_t ring_fill(const struct ring *r)
{
	uint64_t from = __atomic_load_n(r->consumer, __ATOMIC_ACQUIRE);

	return __atomic_load_n(r->producer, __ATOMIC_ACQUIRE) - from;
}
