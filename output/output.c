/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of transports. What each of them does is in out_*.c, what they have in
 * common in out.c and out_conn.c; when, in pipeline.c.
 */
#include "output/output.h"

#include <string.h>

static const struct output_ops *const output_types[] = {
	&output_https,	  &output_relp,	  &output_syslog, &output_ipfix,
	&output_netflow9, &output_stdout, &output_file,	  NULL,
};

const struct output_ops *output_find(const char *name)
{
	for (const struct output_ops *const *t = output_types; *t; t++)
		if (!strcmp((*t)->name, name))
			return *t;
	return NULL;
}
