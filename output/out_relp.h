/* SPDX-License-Identifier: Apache-2.0 */
/* What tests need to reach what takes days: the last transaction of a session. */
#pragma once

#include <stdint.h>

/* A session that comes here is closed and another is opened. 900 million by default. */
extern uint32_t out_relp_last_txnr;
