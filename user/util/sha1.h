/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-1 (FIPS 180-4) of a short message: the Community ID is built on it.
 * Nothing here is for security.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SHA1_SIZE 20

void sha1(const void *p, size_t len, uint8_t ret[static SHA1_SIZE]);
