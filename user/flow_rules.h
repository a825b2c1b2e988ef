/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lists of [flows] as the programs of bpf/flow_filter.bpf.h want them: user
 * names as numbers, cgroups as ids, ports as bitmaps.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/events.h"
#include "config/flow_filter.h"
#include "user/util/cleanup.h"

struct config;

/* No hole in it, so that two can be compared as bytes. */
struct flow_rules {
	uint32_t bits; /* enum flow_filter_bit */
	uint32_t direction, sample_rate;
	uint32_t n_networks, n_owners, pad;
	uint64_t protocols[4];
	uint64_t ports[2 * FILTER_PORT_WORDS];
	struct filter_owner owners[3 * FLOW_LIST_MAX];
	uint32_t owner_verdicts[3 * FLOW_LIST_MAX];
	struct filter_network networks[FLOW_LIST_MAX];
	uint32_t network_verdicts[FLOW_LIST_MAX];
};

/*
 * From the configuration, whose lists were checked when it was read. cgroup_root
 * is the root of cgroup v2, or -1; passwd NULL for /etc/passwd. A user who is not
 * there is a mistake: -ENOENT, and text names him. A cgroup that is not there
 * yet is left out: it may come, ask again now and then. The caller owns *ret.
 */
int flow_rules_new(const struct config *config, int cgroup_root, const char *passwd, char *text,
		   size_t text_size, struct flow_rules **ret);
void flow_rules_free(struct flow_rules *r);
DEFINE_CLEANUP(struct flow_rules *, flow_rules_free);

bool flow_rules_equal(const struct flow_rules *a, const struct flow_rules *b);

/* The maps of a capture. */
struct flow_rules_maps {
	int networks, ports, owners;
};

/*
 * Puts the rules into the maps, and then into the tunables: while that goes on
 * flows may begin by old or by new rules, never by none. 0 or -errno.
 */
int flow_rules_apply(const struct flow_rules *r, const struct flow_rules_maps *maps,
		     struct flow_tunables *t);
