/* SPDX-License-Identifier: Apache-2.0 */
#include "user/container.h"

#include "tests/lib/test.h"

#define ID   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ID2  "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
#define POD  "7f0b1a2c-3d4e-5f60-7182-93a4b5c6d7e8"
#define POD_ "7f0b1a2c_3d4e_5f60_7182_93a4b5c6d7e8"

static const struct {
	const char *path, *id, *runtime, *pod, *unit;
} paths[] = {
	{ "/", "", NULL, "", "" },
	{ "", "", NULL, "", "" },
	{ "/init.scope", "", NULL, "", "init.scope" },
	{ "/system.slice/ssh.service", "", NULL, "", "ssh.service" },
	{ "/system.slice/system-getty.slice/getty@tty1.service", "", NULL, "",
	  "getty@tty1.service" },
	{ "/user.slice/user-1000.slice/session-4.scope", "", NULL, "", "session-4.scope" },
	{ "/user.slice/user-1000.slice/user@1000.service/app.slice/foo.service", "", NULL, "",
	  "user@1000.service" },
	{ "/system.slice/_cpu.service", "", NULL, "", "cpu.service" },

	{ "/docker/" ID, ID, "docker", "", "" },
	{ "/system.slice/docker-" ID ".scope", ID, "docker", "", "docker-" ID ".scope" },
	{ "/system.slice/docker-" ID ".scope/init.scope", ID, "docker", "", "docker-" ID ".scope" },
	{ "/docker/" ID "/docker/" ID2, ID2, "docker", "", "" },

	{ "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" POD_
	  ".slice/cri-containerd-" ID ".scope",
	  ID, "containerd", POD, "cri-containerd-" ID ".scope" },
	{ "/kubepods.slice/kubepods-pod" POD_ ".slice/crio-" ID ".scope", ID, "cri-o", POD,
	  "crio-" ID ".scope" },
	{ "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" POD_
	  ".slice/docker-" ID ".scope",
	  ID, "docker", POD, "docker-" ID ".scope" },
	{ "/kubepods/burstable/pod" POD "/" ID, ID, NULL, POD, "" },
	{ "/kubepods/pod" POD "/crio-" ID, ID, "cri-o", POD, "" },
	{ "/kubepods/besteffort/pod0123456789abcdef0123456789abcdef/" ID, ID, NULL,
	  "0123456789abcdef0123456789abcdef", "" },
	{ "/system.slice/containerd.service/kubepods-burstable-pod" POD_
	  ".slice:cri-containerd:" ID,
	  ID, "containerd", POD, "containerd.service" },

	{ "/machine.slice/libpod-" ID ".scope", ID, "podman", "", "libpod-" ID ".scope" },
	{ "/machine.slice/libpod-" ID ".scope/container", ID, "podman", "", "libpod-" ID ".scope" },
	{ "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID ".scope", ID,
	  "podman", "", "user@1000.service" },
	{ "/libpod_parent/libpod-" ID, ID, "podman", "", "" },
	{ "/system.slice/nerdctl-" ID ".scope", ID, "containerd", "", "nerdctl-" ID ".scope" },
	/* The one that watches a container is not in it. */
	{ "/machine.slice/libpod-conmon-" ID ".scope", "", NULL, "", "libpod-conmon-" ID ".scope" },
	{ "/system.slice/crio-conmon-" ID ".scope", "", NULL, "", "crio-conmon-" ID ".scope" },

	{ "/lxc/web", "web", "lxc", "", "" },
	{ "/lxc.payload.web/system.slice/ssh.service", "web", "lxc", "", "ssh.service" },
	{ "/machine.slice/machine-web.scope", "web", "systemd-nspawn", "", "machine-web.scope" },
	{ "/machine.slice/systemd-nspawn@web.service/payload", "web", "systemd-nspawn", "",
	  "systemd-nspawn@web.service" },
	{ "/ecs/cluster/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-3916",
	  "0123456789abcdef0123456789abcdef-3916", NULL, "", "" },

	/* Almost, but not. */
	{ "/docker/0123", "", NULL, "", "" },
	{ "/docker/" ID "0", "", NULL, "", "" },
	{ "/system.slice/docker-0123456789ABCDEF.scope", "", NULL, "",
	  "docker-0123456789ABCDEF.scope" },
	{ "/.service", "", NULL, "", "" },
};

TEST(paths)
{
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		struct container_info c;

		container_parse_path(slice_of(paths[i].path), &c);
		CHECK_STR(c.id, paths[i].id);
		CHECK_STR(c.runtime ? c.runtime : "-", paths[i].runtime ? paths[i].runtime : "-");
		CHECK_STR(c.pod_uid, paths[i].pod);
		CHECK_STR(c.unit, paths[i].unit);
	}
}

TEST(users_units)
{
	static const struct {
		const char *path, *unit, *user_unit;
	} cases[] = {
		{ "/user.slice/user-1000.slice/user@1000.service/app.slice/foo.service",
		  "user@1000.service", "foo.service" },
		{ "/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.slice/app-x-1.scope",
		  "user@1000.service", "app-x-1.scope" },
		{ "/user.slice/user-1000.slice/user@1000.service/foo.service/bar.service",
		  "user@1000.service", "foo.service" },
		{ "/user.slice/user-1000.slice/user@1000.service/init.scope", "user@1000.service",
		  "" },
		{ "/user.slice/user-1000.slice/session-2.scope", "session-2.scope", "" },
		{ "/system.slice/foo.service/bar.service", "foo.service", "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct container_info c;
		char text[256];

		container_parse_path(slice_of(cases[i].path), &c);
		CHECK_STR(c.unit, cases[i].unit);
		CHECK_STR(c.user_unit, cases[i].user_unit);
		snprintf(text, sizeof(text), "0::%s\n", cases[i].path);
		container_parse_cgroup(slice_of(text), &c);
		CHECK_STR(c.user_unit, cases[i].user_unit);
	}
}

TEST(files)
{
	static const struct {
		const char *text, *id, *unit;
	} cases[] = {
		/* v2 */
		{ "0::/system.slice/ssh.service\n", "", "ssh.service" },
		{ "0::/system.slice/docker-" ID ".scope\n", ID, "docker-" ID ".scope" },
		/* v1: the runtime's path is in every hierarchy, the unit in systemd's */
		{ "12:pids:/docker/" ID "\n11:cpu,cpuacct:/docker/" ID
		  "\n1:name=systemd:/docker/" ID "\n",
		  ID, "" },
		{ "4:memory:/system.slice/ssh.service\n1:name=systemd:/system.slice/cron.service\n",
		  "", "cron.service" },
		/* both */
		{ "1:name=systemd:/init.scope\n0::/docker/" ID "\n", ID, "init.scope" },
		/* no end, nothing, nonsense */
		{ "0::/docker/" ID, ID, "" },
		{ "", "", "" },
		{ "\n\n:\n::\n0:\n", "", "" },
		{ "no colons\n0::/a:b/docker-" ID ".scope\n", ID, "docker-" ID ".scope" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct container_info c;

		container_parse_cgroup(slice_of(cases[i].text), &c);
		CHECK_STR(c.id, cases[i].id);
		CHECK_STR(c.unit, cases[i].unit);
	}
}

TEST(names_too_long_for_us)
{
	char path[400] = "/system.slice/";
	struct container_info c;

	memset(path + 14, 'a', 300);
	strcpy(path + 314, ".service");
	container_parse_path(slice_of(path), &c);
	CHECK_STR(c.unit, "");
	memcpy(path, "/lxc.payload.", 13);
	container_parse_path(slice_of(path), &c);
	CHECK_STR(c.id, "");
	CHECK(c.runtime == NULL);
}
