/* SPDX-License-Identifier: Apache-2.0 */
/* What must be impossible after privs_drop() is tried in a child, with real root before it. */
#define _GNU_SOURCE
#include "user/util/privs.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/test.h"

TEST(passwd)
{
	static const struct {
		const char *text, *user;
		int err;
		unsigned int uid, gid;
	} cases[] = {
		{ "", "nobody", -ENOENT },
		{ "nobody:x:65534:65533:nobody:/:/bin/false\n", "nobody", 0, 65534, 65533 },
		{ "root:x:0:0::/:\nnobody:x:99:98::/:", "nobody", 0, 99, 98 },
		{ "nobody:x:99:98", "nobody", 0, 99, 98 },
		{ "nobodyx:x:99:98\n", "nobody", -ENOENT },
		{ "nobod:x:99:98\n", "nobody", -ENOENT },
		{ "xnobody:x:99:98\n", "nobody", -ENOENT },
		{ "nobody:x::98\n", "nobody", -ENOENT },
		{ "nobody:x:99:\n", "nobody", -ENOENT },
		{ "nobody:x:99\n", "nobody", -ENOENT },
		{ "nobody:x\n", "nobody", -ENOENT },
		{ "nobody\n", "nobody", -ENOENT },
		{ "nobody:x:-1:5\n", "nobody", -ENOENT },
		{ "nobody:x:+1:5\n", "nobody", -ENOENT },
		{ "nobody:x: 1:5\n", "nobody", -ENOENT },
		{ "nobody:x:0x10:5\n", "nobody", -ENOENT },
		{ "nobody:x:4294967295:5\n", "nobody", -ENOENT },
		{ "nobody:x:4294967294:5\n", "nobody", 0, 4294967294u, 5 },
		{ "nobody:x:4294967296:5\n", "nobody", -ENOENT },
		{ "nobody:x:99999999999:5\n", "nobody", -ENOENT },
		{ "nobody:x:bad:5\nnobody:x:7:8\n", "nobody", 0, 7, 8 },
		{ "nobody:x:1:2\nnobody:x:7:8\n", "nobody", 0, 1, 2 },
		{ ":x:1:2\n", "", -ENOENT },
		{ "\n\n\n:::::\nnobody:x:1:2\n", "nobody", 0, 1, 2 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uid_t uid = 12345;
		gid_t gid = 12345;

		CHECK_INT(privs_parse_passwd(slice_of(cases[i].text), cases[i].user, &uid, &gid),
			  cases[i].err);
		CHECK_INT(uid, cases[i].err ? 12345 : cases[i].uid);
		CHECK_INT(gid, cases[i].err ? 12345 : cases[i].gid);
		if (test_failed)
			printf("# case %zu: %s\n", i, cases[i].text);
	}
}

TEST(the_system_has_root)
{
	uid_t uid = 1;
	gid_t gid = 1;

	CHECK_INT(privs_lookup("root", &uid, &gid), 0);
	CHECK_INT(uid, 0);
	CHECK_INT(gid, 0);
	CHECK_INT(privs_lookup("no-such-user-here", &uid, &gid), -ENOENT);
}

TEST(an_unknown_user_is_nobody)
{
	uid_t uid = 0;
	gid_t gid = 0;

	CHECK_STR(privs_lookup_unprivileged("no-such-user-here", &uid, &gid), "nobody");
	CHECK(uid != 0);
	CHECK(gid != 0);
	uid = 0;
	CHECK_STR(privs_lookup_unprivileged(NULL, &uid, &gid), "nobody");
	CHECK(uid != 0);
}

/* Runs fn in a child; its CHECKs count here. True when it ran at all. */
static bool in_child(void (*fn)(void))
{
	int status = -1;
	pid_t pid;

	if (geteuid() != 0) {
		printf("# skipped: needs root\n");
		return false;
	}
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		test_failed = false;
		fn();
		fflush(stdout);
		_exit(test_failed ? 1 : 0);
	}
	CHECK(pid > 0);
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK_INT(status, 0);
	return true;
}

static void refuse_root(void)
{
	CHECK_INT(privs_drop(0, 5), -EINVAL);
	CHECK_INT(privs_drop(5, 0), -EINVAL);
	CHECK_INT(geteuid(), 0);
}

TEST(root_is_not_unprivileged)
{
	in_child(refuse_root);
}

#define ID 54321

static void users_and_groups(void)
{
	gid_t extra[] = { 0, 1, 42 };

	CHECK_INT(setgroups(3, extra), 0);
	CHECK_INT(privs_drop(ID, ID), 0);
	CHECK_INT(getuid(), ID);
	CHECK_INT(geteuid(), ID);
	CHECK_INT(getgid(), ID);
	CHECK_INT(getegid(), ID);
	CHECK_INT(getgroups(0, NULL), 0);
	CHECK_INT(setuid(0), -1);
	CHECK_INT(setreuid(-1, 0), -1);
	CHECK_INT(setresuid(-1, -1, 0), -1);
	CHECK_INT(syscall(SYS_setfsuid, 0), ID);
	CHECK_INT(syscall(SYS_setfsuid, ID), ID);
	CHECK_INT(setgid(0), -1);
	CHECK_INT(setgroups(1, extra), -1);
	CHECK_INT(setgroups(0, NULL), -1);
}

TEST(users_and_groups_are_gone_for_good)
{
	in_child(users_and_groups);
}

static void capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2] = { 0 };

	/* The ways in which capabilities outlive a change of user. */
	CHECK_INT(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), 0);
	CHECK_INT(syscall(SYS_capget, &header, caps), 0);
	CHECK(caps[0].permitted != 0);
	caps[0].inheritable = caps[0].permitted;
	caps[1].inheritable = caps[1].permitted;
	CHECK_INT(syscall(SYS_capset, &header, caps), 0);
	CHECK_INT(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN, 0, 0), 0);

	CHECK_INT(privs_drop(ID, ID), 0);
	memset(caps, 0xff, sizeof(caps));
	CHECK_INT(syscall(SYS_capget, &header, caps), 0);
	for (int i = 0; i < 2; i++) {
		CHECK_INT(caps[i].effective, 0);
		CHECK_INT(caps[i].permitted, 0);
		CHECK_INT(caps[i].inheritable, 0);
	}
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
		CHECK_INT(prctl(PR_CAPBSET_READ, cap, 0, 0, 0), 0);
		CHECK_INT(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0), 0);
	}
	caps[0].effective = caps[0].permitted = 1u << CAP_NET_ADMIN;
	caps[0].inheritable = 0;
	CHECK_INT(syscall(SYS_capset, &header, caps), -1);
	CHECK_INT(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN, 0, 0), -1);
	CHECK_INT(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
	CHECK_INT(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), -1);
}

TEST(no_capability_is_left_in_any_set)
{
	in_child(capabilities);
}

static char root_only[] = "/tmp/test_privs.XXXXXX";
static int root_only_fd = -1;

static void things_of_root(void)
{
	CHECK_INT(privs_drop(ID, ID), 0);
	CHECK_INT(open(root_only, O_RDONLY), -1);
	CHECK_INT(errno, EACCES);
	CHECK_INT(open(root_only, O_WRONLY), -1);
	CHECK_INT(chmod(root_only, 0666), -1);
	CHECK_INT(chown(root_only, ID, ID), -1);
	CHECK_INT(open("/etc/shadow", O_RDONLY), -1);
	CHECK_INT(mount("none", "/mnt", "tmpfs", 0, NULL), -1);
	CHECK_INT(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), -1);
	CHECK_INT(socket(AF_PACKET, SOCK_RAW, 0), -1);
	CHECK_INT(kill(getppid(), 0), -1);
	CHECK_INT(errno, EPERM);
	CHECK_INT(unshare(CLONE_NEWNS), -1);
	CHECK_INT(chroot("/"), -1);
	CHECK_INT(nice(-1), -1);
}

TEST(what_is_roots_stays_roots)
{
	root_only_fd = mkstemp(root_only);
	CHECK(root_only_fd >= 0);
	CHECK_INT(fchmod(root_only_fd, 0600), 0);
	in_child(things_of_root);
	unlink(root_only);
	close(root_only_fd);
}

static void tracing_others(void)
{
	pid_t root_child = fork();

	if (root_child == 0) {
		pause();
		_exit(0);
	}
	CHECK(root_child > 0);
	if (privs_drop(ID, ID) != 0) {
		CHECK(false);
	} else {
		CHECK_INT(ptrace(PTRACE_SEIZE, root_child, NULL, NULL), -1);
		CHECK_INT(errno, EPERM);
		CHECK_INT(ptrace(PTRACE_SEIZE, getppid(), NULL, NULL), -1);
		CHECK_INT(errno, EPERM);
	}
}

/* The child that sleeps can be killed by root alone: it is in this process group. */
TEST(it_can_not_trace_a_process_of_root)
{
	pid_t pid;
	int status;

	if (geteuid() != 0) {
		printf("# skipped: needs root\n");
		return;
	}
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		test_failed = false;
		tracing_others();
		fflush(stdout);
		_exit(test_failed ? 1 : 0);
	}
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK_INT(status, 0);
	kill(-pid, SIGKILL);
}

static void memory_is_hidden(void)
{
	struct rlimit core = { 1, 1 };
	char path[64];
	pid_t pid;
	int status, ends[2];
	char byte;

	CHECK_INT(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		if (privs_drop(ID, ID) != 0)
			_exit(1);
		CHECK_INT(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
		CHECK_INT(getrlimit(RLIMIT_CORE, &core), 0);
		CHECK_INT(core.rlim_max, 0);
		core.rlim_cur = core.rlim_max = 1;
		CHECK_INT(setrlimit(RLIMIT_CORE, &core), -1);
		if (test_failed || write(ends[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	close(ends[1]);
	CHECK_INT(read(ends[0], &byte, 1), 1);
	/* Another process of the very same user, which did not hide. */
	if (fork() == 0) {
		bool bad = false;

		if (setgroups(0, NULL) || setresgid(ID, ID, ID) || setresuid(ID, ID, ID))
			_exit(2);
		snprintf(path, sizeof(path), "/proc/%d/mem", pid);
		bad |= open(path, O_RDONLY) >= 0;
		snprintf(path, sizeof(path), "/proc/%d/environ", pid);
		bad |= open(path, O_RDONLY) >= 0;
		bad |= ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0;
		_exit(bad ? 1 : 0);
	}
	CHECK(wait(&status) > 0);
	CHECK_INT(status, 0);
	kill(pid, SIGKILL);
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status));
	CHECK(!WCOREDUMP(status));
}

TEST(the_same_user_can_not_read_its_memory)
{
	in_child(memory_is_hidden);
}

static void twice(void)
{
	CHECK_INT(privs_drop(ID, ID), 0);
	/* Already there: the bounding set is empty, the user is right. */
	CHECK_INT(privs_drop(ID, ID), 0);
	CHECK_INT(privs_drop(ID + 1, ID), -EPERM);
}

TEST(to_drop_again_is_harmless)
{
	in_child(twice);
}

/* A directory in a directory in a directory: what refuses is named. */
TEST(the_way_to_a_directory)
{
	static const struct {
		mode_t top, middle, last;
		const char *refusal; /* below top; NULL: none */
	} cases[] = {
		{ 0755, 0755, 0755, NULL },
		{ 0711, 0711, 0755, NULL },
		{ 0700, 0755, 0755, "" },
		{ 0755, 0700, 0755, "/middle" },
		{ 0755, 0755, 0700, "/middle/last" },
		{ 0755, 0755, 0711, "/middle/last" },
		{ 0755, 0744, 0755, "/middle" },
		{ 0700, 0700, 0700, "" },
	};
	char top[] = "/tmp/test-reach-XXXXXX", middle[64], last[80], want[80];

	if (getuid() != 0) {
		printf("# needs root\n");
		return;
	}
	CHECK(mkdtemp(top));
	snprintf(middle, sizeof(middle), "%s/middle", top);
	snprintf(last, sizeof(last), "%s/last", middle);
	CHECK_INT(mkdir(middle, 0755), 0);
	CHECK_INT(mkdir(last, 0755), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *refusal = NULL;

		CHECK_INT(chmod(top, cases[i].top), 0);
		CHECK_INT(chmod(middle, cases[i].middle), 0);
		CHECK_INT(chmod(last, cases[i].last), 0);
		CHECK_INT(privs_can_reach(last, ID, ID, &refusal), cases[i].refusal ? -EACCES : 0);
		if (cases[i].refusal) {
			snprintf(want, sizeof(want), "%s%s", top, cases[i].refusal);
			CHECK_STR(refusal, want);
		}
		/* Root comes everywhere, and we still are. */
		CHECK_INT(privs_can_reach(last, 0, 0, &refusal), 0);
		free(refusal);
	}
	/* The group may. */
	CHECK_INT(chmod(top, 0755), 0);
	CHECK_INT(chmod(middle, 0755), 0);
	CHECK_INT(chmod(last, 0750), 0);
	CHECK_INT(chown(last, 0, ID), 0);
	CHECK_INT(privs_can_reach(last, ID, ID, NULL), 0);
	CHECK_INT(privs_can_reach("/no/such/directory", ID, ID, NULL), -ENOENT);
	rmdir(last);
	rmdir(middle);
	rmdir(top);
}

static void without_setuid(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2] = { 0 };

	CHECK_INT(syscall(SYS_capget, &header, caps), 0);
	caps[0].effective &= ~(1u << CAP_SETUID);
	caps[0].permitted &= ~(1u << CAP_SETUID);
	CHECK_INT(syscall(SYS_capset, &header, caps), 0);
	CHECK_INT(privs_drop(ID, ID), -EPERM);
}

TEST(a_drop_that_can_not_be_done_says_so)
{
	in_child(without_setuid);
}
