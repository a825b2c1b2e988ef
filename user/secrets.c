/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/secrets.h"

#include <string.h>

#include "config/config.h"
#include "user/util/slice.h"

#define SECRET_MIN 6 /* shorter ones would be found everywhere */

static void mask(char *text, size_t len, struct slice secret)
{
	char *at = text;

	if (secret.len < SECRET_MIN)
		return;
	while ((at = memmem(at, len - (size_t)(at - text), secret.p, secret.len)))
		memset(at, '*', secret.len);
}

/* user:password of http://user:password@host */
static struct slice password_of(const char *url)
{
	const char *from = url ? strstr(url, "://") : NULL;
	const char *end = from ? strrchr(from, '@') : NULL;

	from = end ? memchr(from + 3, ':', (size_t)(end - from - 3)) : NULL;
	return from ? (struct slice){ from + 1, (size_t)(end - from - 1) } : (struct slice){ 0 };
}

void secrets_mask(const struct config *config, char *text, size_t len)
{
	if (!config)
		return;
	if (config->intake_key)
		mask(text, len, slice_of(config->intake_key));
	mask(text, len, password_of(config->output_proxy));
}
