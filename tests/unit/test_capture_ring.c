/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of a ring alone, on the running kernel: a program of a few instructions puts
 * samples of all sizes into a small ring, many times around, and each of them is read
 * whole, wherever the part of the ring that is mapped begins and ends. Needs root.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/lib/test.h"
#include "user/ring.h"
#include "user/util/cleanup.h"

#define RING_BYTES (2u << 20)
#define DATA_MAX   (700u << 10)

/* What the program copies into the ring: size bytes of data. */
struct input {
	uint32_t size, unused;
	unsigned char data[DATA_MAX];
};

static int ring_fd = -1, input_fd = -1, prog_fd = -1;
static struct input input;
static uint32_t seed = 1;

static uint32_t any(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)seed * below >> 32);
}

static int load_program(void)
{
	const struct bpf_insn program[] = {
		/* r0 = the input */
		{ .code = BPF_ST | BPF_MEM | BPF_W, .dst_reg = BPF_REG_10, .off = -4, .imm = 0 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X,
		  .dst_reg = BPF_REG_2,
		  .src_reg = BPF_REG_10 },
		{ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_2, .imm = -4 },
		{ .code = BPF_LD | BPF_DW | BPF_IMM,
		  .dst_reg = BPF_REG_1,
		  .src_reg = BPF_PSEUDO_MAP_FD,
		  .imm = input_fd },
		{ 0 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_map_lookup_elem },
		{ .code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = BPF_REG_0, .imm = 0, .off = 9 },
		/* ring_output(ring, data, size, 0) */
		{ .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = BPF_REG_3, .src_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_JGT | BPF_K,
		  .dst_reg = BPF_REG_3,
		  .imm = DATA_MAX,
		  .off = 7 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_2, .src_reg = BPF_REG_0 },
		{ .code = BPF_ALU64 | BPF_ADD | BPF_K,
		  .dst_reg = BPF_REG_2,
		  .imm = offsetof(struct input, data) },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_4, .imm = 0 },
		{ .code = BPF_LD | BPF_DW | BPF_IMM,
		  .dst_reg = BPF_REG_1,
		  .src_reg = BPF_PSEUDO_MAP_FD,
		  .imm = ring_fd },
		{ 0 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_ringbuf_output },
		{ .code = BPF_JMP | BPF_EXIT },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	char why[4096] = "";
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .log_buf = why, .log_size = sizeof(why),
		    .log_level = 1);
	int fd = bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, NULL, "GPL", program,
			       sizeof(program) / sizeof(program[0]), &opts);

	if (fd < 0)
		printf("# %s\n", why);
	return fd;
}

/* Its bytes tell which sample it is, and where in it one is. */
static unsigned char byte_of(uint32_t number, uint32_t at)
{
	return (unsigned char)(number * 31 + at + (at >> 8) * 7);
}

/* False: the ring had no room. */
static bool put(uint32_t number, uint32_t size)
{
	char packet[64] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = packet, .data_size_in = sizeof(packet));
	__u32 zero = 0;

	input.size = size;
	for (uint32_t i = 0; i < size; i++)
		input.data[i] = byte_of(number, i);
	CHECK_INT(bpf_map_update_elem(input_fd, &zero, &input, BPF_ANY), 0);
	CHECK_INT(bpf_prog_test_run_opts(prog_fd, &run), 0);
	return run.retval == 0;
}

static bool is_whole(const unsigned char *sample, size_t size, uint32_t number, uint32_t want)
{
	if (size != want)
		return false;
	for (uint32_t i = 0; i < size; i++)
		if (sample[i] != byte_of(number, i))
			return false;
	return true;
}

static uint64_t mapped_bytes(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned long from, to;
	char line[512];
	uint64_t n = 0;

	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, "bpf-map") && sscanf(line, "%lx-%lx", &from, &to) == 2)
			n += to - from;
	if (f)
		fclose(f);
	return n;
}

TEST(a_program_and_its_ring)
{
	struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };

	setrlimit(RLIMIT_MEMLOCK, &none);
	ring_fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "ring", 0, 0, RING_BYTES, NULL);
	input_fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "input", 4, sizeof(struct input), 1, NULL);
	CHECK(ring_fd >= 0 && input_fd >= 0);
	prog_fd = load_program();
	CHECK(prog_fd >= 0);
}

TEST(samples_of_all_sizes_many_times_around)
{
	static const uint32_t sizes[] = { 1, 8, 300, 4088, 70000, 262136, 262144, DATA_MAX };
	_cleanup_(ring_freep) struct ring *r = NULL;
	uint32_t number = 0, want[64], torn = 0, missing = 0;
	uint64_t bytes = 0;

	CHECK_INT(ring_new(ring_fd, &r), 0);
	while (r && bytes < 30ull * RING_BYTES) {
		uint32_t n = 0, most = 1 + any(64), first = number;
		const void *sample;
		size_t size;

		for (; n < most; n++) {
			want[n] = any(4) ? 1 + any(2000)
					 : sizes[any(sizeof(sizes) / sizeof(sizes[0]))];
			if (!put(number, want[n]))
				break; /* full: read first */
			number++;
			bytes += want[n];
		}
		for (uint32_t i = 0; i < n; i++) {
			uint64_t before = ring_position(r);

			/* One in eight is read again, from behind the window perhaps. */
			for (int again = any(8) == 0; again >= 0; again--) {
				ring_unread(r, before);
				if (ring_next(r, &sample, &size) != 1)
					missing++;
				else if (!is_whole(sample, size, first + i, want[i]))
					torn++;
			}
		}
		CHECK_INT(ring_next(r, &sample, &size), 0);
		CHECK_INT(ring_waiting(r), 0);
		ring_release(r, ring_position(r));
		CHECK_INT(ring_fill(r), 0);
	}
	CHECK_INT(torn, 0);
	CHECK_INT(missing, 0);
	CHECK(number > 1000);
}

TEST(of_a_ring_only_a_part_is_mapped)
{
	_cleanup_(ring_freep) struct ring *r = NULL;
	uint64_t before = mapped_bytes();
	const void *sample;
	size_t size;

	CHECK_INT(ring_new(ring_fd, &r), 0);
	for (int i = 0; r && i < 5000; i++) {
		if (!put(7, 500))
			break;
		CHECK_INT(ring_next(r, &sample, &size), 1);
		ring_release(r, ring_position(r));
	}
	CHECK(mapped_bytes() > before);
	CHECK(mapped_bytes() - before <= RING_BYTES / 4);
	ring_free(r);
	r = NULL;
	CHECK_INT(mapped_bytes(), before);
}
