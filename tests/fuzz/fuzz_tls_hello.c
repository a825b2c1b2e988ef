/* SPDX-License-Identifier: Apache-2.0 */
/* What a TLS client, or somebody who is none, begins a connection with. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "user/tls_hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tls_hello h;
	int err = tls_hello_parse(data, size, &h);

	if (err && err != -EAGAIN && err != -EBADMSG)
		abort();
	if (err)
		return 0;
	if (strnlen(h.server_name, sizeof(h.server_name)) > TLS_NAME_MAX ||
	    strlen(h.ja4) != JA4_SIZE - 1 || h.n_alpn < 0 || h.n_alpn > TLS_ALPN_MAX)
		abort();
	for (int i = 0; i < h.n_alpn; i++)
		if (h.alpn[i].len > sizeof(h.alpn[i].text))
			abort();
	return 0;
}
