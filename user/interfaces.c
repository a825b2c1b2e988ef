/* SPDX-License-Identifier: Apache-2.0 */
#include "user/interfaces.h"

#include <sys/stat.h>

void interfaces_init(struct interfaces *i)
{
	struct stat st;

	*i = (struct interfaces){ .netns = 0 };
	if (stat("/proc/self/ns/net", &st) == 0)
		i->netns = (uint32_t)st.st_ino;
}

struct slice interfaces_find(struct interfaces *i, uint32_t ifindex, uint32_t netns,
			     uint64_t now_ms)
{
	uint32_t slot = ifindex % INTERFACES_MAX;

	if (!ifindex || !i->netns || netns != i->netns)
		return (struct slice){ "", 0 };
	if (i->slots[slot].ifindex != ifindex || now_ms >= i->slots[slot].until_ms) {
		i->lookups++;
		i->slots[slot].ifindex = ifindex;
		i->slots[slot].until_ms = now_ms + INTERFACES_KEEP_MS;
		if (!if_indextoname(ifindex, i->slots[slot].name))
			i->slots[slot].name[0] = '\0';
	}
	return slice_of(i->slots[slot].name);
}
