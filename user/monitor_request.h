/* SPDX-License-Identifier: Apache-2.0 */
/* What a client of the monitor socket asks: the first lines of HTTP/1.x. Pure. */
#pragma once

#include "user/util/slice.h"

#define MONITOR_REQUEST_MAX 4096

enum monitor_page {
	MONITOR_PAGE,	 /* GET / : for people */
	MONITOR_STATUS,	 /* GET /status : JSON */
	MONITOR_METRICS, /* GET /metrics : Prometheus */
	MONITOR_NOT_FOUND,
	MONITOR_NOT_ALLOWED, /* another method */
};

/*
 * 1 and *ret when the request is whole, 0 when more must come, -EBADMSG for what
 * is no request, -EMSGSIZE when it would be longer than MONITOR_REQUEST_MAX.
 */
int monitor_parse(struct slice bytes, enum monitor_page *ret);
