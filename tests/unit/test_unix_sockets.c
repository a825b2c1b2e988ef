/* SPDX-License-Identifier: Apache-2.0 */
#include "user/unix_sockets.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/test.h"

TEST(sockets_that_are_open)
{
	struct unix_sockets u;
	struct stat st;
	int pair[2];

	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	CHECK_INT(fstat(pair[0], &st), 0);
	CHECK_INT(unix_sockets_read("/proc/net/unix", &u), 0);
	CHECK(unix_sockets_has(&u, st.st_ino));
	CHECK(!unix_sockets_has(&u, 1));
	unix_sockets_done(&u);
	close(pair[0]);
	close(pair[1]);
	CHECK_INT(unix_sockets_read("/proc/net/unix", &u), 0);
	CHECK(!unix_sockets_has(&u, st.st_ino));
	unix_sockets_done(&u);
	CHECK(unix_sockets_read("/nowhere/at/all", &u) < 0);
	CHECK(!unix_sockets_has(&u, st.st_ino));
	unix_sockets_done(&u);
}
