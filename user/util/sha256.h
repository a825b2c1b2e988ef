/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 (FIPS 180-4) of a short message: JA4 is built on it. Nothing here is
 * for security.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SHA256_SIZE 32

void sha256(const void *p, size_t len, uint8_t ret[static SHA256_SIZE]);
