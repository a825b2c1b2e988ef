/* SPDX-License-Identifier: Apache-2.0 */
/* The lists of [flows]. What a check lets pass, the rules can be made of. */
#include "config/flow_filter.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "config/private.h"
#include "user/flow_rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *(*const checks[])(char *value) = {
		config_check_networks, config_check_ports,    config_check_protocols,
		config_check_users,    config_check_commands, config_check_cgroups,
	};
	struct config c = { .flows_private = true, .flows_sample = 1 };
	char **const lists[] = {
		&c.flows_networks, &c.flows_ports,     &c.flows_protocols,
		&c.flows_users,	   &c.flows_processes, &c.flows_cgroups,
	};
	struct flow_rules *r = NULL;
	char text[400];
	int err;

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		char *copy = strndup((const char *)data, size);

		if (!copy)
			return 0;
		if (checks[i](copy))
			free(copy);
		else
			*lists[i] = copy;
	}
	err = flow_rules_new(&c, -1, "/dev/null", text, sizeof(text), &r);
	/* Names of users may be unknown; all else was checked. */
	if (err && !c.flows_users)
		abort();
	if (!err && r->n_owners > 3 * FLOW_LIST_MAX)
		abort();
	flow_rules_free(r);
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		free(*lists[i]);
	return 0;
}
