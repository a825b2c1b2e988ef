/* SPDX-License-Identifier: Apache-2.0 */
/* What of HTTPS others need: the address, and what tests shorten. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct config;

/* After a refused request the next one waits so long: firewalls count refusals. */
extern uint32_t out_https_refused_pause_ms;

/*
 * The path of one of the intake's endpoints ("array"), behind output.path or
 * the region's. 0; -EINVAL when it is too long or can not stand in a request.
 */
int out_https_path(const struct config *config, const char *endpoint, char *ret, size_t size);
