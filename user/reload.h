/* SPDX-License-Identifier: Apache-2.0 */
/* SIGHUP: what of a new configuration can be had while the collector runs. */
#pragma once

#include "config/config.h"

/*
 * Reads the configuration again: origin is what config_load() filled, now is
 * what counts at present. Tells what changes, what would need a restart, and
 * mistakes. 0: *ret is the caller's, and *ret_live is who is to take it;
 * else -errno, it was told, and now goes on.
 */
int reload_config(const struct config *origin, const struct config *now, struct config **ret,
		  enum config_live *ret_live);
