/* SPDX-License-Identifier: Apache-2.0 */
/* passwd(5) texts: whatever they hold, a user that is found has usable numbers. */
#include <stdint.h>
#include <stdlib.h>

#include "user/util/privs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const users[] = { "sekoia-ebpf", "nobody", "root", "" };
	struct slice text = { (const char *)data, size };

	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
		uid_t uid = (uid_t)-1;
		gid_t gid = (gid_t)-1;
		int err = privs_parse_passwd(text, users[i], &uid, &gid);

		if (err ? uid != (uid_t)-1 || gid != (gid_t)-1
			: uid == (uid_t)-1 || gid == (gid_t)-1 || !users[i][0])
			abort();
	}
	return 0;
}
