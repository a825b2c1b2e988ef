/* SPDX-License-Identifier: Apache-2.0 */
/* Pods and containers by the files of a node: one of our own making, in the shape of real ones. */
#define _GNU_SOURCE
#include "user/container_names.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/test.h"
#include "user/container_config.h"

#define ID     "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ID2    "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
#define POD    "7f0b1a2c-3d4e-5f60-7182-93a4b5c6d7e8"
#define STATIC "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
#define TASKS  "run/containerd/io.containerd.runtime.v2.task"
#define STORE  "var/lib/containers/storage/overlay-containers"

static char root[64];

static void begin(void)
{
	strcpy(root, "/tmp/test_container_names.XXXXXX");
	if (!mkdtemp(root))
		abort();
}

static int remove_one(const char *p, const struct stat *st, int type, struct FTW *w)
{
	(void)st, (void)type, (void)w;
	return remove(p);
}

static void end(void)
{
	nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The path below root, with its folders. */
static const char *place(const char *path)
{
	static char at[512];

	snprintf(at, sizeof(at), "%s/%s", root, path);
	for (char *p = at + strlen(root) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(at, 0755);
		*p = '/';
	}
	return at;
}

static void put(const char *path, const char *text)
{
	FILE *f = fopen(place(path), "we");

	if (!f || fputs(text, f) < 0 || fclose(f) != 0)
		abort();
}

static void put_link(const char *path, const char *to)
{
	if (symlink(to, place(path)) < 0)
		abort();
}

static struct container_info info_of(const char *id, const char *uid)
{
	struct container_info c = { .runtime = NULL };

	strcpy(c.id, id);
	strcpy(c.pod_uid, uid);
	return c;
}

/* "NAMESPACE/POD/CONTAINER IMAGE:TAG RUNTIME" */
static const char *found(struct container_names *n, const char *id, const char *uid,
			 uint64_t now_ms)
{
	static char text[1024];
	struct container_info c = info_of(id, uid);
	struct container_name t;

	container_names_find(n, &c, now_ms, &t);
#define TEXT(s) (int)(s).len, (s).len ? (s).p : ""
	snprintf(text, sizeof(text), "%.*s/%.*s/%.*s %.*s:%.*s %s", TEXT(t.namespace), TEXT(t.pod),
		 TEXT(t.name), TEXT(t.image), TEXT(t.tag), t.runtime ? t.runtime : "-");
	return text;
}

static struct container_names *names_of(uint32_t max)
{
	struct container_names *n = NULL;

	if (container_names_new(root, max, &n) < 0)
		abort();
	return n;
}

static const char cri[] =
	"{\"ociVersion\":\"1.1.0\",\"process\":{\"user\":{\"uid\":0},\"args\":[\"/bin/sh\","
	"\"{\\\"annotations\\\":{}\"],\"env\":[\"A=}]\"]},\"root\":{\"path\":\"rootfs\"},"
	"\"mounts\":[{\"destination\":\"/proc\"}],\"annotations\":{"
	"\"io.kubernetes.cri.container-name\":\"web\",\"io.kubernetes.cri.container-type\":"
	"\"container\",\"io.kubernetes.cri.image-name\":\"registry.local:5000/shop/nginx:1.25.3\","
	"\"io.kubernetes.cri.sandbox-name\":\"web-5d8f-x2x7k\","
	"\"io.kubernetes.cri.sandbox-namespace\":\"shop\"},\"linux\":{\"resources\":{}}}";

TEST(a_node_of_containerds)
{
	_cleanup_(container_names_freep) struct container_names *n = NULL;

	begin();
	put_link("var/log/containers/web-5d8f-x2x7k_shop_web-" ID ".log", "/nowhere");
	put("var/log/pods/shop_web-5d8f-x2x7k_" POD "/web/0.log", "");
	n = names_of(0);
	/* What kubelet alone tells. */
	CHECK_STR(found(n, ID, POD, 0), "shop/web-5d8f-x2x7k/web : -");
	CHECK_STR(found(n, "", POD, 0), "shop/web-5d8f-x2x7k/ : -");
	/* The sandbox of the same pod has no log. */
	CHECK_STR(found(n, ID2, POD, 0), "shop/web-5d8f-x2x7k/ : -");
	container_names_free(n);
	put(TASKS "/k8s.io/" ID "/config.json", cri);
	n = names_of(0);
	CHECK_STR(found(n, ID, POD, 0),
		  "shop/web-5d8f-x2x7k/web registry.local:5000/shop/nginx:1.25.3 containerd");
	container_names_free(n);
	/* And the runtime alone, as before the container has begun to log. */
	remove(place("var/log/containers/web-5d8f-x2x7k_shop_web-" ID ".log"));
	n = names_of(0);
	CHECK_STR(found(n, ID, "", 0),
		  "shop/web-5d8f-x2x7k/web registry.local:5000/shop/nginx:1.25.3 containerd");
	end();
}

TEST(other_runtimes)
{
	_cleanup_(container_names_freep) struct container_names *n = NULL;

	begin();
	put(STORE "/" ID "/userdata/config.json",
	    "{\"annotations\":{\"io.container.manager\":\"cri-o\",\"io.kubernetes.container.name\":"
	    "\"etcd\",\"io.kubernetes.pod.name\":\"etcd-node1\",\"io.kubernetes.pod.namespace\":"
	    "\"kube-system\",\"io.kubernetes.cri-o.ImageName\":\"quay.io/coreos/etcd@sha256:" ID
	    "\"}}");
	put("var/log/pods/kube-system_etcd-node1_" STATIC "/etcd/0.log", "");
	put(STORE "/" ID2 "/userdata/config.json",
	    "{\"annotations\":{\"io.container.manager\":\"libpod\"}}");
	put(STORE "/containers.json",
	    "[{\"id\":\"" ID "\",\"names\":[\"k8s_etcd\"]},\n {\"id\":\"" ID2 "\",\"names\":["
	    "\"eager_hopper\",\"x\"],\"image\":\"feed\",\"metadata\":\"{\\\"image-name\\\":"
	    "\\\"docker.io/library/alpine:latest\\\",\\\"name\\\":\\\"eager_hopper\\\"}\"}]");
	put("var/lib/docker/containers/" STATIC STATIC "/config.v2.json",
	    "{\"State\":{},\"Config\":{\"Image\":\"nginx\",\"Env\":[\"Name=x\"]},\"Name\":"
	    "\"/brave_darwin\"}");
	put(TASKS "/default/" POD, "");
	n = names_of(0);
	CHECK_STR(found(n, ID, STATIC, 0),
		  "kube-system/etcd-node1/etcd quay.io/coreos/etcd@sha256:" ID ": cri-o");
	CHECK_STR(found(n, ID2, "", 0), "//eager_hopper docker.io/library/alpine:latest podman");
	CHECK_STR(found(n, STATIC STATIC, "", 0), "//brave_darwin nginx: docker");
	CHECK_STR(found(n, "", STATIC, 0), "kube-system/etcd-node1/ : -");
	/* Names of machines are not looked up. */
	CHECK_STR(found(n, "my-machine", "", 0), "// : -");
	end();
}

/* A file may come a moment after its container; one that never does is asked for seldom. */
TEST(what_comes_late)
{
	_cleanup_(container_names_freep) struct container_names *n = NULL;
	struct container_names_stats s;

	begin();
	n = names_of(0);
	CHECK_STR(found(n, ID, POD, 1000), "// : -");
	put_link("var/log/containers/p_ns_c-" ID ".log", "/nowhere");
	CHECK_STR(found(n, ID, POD, 1249), "// : -");
	CHECK_STR(found(n, ID, POD, 1250), "ns/p/c : -");
	for (int i = 0; i < 1000; i++) {
		found(n, ID, POD, 2000);
		found(n, ID2, POD, 2000);
	}
	container_names_get_stats(n, &s);
	CHECK_INT(s.lookups, 3);
	CHECK_INT(s.found, 1);
	CHECK_INT(s.entries, 2);
	/* It stays known when it is gone. */
	remove(place("var/log/containers/p_ns_c-" ID ".log"));
	CHECK_STR(found(n, ID, POD, 10000000), "ns/p/c : -");
	for (uint64_t now = 3000; now < 3600000; now += 10)
		found(n, ID2, POD, now);
	container_names_get_stats(n, &s);
	CHECK(s.lookups > 10 && s.lookups < 30);
	end();
}

TEST(ceilings)
{
	_cleanup_(container_names_freep) struct container_names *n = NULL;
	struct container_names_stats s;
	char id[65], large[300];
	FILE *f;

	begin();
	put_link("var/log/containers/p_ns_c-" ID ".log", "/nowhere");
	n = names_of(16);
	for (int i = 0; i < 1000; i++) {
		snprintf(id, sizeof(id), "%064d", i);
		found(n, id, "", 5000 + (uint64_t)i);
	}
	container_names_get_stats(n, &s);
	CHECK_INT(s.entries, 16);
	CHECK_INT(s.lookups,
		  2 * CONTAINER_LOOKUPS_A_SECOND > 1000 ? 1000 : CONTAINER_LOOKUPS_A_SECOND);
	CHECK_INT(s.lookups + s.put_off, 1000);
	CHECK_INT(s.evicted, s.lookups - 16);
	CHECK_STR(found(n, ID, "", 7000), "ns/p/c : -");
	/* A configuration that is far too large: the beginning has what we want. */
	snprintf(large, sizeof(large), "%s/k8s.io/%s/config.json", TASKS, ID2);
	put(large, cri);
	f = fopen(place(large), "re+");
	if (!f)
		abort();
	fseek(f, (long)strlen(cri) - 1, SEEK_SET);
	for (int i = 0; i < CONTAINER_FILE_MAX / 64; i++)
		fprintf(f, ",\"%060d\":1", i);
	fclose(f);
	CHECK_STR(found(n, ID2, "", 8000),
		  "shop/web-5d8f-x2x7k/web registry.local:5000/shop/nginx:1.25.3 containerd");
	container_names_get_stats(n, &s);
	CHECK_INT(s.cut, 1);
	end();
}

/* Whoever can write somewhere below must not make us read, or wait, elsewhere. */
TEST(links_pipes_and_folders)
{
	_cleanup_(container_names_freep) struct container_names *n = NULL;
	char path[300];

	begin();
	put("elsewhere/config.json", cri);
	put_link(TASKS "/k8s.io/" ID, "../../../../elsewhere");
	snprintf(path, sizeof(path), "%s/elsewhere/config.json", root);
	place(TASKS "/k8s.io/" ID2 "/x");
	put_link(TASKS "/k8s.io/" ID2 "/config.json", path);
	put_link(STORE "/" ID "/userdata", "../../../../../../../elsewhere");
	mkfifo(place("var/lib/docker/containers/" ID "/config.v2.json"), 0644);
	mkdir(place("var/lib/docker/containers/" ID2 "/config.v2.json"), 0755);
	place("var/lib/docker/containers/" ID2 "/config.v2.json/x");
	n = names_of(0);
	CHECK_STR(found(n, ID, "", 0), "// : -");
	CHECK_STR(found(n, ID2, "", 0), "// : -");
	/* But a folder of the runtime's may lie on another disk. */
	container_names_free(n);
	end();
	begin();
	put("data/" ID "/config.v2.json", "{\"Name\":\"/moved\"}");
	put_link("var/lib/docker/containers", "../../../data");
	n = names_of(0);
	CHECK_STR(found(n, ID, "", 0), "//moved : docker");
	end();
}

static const struct {
	const char *name, *want;
	bool is_his;
} logs[] = {
	{ "p_n_c-" ID ".log", "n/p/c", true },
	{ "a.b-c_kube-system_x-y-" ID ".log", "kube-system/a.b-c/x-y", true },
	{ "p_n_c-" ID2 ".log", "//", false },
	{ "p_n_c-" ID, "//", false },
	{ "p_n_-" ID ".log", "//", false },
	{ "p_nc-" ID ".log", "//", false },
	{ "-" ID ".log", "//", false },
	{ ".log", "//", false },
	{ "", "//", false },
	{ "p\"x_n_c-" ID ".log", "n//c", true },
	{ "p_n\n_c-" ID ".log", "/p/c", true },
	{ "p_n_c\xff-" ID ".log", "n/p/", true },
	{ "p_" ID ID "_c-" ID ".log", "/p/c", true },
	{ "_n_c-" ID ".log", "n//c", true },
};

TEST(names_of_logs)
{
	for (size_t i = 0; i < sizeof(logs) / sizeof(*logs); i++) {
		struct container_texts t = { .runtime = NULL };
		char got[700];

		CHECK_INT(container_parse_log_name(slice_of(logs[i].name), ID, &t), logs[i].is_his);
		snprintf(got, sizeof(got), "%s/%s/%s", t.namespace, t.pod, t.name);
		CHECK_STR(got, logs[i].want);
		CHECK_INT(t.malformed,
			  logs[i].is_his && (!t.pod[0] || !t.namespace[0] || !t.name[0]));
	}
}

/* A pod's annotations are its own choice. */
static const struct {
	const char *json, *name, *image;
	unsigned malformed;
} configs[] = {
	{ "", "", "", 0 },
	{ "{\"annotations\":{", "", "", 0 },
	{ "{\"annotations\":[]}", "", "", 0 },
	{ "{\"annotations\":{\"io.kubernetes.cri.container-name\":7}}", "", "", 0 },
	{ "{\"annotations\":{\"io.kubernetes.cri.container-name\":\"a\\\"b\"}}", "", "", 1 },
	{ "{\"annotations\":{\"io.kubernetes.cri.container-name\":\"a\\u0000b\"}}", "", "", 1 },
	{ "{\"annotations\":{\"io.kubernetes.cri.image-name\":\"a b\"}}", "", "", 1 },
	{ "{\"annotations\":{\"io.kubernetes.cri.image-name\":\"a/b:c\"", "", "a/b:c", 0 },
	{ "{\"annotations\":{\"nerdctl/name\":\"x_1\"}}", "x_1", "", 0 },
};

TEST(hostile_configurations)
{
	char *deep = malloc(100001);

	for (size_t i = 0; i < sizeof(configs) / sizeof(*configs); i++) {
		struct container_texts t = { .runtime = NULL };

		container_parse_oci(slice_of(configs[i].json), &t);
		CHECK_STR(t.name, configs[i].name);
		CHECK_STR(t.image, configs[i].image);
		CHECK_INT(t.malformed, configs[i].malformed);
	}
	memset(deep, '[', 100000);
	deep[100000] = '\0';
	for (int i = 0; i < 3; i++) {
		struct container_texts t = { .runtime = NULL };

		container_parse_oci(slice_of(deep), &t);
		container_parse_docker(slice_of(deep), &t);
		container_parse_storage(slice_of(deep), ID, &t);
		CHECK(!t.name[0] && !t.malformed);
	}
	free(deep);
}

TEST(no_such_folder)
{
	struct container_names *n = NULL;

	CHECK_INT(container_names_new("/nonexistent", 0, &n), -ENOENT);
	CHECK(!n);
}
