/* SPDX-License-Identifier: Apache-2.0 */
#include "user/reload.h"

#include <string.h>

#include "user/util/log.h"

#define NAMES_BYTES 4096

static void tell_mistakes(const struct config_errors *e)
{
	const char *p = buf_data(&e->text), *end = p ? p + e->text.len : p;

	while (p < end) {
		const char *eol = memchr(p, '\n', (size_t)(end - p));
		size_t len = (size_t)((eol ? eol : end) - p);

		log_error("reload: %.*s", (int)len, p);
		p += len + 1;
	}
}

static int compare(struct config *next, const struct config *now, enum config_live *ret_live)
{
	struct buf live, frozen;
	int err;

	buf_init(&live, NAMES_BYTES);
	buf_init(&frozen, NAMES_BYTES);
	err = config_compare(next, now, &live, &frozen, ret_live);
	if (!err && frozen.len)
		log_warning("reload: not changed while it runs: %.*s; restart it for that",
			    (int)frozen.len, buf_data(&frozen));
	if (!err)
		log_info("reload: changed: %.*s", live.len ? (int)live.len : 7,
			 live.len ? buf_data(&live) : "nothing");
	buf_done(&live);
	buf_done(&frozen);
	return err;
}

int reload_config(const struct config *origin, const struct config *now, struct config **ret,
		  enum config_live *ret_live)
{
	_cleanup_(config_freep) struct config *next = NULL;
	struct config_errors e;
	int err;

	config_errors_init(&e);
	err = config_reload(origin, &next, &e);
	tell_mistakes(&e);
	config_errors_done(&e);
	if (!err)
		err = compare(next, now, ret_live);
	if (err) {
		log_error("reload: %s; going on with the configuration of before",
			  err == -EINVAL ? "mistakes" : log_strerror(err));
		return err;
	}
	*ret = TAKE_PTR(next);
	return 0;
}
