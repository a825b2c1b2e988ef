/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Community ID, version 1, seed 0: the same text for the same flow in every
 * tool that knows it, whichever end it was seen from. Pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define COMMUNITY_ID_SIZE 31 /* "1:" and 28 characters of base64, and a NUL */

/*
 * src and dst are addresses in network order, 4 or 16 bytes as ip_version
 * says; ports are in host order. For ICMP and ICMPv6 src_port is the type and
 * dst_port the code. Returns the length of the text in ret, which is terminated.
 */
size_t community_id(uint8_t ip_version, uint8_t protocol, const uint8_t *src, const uint8_t *dst,
		    uint16_t src_port, uint16_t dst_port, char ret[static COMMUNITY_ID_SIZE]);
