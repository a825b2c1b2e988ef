/* SPDX-License-Identifier: Apache-2.0 */
/* What tests shorten. */
#pragma once

#include <stdint.h>

/* After a refused request the next one waits so long: firewalls count refusals. */
extern uint32_t out_https_refused_pause_ms;
