/* SPDX-License-Identifier: Apache-2.0 */
/* /etc/passwd: a name that is found is one of the file's, for that number. */
#include "tests/fuzz/file.h"

#include <string.h>

#include "user/users.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t uids[] = { 0, 1, 1000, 65534, UINT32_MAX };
	static struct fuzz_file file;
	struct users_stats stats;
	struct users *u;

	if (users_new(fuzz_file_set(&file, data, size), &u) < 0)
		abort();
	for (size_t i = 0; i < sizeof(uids) / sizeof(uids[0]); i++) {
		struct slice name = users_find(u, uids[i], 0);

		if (name.len && (memchr(name.p, ':', name.len) || memchr(name.p, '\n', name.len) ||
				 !memmem(data, size, name.p, name.len)))
			abort();
	}
	users_get_stats(u, &stats);
	if (stats.errors || stats.reloads != 1 || stats.entries > size)
		abort();
	users_free(u);
	return 0;
}
