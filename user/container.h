/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a control group's path tells: container, pod, systemd unit. Pure: it
 * parses the text of /proc/PID/cgroup, of cgroup v1, v2 and both at once.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "user/util/slice.h"

#define CONTAINER_ID_SIZE   65 /* 64 hex digits and a NUL */
#define CONTAINER_POD_SIZE  37
#define CONTAINER_UNIT_SIZE 128

struct container_info {
	char id[CONTAINER_ID_SIZE];	     /* empty: not in a container */
	char pod_uid[CONTAINER_POD_SIZE];    /* Kubernetes; with dashes */
	char unit[CONTAINER_UNIT_SIZE];	     /* ssh.service, session-4.scope; empty: none */
	char user_unit[CONTAINER_UNIT_SIZE]; /* in user@UID.service: the user's own; empty: none */
	const char *runtime; /* docker, containerd, cri-o, podman, ...; NULL: not known */
};

/* One path: "/system.slice/docker-0123….scope". */
void container_parse_path(struct slice path, struct container_info *ret);

/* The whole of /proc/PID/cgroup. */
void container_parse_cgroup(struct slice text, struct container_info *ret);
