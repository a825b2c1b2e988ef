/* SPDX-License-Identifier: Apache-2.0 */
#include "config/routes.h"

#include <string.h>

#include "config/flow_filter.h"
#include "config/private.h"

static struct slice trimmed(const char *p, size_t len)
{
	while (len && (*p == ' ' || *p == '\t')) {
		p++;
		len--;
	}
	while (len && (p[len - 1] == ' ' || p[len - 1] == '\t'))
		len--;
	return (struct slice){ p, len };
}

bool config_route_next(const char **list, struct config_route *ret)
{
	size_t len = strcspn(*list, ",");
	const char *colon = memchr(*list, ':', len);

	if (!colon)
		return false;
	ret->name = trimmed(*list, (size_t)(colon - *list));
	ret->value = trimmed(colon + 1, len - (size_t)(colon + 1 - *list));
	*list += len;
	*list += **list == ',';
	return ret->name.len && ret->value.len;
}

const char *config_check_routes(char *value)
{
	static const char wrong[] =
		"is not a list of routes; allowed: sshd:/FILE, nginx*:/FILE, flows:/FILE, kernel:/FILE, "
		"at most 16, each FILE with a key in it";
	struct config_route seen[CONFIG_ROUTES_MAX];
	const char *list = value;
	size_t n = 0;

	do {
		struct config_route *r = &seen[n];

		if (n == CONFIG_ROUTES_MAX || !config_route_next(&list, r) ||
		    !flow_is_plain(r->name) || r->name.len > CONFIG_ROUTE_NAME_MAX ||
		    memchr(r->name.p, ';', r->name.len) || r->value.p[0] != '/')
			return wrong;
		for (size_t i = 0; i < n; i++)
			if (seen[i].name.len == r->name.len &&
			    !memcmp(seen[i].name.p, r->name.p, r->name.len))
				return "has a name twice; allowed: each name once, with one key file";
		n++;
	} while (*list || list[-1] == ',');
	return NULL;
}
