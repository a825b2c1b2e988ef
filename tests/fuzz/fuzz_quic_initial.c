/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a QUIC client sends: a datagram as it is ('d'), the frames of a packet ('f'), or frames that
 * are sealed here, which must come out as they went in ('s').
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/quic.h"
#include "user/quic_initial.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct quic *quic;
	static struct quic_hello q, again;
	uint8_t datagram[8192];
	struct tls_hello h;
	int err, want;

	if (!quic && quic_new(&quic) < 0)
		abort();
	if (!size || size > 3000)
		return 0;
	memset(&q, 0, sizeof(q));
	if (data[0] == 'd') {
		err = quic_take_datagram(quic, data + 1, size - 1, &q);
	} else {
		err = quic_take_frames(data + 1, size - 1, &q);
	}
	if (err && err != -EBADMSG && err != -EMSGSIZE)
		abort();
	if (data[0] == 's') {
		size_t n =
			quic_seal(&(struct quic_wish){ .v2 = size & 1, .number = (uint16_t)size },
				  data + 1, size - 1, datagram);

		memset(&again, 0, sizeof(again));
		want = err;
		err = quic_take_datagram(quic, datagram, n, &again);
		/* A short one is filled up with PADDING, which may end a frame. */
		if (size > 5 && (err != want || memcmp(q.have, again.have, sizeof(q.have)) != 0 ||
				 memcmp(q.bytes, again.bytes, sizeof(q.bytes)) != 0))
			abort();
	}
	err = quic_hello_parse(&q, &h);
	if (err && err != -EBADMSG && err != -EAGAIN)
		abort();
	if (!err && (strlen(h.ja4) != JA4_SIZE - 1 || h.ja4[0] != 'q'))
		abort();
	return 0;
}
