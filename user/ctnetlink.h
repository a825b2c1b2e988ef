/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel's connection tracking is asked, and what it answers: bytes of
 * nfnetlink to structs and back. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ct_tuple {
	uint8_t source[16], destination[16]; /* network order; IPv4 in the first four */
	uint16_t source_port, destination_port;
	uint8_t ip_version; /* 4 or 6 */
	uint8_t protocol;
	uint8_t pad[2];
};

struct ct_entry {
	struct ct_tuple original; /* of the first packet, before it was translated */
	struct ct_tuple reply;	  /* of the answer, before that is translated back */
};

#define CT_MESSAGE_MAX 512

/* "Which connection has packets like this one?" Returns its length. */
size_t ct_encode_get(const struct ct_tuple *t, uint32_t seq, uint8_t ret[static CT_MESSAGE_MAX]);

/* One message: 0; -ENOENT: there is none; -EAGAIN: of another question; -EBADMSG; or the kernel's
 * errno. */
int ct_decode(const void *message, size_t size, uint32_t seq, struct ct_entry *ret);

/* "Which chains are there?", and whether one in these messages translates addresses. */
size_t ct_encode_chains(uint32_t seq, uint8_t ret[static CT_MESSAGE_MAX]);
/* *ret_nat is set, never cleared. 0: more is to come; 1: that was the end; -errno. */
int ct_decode_chains(const void *messages, size_t size, uint32_t seq, bool *ret_nat);
