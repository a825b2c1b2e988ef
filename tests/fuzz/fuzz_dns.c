/* SPDX-License-Identifier: Apache-2.0 */
/* A DNS message from a stranger. */
#include <stdlib.h>
#include <string.h>

#include "user/dns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dns_answer a;

	for (size_t more = 0; more < 2; more++) {
		if (dns_parse(data, size, size + more, &a) < 0)
			continue;
		if (a.name_len > DNS_NAME_MAX || strlen(a.name) != a.name_len ||
		    a.n_addresses < 0 || a.n_addresses > DNS_ADDRESSES_MAX)
			abort();
		/* It goes into JSON as it stands. */
		for (size_t i = 0; i < a.name_len; i++)
			if (a.name[i] <= ' ' || a.name[i] == '"' || a.name[i] == '\\' ||
			    a.name[i] > '~')
				abort();
	}
	return 0;
}
