/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this kernel can run: loads, attaches and pins our BPF objects by the two
 * tables below: a source is an object, a program is a row. Whether a kernel can
 * run a program is found out by loading and attaching it.
 */
#define _GNU_SOURCE
#include "user/capture.h"
#include "user/flow_rules.h"
#include "user/kernel_cure.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <mntent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpf/events.h"
#include "bpf/flow.skel.h"
#include "bpf/journal.skel.h"
#include "bpf/kernel.skel.h"
#include "bpf/names.skel.h"
#include "bpf/process.skel.h"
#include "user/util/clock.h"
#include "user/util/crc32c.h"
#include "user/util/log.h"

#define EVENT_ROW(name, class, ...)                                                                \
	{                                                                                          \
		KERNEL_EVENTS, name, ATTACH_AUTO, NULL, "any", class, __VA_ARGS__                  \
	}

/* A system call: behind its function, or at its tracepoint. */
#define CALL_ROWS(call, class, what)                                                               \
	{ KERNEL_EVENTS, "call_" call, ATTACH_SYSCALL, "to_" call, "any",                          \
	  class,	 what,	       NULL,	       "on_" call },                               \
		EVENT_ROW("event_" call, class, what, "call_" call)

const struct program_row kernel_programs[] = {
	{ KERNEL_FLOWS, "tcp_set_state", ATTACH_AUTO, NULL, "tcp" },
	{ KERNEL_FLOWS, "tcp_destroy", ATTACH_AUTO, NULL, "tcp" },
	{ KERNEL_FLOWS, "tcp_reader", ATTACH_AUTO, NULL, "tcp" },
	{ KERNEL_FLOWS, "tcp_sweep", ATTACH_SWEEP, "tcp_flows", "tcp" },
	{ KERNEL_FLOWS, "tcp_show", ATTACH_SHOW, "tcp_flows", "tcp" },
	{ KERNEL_FLOWS, "tcp_take_over_all", ATTACH_TAKE_OVER, "tcp_flows", "tcp" },
	{ KERNEL_FLOWS, "tcp_find_open", ATTACH_WALK, NULL, "tcp" },
	{ KERNEL_FLOWS, "packet_egress", ATTACH_CGROUP, NULL, "packet" },
	{ KERNEL_FLOWS, "packet_ingress", ATTACH_CGROUP, NULL, "packet" },
	{ KERNEL_FLOWS, "packet_socket", ATTACH_CGROUP, NULL, "packet" },
	{ KERNEL_FLOWS, "packet_sweep", ATTACH_SWEEP, "packet_flows", "packet" },
	{ KERNEL_FLOWS, "flood_sweep", ATTACH_SWEEP, "packet_floods", "packet" },
	{ KERNEL_FLOWS, "packet_show", ATTACH_SHOW, "packet_flows", "packet" },
	{ KERNEL_FLOWS, "packet_take_over", ATTACH_TAKE_OVER, "packet_flows", "packet" },
	{ KERNEL_JOURNAL, "journal_read", ATTACH_AUTO, NULL, "dynptr" },
	{ KERNEL_JOURNAL, "journal_read_pages", ATTACH_AUTO, NULL, "pages" },
	{ KERNEL_JOURNAL, "journal_read_linear", ATTACH_AUTO, NULL, "linear" },
	{ KERNEL_JOURNAL, "journal_exec", ATTACH_AUTO, NULL, "dynptr pages linear" },
	{ KERNEL_JOURNAL, "journal_exit", ATTACH_AUTO, NULL, "dynptr pages linear" },
	{ KERNEL_PROCESSES, "process_exec", ATTACH_AUTO, NULL, "exec" },
	{ KERNEL_PROCESSES, "process_cgroup", ATTACH_AUTO, NULL, "cgroup" },
	EVENT_ROW("event_exec", CLASS_EXEC, "exec"),
	EVENT_ROW("event_exit", CLASS_EXIT, "exit"),
	EVENT_ROW("event_exit_threads", CLASS_EXIT, "exit", "event_exit"),
	EVENT_ROW("event_module_load", CLASS_MODULES, "modules"),
	EVENT_ROW("event_module_free", CLASS_MODULES, "modules"),
	EVENT_ROW("event_oom", CLASS_OOM, "OOM kills"),
	EVENT_ROW("event_signal", CLASS_SIGNALS, "signals"),
	CALL_ROWS("ptrace", CLASS_PTRACE, "ptrace"),
	CALL_ROWS("bpf", CLASS_BPF, "BPF"),
	CALL_ROWS("mount", CLASS_MOUNTS, "mounts"),
	CALL_ROWS("move_mount", CLASS_MOUNTS, "mounts by move_mount()"),
	CALL_ROWS("umount", CLASS_MOUNTS, "unmounts"),
	CALL_ROWS("unshare", CLASS_NAMESPACES, "unshare"),
	CALL_ROWS("setns", CLASS_NAMESPACES, "setns"),
	EVENT_ROW("event_clone", CLASS_NAMESPACES, "clone"),
	CALL_ROWS("setuid", CLASS_CREDENTIALS, "setuid"),
	CALL_ROWS("setreuid", CLASS_CREDENTIALS, "setuid"),
	CALL_ROWS("setresuid", CLASS_CREDENTIALS, "setuid"),
	CALL_ROWS("setgid", CLASS_CREDENTIALS, "setgid"),
	CALL_ROWS("setregid", CLASS_CREDENTIALS, "setgid"),
	CALL_ROWS("setresgid", CLASS_CREDENTIALS, "setgid"),
	CALL_ROWS("listen", CLASS_LISTEN, "listen"),
	{ KERNEL_NAMES, "names_egress", ATTACH_CALLED, "egress_calls", "names" },
	{ KERNEL_NAMES, "names_ingress", ATTACH_CALLED, "ingress_calls", "names" },
};
#define N_PROGRAMS (sizeof(kernel_programs) / sizeof(kernel_programs[0]))
const size_t kernel_n_programs = N_PROGRAMS;
_Static_assert(N_PROGRAMS <= KERNEL_PROGRAMS_MAX, "more descriptors");

/* What to try for each source, in this order; the first that works is taken. */
struct variant_row {
	enum kernel_source source;
	const char *groups;
	const char *lacks; /* what is lost with it; NULL: nothing */
};

static const struct variant_row variants[] = {
	{ KERNEL_FLOWS, "tcp packet", NULL },
	{ KERNEL_FLOWS, "tcp", "UDP and ICMP flows" },
	{ KERNEL_FLOWS, "packet", "TCP flows" },
	{ KERNEL_JOURNAL, "dynptr", NULL },
	{ KERNEL_JOURNAL, "pages", NULL },
	{ KERNEL_JOURNAL, "linear",
	  "journal messages of more than 3 to 15 KiB, or parts of them: no "
	  "bpf_dynptr_from_skb, and no kernel symbols (kernel.kptr_restrict=2?)" },
	{ KERNEL_PROCESSES, "exec cgroup", NULL },
	{ KERNEL_PROCESSES, "exec",
	  "units and containers of processes whose cgroup ended with them: no BTF tracepoint "
	  "cgroup/cgroup_mkdir" },
	{ KERNEL_EVENTS, "any", NULL },
	{ KERNEL_NAMES, "names", NULL },
};
#define N_VARIANTS (sizeof(variants) / sizeof(variants[0]))

const struct source_row kernel_sources[KERNEL_SOURCES] = {
	[KERNEL_FLOWS] = { "flows", "flow_ring", flow_bpf__elf_bytes },
	[KERNEL_JOURNAL] = { "journal", "journal_ring", journal_bpf__elf_bytes },
	[KERNEL_PROCESSES] = { "processes", NULL, process_bpf__elf_bytes },
	[KERNEL_EVENTS] = { "events", "events_ring", kernel_bpf__elf_bytes },
	[KERNEL_NAMES] = { "names", "names_ring", names_bpf__elf_bytes },
};

/* The .bss of the flow, the journal and the names object is exactly this. */
_Static_assert(sizeof(((struct flow_bpf *)0)->bss->tunables) == sizeof(struct flow_tunables), "");
_Static_assert(sizeof(*((struct names_bpf *)0)->bss) == sizeof(struct names_tunables), "");

static int row_find(const char *name)
{
	for (size_t i = 0; i < N_PROGRAMS; i++)
		if (!strcmp(kernel_programs[i].name, name))
			return (int)i;
	return -1;
}

/* Of a handler: whose it is. */
static int row_of_program(const char *name)
{
	for (size_t i = 0; i < N_PROGRAMS; i++)
		if (kernel_programs[i].handler && !strcmp(kernel_programs[i].handler, name))
			return (int)i;
	return row_find(name);
}

const struct program_row *row_twin(const struct program_row *row)
{
	for (size_t i = 0; i < N_PROGRAMS; i++)
		if (kernel_programs[i].first && !strcmp(kernel_programs[i].first, row->name))
			return &kernel_programs[i];
	return NULL;
}

static void load_only(struct bpf_object *obj, const bool use[N_PROGRAMS])
{
	struct bpf_program *prog;
	struct bpf_map *m;
	int row;

	bpf_object__for_each_program(prog, obj)
	{
		row = row_of_program(bpf_program__name(prog));
		bpf_program__set_autoload(prog, row >= 0 && use[row]);
		m = row < 0 || kernel_programs[row].attach != ATTACH_SYSCALL
			    ? NULL
			    : bpf_object__find_map_by_name(obj, kernel_programs[row].map);
		if (m)
			bpf_map__set_autocreate(m, use[row]);
	}
}

const char *pin_folder(enum attach attach)
{
	return attach == ATTACH_SWEEP	 ? "sweeps"
	       : attach == ATTACH_SHOW	 ? "shows"
	       : attach == ATTACH_CALLED ? "called"
					 : "links";
}

const char *kernel_source_name(enum kernel_source source)
{
	return kernel_sources[source].name;
}

enum kernel_source kernel_source_find(const char *name)
{
	int i = 0;

	while (i < KERNEL_SOURCES && strcmp(kernel_sources[i].name, name) != 0)
		i++;
	return (enum kernel_source)i;
}

static bool has_word(const char *words, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = words; (p = strstr(p, word)); p += n)
		if ((p == words || p[-1] == ' ') && (p[n] == ' ' || !p[n]))
			return true;
	return false;
}

static bool row_in_variant(const struct program_row *row, const struct variant_row *v)
{
	char groups[64], *save = NULL;

	snprintf(groups, sizeof(groups), "%s", row->group);
	for (char *g = strtok_r(groups, " ", &save); g; g = strtok_r(NULL, " ", &save))
		if (has_word(v->groups, g))
			return true;
	return false;
}

/*
 * libbpf speaks at length when a program does not load; that is for debugging.
 * The verifier's complaint is at the end of what it says.
 */
#define LIBBPF_LINES 12
__attribute__((format(printf, 2, 0))) static int on_libbpf_print(enum libbpf_print_level level,
								 const char *fmt, va_list ap)
{
	_cleanup_free_ char *text = NULL;
	const char *from;
	int lines = 0;

	if (level == LIBBPF_DEBUG || log_get_level() < LOG_LEVEL_DEBUG)
		return 0;
	if (vasprintf(&text, fmt, ap) < 0) {
		text = NULL;
		return 0;
	}
	from = text + strlen(text);
	while (from > text && lines < LIBBPF_LINES)
		lines += *--from == '\n';
	for (char *save = NULL, *line = strtok_r(text + (from - text), "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		log_debug("%s", line);
	return 0;
}

void libbpf_speaks_through_us(void)
{
	libbpf_set_print(on_libbpf_print);
}

/* cgroup.type is in every cgroup but the root of the tree. */
static bool is_cgroup_root(int fd)
{
	return faccessat(fd, "cgroup.type", F_OK, 0) < 0 && errno == ENOENT;
}

/* Where only v1 is mounted, the tree of v2 is there all the same. Since Linux 5.2. */
static int cgroup_root_unmounted(void)
{
	_cleanup_close_ int fs = -1, mount = -1;
	int fd;

	fs = (int)syscall(SYS_fsopen, "cgroup2", FSOPEN_CLOEXEC);
	if (fs < 0 || syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	mount = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
	if (mount < 0)
		return -errno;
	fd = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int cgroup_root_open(char *text, size_t size, bool *ret_is_root)
{
	_cleanup_close_ int part = -1;
	struct mntent *m;
	FILE *f = setmntent("/proc/self/mounts", "re");
	int fd = -1;

	if (ret_is_root)
		*ret_is_root = true;
	while (f && (m = getmntent(f))) {
		if (strcmp(m->mnt_type, "cgroup2") != 0)
			continue;
		fd = open(m->mnt_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0 && (is_cgroup_root(fd) || part < 0))
			say(text, size, "%s", m->mnt_dir);
		if (fd >= 0 && is_cgroup_root(fd))
			break;
		if (part < 0)
			part = fd;
		else
			close_fd(fd);
		fd = -1;
	}
	if (f)
		endmntent(f);
	if (fd >= 0)
		return fd;
	fd = cgroup_root_unmounted();
	if (fd >= 0 && is_cgroup_root(fd)) {
		say(text, size, "mounted nowhere");
		return fd;
	}
	close_fd(fd);
	if (part >= 0) {
		if (ret_is_root)
			*ret_is_root = false;
		return TAKE_FD(part);
	}
	say(text, size, "no cgroup-v2 tree is mounted");
	return -ENOENT;
}

static uint64_t round_up_pow2(uint64_t n)
{
	uint64_t p = 4096;

	while (p < n)
		p <<= 1;
	return p;
}

uint32_t layout_id(const struct kernel_opts *o)
{
	uint64_t words[] = { EVENTS_FORMAT,
			     round_up_pow2(o->flow_ring_bytes),
			     round_up_pow2(o->journal_ring_bytes),
			     round_up_pow2(o->events_ring_bytes),
			     round_up_pow2(o->names_ring_bytes),
			     (uint64_t)o->names_dns | (uint64_t)o->names_tls << 1 |
				     (uint64_t)o->names_quic << 2 | (uint64_t)o->environment << 3,
			     o->flows_max,
			     0,
			     0 };
	const size_t n = sizeof(words) / sizeof(words[0]);
	uint32_t crc;

	for (int i = 0; i < KERNEL_SOURCES; i++)
		words[n - 2] |= (uint64_t)o->wanted[i] << i;
	words[n - 1] = o->wanted[KERNEL_EVENTS] ? o->events : 0;
	crc = crc32c(0, words, sizeof(words));
	for (int i = 0; i < KERNEL_SOURCES; i++) {
		size_t size;
		const void *elf = kernel_sources[i].elf(&size);

		crc = crc32c(crc, elf, size);
	}
	return crc;
}

/* ------------------------------------------------------------------ attach */

/*
 * A copy of an object's constants, which has at least min bytes; there are some of the
 * compiler's own behind ours. The caller frees it. NULL: no memory.
 */
static void *copy_rodata(struct bpf_object *obj, size_t min, size_t *ret_size)
{
	struct bpf_map *m = bpf_object__find_map_by_name(obj, ".rodata");
	const void *rodata = m ? bpf_map__initial_value(m, ret_size) : NULL;
	void *copy = rodata && *ret_size >= min ? malloc(*ret_size) : NULL;

	return copy ? memcpy(copy, rodata, *ret_size) : NULL;
}

static int set_rodata(struct bpf_object *obj, const void *data, size_t size)
{
	return bpf_map__set_initial_value(bpf_object__find_map_by_name(obj, ".rodata"), data, size);
}

static uint32_t names_wanted(const struct kernel_opts *o)
{
	if (!o->wanted[KERNEL_NAMES])
		return 0;
	return (o->names_dns ? NAMES_DNS : 0u) | (o->names_tls ? NAMES_TLS : 0u) |
	       (o->names_quic ? NAMES_QUIC : 0u);
}

/* What is not wanted the verifier finds to be dead, and takes out. */
static int set_names(struct bpf_object *obj, enum kernel_source source, const struct kernel_opts *o)
{
	_cleanup_free_ void *rodata = NULL;
	size_t size;

	if (source == KERNEL_FLOWS) {
		rodata = copy_rodata(obj, sizeof(struct flow_bpf__rodata), &size);
		if (rodata)
			((struct flow_bpf__rodata *)rodata)->names = names_wanted(o);
	} else {
		rodata = copy_rodata(obj, sizeof(struct names_bpf__rodata), &size);
		if (rodata)
			((struct names_bpf__rodata *)rodata)->names = names_wanted(o);
	}
	return rodata ? set_rodata(obj, rodata, size) : -ENOMEM;
}

static int set_environment(struct bpf_object *obj, bool wanted)
{
	_cleanup_free_ struct kernel_bpf__rodata *wants = NULL;
	size_t size;

	if (!wanted)
		return bpf_map__set_autocreate(bpf_object__find_map_by_name(obj, "environment"),
					       false);
	wants = copy_rodata(obj, sizeof(*wants), &size);
	if (!wants)
		return -ENOMEM;
	wants->want_environment = true;
	return set_rodata(obj, wants, size);
}

static int set_sizes(struct bpf_object *obj, enum kernel_source source, const struct kernel_opts *o)
{
	int err = 0;

	if (source == KERNEL_FLOWS) {
		err = bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, "flow_ring"),
					       (uint32_t)round_up_pow2(o->flow_ring_bytes));
		if (!err)
			err = bpf_map__set_max_entries(
				bpf_object__find_map_by_name(obj, "tcp_flows"),
				(uint32_t)o->flows_max);
		if (!err)
			err = bpf_map__set_max_entries(
				bpf_object__find_map_by_name(obj, "packet_flows"),
				(uint32_t)o->flows_max);
		if (!err)
			err = set_names(obj, source, o);
	} else if (source == KERNEL_JOURNAL) {
		err = bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, "journal_ring"),
					       (uint32_t)round_up_pow2(o->journal_ring_bytes));
	} else if (source == KERNEL_EVENTS) {
		err = bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, "events_ring"),
					       (uint32_t)round_up_pow2(o->events_ring_bytes));
		if (!err)
			err = set_environment(obj, o->environment);
	} else if (source == KERNEL_NAMES) {
		err = bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, "names_ring"),
					       (uint32_t)round_up_pow2(o->names_ring_bytes));
		if (!err)
			err = set_names(obj, source, o);
	}
	return err;
}

static int attach_row(const struct program_row *row, struct bpf_object *obj, int cgroup_fd,
		      struct bpf_link **ret)
{
	struct bpf_program *prog = bpf_object__find_program_by_name(obj, row->name);
	struct bpf_link_info info = { 0 };
	__u32 info_len = sizeof(info);
	struct bpf_link *link = NULL;

	if (!prog)
		return -ENOENT;
	switch (row->attach) {
	case ATTACH_AUTO:
	case ATTACH_SYSCALL:
		link = bpf_program__attach(prog);
		if (link && bpf_obj_get_info_by_fd(bpf_link__fd(link), &info, &info_len) < 0) {
			/* Before 5.15 some are no links: they would not outlive us. */
			bpf_link__destroy(link);
			return -EOPNOTSUPP;
		}
		break;
	case ATTACH_CGROUP:
		if (cgroup_fd < 0)
			return -ENOENT;
		link = bpf_program__attach_cgroup(prog, cgroup_fd);
		break;
	case ATTACH_WALK:
		link = bpf_program__attach_iter(prog, NULL);
		break;
	case ATTACH_CALLED: /* to be loaded is all that it takes */
		return 0;
	case ATTACH_TAKE_OVER: /* for a trial: any table of that kind will do */
	case ATTACH_SHOW:
	case ATTACH_SWEEP: {
		struct bpf_map *map = bpf_object__find_map_by_name(obj, row->map);
		union bpf_iter_link_info walk = { .map.map_fd = (__u32)bpf_map__fd(map) };
		LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &walk,
			    .link_info_len = sizeof(walk));

		link = bpf_program__attach_iter(prog, &opts);
		break;
	}
	}
	if (!link)
		return -errno;
	*ret = link;
	return 0;
}

/* Global data are maps named after the object, "flow_bpf.bss": the part behind the dot. */
static const char *map_pin_name(const struct bpf_map *map)
{
	const char *name = bpf_map__name(map), *dot = strrchr(name, '.');

	return dot ? dot + 1 : name;
}

static int pin_maps(struct bpf_object *obj, const char *dir)
{
	struct bpf_map *map;
	struct place place;
	int err;

	bpf_object__for_each_map(map, obj)
	{
		if (!strcmp(map_pin_name(map), "rodata") || !bpf_map__autocreate(map))
			continue;
		at(&place, "%s/%s", dir, map_pin_name(map));
		err = bpf_map__pin(map, place.path);
		if (err)
			return err;
	}
	return 0;
}

/*
 * What makes an object the next one after another: both have the same marks and the
 * same programs behind system calls, and ours knows how large the values of theirs are.
 */
static int set_before(struct bpf_object *obj, enum kernel_source source,
		      const struct capture *before)
{
	static const struct {
		const char *table, *outer;
	} tables[] = { { "tcp_flows", "tcp_before" }, { "packet_flows", "packet_before" } };
	_cleanup_free_ struct flow_bpf__rodata *sizes = NULL;
	struct bpf_map *m;
	size_t size;
	int err = 0;

	m = bpf_object__find_map_by_name(obj, "marks");
	if (m) {
		_cleanup_close_ int fd = capture_open_map(before, source, "marks");

		err = fd < 0 ? fd : bpf_map__reuse_fd(m, fd);
	}
	for (size_t i = 0; i < N_PROGRAMS && !err; i++) {
		const struct program_row *row = &kernel_programs[i];
		_cleanup_close_ int fd = -1;

		if (row->source != source || row->attach != ATTACH_SYSCALL)
			continue;
		fd = capture_open_map(before, source, row->map);
		/* Or it has none to pass on. */
		if (fd != -ENOENT)
			err = fd < 0 ? fd
				     : bpf_map__reuse_fd(
					       bpf_object__find_map_by_name(obj, row->map), fd);
	}
	if (err || source != KERNEL_FLOWS)
		return err;
	sizes = copy_rodata(obj, sizeof(*sizes), &size);
	if (!sizes)
		return -ENOMEM;
	for (int i = 0; i < 2; i++) {
		_cleanup_close_ int fd = capture_open_map(before, source, tables[i].table);
		struct bpf_map_info info = { 0 };
		__u32 len = sizeof(info);

		if (fd < 0)
			return fd;
		if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
			return -errno;
		*(i ? &sizes->packet_before_size : &sizes->tcp_before_size) = info.value_size;
		m = bpf_object__find_map_by_name(obj, tables[i].outer);
		err = bpf_map__set_value_size(bpf_map__inner_map(m), info.value_size);
		if (err)
			return err;
	}
	return set_rodata(obj, sizes, size);
}

/* The tables themselves, as soon as there is something to put them into. */
static int set_before_tables(struct bpf_object *obj, const struct capture *before)
{
	static const char *const tables[][2] = { { "tcp_flows", "tcp_before" },
						 { "packet_flows", "packet_before" } };

	for (int i = 0; i < 2; i++) {
		_cleanup_close_ int fd = capture_open_map(before, KERNEL_FLOWS, tables[i][0]);
		__u32 zero = 0;

		if (fd < 0)
			return fd;
		if (bpf_map_update_elem(
			    bpf_map__fd(bpf_object__find_map_by_name(obj, tables[i][1])), &zero,
			    &fd, BPF_ANY) < 0)
			return -errno;
	}
	return 0;
}

/* What is summed up when the table of sources is full, too: always there. */
static int make_flood_rest(struct bpf_object *obj)
{
	struct bpf_map *m = bpf_object__find_map_by_name(obj, "packet_floods");
	_cleanup_free_ void *nothing = calloc(1, bpf_map__value_size(m));

	if (!nothing)
		return -ENOMEM;
	for (int i = 0; i < 4; i++) {
		struct flood_key key = { .ip_version = i & 1 ? 6 : 4,
					 .direction = i & 2 ? FLOW_OUT : FLOW_IN };

		if (bpf_map_update_elem(bpf_map__fd(m), &key, nothing, BPF_ANY) < 0)
			return -errno;
	}
	return 0;
}

/* From here on it is what is done at the end of its system call. */
static int set_handler(const struct program_row *row, struct bpf_object *obj)
{
	int fd = bpf_program__fd(bpf_object__find_program_by_name(obj, row->handler));
	struct bpf_map *m = bpf_object__find_map_by_name(obj, row->map);
	__u32 zero = 0;

	return bpf_map_update_elem(bpf_map__fd(m), &zero, &fd, BPF_ANY) < 0 ? -errno : 0;
}

/* The tunables are set before anything can run. */
static int set_tunables(struct bpf_object *obj, enum kernel_source source,
			const struct kernel_opts *o, const struct capture *before,
			uint64_t generation)
{
	struct capture_tunables capture = { .generation = generation,
					    .lineage = generation,
					    .format = EVENTS_FORMAT };
	struct bpf_map *bss = NULL;
	__u32 zero = 0;
	int err = 0;

	if (before) {
		const struct capture_tunables *t = before->source[source].bss;

		capture.before = before->source[source].attached ? BEFORE_ALL : BEFORE_TABLES;
		if (t)
			capture.lineage = t->lineage;
	}
	for (struct bpf_map *m = bpf_object__next_map(obj, NULL); m;
	     m = bpf_object__next_map(obj, m))
		if (!strcmp(map_pin_name(m), "bss"))
			bss = m;
	if (bss && source == KERNEL_FLOWS) {
		struct flow_tunables t = { .capture = capture,
					   .attached_ns = clock_boot_ns(),
					   .active_ns = o->active_ns,
					   .idle_ns = o->idle_ns,
					   .loopback = o->loopback,
					   .phase = before ? FLOWS_CAPTURED : FLOWS_ADOPTED };

		if (o->rules) {
			struct flow_rules_maps maps = {
				bpf_object__find_map_fd_by_name(obj, "flow_networks"),
				bpf_object__find_map_fd_by_name(obj, "flow_ports"),
				bpf_object__find_map_fd_by_name(obj, "flow_owners"),
			};

			err = flow_rules_apply(o->rules, &maps, &t);
		}
		if (!err)
			err = make_flood_rest(obj);
		if (!err)
			err = bpf_map_update_elem(bpf_map__fd(bss), &zero, &t, BPF_ANY);
	} else if (bss && source == KERNEL_JOURNAL) {
		static const char *const names[JOURNAL_NAMES] = { "systemd-journal", "rsyslogd",
								  "syslog-ng", "syslogd" };
		struct journal_tunables t = { .capture = capture };

		for (int i = 0; i < JOURNAL_NAMES; i++)
			memcpy(t.names[i], names[i], strlen(names[i]));
		err = bpf_map_update_elem(bpf_map__fd(bss), &zero, &t, BPF_ANY);
	} else if (bss && source == KERNEL_EVENTS) {
		struct events_tunables t = { .capture = capture };

		err = bpf_map_update_elem(bpf_map__fd(bss), &zero, &t, BPF_ANY);
	} else if (bss && source == KERNEL_NAMES) {
		struct names_tunables t = { .capture = capture, .loopback = o->loopback };

		err = bpf_map_update_elem(bpf_map__fd(bss), &zero, &t, BPF_ANY);
	}
	if (!err && before && source == KERNEL_FLOWS)
		err = set_before_tables(obj, before);
	return err;
}

static bool has_link(const struct program_row *row, const struct capture *before)
{
	struct place place;

	at(&place, "%s/%s/links/%s", before->dir, kernel_sources[row->source].name, row->name);
	return access(place.path, F_OK) == 0;
}

/*
 * A program on a cgroup and the handler of a system call take the place of their predecessor in
 * one instant, later on. Until then, as for the walks through the tables of that one, it is
 * pinned itself. NULL: nothing is for later.
 */
static const char *program_for_later(const struct program_row *row, const struct capture *before)
{
	if (!before)
		return NULL;
	if (row->attach == ATTACH_SYSCALL)
		return row->handler;
	if (row->attach == ATTACH_TAKE_OVER ||
	    (row->attach == ATTACH_CGROUP && has_link(row, before)))
		return row->name;
	return NULL;
}

/* Everything else that is attached at all is so now; but what is behind a system call stays there.
 */
static bool is_attached_now(const struct program_row *row, const struct capture *before)
{
	if (before && row->attach == ATTACH_SYSCALL)
		return !has_link(row, before);
	return row->attach != ATTACH_CALLED && !program_for_later(row, before);
}

/*
 * A program that is called by one of the flows, below the same dir: it is as soon as it is in their
 * table. The pin is for who looks what is attached.
 */
static int let_call(const struct program_row *row, struct bpf_object *obj, const char *dir)
{
	const struct bpf_program *prog = bpf_object__find_program_by_name(obj, row->name);
	int fd = prog ? bpf_program__fd(prog) : -1;
	_cleanup_close_ int calls = -1;
	struct place place, pending;
	__u32 zero = 0;

	/* Where only TCP could be had, there is the table, and nobody who calls. */
	at(&place, "%s/%s/links/packet_egress", dir, kernel_sources[KERNEL_FLOWS].name);
	at(&pending, "%s/pending/packet_egress", dir);
	if (access(place.path, F_OK) < 0 && access(pending.path, F_OK) < 0)
		return -ENOENT;
	calls = bpf_obj_get(
		at(&place, "%s/%s/maps/%s", dir, kernel_sources[KERNEL_FLOWS].name, row->map));
	if (calls < 0 || bpf_map_update_elem(calls, &zero, &fd, BPF_ANY) < 0)
		return -errno;
	at(&place, "%s/%s/%s/%s", dir, kernel_sources[row->source].name, pin_folder(row->attach),
	   row->name);
	return bpf_obj_pin(fd, place.path) < 0 ? -errno : 0;
}

/* Why a source could not be had. */
struct refusal {
	char text[160];
	int err; /* 0: none */
	enum kernel_step step;
};

__attribute__((format(printf, 4, 5))) static void
refuse(struct refusal *r, int err, enum kernel_step step, const char *fmt, ...)
{
	va_list ap;

	r->err = err;
	r->step = step;
	va_start(ap, fmt);
	vsnprintf(r->text, sizeof(r->text), fmt, ap);
	va_end(ap);
}

static enum kernel_step step_of(const struct program_row *row)
{
	return row->attach == ATTACH_CGROUP ? KERNEL_ATTACH_CGROUP : KERNEL_ATTACH;
}

/*
 * Walks once through what is there already, when all else is attached: what ends
 * meanwhile is reported by one of the two. It is no loss that ends the capture: flows
 * that are not found are adopted when they end.
 */
static void walk_once(const struct program_row *row, struct bpf_object *obj)
{
	struct bpf_map *bss = bpf_object__find_map_by_name(obj, ".bss");
	struct flow_tunables t;
	struct bpf_link *link = NULL;
	__u32 zero = 0;
	char nothing[64];
	ssize_t n = -1;
	int err, fd;

	err = attach_row(row, obj, -1, &link);
	fd = err ? -1 : bpf_iter_create(bpf_link__fd(link));
	if (fd >= 0)
		do
			n = read(fd, nothing, sizeof(nothing));
		while (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)));
	if (n < 0)
		log_debug("bpf %s: %s", row->name, log_strerror(err ? err : errno));
	close_fd(fd);
	bpf_link__destroy(link);
	if (bss && bpf_map__value_size(bss) == sizeof(t) &&
	    bpf_map_lookup_elem(bpf_map__fd(bss), &zero, &t) == 0) {
		t.phase = FLOWS_CAPTURED;
		bpf_map_update_elem(bpf_map__fd(bss), &zero, &t, BPF_ANY);
	}
}

/*
 * One source in one variant, below dir. Nothing of it stays when it fails: the
 * links go with their descriptors, and the caller removes the folder.
 */
static int source_attach(enum kernel_source source, const bool use[N_PROGRAMS],
			 const struct kernel_opts *o, const char *dir, const struct capture *before,
			 int cgroup_fd, uint64_t generation, struct refusal *why)
{
	static const char *const folders[] = {
		"", "/maps", "/links", "/sweeps", "/shows", "/called"
	};
	const char *name = kernel_sources[source].name;
	LIBBPF_OPTS(bpf_object_open_opts, open_opts, .object_name = name,
		    .btf_custom_path = o->btf);
	struct bpf_link *links[N_PROGRAMS] = { 0 };
	struct bpf_object *obj;
	struct place place;
	const char *later;
	const void *elf;
	size_t size;
	int err;

	elf = kernel_sources[source].elf(&size);
	obj = bpf_object__open_mem(elf, size, &open_opts);
	if (!obj) {
		err = -errno;
		refuse(why, err, KERNEL_LOAD, "open: %s", log_strerror(err));
		return err;
	}
	load_only(obj, use);
	err = set_sizes(obj, source, o);
	if (!err && before)
		err = set_before(obj, source, before);
	if (!err)
		err = bpf_object__load(obj);
	if (err) {
		refuse(why, err, KERNEL_LOAD, "load: %s", log_strerror(err));
		goto out;
	}
	err = set_tunables(obj, source, o, before, generation);
	if (err) {
		refuse(why, err, KERNEL_LOAD, "tunables: %s", log_strerror(err));
		goto out;
	}
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]) && !err; i++) {
		at(&place, "%s/%s%s", dir, name, folders[i]);
		if (mkdir(place.path, 0700) < 0)
			err = -errno;
	}
	if (!err) {
		at(&place, "%s/%s/maps", dir, name);
		err = pin_maps(obj, place.path);
	}
	if (err) {
		refuse(why, err, KERNEL_LOAD, "pin: %s", log_strerror(err));
		goto out;
	}
	for (size_t i = 0; i < N_PROGRAMS && !err; i++) {
		const struct program_row *row = &kernel_programs[i];

		if (!use[i] || row->attach == ATTACH_WALK)
			continue;
		later = program_for_later(row, before);
		if (later) {
			at(&place, "%s/pending/%s", dir, row->name);
			err = bpf_program__pin(bpf_object__find_program_by_name(obj, later),
					       place.path);
		} else if (row->attach == ATTACH_CALLED) {
			err = let_call(row, obj, dir);
		} else if (row->attach == ATTACH_SYSCALL) {
			err = set_handler(row, obj);
		}
		if (!err && is_attached_now(row, before)) {
			err = attach_row(row, obj, cgroup_fd, &links[i]);
			at(&place, "%s/%s/%s/%s", dir, name, pin_folder(row->attach), row->name);
			if (!err)
				err = bpf_link__pin(links[i], place.path);
		}
		if (err)
			refuse(why, err, step_of(row), "attach %s: %s", row->name,
			       log_strerror(err));
	}
	for (size_t i = 0; i < N_PROGRAMS && !err; i++)
		if (use[i] && kernel_programs[i].attach == ATTACH_WALK)
			walk_once(&kernel_programs[i], obj);
out:
	/* What is pinned stays, what is not goes. */
	for (size_t i = 0; i < N_PROGRAMS; i++)
		bpf_link__destroy(links[i]);
	bpf_object__close(obj);
	return err;
}

/* What a variant that failed has left below dir. */
static void source_remove(enum kernel_source source, const char *dir)
{
	struct place place;

	remove_tree(at(&place, "%s/%s", dir, kernel_sources[source].name));
	for (size_t i = 0; i < N_PROGRAMS; i++)
		if (kernel_programs[i].source == source)
			unlink(at(&place, "%s/pending/%s", dir, kernel_programs[i].name));
}

static bool row_is_wanted(const struct program_row *row, const struct kernel_opts *o)
{
	return o->wanted[row->source] && (!row->class || (o->events & row->class));
}

/* The one of its pair that works: the first, if it does. errs as try_row() gave them. */
static bool row_is_used(const struct program_row *row, const int errs[N_PROGRAMS])
{
	return !errs[row - kernel_programs] && (!row->first || errs[row_find(row->first)]);
}

/* Neither it nor its twin works. */
static bool row_is_lost(const struct program_row *row, const int errs[N_PROGRAMS])
{
	const struct program_row *twin = row_twin(row);

	if (!errs[row - kernel_programs] || (row->first && !errs[row_find(row->first)]))
		return false;
	return !twin || errs[twin - kernel_programs];
}

/* A list with commas of what is lost with these programs, each once. Empty: nothing. */
static void list_lost(const int errs[N_PROGRAMS], const struct kernel_opts *o, char *ret,
		      size_t size)
{
	size_t at = 0;

	ret[0] = 0;
	for (size_t i = 0; i < N_PROGRAMS && at < size; i++) {
		const struct program_row *row = &kernel_programs[i];
		bool told = false;

		if (!row->what || !row_is_wanted(row, o) || !row_is_lost(row, errs))
			continue;
		for (size_t j = 0; j < i; j++)
			told |= kernel_programs[j].what == row->what &&
				row_is_lost(&kernel_programs[j], errs);
		if (!told)
			at += (size_t)snprintf(ret + at, size - at, "%s%s",
					       at ? ", " : "kernel events: ", row->what);
	}
}

/*
 * Whether programs may be attached behind functions: some kernels have all that it takes and
 * refuse it. Tried at a function that nobody calls, for the calls that are under way in it would
 * go unseen by another collector; without that one, at the one that is wanted. 0 or -errno.
 */
static int try_trampoline(const struct btf *btf, const char *function)
{
	const struct bpf_insn nothing[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_TRACE_FEXIT);
	_cleanup_close_ int prog = -1, link = -1;
	int id = btf__find_by_name_kind(btf, "bpf_fentry_test1", BTF_KIND_FUNC);

	if (id < 0)
		id = btf__find_by_name_kind(btf, function, BTF_KIND_FUNC);
	if (id < 0)
		return -ESRCH;
	opts.attach_btf_id = (__u32)id;
	prog = bpf_prog_load(BPF_PROG_TYPE_TRACING, "trampoline", "GPL", nothing,
			     sizeof(nothing) / sizeof(nothing[0]), &opts);
	if (prog < 0)
		return -errno;
	link = bpf_raw_tracepoint_open(NULL, prog);
	return link < 0 ? -errno : 0;
}

/*
 * "tp_btf/NAME", "fexit/NAME" and "tp/FOLDER/NAME": is there such a hook? Others are found out
 * by trying.
 */
static bool has_hook(const char *section, const struct btf *btf)
{
	static const char *const folders[] = { "/sys/kernel/debug/tracing", "/sys/kernel/tracing" };
	struct place place;

	if (!strncmp(section, "tp_btf/", 7))
		return !btf || btf__find_by_name_kind(btf, at(&place, "btf_trace_%s", section + 7),
						      BTF_KIND_TYPEDEF) > 0;
	if (!strncmp(section, "fexit/", 6))
		return btf && btf__find_by_name_kind(btf, section + 6, BTF_KIND_FUNC) > 0;
	if (strncmp(section, "tp/", 3) != 0)
		return true;
	for (int i = 0; i < 2; i++)
		if (access(at(&place, "%s/events/%s/id", folders[i], section + 3), F_OK) == 0)
			return true;
	return false;
}

/* An error for each program of a source that has no hook here. btf: the kernel's, or NULL. */
static void look_for_hooks(enum kernel_source source, const struct kernel_opts *o,
			   const struct btf *btf, int errs[N_PROGRAMS])
{
	int trampolines = 1; /* not known yet */
	struct bpf_program *prog;
	struct bpf_object *obj;
	const void *elf;
	size_t size;
	int row;

	elf = kernel_sources[source].elf(&size);
	obj = bpf_object__open_mem(elf, size, NULL);
	if (!obj)
		return;
	bpf_object__for_each_program(prog, obj)
	{
		const char *section = bpf_program__section_name(prog);

		row = row_find(bpf_program__name(prog));
		if (row < 0 || !row_is_wanted(&kernel_programs[row], o))
			continue;
		/* libbpf says ESRCH of what is not in the BTF. */
		if (!has_hook(section, btf))
			errs[row] = !strncmp(section, "tp/", 3) ? -ENOENT : -ESRCH;
		else if (kernel_programs[row].attach == ATTACH_SYSCALL && trampolines > 0)
			trampolines =
				o->no_trampolines ? -EOPNOTSUPP : try_trampoline(btf, section + 6);
		if (!errs[row] && kernel_programs[row].attach == ATTACH_SYSCALL)
			errs[row] = trampolines;
	}
	bpf_object__close(obj);
}

static struct btf *load_kernel_btf(void)
{
	struct btf *btf = btf__load_vmlinux_btf();

	return libbpf_get_error(btf) ? NULL : btf;
}

/* Some programs of a source, loaded and not attached. *ret_why: what failed. */
static int load_rows(enum kernel_source source, const bool use[N_PROGRAMS],
		     const struct kernel_opts *o, struct bpf_object **ret, const char **ret_why)
{
	LIBBPF_OPTS(bpf_object_open_opts, open_opts, .object_name = kernel_sources[source].name,
		    .btf_custom_path = o->btf);
	struct bpf_object *obj;
	const void *elf;
	size_t size;
	int err;

	elf = kernel_sources[source].elf(&size);
	*ret_why = "open";
	obj = bpf_object__open_mem(elf, size, &open_opts);
	if (!obj)
		return -errno;
	load_only(obj, use);
	*ret_why = "load";
	err = set_sizes(obj, source, o);
	if (!err)
		err = bpf_object__load(obj);
	if (err)
		bpf_object__close(obj);
	else
		*ret = obj;
	return err;
}

static int try_to_attach(const struct program_row *row, struct bpf_object *obj, int cgroup_fd)
{
	struct bpf_link *link = NULL;
	int err = attach_row(row, obj, cgroup_fd, &link);

	bpf_link__destroy(link);
	return err;
}

/* At a tracepoint: for want of something behind its function. */
static bool row_is_call(const struct program_row *row)
{
	return row->first && kernel_programs[row_find(row->first)].attach == ATTACH_SYSCALL;
}

/*
 * What becomes of each wanted program of a source that has no error in errs yet, without a
 * trace. They are loaded together, and one by one only when that fails. To let go of a tracepoint
 * of a system call takes a kernel tens of milliseconds, and there are many: what becomes
 * of one becomes of all that are there. Behind system calls nothing is attached for a trial
 * (see try_trampoline()).
 */
static void try_source(enum kernel_source source, const struct kernel_opts *o, int cgroup_fd,
		       int errs[N_PROGRAMS], const char *whys[N_PROGRAMS])
{
	bool use[N_PROGRAMS] = { false }, syscall_known = false;
	struct bpf_object *obj, *all = NULL;
	int syscall_err = 0;
	const char *why;

	for (size_t i = 0; i < N_PROGRAMS; i++)
		use[i] = kernel_programs[i].source == source &&
			 row_is_wanted(&kernel_programs[i], o) && !errs[i];
	if (load_rows(source, use, o, &all, &why) < 0)
		all = NULL;
	for (size_t i = 0; i < N_PROGRAMS; i++) {
		const struct program_row *row = &kernel_programs[i];
		bool one[N_PROGRAMS] = { false };

		if (!use[i])
			continue;
		one[i] = true;
		obj = all;
		if (!all)
			errs[i] = load_rows(source, one, o, &obj, &whys[i]);
		if (errs[i])
			continue;
		whys[i] = "attach";
		if (row->attach == ATTACH_SYSCALL) {
			errs[i] = 0;
		} else if (!row_is_call(row)) {
			errs[i] = try_to_attach(row, obj, cgroup_fd);
		} else {
			if (!syscall_known)
				syscall_err = try_to_attach(row, obj, cgroup_fd);
			syscall_known = true;
			errs[i] = syscall_err;
		}
		if (!all)
			bpf_object__close(obj);
	}
	bpf_object__close(all);
}

/*
 * Which programs of a variant to attach: all of them, or of those that stand for
 * themselves the ones that work. They are tried only when it has to be (try_all), as that
 * takes its time.
 */
static bool choose_rows(const struct variant_row *v, const struct kernel_opts *o,
			const struct capture *before, int cgroup_fd, bool try_all,
			bool use[N_PROGRAMS], char *lacks, size_t lacks_size)
{
	const char *whys[N_PROGRAMS] = { NULL };
	int errs[N_PROGRAMS] = { 0 };
	bool any = false;

	if (v->source == KERNEL_EVENTS) {
		struct btf *btf = load_kernel_btf();

		look_for_hooks(v->source, o, btf, errs);
		btf__free(btf);
		if (try_all)
			try_source(v->source, o, cgroup_fd, errs, whys);
	}
	for (size_t i = 0; i < N_PROGRAMS; i++) {
		const struct program_row *row = &kernel_programs[i];

		use[i] = row->source == v->source && row_in_variant(row, v) &&
			 row_is_wanted(row, o) &&
			 row->attach != (before ? ATTACH_WALK : ATTACH_TAKE_OVER);
		if (use[i] && errs[i] && whys[i])
			log_debug("bpf %s: %s: %s", row->name, whys[i], log_strerror(errs[i]));
	}
	for (size_t i = 0; i < N_PROGRAMS; i++) {
		if (use[i] && kernel_programs[i].class)
			use[i] = row_is_used(&kernel_programs[i], errs);
		any |= use[i];
	}
	lacks[0] = 0;
	if (v->lacks)
		say(lacks, lacks_size, "%s", v->lacks);
	else
		list_lost(errs, o, lacks, lacks_size);
	return any;
}

/* What is lost, why, and what to do about it. */
static void say_lost(const char *what, const struct refusal *why, char *ret, size_t size)
{
	const char *cure = kernel_cure(why->err, why->step);

	say(ret, size, "%s (%s)%s%s", what, why->text, cure ? "; " : "", cure ? cure : "");
}

int source_build(enum kernel_source source, const struct kernel_opts *o, const char *dir,
		 const struct capture *before, int cgroup_fd, uint64_t generation, char *lacks,
		 size_t lacks_size)
{
	/* The first one tells why what comes behind it is less. */
	struct refusal first = { .err = 0 };
	int err = -ENOTSUP;

	for (size_t i = 0; i < N_VARIANTS; i++) {
		bool use[N_PROGRAMS];

		if (variants[i].source != source)
			continue;
		/* As it should be; then what works by itself; then that without trampolines. */
		for (int attempt = 0; attempt < (source == KERNEL_EVENTS ? 3 : 1); attempt++) {
			struct kernel_opts opts = *o;
			struct refusal why = { .err = 0 };

			opts.no_trampolines |= attempt == 2;
			if (!choose_rows(&variants[i], &opts, before, cgroup_fd, attempt > 0, use,
					 lacks, lacks_size)) {
				refuse(&why, -ENOTSUP, KERNEL_LOAD, "none of its programs works");
			} else {
				err = source_attach(source, use, &opts, dir, before, cgroup_fd,
						    generation, &why);
				if (!err && source == KERNEL_FLOWS && variants[i].lacks)
					say_lost(variants[i].lacks, &first, lacks, lacks_size);
				if (!err)
					return 0;
				log_debug("bpf %s (%s): %s", kernel_sources[source].name,
					  variants[i].groups, why.text);
				source_remove(source, dir);
			}
			if (!first.err)
				first = why;
		}
	}
	say_lost(source == KERNEL_FLOWS	    ? "flows"
		 : source == KERNEL_JOURNAL ? "the journal"
		 : source == KERNEL_EVENTS  ? "kernel events"
		 : source == KERNEL_NAMES   ? "names of flows"
					    : "programs by name",
		 &first, lacks, lacks_size);
	return err;
}

/* ------------------------------------------------------------------- trials */

/* The variant that kernel_new() would come to, or NULL. */
static const struct variant_row *find_variant(enum kernel_source source, const int errs[N_PROGRAMS])
{
	for (size_t v = 0; v < N_VARIANTS; v++) {
		bool whole = variants[v].source == source;

		for (size_t i = 0; i < N_PROGRAMS && whole; i++)
			if (kernel_programs[i].source == source &&
			    row_in_variant(&kernel_programs[i], &variants[v]) && errs[i] &&
			    !kernel_programs[i].class)
				whole = false;
		if (whole)
			return &variants[v];
	}
	return NULL;
}

int kernel_try(const struct kernel_opts *opts,
	       void (*fn)(void *arg, const struct kernel_trial *trial), void *arg)
{
	struct kernel_opts o = *opts;
	_cleanup_close_ int cgroup_fd = -1;
	const char *whys[N_PROGRAMS] = { NULL };
	int errs[N_PROGRAMS] = { 0 };
	struct btf *btf;
	char text[160];

	libbpf_speaks_through_us();
	o.flow_ring_bytes = o.journal_ring_bytes = o.events_ring_bytes = o.names_ring_bytes = 64
											      << 10;
	o.flows_max = 1024;
	cgroup_fd = cgroup_root_open(text, sizeof(text), NULL);
	for (size_t i = 0; i < N_PROGRAMS; i++)
		whys[i] = "load"; /* of what has no hook */
	btf = load_kernel_btf();
	for (int i = 0; i < KERNEL_SOURCES; i++) {
		if (!o.wanted[i])
			continue;
		look_for_hooks((enum kernel_source)i, &o, btf, errs);
		try_source((enum kernel_source)i, &o, cgroup_fd, errs, whys);
	}
	btf__free(btf);
	for (size_t i = 0; i < N_PROGRAMS; i++) {
		const struct program_row *row = &kernel_programs[i];
		const struct variant_row *v = find_variant(row->source, errs);
		struct kernel_trial trial = {
			.source = row->source,
			.source_name = kernel_sources[row->source].name,
			.program = row->name,
			.err = errs[i],
			.why = whys[i],
			.cure = errs[i] ? kernel_cure(errs[i], !strcmp(whys[i], "attach")
								       ? step_of(row)
								       : KERNEL_LOAD)
					: NULL,
			.used = v && row_in_variant(row, v),
			.lost = v ? v->lacks : "all of this source",
		};

		if (row->class) {
			trial.used = row_is_used(row, errs);
			trial.lost = row_is_lost(row, errs) ? row->what : NULL;
			trial.optional = true;
			if (trial.used && row_is_call(row))
				trial.cost = "each system call of the host takes some ns longer";
		}
		if (row_is_wanted(row, &o))
			fn(arg, &trial);
	}
	return 0;
}
