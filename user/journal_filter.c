/* SPDX-License-Identifier: Apache-2.0 */
#include "user/journal_filter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "config/flow_filter.h"

struct list {
	struct flow_name *items; /* the names are in text */
	char *text;
	size_t n;
	bool wants; /* one of them is wanted: what none of them names is not */
};

struct journal_filter {
	struct list units, identifiers;
	unsigned max_severity;
};

static bool add_item(void *arg, struct slice item, bool unwanted)
{
	struct list *l = arg;

	l->items[l->n++] = (struct flow_name){ item, unwanted };
	l->wants |= !unwanted;
	return true;
}

static int read_list(const char *text, struct list *l)
{
	if (!text)
		return 0;
	l->text = strdup(text);
	l->items = calloc(FLOW_LIST_MAX, sizeof(*l->items));
	if (!l->text || !l->items)
		return -ENOMEM;
	return flow_list_each(l->text, add_item, l) ? 0 : -EINVAL;
}

int journal_filter_new(const struct config *config, struct journal_filter **ret)
{
	_cleanup_(journal_filter_freep) struct journal_filter *f = calloc(1, sizeof(*f));
	int err;

	if (!f)
		return -ENOMEM;
	f->max_severity = (unsigned)config->journal_max_severity;
	err = read_list(config->journal_units, &f->units);
	if (!err)
		err = read_list(config->journal_identifiers, &f->identifiers);
	if (err)
		return err;
	*ret = TAKE_PTR(f);
	return 0;
}

void journal_filter_free(struct journal_filter *f)
{
	if (!f)
		return;
	free(f->units.items);
	free(f->units.text);
	free(f->identifiers.items);
	free(f->identifiers.text);
	free(f);
}

/* Back to the last * only: the part before it matches as it is. */
static bool glob(struct slice pattern, struct slice text)
{
	size_t p = 0, t = 0, star = pattern.len, resume = 0;

	while (t < text.len) {
		if (p < pattern.len && pattern.p[p] == '*') {
			star = p++;
			resume = t;
		} else if (p < pattern.len && (pattern.p[p] == '?' || pattern.p[p] == text.p[t])) {
			p++;
			t++;
		} else if (star < pattern.len) {
			p = star + 1;
			t = ++resume;
		} else {
			return false;
		}
	}
	while (p < pattern.len && pattern.p[p] == '*')
		p++;
	return p == pattern.len;
}

bool journal_filter_is_identifier(struct slice item, struct slice identifier)
{
	return glob(item, identifier);
}

bool journal_filter_is_unit(struct slice item, struct slice unit)
{
	static const struct slice service = SLICE(".service");

	if (glob(item, unit))
		return true;
	if (memchr(item.p, '.', item.len) || unit.len <= service.len ||
	    memcmp(unit.p + unit.len - service.len, service.p, service.len) != 0)
		return false;
	unit.len -= service.len;
	return glob(item, unit);
}

static bool list_wants(const struct list *l, struct slice name, struct slice other,
		       bool (*is)(struct slice item, struct slice name))
{
	bool wanted = !l->wants;

	for (size_t i = 0; i < l->n; i++) {
		if (!(name.len && is(l->items[i].name, name)) &&
		    !(other.len && is(l->items[i].name, other)))
			continue;
		if (l->items[i].unwanted)
			return false;
		wanted = true;
	}
	return wanted;
}

bool journal_filter_wants_severity(const struct journal_filter *f, unsigned severity)
{
	return severity <= f->max_severity;
}

bool journal_filter_wants(const struct journal_filter *f, struct slice identifier,
			  struct slice unit, struct slice manager)
{
	return list_wants(&f->units, unit, manager, journal_filter_is_unit) &&
	       list_wants(&f->identifiers, identifier, SLICE(""), journal_filter_is_identifier);
}
