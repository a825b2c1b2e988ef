/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The journal tap: when a log daemon reads a message from a socket, a Unix one or
 * the kernel's audit, the message is copied with its sender's credentials, before
 * any file, rate limit or vacuum. What the three protocols mean is for user space to say.
 */
#include "vmlinux.h"

#include "bpf/common.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20); /* ring.journal */
} journal_ring SEC(".maps");

struct journal_tunables tunables;

#include "bpf/handover.bpf.h"

static __always_inline void lost(u32 which)
{
	count_loss(which, tunables.loss_epoch);
}

/* From 6.11 for tracing programs: reads page fragments, too. */
extern int bpf_dynptr_from_skb(struct sk_buff *skb, u64 flags,
			       struct bpf_dynptr *ptr) __ksym __weak;

/* x86: where all of memory, and the struct page of each page, are mapped. */
extern const void page_offset_base __ksym __weak;
extern const void vmemmap_base __ksym __weak;

/* The thread groups of log daemons. They come by exec and go by exit. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, JOURNAL_READERS);
	__type(key, u32);
	__type(value, u8);
} readers SEC(".maps");

/*
 * Streams of which a part had no room in the ring: their next sample says so. Of more
 * than so many the one that is silent for longest is forgotten.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, struct journal_loss);
} stream_losses SEC(".maps");

#define JOURNAL_MAX (262144 - sizeof(struct event_journal))

struct journal_message {
	struct sk_buff *skb;
	struct unix_skb_parms *cb;
	struct sock *reader; /* the reader's socket, NULL when it could not be told */
	u64 socket, ino;
	u32 tgid, offset, linear;
	u32 len, full; /* what we copy, what it has */
	u16 type, family;
};

/* The message had no room. */
static __always_inline void journal_lost(const struct journal_message *m, u32 which)
{
	struct journal_loss *known, loss = { .open = 1 };
	u32 last = m->offset + m->full - 1;
	u64 socket = m->socket;
	char end = 0;

	lost(which);
	if (m->type != SOCK_STREAM)
		return;
	/* A line ends with a line feed, or a NUL; what can not be seen may have ended with none. */
	if (last < m->linear && !bpf_probe_read_kernel(&end, 1, m->skb->data + last))
		loss.open = end && end != '\n';
	loss.bytes = m->full;
	known = bpf_map_lookup_elem(&stream_losses, &socket);
	if (known)
		loss.bytes += known->bytes;
	bpf_map_update_elem(&stream_losses, &socket, &loss, BPF_ANY);
}

static __always_inline void journal_tell_loss(struct event_journal *e,
					      const struct journal_message *m)
{
	struct journal_loss *loss;
	u64 socket = m->socket;

	if (m->type != SOCK_STREAM)
		return;
	loss = bpf_map_lookup_elem(&stream_losses, &socket);
	if (!loss)
		return;
	e->lost = loss->bytes;
	if (loss->open)
		e->flags |= JOURNAL_LOST_OPEN;
	bpf_map_delete_elem(&stream_losses, &socket);
}

/* Where the sender's socket was made: that outlives the sender. 0: not known. */
static __always_inline u64 journal_sender_cgroup(struct sock *sk)
{
	struct sock_cgroup_data___before *before;
	struct cgroup *cgroup = NULL;
	u64 val;

	if (!bpf_core_field_exists(sk->sk_cgrp_data))
		return 0;
	if (bpf_core_field_exists(sk->sk_cgrp_data.cgroup)) {
		cgroup = BPF_CORE_READ(sk, sk_cgrp_data.cgroup);
	} else {
		before = (void *)sk + bpf_core_field_offset(sk->sk_cgrp_data);
		val = BPF_CORE_READ(before, val);
		if (!(val & 1)) /* else it is net_cls's and net_prio's */
			cgroup = (struct cgroup *)(val & ~3ull);
	}
	return cgroup ? BPF_CORE_READ(cgroup, kn, id) : 0;
}

static __always_inline void journal_fill(struct event_journal *e, const struct journal_message *m)
{
	struct unix_skb_parms *cb = m->cb;
	struct sk_buff *skb = m->skb;
	struct sock *sk = skb->sk, *peer;
	struct unix_address *addr = NULL;
	const char *from;
	char first = 0;
	u64 size;
	long n;

	e->h.type = EVENT_JOURNAL;
	e->h.pad = 0;
	e->h.boot_ns = bpf_ktime_get_boot_ns();
	e->socket = m->socket;
	e->socket_ino = m->ino;
	e->len = 0;
	e->sender_cgroup = 0;
	e->sender_pid = e->sender_uid = e->sender_gid = 0;
	e->reader_tgid = m->tgid;
	e->full_len = m->full;
	e->path_len = 0;
	e->lost = 0;
	if (m->family == AF_NETLINK) { /* audit: from the kernel, and to no path */
		e->flags = JOURNAL_NETLINK;
		if (m->full > m->len)
			e->flags |= JOURNAL_TRUNCATED;
		return;
	}
	e->sender_pid = BPF_CORE_READ(cb, pid, numbers[0].nr);
	e->sender_uid = BPF_CORE_READ(cb, uid.val);
	e->sender_gid = BPF_CORE_READ(cb, gid.val);
	/* Read, as an address: the verifier allows no more of what may be NULL. */
	e->sender_cgroup = journal_sender_cgroup(BPF_CORE_READ(skb, sk));
	e->flags = m->type == SOCK_STREAM ? JOURNAL_STREAM : 0;
	if (BPF_CORE_READ(cb, fp)) {
		e->flags |= JOURNAL_FDS;
		/* The message is the file: of that we know how long it is. */
		if (!m->full) {
			size = BPF_CORE_READ(cb, fp, fp[0], f_inode, i_size);
			e->full_len = size < ~0u ? size : ~0u;
		}
	}
	if (e->full_len > m->len)
		e->flags |= JOURNAL_TRUNCATED;
	journal_tell_loss(e, m);
	peer = m->reader;
	if (!peer && sk) /* only a connected sender knows whom it writes to */
		peer = BPF_CORE_READ((struct unix_sock *)sk, peer);
	if (peer)
		addr = BPF_CORE_READ((struct unix_sock *)peer, addr);
	if (addr) {
		/* Its end tells what it is for; its beginning may be as long as a namespace's name.
		 */
		from = addr->name[0].sun_path;
		n = BPF_CORE_READ(addr, len) - 2 - (int)sizeof(e->path);
		if (n > 0 && n < 108 && bpf_probe_read_kernel(&first, 1, from) == 0 && first)
			from += n;
		n = bpf_probe_read_kernel_str(e->path, sizeof(e->path), from);
		if (n > 0)
			e->path_len = n - 1;
	}
}

static __always_inline void journal_submit(struct event_journal *e, u32 len, u32 room)
{
	e->len = len;
	e->h.size = sizeof(*e) + len;
	if (e->flags & JOURNAL_TRUNCATED)
		lost(COUNT_TRUNCATED);
	count(COUNT_SUBMITTED);
	bpf_ringbuf_submit(e, wake_flags(&journal_ring, room));
}

/*
 * The ring wants a size that the verifier knows, so there is one reservation
 * for each power of two; the copy in it is exact.
 */
#define JOURNAL_CLASS(room, copy)                                                                  \
	if (m.len <= (room) - sizeof(struct event_journal)) {                                      \
		e = bpf_ringbuf_reserve(&journal_ring, (room), 0);                                 \
		if (!e) {                                                                          \
			journal_lost(&m, COUNT_RING_FULL);                                         \
			return 0;                                                                  \
		}                                                                                  \
		journal_fill(e, &m);                                                               \
		len = m.len;                                                                       \
		copy(room);                                                                        \
		journal_submit(e, len, (room));                                                    \
		return 0;                                                                          \
	}

/* The bound is pinned where it is used: clang would prove it elsewhere and drop it. */
#define JOURNAL_BOUND(n, room)                                                                     \
	asm volatile("" : "+r"(n));                                                                \
	if (n > (room) - sizeof(struct event_journal))                                             \
		n = (room) - sizeof(struct event_journal);

#define JOURNAL_COPY_DYNPTR(room)                                                                  \
	JOURNAL_BOUND(len, room)                                                                   \
	if (bpf_dynptr_read(e->data, len, &ptr, m.offset, 0)) {                                    \
		len = 0;                                                                           \
		e->flags |= JOURNAL_TRUNCATED;                                                     \
	}

#define JOURNAL_COPY_LINEAR(room)                                                                  \
	if (m.offset >= m.linear)                                                                  \
		len = 0;                                                                           \
	else if (len > m.linear - m.offset)                                                        \
		len = m.linear - m.offset;                                                         \
	JOURNAL_BOUND(len, room)                                                                   \
	if (bpf_probe_read_kernel(e->data, len, m.skb->data + m.offset))                           \
		len = 0;                                                                           \
	if (len < m.len)                                                                           \
		e->flags |= JOURNAL_TRUNCATED;

/* MAX_SKB_FRAGS where it is not configurable. What is beyond is truncated, and says so. */
#define JOURNAL_PIECES 17

/* The same on every kernel from 5.4 on: a page, and where in it. */
struct journal_piece {
	u64 page;
	u32 len, offset;
};

/*
 * Copies what m asks for to e->data, which has room for twice max bytes: the
 * verifier does not know that where a piece goes and how long it is add up to
 * max. Returns how much it was.
 */
static __always_inline u32 journal_copy_pages(struct event_journal *e,
					      const struct journal_message *m, u32 max)
{
	struct skb_shared_info *info;
	u64 vmemmap = 0, memory = 0, from;
	u32 skip = m->offset, at = 0, pieces, size, n;
	struct journal_piece piece;

	bpf_probe_read_kernel(&vmemmap, sizeof(vmemmap), &vmemmap_base);
	bpf_probe_read_kernel(&memory, sizeof(memory), &page_offset_base);
	info = (struct skb_shared_info *)(m->skb->head + m->skb->end);
	pieces = BPF_CORE_READ(info, nr_frags);
	for (u32 i = 0; i <= JOURNAL_PIECES; i++) {
		if (i == 0) {
			from = (u64)m->skb->data;
			size = m->linear;
		} else {
			if (i > pieces ||
			    bpf_probe_read_kernel(&piece, sizeof(piece),
						  (void *)info +
							  bpf_core_field_offset(info->frags) +
							  (i - 1) * sizeof(piece)))
				break;
			from = memory +
			       (piece.page - vmemmap) / bpf_core_type_size(struct page) * 4096 +
			       piece.offset;
			size = piece.len;
		}
		if (skip >= size) {
			skip -= size;
			continue;
		}
		n = size - skip;
		if (n > m->len - at)
			n = m->len - at;
		asm volatile("" : "+r"(n));
		asm volatile("" : "+r"(at));
		if (n > max || at > max)
			break;
		if (bpf_probe_read_kernel(e->data + at, n, (void *)(from + skip)))
			break;
		skip = 0;
		at += n;
		if (at >= m->len)
			break;
	}
	return at;
}

#define JOURNAL_PAGES_MAX 131072

#define JOURNAL_CLASS_PAGES(max)                                                                   \
	if (m.len <= (max)) {                                                                      \
		e = bpf_ringbuf_reserve(&journal_ring, sizeof(*e) + 2 * (max), 0);                 \
		if (!e) {                                                                          \
			journal_lost(&m, COUNT_RING_FULL);                                         \
			return 0;                                                                  \
		}                                                                                  \
		journal_fill(e, &m);                                                               \
		len = journal_copy_pages(e, &m, (max));                                            \
		if (len < m.len)                                                                   \
			e->flags |= JOURNAL_TRUNCATED;                                             \
		journal_submit(e, len, sizeof(*e) + 2 * (max));                                    \
		return 0;                                                                          \
	}

/* Of a file, in whole pages: a ring of the smallest size has room for so many. */
#define JOURNAL_FILE_PAGES 60
#define JOURNAL_FILE_MAX   (JOURNAL_FILE_PAGES * 4096)
#define JOURNAL_FILE_DEPTH 4

/*
 * The message from the file that came in its place. Returns how much it was: up to the
 * first page that is not in memory, or is part of a larger one. The nodes of the tree are
 * freed by RCU: they are there as long as we run.
 */
static __always_inline u32 journal_copy_file(struct event_journal *e,
					     const struct journal_message *m,
					     struct address_space *mapping)
{
	u64 memory = 0, vmemmap = 0, entry = 0, last = ~0ull, slots, mask = 0, from, page, bad;
	struct xa_node *node;
	u32 at;

	bpf_probe_read_kernel(&vmemmap, sizeof(vmemmap), &vmemmap_base);
	bpf_probe_read_kernel(&memory, sizeof(memory), &page_offset_base);
	/* A file of one page has no node: the root is the only slot. */
	slots = (u64)mapping + bpf_core_field_offset(mapping->i_pages.xa_head);
	for (int depth = 0; depth < JOURNAL_FILE_DEPTH; depth++) {
		if (bpf_probe_read_kernel(&entry, sizeof(entry), (void *)slots) || (entry & 3) != 2)
			break;
		node = (struct xa_node *)(entry - 2);
		slots = (u64)node + bpf_core_field_offset(node->slots);
		if (!BPF_CORE_READ(node, shift)) {
			mask = bpf_core_field_size(node->slots) / sizeof(void *) - 1;
			break;
		}
	}
	/* One way out: each other one would be followed through all that comes behind it. */
	for (at = 0; at < JOURNAL_FILE_MAX && at < m->len; at += 4096) {
		from = slots + at / 4096 * 8;
		bad = (mask - at / 4096) >> 63;
		bad |= bpf_probe_read_kernel(&entry, sizeof(entry), (void *)from);
		bad |= (entry & 3) | (entry - vmemmap) >> 63 | ((entry ^ last) - 1) >> 63;
		last = entry;
		page = memory + (entry - vmemmap) / bpf_core_type_size(struct page) * 4096;
		page &= ((bad | -bad) >> 63) - 1; /* nowhere */
		bad |= bpf_probe_read_kernel(e->data + at, 4096, (void *)page);
		/* Nobody else's by now: the file is sealed, but its pages may be swapped out. */
		bad |= bpf_probe_read_kernel(&entry, sizeof(entry), (void *)from);
		if (bad | (entry ^ last))
			break;
	}
	return at < m->len ? at : m->len;
}

/* A message that is too long for a datagram. Where its file can not be read, it is cut. */
static __always_inline struct address_space *journal_find_file(struct journal_message *m)
{
	struct unix_skb_parms *cb = m->cb;
	struct file *file;
	s64 size;

	if (!&page_offset_base || !&vmemmap_base)
		return NULL;
	file = BPF_CORE_READ(cb, fp, fp[0]);
	size = BPF_CORE_READ(file, f_inode, i_size);
	if (size <= 0)
		return NULL;
	m->len = size < JOURNAL_FILE_MAX ? size : JOURNAL_FILE_MAX;
	return BPF_CORE_READ(file, f_inode, i_mapping);
}

#define JOURNAL_COPY_NOTHING(room) len = 0;

#define JOURNAL_CLASS_FILE                                                                         \
	if (!m.full) {                                                                             \
		file = journal_find_file(&m);                                                      \
		if (!file)                                                                         \
			JOURNAL_CLASS(256, JOURNAL_COPY_NOTHING)                                   \
		e = bpf_ringbuf_reserve(&journal_ring, sizeof(*e) + JOURNAL_FILE_MAX, 0);          \
		if (!e) {                                                                          \
			journal_lost(&m, COUNT_RING_FULL);                                         \
			return 0;                                                                  \
		}                                                                                  \
		journal_fill(e, &m);                                                               \
		len = journal_copy_file(e, &m, file);                                              \
		if (len < m.len)                                                                   \
			e->flags |= JOURNAL_TRUNCATED;                                             \
		journal_submit(e, len, sizeof(*e) + JOURNAL_FILE_MAX);                             \
		return 0;                                                                          \
	}

#define JOURNAL_CLASSES(copy)                                                                      \
	JOURNAL_CLASS(256, copy)                                                                   \
	JOURNAL_CLASS(512, copy)                                                                   \
	JOURNAL_CLASS(1024, copy)                                                                  \
	JOURNAL_CLASS(2048, copy)                                                                  \
	JOURNAL_CLASS(4096, copy)                                                                  \
	JOURNAL_CLASS(8192, copy)                                                                  \
	JOURNAL_CLASS(16384, copy)                                                                 \
	JOURNAL_CLASS(32768, copy)                                                                 \
	JOURNAL_CLASS(65536, copy)                                                                 \
	JOURNAL_CLASS(131072, copy)                                                                \
	JOURNAL_CLASS(262144, copy)

/* The first argument of the system call that we are in: a descriptor, if it is a read. */
static __always_inline u32 syscall_first_arg(struct task_struct *task)
{
	struct pt_regs *regs;

	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs)) { /* 5.15 */
		regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
		return regs->SYSCALL_ARG1;
	}
#if defined(__TARGET_ARCH_x86)
	/* They end the stack of four pages, as that helper knows, too. */
	regs = BPF_CORE_READ(task, stack) + 16384 - bpf_core_type_size(struct pt_regs);
	return BPF_CORE_READ(regs, SYSCALL_ARG1);
#else
	return ~0u;
#endif
}

/*
 * The tracepoint knows the message but not who gets it. We are in the reader's
 * recvmsg(), recvfrom() or read(): the first argument is its descriptor. The
 * inode of that socket tells streams apart for ever; an address would be another
 * stream's tomorrow.
 */
static __always_inline void journal_find_reader(struct journal_message *m)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct file **fds, *file = NULL;
	struct socket *socket;
	struct sock *sk;
	u32 fd = syscall_first_arg(task);

	if (fd >= BPF_CORE_READ(task, files, fdt, max_fds))
		return;
	fds = BPF_CORE_READ(task, files, fdt, fd);
	if (bpf_probe_read_kernel(&file, sizeof(file), fds + fd) || !file)
		return;
	socket = BPF_CORE_READ(file, private_data);
	sk = BPF_CORE_READ(socket, sk);
	if (!sk || BPF_CORE_READ(sk, __sk_common.skc_family) != AF_UNIX)
		return;
	m->reader = sk;
	m->ino = BPF_CORE_READ(file, f_inode, i_ino);
	m->socket = m->ino;
}

/* True when a reader takes len bytes from skb, and *m says which. */
static __always_inline bool journal_begin(struct sk_buff *skb, int len, struct journal_message *m)
{
	struct unix_skb_parms *cb;
	struct sock *sk;
	u64 thread;

	sk = skb->sk;
	if (!sk)
		return false;
	if (sk->__sk_common.skc_family != AF_UNIX &&
	    (sk->__sk_common.skc_family != AF_NETLINK || sk->sk_protocol != NETLINK_AUDIT))
		return false;
	/* A thread reads one message at a time. */
	thread = bpf_get_current_pid_tgid();
	if (handover_is_others(thread))
		return false;
	m->tgid = thread >> 32;
	if (!bpf_map_lookup_elem(&readers, &m->tgid))
		return false;
	cb = (struct unix_skb_parms *)&skb->cb;
	/* Nothing is read, unless the message is in a file that comes with it. */
	if (len <= 0 && (skb->len || !BPF_CORE_READ(cb, fp)))
		return false;
	count(COUNT_SEEN);
	handover_mark(thread);
	m->skb = skb;
	/* Read, not known: else the verifier would go through all that follows for each of them. */
	m->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	m->socket = (u64)sk;
	m->reader = NULL;
	m->ino = 0;
	m->cb = cb;
	m->type = sk->sk_type;
	/* Of a datagram the reader may take less than there is; the rest is gone for it. */
	m->full = m->type == SOCK_STREAM ? len : skb->len;
	m->len = m->full < JOURNAL_MAX ? m->full : JOURNAL_MAX;
	m->linear = skb->len - skb->data_len;
	m->offset = m->type == SOCK_STREAM ? BPF_CORE_READ(cb, consumed) : 0;
	journal_find_reader(m);
	return true;
}

SEC("tp_btf/skb_copy_datagram_iovec")
int BPF_PROG(journal_read, struct sk_buff *skb, int n)
{
	struct journal_message m;
	struct address_space *file;
	struct event_journal *e;
	struct bpf_dynptr ptr;
	u32 len;

	if (!journal_begin(skb, n, &m))
		return 0;
	JOURNAL_CLASS_FILE
	if (bpf_dynptr_from_skb(skb, 0, &ptr)) {
		journal_lost(&m, COUNT_NO_ROOM);
		return 0;
	}
	JOURNAL_CLASSES(JOURNAL_COPY_DYNPTR)
	journal_lost(&m, COUNT_NO_ROOM);
	return 0;
}

/*
 * Before 6.11: what is in page fragments is read where the kernel has mapped
 * all of memory. A stream's write of 4096 bytes, stdio's usual one, is in
 * fragments alone.
 */
SEC("tp_btf/skb_copy_datagram_iovec")
int BPF_PROG(journal_read_pages, struct sk_buff *skb, int n)
{
	struct journal_message m;
	struct address_space *file;
	struct event_journal *e;
	u32 len;

	/* Where the symbols can not be had the verifier finds this, and the next variant is tried.
	 */
	if (!&page_offset_base || !&vmemmap_base)
		return *(volatile int *)NULL;
	if (!journal_begin(skb, n, &m))
		return 0;
	JOURNAL_CLASS_FILE
	if (skb->data_len && m.len > JOURNAL_PAGES_MAX)
		m.len = JOURNAL_PAGES_MAX;
	if (!skb->data_len) {
		JOURNAL_CLASSES(JOURNAL_COPY_LINEAR)
	} else {
		JOURNAL_CLASS_PAGES(4096)
		JOURNAL_CLASS_PAGES(8192)
		JOURNAL_CLASS_PAGES(16384)
		JOURNAL_CLASS_PAGES(32768)
		JOURNAL_CLASS_PAGES(JOURNAL_PAGES_MAX)
	}
	journal_lost(&m, COUNT_NO_ROOM);
	return 0;
}

SEC("tp_btf/skb_copy_datagram_iovec")
int BPF_PROG(journal_read_linear, struct sk_buff *skb, int n)
{
	struct journal_message m;
	struct event_journal *e;
	u32 len;

	if (!journal_begin(skb, n, &m))
		return 0;
	JOURNAL_CLASSES(JOURNAL_COPY_LINEAR)
	journal_lost(&m, COUNT_NO_ROOM);
	return 0;
}

/*
 * A log daemon that starts is followed at once, collector or not, beside those
 * that run: containers have their own, and "rsyslogd -N1" takes nobody's place.
 * Root's alone, so that nobody else can fill the table.
 */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(journal_exec, struct task_struct *task, pid_t old_pid, struct linux_binprm *bprm)
{
	u64 comm[2] = {};
	u32 tgid = task->tgid;
	u8 one = 1;

	BPF_CORE_READ_INTO(&comm, task, comm);
	for (int i = 0; i < JOURNAL_NAMES; i++) {
		if (tunables.names[i][0] != comm[0] || tunables.names[i][1] != comm[1])
			continue;
		if (BPF_CORE_READ(task, real_cred, uid.val) == 0)
			bpf_map_update_elem(&readers, &tgid, &one, BPF_ANY);
		return 0;
	}
	bpf_map_delete_elem(&readers, &tgid); /* it was one, and became something else */
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(journal_exit, struct task_struct *task)
{
	u32 tgid = task->tgid;

	if (BPF_CORE_READ(task, signal, live.counter) == 0)
		bpf_map_delete_elem(&readers, &tgid);
	return 0;
}
