/* SPDX-License-Identifier: Apache-2.0 */
#include "user/community_id.h"

#include <stdbool.h>
#include <string.h>

#include "user/util/sha1.h"

enum { PROTO_ICMP = 1, PROTO_TCP = 6, PROTO_UDP = 17, PROTO_ICMP6 = 58, PROTO_SCTP = 132 };

/* ICMP messages that come in pairs: request and answer are one flow. */
static const uint8_t icmp_pairs[][2] = {
	{ 0, 8 },   /* echo */
	{ 9, 10 },  /* router advertisement and solicitation */
	{ 13, 14 }, /* timestamp */
	{ 15, 16 }, /* information */
	{ 17, 18 }, /* address mask */
};

static const uint8_t icmp6_pairs[][2] = {
	{ 128, 129 }, /* echo */
	{ 130, 131 }, /* multicast listener query and report */
	{ 133, 134 }, /* router solicitation and advertisement */
	{ 135, 136 }, /* neighbour solicitation and advertisement */
	{ 139, 140 }, /* who are you */
	{ 144, 145 }, /* home agent address discovery */
};

static bool find_counterpart(const uint8_t (*pairs)[2], size_t n, uint16_t type, uint16_t *ret)
{
	for (size_t i = 0; i < n; i++)
		for (int k = 0; k < 2; k++)
			if (pairs[i][k] == type) {
				*ret = pairs[i][!k];
				return true;
			}
	return false;
}

static size_t base64(const uint8_t *p, size_t len, char *ret)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *at = ret;

	for (size_t i = 0; i < len; i += 3) {
		uint32_t v = (uint32_t)p[i] << 16;

		if (i + 1 < len)
			v |= (uint32_t)p[i + 1] << 8;
		if (i + 2 < len)
			v |= p[i + 2];
		*at++ = digits[v >> 18];
		*at++ = digits[v >> 12 & 63];
		*at++ = i + 1 < len ? digits[v >> 6 & 63] : '=';
		*at++ = i + 2 < len ? digits[v & 63] : '=';
	}
	return (size_t)(at - ret);
}

size_t community_id(uint8_t ip_version, uint8_t protocol, const uint8_t *src, const uint8_t *dst,
		    uint16_t src_port, uint16_t dst_port, char ret[static COMMUNITY_ID_SIZE])
{
	size_t ip_len = ip_version == 6 ? 16 : 4, len;
	uint8_t text[2 + 16 + 16 + 2 + 4] = { 0 }; /* the seed, two bytes of 0, comes first */
	uint8_t digest[SHA1_SIZE], *at = text + 2;
	bool has_ports = true, one_way = false;
	int order;

	switch (protocol) {
	case PROTO_ICMP:
		one_way =
			!find_counterpart(icmp_pairs, sizeof(icmp_pairs) / 2, src_port, &dst_port);
		break;
	case PROTO_ICMP6:
		one_way = !find_counterpart(icmp6_pairs, sizeof(icmp6_pairs) / 2, src_port,
					    &dst_port);
		break;
	case PROTO_TCP:
	case PROTO_UDP:
	case PROTO_SCTP:
		break;
	default:
		has_ports = false;
		break;
	}

	/* The smaller end first, so that both directions are the same text. */
	order = memcmp(src, dst, ip_len);
	if (!one_way && (order > 0 || (order == 0 && has_ports && src_port > dst_port))) {
		const uint8_t *ip = src;
		uint16_t port = src_port;

		src = dst;
		dst = ip;
		src_port = dst_port;
		dst_port = port;
	}

	memcpy(at, src, ip_len);
	at += ip_len;
	memcpy(at, dst, ip_len);
	at += ip_len;
	*at++ = protocol;
	*at++ = 0;
	if (has_ports) {
		*at++ = (uint8_t)(src_port >> 8);
		*at++ = (uint8_t)src_port;
		*at++ = (uint8_t)(dst_port >> 8);
		*at++ = (uint8_t)dst_port;
	}
	sha1(text, (size_t)(at - text), digest);

	memcpy(ret, "1:", 2);
	len = 2 + base64(digest, sizeof(digest), ret + 2);
	ret[len] = '\0';
	return len;
}
