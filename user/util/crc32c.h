/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli, RFC 3720 B.4), by the CPU's instruction where it has one. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* crc is 0 for the first part, and the last answer for the next part. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
