/* SPDX-License-Identifier: Apache-2.0 */
#include "user/util/control.h"

#include <errno.h>
#include <string.h>

size_t control_encode(const struct control_msg *m, uint8_t ret[static CONTROL_MSG_MAX])
{
	ret[0] = (uint8_t)m->type;
	if (m->type == CONTROL_WAKE)
		return 1;
	/* Both ends are the same binary: the byte order is the machine's. */
	memcpy(ret + 1, &m->deadline_ms, sizeof(m->deadline_ms));
	return 1 + sizeof(m->deadline_ms);
}

int control_decode(const void *data, size_t len, struct control_msg *ret)
{
	const uint8_t *p = data;
	uint64_t deadline_ms;

	if (len == 1 && p[0] == CONTROL_WAKE) {
		*ret = (struct control_msg){ .type = CONTROL_WAKE };
		return 0;
	}
	if (len == 1 + sizeof(deadline_ms) && p[0] == CONTROL_STOP) {
		memcpy(&deadline_ms, p + 1, sizeof(deadline_ms));
		*ret = (struct control_msg){ .type = CONTROL_STOP, .deadline_ms = deadline_ms };
		return 0;
	}
	return -EBADMSG;
}
