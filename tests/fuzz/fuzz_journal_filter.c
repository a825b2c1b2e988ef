/* SPDX-License-Identifier: Apache-2.0 */
/* The lists of [journal], a NUL, and a name: what a check lets pass, a filter can be made of. */
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "config/private.h"
#include "user/journal_filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config c = { .journal_max_severity = size % 8 };
	struct journal_filter *f = NULL;
	size_t len = strnlen((const char *)data, size);
	struct slice name = { (const char *)data + len, size - len };
	char *units = strndup((const char *)data, size), *identifiers = strdup(units ? units : "");

	if (!units || !identifiers)
		abort();
	if (!config_check_units(units))
		c.journal_units = units;
	if (!config_check_identifiers(identifiers))
		c.journal_identifiers = identifiers;
	if (name.len) {
		name.p++;
		name.len--;
	}
	if (journal_filter_new(&c, &f) < 0)
		abort();
	journal_filter_wants(f, name, name, name);
	/* A pattern of nothing but itself is itself. */
	if (!memchr(data, '*', size) && !memchr(data, '?', size) &&
	    !journal_filter_is_unit(name, name))
		abort();
	journal_filter_free(f);
	free(units);
	free(identifiers);
	return 0;
}
