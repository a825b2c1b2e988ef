/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files that a node keeps about its containers say: names of folders and links
 * that kubelet makes, and the configurations of container runtimes. Pure, and strict: a pod
 * chooses its names, and what no name of theirs can be is left out.
 */
#pragma once

#include <stdbool.h>

#include "user/util/slice.h"

struct container_texts {
	char pod[254], namespace[64]; /* empty: not known */
	char name[256];		      /* of the container */
	char image[512];
	const char *runtime; /* NULL: not known */
	unsigned malformed;  /* so many were left out */
};

/* Each adds what it finds to what is known already, which it leaves alone. */

/* /var/log/containers/POD_NAMESPACE_CONTAINER-ID.log: false when it is not that id's. */
bool container_parse_log_name(struct slice file, const char *id, struct container_texts *t);

/* /var/log/pods/NAMESPACE_POD_UID: false when it is not that uid's. */
bool container_parse_pod_folder(struct slice folder, const char *uid, struct container_texts *t);

/* An OCI configuration by containerd (CRI, nerdctl), CRI-O or podman: its annotations. */
void container_parse_oci(struct slice json, struct container_texts *t);

/* dockerd's config.v2.json. */
void container_parse_docker(struct slice json, struct container_texts *t);

/* containers.json of containers/storage: the name and image of a podman's container. */
void container_parse_storage(struct slice json, const char *id, struct container_texts *t);
