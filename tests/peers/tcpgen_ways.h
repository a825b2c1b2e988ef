/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ways to move bytes through a socket, and a socket to another process, beside
 * send() and recv(): sendfile() and splice(), io_uring by its system calls, SCM_RIGHTS.
 */
#pragma once

#include <linux/io_uring.h>
#include <stdatomic.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

#include "tests/peers/truth.h"

#define WAY_BYTES 65536

/* ------------------------------------------------------- sendfile() and splice() */

static ssize_t way_sendfile(int fd, size_t n)
{
	static int file = -1;
	off_t from = 0;

	if (file < 0) {
		file = memfd_create("payload", MFD_CLOEXEC);
		if (file < 0 || ftruncate(file, WAY_BYTES) < 0)
			return -1;
	}
	return sendfile(fd, file, &from, n < WAY_BYTES ? n : WAY_BYTES);
}

static ssize_t way_splice(int fd, size_t n)
{
	static int ends[2] = { -1, -1 };
	static char sink[WAY_BYTES];
	ssize_t got, left;

	if (ends[0] < 0 && pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	got = splice(fd, NULL, ends[1], NULL, n < WAY_BYTES ? n : WAY_BYTES, SPLICE_F_NONBLOCK);
	for (left = got; left > 0;) {
		ssize_t r = read(ends[0], sink, (size_t)left);

		if (r <= 0)
			return -1;
		left -= r;
	}
	return got;
}

/* ---------------------------------------------------------------------- io_uring */

/* One request at a time, waited for. */
struct uring {
	int fd;
	_Atomic unsigned *sq_tail, *cq_head, *cq_tail;
	unsigned *sq_mask, *cq_mask, *sq_array;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

static int uring_open(struct uring *ret)
{
	struct io_uring_params p = { 0 };
	uint8_t *rings, *cq;

	ret->fd = (int)syscall(SYS_io_uring_setup, 4, &p);
	if (ret->fd < 0)
		return -errno;
	rings = mmap(NULL, p.sq_off.array + p.sq_entries * sizeof(unsigned), PROT_READ | PROT_WRITE,
		     MAP_SHARED, ret->fd, IORING_OFF_SQ_RING);
	cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe),
		  PROT_READ | PROT_WRITE, MAP_SHARED, ret->fd, IORING_OFF_CQ_RING);
	ret->sqes = mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
			 MAP_SHARED, ret->fd, IORING_OFF_SQES);
	if (rings == MAP_FAILED || cq == MAP_FAILED || ret->sqes == MAP_FAILED)
		return -errno;
	ret->sq_tail = (void *)(rings + p.sq_off.tail);
	ret->sq_mask = (void *)(rings + p.sq_off.ring_mask);
	ret->sq_array = (void *)(rings + p.sq_off.array);
	ret->cq_head = (void *)(cq + p.cq_off.head);
	ret->cq_tail = (void *)(cq + p.cq_off.tail);
	ret->cq_mask = (void *)(cq + p.cq_off.ring_mask);
	ret->cqes = (void *)(cq + p.cq_off.cqes);
	return 0;
}

/* As send() and recv() do it: bytes, or -1 and errno. Every other request is a worker's. */
static ssize_t way_uring(bool sends, int fd, void *bytes, size_t n)
{
	static struct uring u = { .fd = -1 };
	static unsigned requests;
	unsigned at, head;
	int err, result;

	err = u.fd < 0 ? uring_open(&u) : 0;
	if (err) {
		errno = -err;
		return -1;
	}
	at = *u.sq_tail & *u.sq_mask;
	u.sqes[at] = (struct io_uring_sqe){
		.opcode = sends ? IORING_OP_SEND : IORING_OP_RECV,
		.flags = requests++ % 2 ? IOSQE_ASYNC : 0,
		.fd = fd,
		.addr = (uintptr_t)bytes,
		.len = (unsigned)n,
		.msg_flags = MSG_NOSIGNAL | MSG_DONTWAIT,
	};
	u.sq_array[at] = at;
	atomic_fetch_add(u.sq_tail, 1);
	if (syscall(SYS_io_uring_enter, u.fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		return -1;
	head = atomic_load(u.cq_head);
	if (head == atomic_load(u.cq_tail)) {
		errno = EIO;
		return -1;
	}
	result = u.cqes[head & *u.cq_mask].res;
	atomic_store(u.cq_head, head + 1);
	if (result < 0) {
		errno = -result;
		return -1;
	}
	return result;
}

/* 0, or why there is no io_uring here. */
static int uring_try(void)
{
	struct uring u;
	int err = uring_open(&u);

	if (!err)
		close(u.fd);
	return err;
}

/* -------------------------------------------------------------------- SCM_RIGHTS */

/* Entry number i, whose socket fd is, to whoever reads the other end of "over". */
static int hand_on(int over, uint32_t i, int fd)
{
	struct iovec iov = { &i, sizeof(i) };
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control.room,
			    .msg_controllen = sizeof(control.room) };

	control.head = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
	memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	return sendmsg(over, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* What was handed on: the socket, or -errno. */
static int take_over(int over, uint32_t *ret_i)
{
	struct iovec iov = { ret_i, sizeof(*ret_i) };
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control.room,
			    .msg_controllen = sizeof(control.room) };
	ssize_t n = recvmsg(over, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	int fd;

	if (n < 0)
		return -errno;
	if (n != sizeof(*ret_i) || control.head.cmsg_type != SCM_RIGHTS)
		return -EBADMSG;
	memcpy(&fd, CMSG_DATA(&control.head), sizeof(fd));
	return fd;
}
