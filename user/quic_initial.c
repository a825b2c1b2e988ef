/* SPDX-License-Identifier: Apache-2.0 */
#include "user/quic_initial.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "user/util/sha256.h"

#define KEY_SIZE    16
#define IV_SIZE	    12
#define TAG_SIZE    16
#define SAMPLE_SIZE 16
#define PACKET_MAX  4096 /* more is not copied from the network */
#define PACKETS_MAX 4	 /* of a datagram */

struct quic {
	EVP_CIPHER *ecb, *gcm;
	EVP_CIPHER_CTX *header, *payload;
};

struct keys {
	uint8_t key[KEY_SIZE], iv[IV_SIZE], header[KEY_SIZE];
};

static const struct version {
	uint32_t number;
	uint8_t type; /* of an Initial packet, in its first byte */
	uint8_t salt[20];
	const char *key, *iv, *header; /* labels */
} versions[] = {
	{ 1, /* RFC 9001, 5.2 */
	  0,
	  { 0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17,
	    0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a },
	  "tls13 quic key",
	  "tls13 quic iv",
	  "tls13 quic hp" },
	{ 0x6b3343cf, /* RFC 9369, 3.3 */
	  1,
	  { 0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93,
	    0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9 },
	  "tls13 quicv2 key",
	  "tls13 quicv2 iv",
	  "tls13 quicv2 hp" },
};

int quic_new(struct quic **ret)
{
	_cleanup_(quic_freep) struct quic *q = calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	q->ecb = EVP_CIPHER_fetch(NULL, "AES-128-ECB", NULL);
	q->gcm = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
	if (!q->ecb || !q->gcm)
		return -ENOTSUP;
	q->header = EVP_CIPHER_CTX_new();
	q->payload = EVP_CIPHER_CTX_new();
	if (!q->header || !q->payload)
		return -ENOMEM;
	*ret = TAKE_PTR(q);
	return 0;
}

void quic_free(struct quic *q)
{
	if (!q)
		return;
	EVP_CIPHER_CTX_free(q->header);
	EVP_CIPHER_CTX_free(q->payload);
	EVP_CIPHER_free(q->ecb);
	EVP_CIPHER_free(q->gcm);
	free(q);
}

/* ------------------------------------------------------------------ keys */

#define BLOCK	    64
#define MESSAGE_MAX 64

/* RFC 2104, of keys and messages as short as ours. */
static void hmac(const uint8_t *key, size_t key_len, const uint8_t *text, size_t len,
		 uint8_t ret[SHA256_SIZE])
{
	uint8_t inner[BLOCK + MESSAGE_MAX], outer[BLOCK + SHA256_SIZE];

	memset(inner, 0x36, BLOCK);
	memset(outer, 0x5c, BLOCK);
	for (size_t i = 0; i < key_len; i++) {
		inner[i] ^= key[i];
		outer[i] ^= key[i];
	}
	memcpy(inner + BLOCK, text, len);
	sha256(inner, BLOCK + len, outer + BLOCK);
	sha256(outer, sizeof(outer), ret);
}

/* RFC 8446, 7.1: HKDF-Expand-Label without a context, of one block at the most. */
static void expand(const uint8_t secret[SHA256_SIZE], const char *label, uint8_t *ret, size_t len)
{
	uint8_t text[MESSAGE_MAX], block[SHA256_SIZE];
	size_t n = strlen(label), at = 0;

	text[at++] = 0;
	text[at++] = (uint8_t)len;
	text[at++] = (uint8_t)n;
	memcpy(text + at, label, n);
	at += n;
	text[at++] = 0; /* the context */
	text[at++] = 1; /* HKDF's counter */
	hmac(secret, SHA256_SIZE, text, at, block);
	memcpy(ret, block, len);
}

/* RFC 9001, 5.2: of the client, from the id that it has drawn for the server. */
static void make_keys(const struct version *v, const uint8_t *id, size_t id_len, struct keys *ret)
{
	uint8_t initial[SHA256_SIZE], client[SHA256_SIZE];

	hmac(v->salt, sizeof(v->salt), id, id_len, initial);
	expand(initial, "tls13 client in", client, sizeof(client));
	expand(client, v->key, ret->key, sizeof(ret->key));
	expand(client, v->iv, ret->iv, sizeof(ret->iv));
	expand(client, v->header, ret->header, sizeof(ret->header));
}

/* ------------------------------------------------------------------ packets */

struct reader {
	const uint8_t *p;
	size_t left;
};

static bool skip(struct reader *r, uint64_t n)
{
	if (n > r->left)
		return false;
	r->p += n;
	r->left -= n;
	return true;
}

/* RFC 9000, 16. */
static bool read_number(struct reader *r, uint64_t *ret)
{
	size_t n;
	uint64_t v;

	if (!r->left)
		return false;
	n = (size_t)1 << (r->p[0] >> 6);
	if (n > r->left)
		return false;
	v = r->p[0] & 0x3f;
	for (size_t i = 1; i < n; i++)
		v = v << 8 | r->p[i];
	*ret = v;
	return skip(r, n);
}

struct packet {
	const struct version *version;
	const uint8_t *id; /* the destination's */
	size_t id_len;
	size_t number_at; /* from its first byte: the packet number, and the payload behind it */
	size_t size;
};

/* 0; -ENODATA: another packet, or padding; -EBADMSG. */
static int read_header(const uint8_t *p, size_t size, struct packet *ret)
{
	struct reader r = { p, size };
	uint64_t len;
	uint32_t number;

	*ret = (struct packet){ .version = NULL };
	if (size < 7 || (p[0] & 0xc0) != 0xc0)
		return -ENODATA;
	number = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
	for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++)
		if (versions[i].number == number)
			ret->version = &versions[i];
	if (!ret->version || (p[0] >> 4 & 3) != ret->version->type)
		return -ENODATA;
	skip(&r, 6);
	ret->id = r.p;
	ret->id_len = p[5];
	if (ret->id_len > QUIC_ID_MAX || !skip(&r, ret->id_len) || !r.left ||
	    r.p[0] > QUIC_ID_MAX || !skip(&r, 1 + (uint64_t)r.p[0]))
		return -EBADMSG;
	if (!read_number(&r, &len) || !skip(&r, len)) /* the token */
		return -EBADMSG;
	if (!read_number(&r, &len) || len > r.left || len < 4 + SAMPLE_SIZE)
		return -EBADMSG;
	ret->number_at = size - r.left;
	ret->size = ret->number_at + (size_t)len;
	return ret->size <= PACKET_MAX ? 0 : -EBADMSG;
}

/* RFC 9001, 5.4 and 5.3. Opens into ret; its length, or -EBADMSG. */
static int open_packet(struct quic *q, const uint8_t *p, const struct packet *packet,
		       const struct keys *keys, uint8_t ret[PACKET_MAX])
{
	uint8_t head[PACKET_MAX], mask[SAMPLE_SIZE + EVP_MAX_BLOCK_LENGTH], nonce[IV_SIZE];
	uint8_t tag[TAG_SIZE];
	size_t number_len, head_len, len;
	int n = 0, rest = 0;

	if (EVP_EncryptInit_ex2(q->header, q->ecb, keys->header, NULL, NULL) != 1 ||
	    EVP_CIPHER_CTX_set_padding(q->header, 0) != 1 ||
	    EVP_EncryptUpdate(q->header, mask, &n, p + packet->number_at + 4, SAMPLE_SIZE) != 1 ||
	    n != SAMPLE_SIZE)
		return -EBADMSG;
	memcpy(head, p, packet->number_at + 4);
	head[0] ^= mask[0] & 0x0f;
	number_len = (size_t)(head[0] & 3) + 1;
	head_len = packet->number_at + number_len;
	memcpy(nonce, keys->iv, sizeof(nonce));
	for (size_t i = 0; i < number_len; i++) {
		head[packet->number_at + i] ^= mask[1 + i];
		nonce[sizeof(nonce) - number_len + i] ^= head[packet->number_at + i];
	}
	if (packet->size < head_len + TAG_SIZE)
		return -EBADMSG;
	len = packet->size - head_len - TAG_SIZE;
	memcpy(tag, p + packet->size - TAG_SIZE, TAG_SIZE);
	if (EVP_DecryptInit_ex2(q->payload, q->gcm, keys->key, nonce, NULL) != 1 ||
	    EVP_DecryptUpdate(q->payload, NULL, &n, head, (int)head_len) != 1 ||
	    EVP_DecryptUpdate(q->payload, ret, &n, p + head_len, (int)len) != 1 ||
	    EVP_CIPHER_CTX_ctrl(q->payload, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, tag) != 1 ||
	    EVP_DecryptFinal_ex(q->payload, ret + n, &rest) != 1)
		return -EBADMSG;
	return n + rest;
}

/* ------------------------------------------------------------------ frames */

static int keep(struct quic_hello *h, uint64_t offset, const uint8_t *p, uint64_t len)
{
	if (offset > sizeof(h->bytes) || len > sizeof(h->bytes) - offset)
		return -EMSGSIZE;
	memcpy(h->bytes + offset, p, len);
	for (uint64_t i = offset; i < offset + len; i++)
		h->have[i / 64] |= 1ull << (i % 64);
	return 0;
}

/* RFC 9000, 17.2.2: an Initial packet has no others than these. */
int quic_take_frames(const uint8_t *p, size_t size, struct quic_hello *h)
{
	struct reader r = { p, size };

	while (r.left) {
		uint64_t type, number, offset, len, n;
		int err;

		if (!read_number(&r, &type))
			return -EBADMSG;
		switch (type) {
		case 0x00: /* PADDING */
		case 0x01: /* PING */
			break;
		case 0x02: /* ACK: largest, delay, count, first range */
		case 0x03:
			if (!read_number(&r, &number) || !read_number(&r, &number) ||
			    !read_number(&r, &n) || !read_number(&r, &number))
				return -EBADMSG;
			for (n = 2 * (n < size ? n : size) + (type == 0x03 ? 3 : 0); n; n--)
				if (!read_number(&r, &number))
					return -EBADMSG;
			break;
		case 0x06: /* CRYPTO */
			if (!read_number(&r, &offset) || !read_number(&r, &len) || len > r.left)
				return -EBADMSG;
			err = keep(h, offset, r.p, len);
			if (err)
				return err;
			skip(&r, len);
			break;
		case 0x1c: /* CONNECTION_CLOSE */
			return 0;
		default:
			return -EBADMSG;
		}
	}
	return 0;
}

static int take_packet(struct quic *q, const uint8_t *p, const struct packet *packet,
		       struct quic_hello *h)
{
	uint8_t clear[PACKET_MAX];
	struct keys keys;
	int n;

	make_keys(packet->version, packet->id, packet->id_len, &keys);
	n = open_packet(q, p, packet, &keys, clear);
	/* What the client sends after the server's answer has the server's id, and the same keys.
	 */
	if (n < 0 && h->has_id) {
		make_keys(packet->version, h->id, h->id_len, &keys);
		n = open_packet(q, p, packet, &keys, clear);
	}
	if (n < 0)
		return n;
	if (!h->has_id) {
		memcpy(h->id, packet->id, packet->id_len);
		h->id_len = (uint8_t)packet->id_len;
		h->has_id = 1;
	}
	return quic_take_frames(clear, (size_t)n, h);
}

int quic_take_datagram(struct quic *q, const uint8_t *p, size_t size, struct quic_hello *h)
{
	int taken = 0, err = 0;

	for (int i = 0; i < PACKETS_MAX; i++) {
		struct packet packet;

		err = read_header(p, size, &packet);
		if (err)
			break;
		err = take_packet(q, p, &packet, h);
		if (err)
			break;
		taken++;
		p += packet.size;
		size -= packet.size;
		/* Some fill the datagram up behind the packet. */
		while (size && !*p) {
			p++;
			size--;
		}
	}
	if (err == -EMSGSIZE)
		return err;
	return taken ? 0 : -EBADMSG;
}

int quic_hello_parse(const struct quic_hello *h, struct tls_hello *ret)
{
	size_t n = 0;

	while (n < sizeof(h->bytes) && h->have[n / 64] >> (n % 64) & 1)
		n++;
	return tls_hello_parse_message(h->bytes, n, 'q', ret);
}
