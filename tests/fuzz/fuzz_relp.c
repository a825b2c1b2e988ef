/* SPDX-License-Identifier: Apache-2.0 */
/* What a RELP server may send: frames, answers, offers. */
#include <stdlib.h>

#include "output/relp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = { (const char *)data, size };
	struct relp_offers o;
	struct relp_frame f;
	struct relp_rsp r;
	ssize_t n;

	if (relp_parse_rsp(in, &r) == 0)
		relp_parse_offers(r.data, &o);
	relp_parse_offers(in, &o);
	while ((n = relp_parse(in, &f)) > 0) {
		if ((size_t)n > in.len || f.data.len > RELP_DATA_MAX || f.txnr > RELP_TXNR_MAX)
			abort();
		if (relp_parse_rsp(f.data, &r) == 0)
			relp_parse_offers(r.data, &o);
		in.p += n;
		in.len -= (size_t)n;
	}
	/* A frame that may still be whole one day is no longer than one can be. */
	if (n == 0 && in.len >= RELP_FRAME_MAX)
		abort();
	return 0;
}
