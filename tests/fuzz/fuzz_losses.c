/* SPDX-License-Identifier: Apache-2.0 */
/* The saved ledger of losses: what is restored is told, and is saved as it was. */
#include <stdlib.h>

#include "user/books.h"
#include "user/losses.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct losses *l = NULL;
	const struct loss *loss;
	struct buf b;

	if (losses_new(&l) < 0)
		abort();
	buf_init(&b, 65536);
	if (losses_restore(l, (struct slice){ (const char *)data, size }) == 0) {
		struct loss *due;
		int turns = 0;

		if (losses_save(l, &b) < 0 || b.len != size)
			abort();
		while ((due = losses_due(l, 0, true)) && turns++ <= LOSSES_MAX)
			losses_told(l, due, 0, 0);
		if (due)
			abort();
	}
	for (int i = 0; (loss = losses_get(l, i)); i++)
		if (loss->told > loss->lost || (loss->row && !loss->row->lost))
			abort();
	buf_done(&b);
	losses_free(l);
	return 0;
}
