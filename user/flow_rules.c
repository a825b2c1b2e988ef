/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/flow_rules.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config/config.h"

/* What the readers of the lists share. */
struct reading {
	struct flow_rules *rules;
	int cgroup_root;
	const char *passwd;
	uint32_t kind; /* FILTER_USERS... */
	char *text;
	size_t text_size;
	int err;
};

static uint32_t verdict(bool unwanted)
{
	return unwanted ? FILTER_UNWANTED : FILTER_WANTED;
}

static bool add_network(void *arg, struct slice item, bool unwanted)
{
	struct flow_rules *r = ((struct reading *)arg)->rules;
	struct flow_network net;

	if (!flow_network_parse(item, &net))
		return false;
	r->bits |= FILTER_NETWORKS | (unwanted ? 0 : FILTER_NETWORKS_ONLY);
	r->networks[r->n_networks].prefix_len = net.prefix_len;
	memcpy(r->networks[r->n_networks].address, net.address, sizeof(net.address));
	r->network_verdicts[r->n_networks++] = verdict(unwanted);
	return true;
}

static bool add_ports(void *arg, struct slice item, bool unwanted)
{
	struct flow_rules *r = ((struct reading *)arg)->rules;
	uint64_t *bitmap = r->ports + (unwanted ? FILTER_PORT_WORDS : 0);
	struct flow_ports ports;

	if (!flow_ports_parse(item, &ports))
		return false;
	r->bits |= FILTER_PORTS | (unwanted ? 0 : FILTER_PORTS_ONLY);
	for (uint32_t port = ports.first; port <= ports.last; port++)
		bitmap[port / 64] |= 1ull << (port % 64);
	return true;
}

/* Both bitmaps in one: what is wanted first, then what is not. */
struct protocols {
	uint64_t wanted[4], unwanted[4];
	bool only;
};

static bool add_protocol(void *arg, struct slice item, bool unwanted)
{
	struct protocols *p = arg;
	int number = flow_protocol_parse(item);

	if (number < 0)
		return false;
	p->only |= !unwanted;
	(unwanted ? p->unwanted : p->wanted)[number / 64] |= 1ull << (number % 64);
	return true;
}

static void add_owner(struct flow_rules *r, uint32_t kind, uint64_t first, uint64_t second,
		      bool unwanted)
{
	r->owners[r->n_owners] = (struct filter_owner){ .kind = kind, .value = { first, second } };
	r->owner_verdicts[r->n_owners++] = verdict(unwanted);
}

/* The kind's bit, and the one behind it when something is wanted. */
static void note_kind(struct reading *in, bool unwanted)
{
	in->rules->bits |= in->kind | (unwanted ? 0 : in->kind << 1);
}

static int find_user(const char *passwd, struct slice name, uint32_t *ret)
{
	_cleanup_fclose_ FILE *f = fopen(passwd ? passwd : "/etc/passwd", "re");
	struct passwd *p;

	if (!f)
		return -errno;
	while ((p = fgetpwent(f))) {
		if (slice_is(name, p->pw_name)) {
			*ret = p->pw_uid;
			return 0;
		}
	}
	return -ENOENT;
}

static bool add_user(void *arg, struct slice item, bool unwanted)
{
	struct reading *in = arg;
	char name[FLOW_ITEM_SIZE], *end;
	unsigned long uid;
	uint32_t found = 0;

	snprintf(name, sizeof(name), "%.*s", (int)item.len, item.p);
	uid = strtoul(name, &end, 10);
	if (*end || end == name || uid > UINT32_MAX) {
		in->err = find_user(in->passwd, item, &found);
		if (in->err) {
			snprintf(in->text, in->text_size,
				 "flows.users: there is no user \"%s\" in /etc/passwd; give the "
				 "number",
				 name);
			return false;
		}
		uid = found;
	}
	note_kind(in, unwanted);
	add_owner(in->rules, FILTER_USERS, uid, 0, unwanted);
	return true;
}

static bool add_command(void *arg, struct slice item, bool unwanted)
{
	struct reading *in = arg;
	uint64_t words[2] = { 0 };

	memcpy(words, item.p, item.len < sizeof(words) ? item.len : sizeof(words) - 1);
	note_kind(in, unwanted);
	add_owner(in->rules, FILTER_COMMANDS, words[0], words[1], unwanted);
	return true;
}

static bool add_cgroup(void *arg, struct slice item, bool unwanted)
{
	struct reading *in = arg;
	char path[FLOW_ITEM_SIZE + 1];
	struct stat st;

	note_kind(in, unwanted);
	snprintf(path, sizeof(path), ".%.*s", (int)item.len, item.p);
	/* On cgroup v2 a folder's inode number is the cgroup's id. */
	if (fstatat(in->cgroup_root, path, &st, 0) == 0)
		add_owner(in->rules, FILTER_CGROUPS, st.st_ino, 0, unwanted);
	return true;
}

int flow_rules_new(const struct config *config, int cgroup_root, const char *passwd, char *text,
		   size_t text_size, struct flow_rules **ret)
{
	_cleanup_(flow_rules_freep) struct flow_rules *r = calloc(1, sizeof(*r));
	struct reading in = { r, cgroup_root, passwd, 0, text, text_size, -EINVAL };
	struct protocols protocols = { 0 };

	snprintf(text, text_size, "flows: a list can not be read");
	if (!r)
		return -ENOMEM;
	if (config->flows_networks && !flow_list_each(config->flows_networks, add_network, &in))
		return in.err;
	if (config->flows_ports && !flow_list_each(config->flows_ports, add_ports, &in))
		return in.err;
	in.kind = FILTER_USERS;
	if (config->flows_users && !flow_list_each(config->flows_users, add_user, &in))
		return in.err;
	in.kind = FILTER_COMMANDS;
	if (config->flows_processes && !flow_list_each(config->flows_processes, add_command, &in))
		return in.err;
	in.kind = FILTER_CGROUPS;
	if (config->flows_cgroups && !flow_list_each(config->flows_cgroups, add_cgroup, &in))
		return in.err;
	if (config->flows_protocols) {
		if (!flow_list_each(config->flows_protocols, add_protocol, &protocols))
			return in.err;
		r->bits |= FILTER_PROTOCOLS;
		for (int i = 0; i < 4; i++)
			r->protocols[i] = (protocols.only ? protocols.wanted[i] : ~0ull) &
					  ~protocols.unwanted[i];
	}
	if (config->flows_direction != DIRECTION_BOTH) {
		r->bits |= FILTER_DIRECTION;
		r->direction = config->flows_direction == DIRECTION_IN ? FLOW_IN : FLOW_OUT;
	}
	if (!config->flows_private)
		r->bits |= FILTER_PRIVATE;
	r->sample_rate = (uint32_t)config->flows_sample;
	*text = '\0';
	*ret = TAKE_PTR(r);
	return 0;
}

void flow_rules_free(struct flow_rules *r)
{
	free(r);
}

bool flow_rules_equal(const struct flow_rules *a, const struct flow_rules *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static bool is_listed(const void *keys, uint32_t n, const void *key, size_t size)
{
	for (uint32_t i = 0; i < n; i++)
		if (!memcmp((const char *)keys + i * size, key, size))
			return true;
	return false;
}

/* The map holds these keys afterwards and no others; those that it had stay all the time. */
static int fill(int fd, const void *keys, const uint32_t *verdicts, uint32_t n, size_t size)
{
	char key[64], next[64];
	bool more;

	for (uint32_t i = 0; i < n; i++)
		if (bpf_map_update_elem(fd, (const char *)keys + i * size, &verdicts[i], BPF_ANY))
			return -errno;
	more = bpf_map_get_next_key(fd, NULL, next) == 0;
	while (more) {
		memcpy(key, next, size);
		more = bpf_map_get_next_key(fd, key, next) == 0;
		if (!is_listed(keys, n, key, size))
			bpf_map_delete_elem(fd, key);
	}
	return 0;
}

int flow_rules_apply(const struct flow_rules *r, const struct flow_rules_maps *maps,
		     struct flow_tunables *t)
{
	int err;

	err = fill(maps->networks, r->networks, r->network_verdicts, r->n_networks,
		   sizeof(r->networks[0]));
	if (!err)
		err = fill(maps->owners, r->owners, r->owner_verdicts, r->n_owners,
			   sizeof(r->owners[0]));
	for (uint32_t i = 0; i < 2 * FILTER_PORT_WORDS && !err; i++)
		if (bpf_map_update_elem(maps->ports, &i, &r->ports[i], BPF_ANY))
			err = -errno;
	if (err)
		return err;
	memcpy(t->protocols, r->protocols, sizeof(t->protocols));
	t->direction = r->direction;
	t->sample_rate = r->sample_rate;
	t->filter = r->bits;
	return 0;
}
