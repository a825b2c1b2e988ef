/* SPDX-License-Identifier: Apache-2.0 */
/* The datagrams of the control socket: what is understood can be said again. */
#include <stdlib.h>
#include <string.h>

#include "user/util/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t again[CONTROL_MSG_MAX];
	struct control_msg m;

	if (control_decode(data, size, &m))
		return 0;
	if (control_encode(&m, again) != size || memcmp(again, data, size) != 0)
		abort();
	return 0;
}
