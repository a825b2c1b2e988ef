/* SPDX-License-Identifier: Apache-2.0 */
/* Names and configurations of containers: the first byte says which. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "user/container_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *text, size_t size, const char *more)
{
	size_t n = strnlen(text, size);

	if (n == size)
		abort();
	for (size_t i = 0; i < n; i++)
		if (!memchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._",
			    text[i], 65) &&
		    !strchr(more, text[i]))
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	struct container_texts t = { .runtime = NULL };
	struct slice text = { (const char *)data + 1, size ? size - 1 : 0 };

	if (!size)
		return 0;
	switch (data[0]) {
	case 'l':
		container_parse_log_name(text, id, &t);
		break;
	case 'p':
		container_parse_pod_folder(text, "0f1e2d3c4b5a69788796a5b4c3d2e1f0", &t);
		break;
	case 'o':
		container_parse_oci(text, &t);
		break;
	case 'd':
		container_parse_docker(text, &t);
		break;
	default:
		container_parse_storage(text, id, &t);
	}
	check(t.pod, sizeof(t.pod), "");
	check(t.namespace, sizeof(t.namespace), "");
	check(t.name, sizeof(t.name), "");
	check(t.image, sizeof(t.image), "/:@+");
	return 0;
}
