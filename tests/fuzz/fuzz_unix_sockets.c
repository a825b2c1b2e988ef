/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/net/unix: what it lists is found again, and is in order. */
#include "tests/fuzz/file.h"

#include "user/unix_sockets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_file file;
	struct unix_sockets u;

	if (unix_sockets_read(fuzz_file_set(&file, data, size), &u) < 0)
		abort();
	for (size_t i = 0; i < u.n; i++)
		if (!unix_sockets_has(&u, u.inodes[i]) || (i && u.inodes[i - 1] > u.inodes[i]))
			abort();
	unix_sockets_done(&u);
	return 0;
}
