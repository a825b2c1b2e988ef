/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of nfnetlink. */
#include <stdlib.h>

#include "user/ctnetlink.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t question[CT_MESSAGE_MAX];
	struct ct_entry e = { 0 };
	bool nat = false;

	if (ct_decode(data, size, 7, &e) == 0) {
		if (!e.original.ip_version || !e.reply.ip_version)
			abort();
		ct_encode_get(&e.original, 7, question);
	}
	ct_decode_chains(data, size, 7, &nat);
	return 0;
}
