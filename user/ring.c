/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/ring.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct ring {
	unsigned long *consumer; /* ours to write */
	unsigned long *producer;
	const char *data; /* mapped twice in a row, so no sample wraps */
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

	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	if (bpf_obj_get_info_by_fd(map_fd, &info, &info_len) < 0)
		return -errno;
	if (info.type != BPF_MAP_TYPE_RINGBUF)
		return -EINVAL;
	r->page = (size_t)sysconf(_SC_PAGESIZE);
	r->size = info.max_entries;
	r->mask = r->size - 1;
	p = mmap(NULL, r->page, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	r->consumer = p;
	p = mmap(NULL, r->page + 2 * r->size, PROT_READ, MAP_SHARED, map_fd, (off_t)r->page);
	if (p == MAP_FAILED)
		return -errno;
	r->producer = p;
	r->data = (const char *)p + r->page;
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
		munmap(r->producer, r->page + 2 * r->size);
	free(r);
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
		header = (const uint32_t *)(r->data + (r->position & r->mask));
		len = __atomic_load_n(header, __ATOMIC_ACQUIRE);
		if (len & BPF_RINGBUF_BUSY_BIT)
			return 0;
		*size = len & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
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
