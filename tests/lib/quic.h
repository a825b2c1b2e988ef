/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Initial packets to a test's wish, by libcrypto's own HKDF and AEAD: what QUIC clients send
 * (RFC 9001).
 */
#pragma once

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct quic_wish {
	bool v2;
	const char *keys_of, *id; /* eight bytes each; NULL: keys_of's, which is "original" */
	size_t token;		  /* its bytes */
	uint32_t number;	  /* of the packet */
	size_t size;		  /* of the packet, filled up with PADDING; 0: as it is */
};

static inline void quic_expand(const uint8_t *secret, const char *label, uint8_t *ret, size_t len)
{
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
	uint8_t info[64] = { 0, (uint8_t)len, (uint8_t)(6 + strlen(label)) };
	size_t n = 3;

	memcpy(info + n, "tls13 ", 6);
	memcpy(info + n + 6, label, strlen(label));
	n += 6 + strlen(label) + 1;
	if (EVP_PKEY_derive_init(c) != 1 ||
	    EVP_PKEY_CTX_hkdf_mode(c, EVP_PKEY_HKDEF_MODE_EXPAND_ONLY) != 1 ||
	    EVP_PKEY_CTX_set_hkdf_md(c, EVP_sha256()) != 1 ||
	    EVP_PKEY_CTX_set1_hkdf_key(c, secret, 32) != 1 ||
	    EVP_PKEY_CTX_add1_hkdf_info(c, info, (int)n) != 1 || EVP_PKEY_derive(c, ret, &len) != 1)
		abort();
	EVP_PKEY_CTX_free(c);
}

/* Returns the packet's length. */
static inline size_t quic_seal(const struct quic_wish *w, const uint8_t *frames, size_t len,
			       uint8_t *ret)
{
	static const uint8_t salts[2][20] = {
		{ 0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17,
		  0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a },
		{ 0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93,
		  0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9 },
	};
	const char *keys_of = w->keys_of ? w->keys_of : "original", *id = w->id ? w->id : keys_of;
	uint8_t initial[32], client[32], key[16], iv[12], hp[16], mask[32], clear[8192] = { 0 };
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	size_t at = 0, number_at, room;
	unsigned n_initial = 32;
	int n;

	HMAC(EVP_sha256(), salts[w->v2], 20, (const void *)keys_of, 8, initial, &n_initial);
	quic_expand(initial, "client in", client, 32);
	quic_expand(client, w->v2 ? "quicv2 key" : "quic key", key, 16);
	quic_expand(client, w->v2 ? "quicv2 iv" : "quic iv", iv, 12);
	quic_expand(client, w->v2 ? "quicv2 hp" : "quic hp", hp, 16);

	ret[at++] = w->v2 ? 0xd1 : 0xc1; /* a number of two bytes */
	memcpy(ret + at, w->v2 ? "\x6b\x33\x43\xcf" : "\0\0\0\1", 4);
	at += 4;
	ret[at++] = 8;
	memcpy(ret + at, id, 8);
	at += 8;
	ret[at++] = 0;
	ret[at++] = (uint8_t)(0x40 | w->token >> 8);
	ret[at++] = (uint8_t)w->token;
	memset(ret + at, 't', w->token);
	at += w->token;
	memcpy(clear, frames, len);
	room = w->size ? w->size - at - 2 - 2 - 16 : len < 4 ? 4 : len;
	ret[at++] = (uint8_t)(0x40 | (room + 18) >> 8);
	ret[at++] = (uint8_t)(room + 18);
	number_at = at;
	ret[at++] = (uint8_t)(w->number >> 8);
	ret[at++] = (uint8_t)w->number;
	iv[10] ^= (uint8_t)(w->number >> 8);
	iv[11] ^= (uint8_t)w->number;
	EVP_EncryptInit_ex(c, EVP_aes_128_gcm(), NULL, key, iv);
	EVP_EncryptUpdate(c, NULL, &n, ret, (int)at);
	EVP_EncryptUpdate(c, ret + at, &n, clear, (int)room);
	EVP_EncryptFinal_ex(c, ret + at + n, &n);
	EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, 16, ret + at + room);
	EVP_CIPHER_CTX_reset(c);
	EVP_EncryptInit_ex(c, EVP_aes_128_ecb(), NULL, hp, NULL);
	EVP_EncryptUpdate(c, mask, &n, ret + number_at + 4, 16);
	EVP_CIPHER_CTX_free(c);
	ret[0] ^= mask[0] & 0x0f;
	ret[number_at] ^= mask[1];
	ret[number_at + 1] ^= mask[2];
	return at + room + 16;
}

/* A CRYPTO frame. Returns its length. */
static inline size_t quic_crypto(const uint8_t *bytes, size_t offset, size_t len, uint8_t *ret)
{
	ret[0] = 6;
	ret[1] = (uint8_t)(0x40 | offset >> 8);
	ret[2] = (uint8_t)offset;
	ret[3] = (uint8_t)(0x40 | len >> 8);
	ret[4] = (uint8_t)len;
	memcpy(ret + 5, bytes + offset, len);
	return 5 + len;
}
