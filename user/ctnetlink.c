/* SPDX-License-Identifier: Apache-2.0 */
#include "user/ctnetlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>

/* ------------------------------------------------------------------ questions */

struct writer {
	uint8_t *at;
	size_t len;
};

static void *put(struct writer *w, size_t size)
{
	void *p = w->at + w->len;

	memset(p, 0, NLA_ALIGN(size));
	w->len += NLA_ALIGN(size);
	return p;
}

static void put_attr(struct writer *w, uint16_t type, const void *value, size_t size)
{
	struct nlattr *a = put(w, NLA_HDRLEN);

	*a = (struct nlattr){ .nla_type = type, .nla_len = (uint16_t)(NLA_HDRLEN + size) };
	memcpy(put(w, size), value, size);
}

static struct nlattr *open_nest(struct writer *w, uint16_t type)
{
	struct nlattr *a = put(w, NLA_HDRLEN);

	a->nla_type = type | NLA_F_NESTED;
	return a;
}

static void close_nest(struct writer *w, struct nlattr *a)
{
	a->nla_len = (uint16_t)(w->at + w->len - (uint8_t *)a);
}

static struct nlmsghdr *begin(struct writer *w, uint16_t type, uint16_t flags, uint32_t seq,
			      uint8_t family)
{
	struct nlmsghdr *h = put(w, NLMSG_HDRLEN);
	struct nfgenmsg *g = put(w, sizeof(*g));

	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	h->nlmsg_seq = seq;
	g->nfgen_family = family;
	g->version = NFNETLINK_V0;
	return h;
}

size_t ct_encode_get(const struct ct_tuple *t, uint32_t seq, uint8_t ret[static CT_MESSAGE_MAX])
{
	bool v6 = t->ip_version == 6;
	uint16_t source_port = htons(t->source_port);
	uint16_t destination_port = htons(t->destination_port);
	struct writer w = { .at = ret };
	struct nlattr *tuple, *part;
	struct nlmsghdr *h;

	h = begin(&w, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, 0, seq,
		  v6 ? AF_INET6 : AF_INET);
	tuple = open_nest(&w, CTA_TUPLE_ORIG);
	part = open_nest(&w, CTA_TUPLE_IP);
	put_attr(&w, v6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC, t->source, v6 ? 16 : 4);
	put_attr(&w, v6 ? CTA_IP_V6_DST : CTA_IP_V4_DST, t->destination, v6 ? 16 : 4);
	close_nest(&w, part);
	part = open_nest(&w, CTA_TUPLE_PROTO);
	put_attr(&w, CTA_PROTO_NUM, &t->protocol, 1);
	put_attr(&w, CTA_PROTO_SRC_PORT, &source_port, 2);
	put_attr(&w, CTA_PROTO_DST_PORT, &destination_port, 2);
	close_nest(&w, part);
	close_nest(&w, tuple);
	h->nlmsg_len = (uint32_t)w.len;
	return w.len;
}

size_t ct_encode_chains(uint32_t seq, uint8_t ret[static CT_MESSAGE_MAX])
{
	struct writer w = { .at = ret };
	struct nlmsghdr *h;

	h = begin(&w, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN, NLM_F_DUMP, seq, AF_UNSPEC);
	h->nlmsg_len = (uint32_t)w.len;
	return w.len;
}

/* ------------------------------------------------------------------ answers */

struct reader {
	const uint8_t *at;
	size_t left;
};

/* The next attribute's type without flags, and its value; -1: none, or damaged. */
static int next_attr(struct reader *r, struct reader *ret)
{
	struct nlattr a;
	size_t step;

	if (r->left < NLA_HDRLEN)
		return -1;
	memcpy(&a, r->at, sizeof(a));
	if (a.nla_len < NLA_HDRLEN || a.nla_len > r->left)
		return -1;
	*ret = (struct reader){ r->at + NLA_HDRLEN, a.nla_len - NLA_HDRLEN };
	step = NLA_ALIGN(a.nla_len);
	if (step > r->left)
		step = r->left;
	*r = (struct reader){ r->at + step, r->left - step };
	return a.nla_type & NLA_TYPE_MASK;
}

static void decode_ip(struct reader r, struct ct_tuple *ret)
{
	struct reader v;
	int type;

	while ((type = next_attr(&r, &v)) >= 0) {
		bool is_source = type == CTA_IP_V4_SRC || type == CTA_IP_V6_SRC;
		size_t size = type == CTA_IP_V4_SRC || type == CTA_IP_V4_DST ? 4 : 16;

		if (type < CTA_IP_V4_SRC || type > CTA_IP_V6_DST || v.left != size)
			continue;
		ret->ip_version = size == 4 ? 4 : 6;
		memcpy(is_source ? ret->source : ret->destination, v.at, size);
	}
}

static uint16_t port_of(struct reader v)
{
	return v.left == 2 ? (uint16_t)(v.at[0] << 8 | v.at[1]) : 0;
}

static void decode_tuple(struct reader r, struct ct_tuple *ret)
{
	struct reader v, part;
	int type, inner;

	*ret = (struct ct_tuple){ 0 };
	while ((type = next_attr(&r, &v)) >= 0) {
		if (type == CTA_TUPLE_IP)
			decode_ip(v, ret);
		if (type != CTA_TUPLE_PROTO)
			continue;
		while ((inner = next_attr(&v, &part)) >= 0) {
			if (inner == CTA_PROTO_NUM && part.left == 1)
				ret->protocol = part.at[0];
			else if (inner == CTA_PROTO_SRC_PORT)
				ret->source_port = port_of(part);
			else if (inner == CTA_PROTO_DST_PORT)
				ret->destination_port = port_of(part);
		}
	}
}

/* One message of those that are left: its header, and what is behind that. */
static bool next_message(struct reader *r, struct nlmsghdr *ret, struct reader *ret_body)
{
	size_t step;

	if (r->left < NLMSG_HDRLEN)
		return false;
	memcpy(ret, r->at, sizeof(*ret));
	if (ret->nlmsg_len < NLMSG_HDRLEN || ret->nlmsg_len > r->left)
		return false;
	*ret_body = (struct reader){ r->at + NLMSG_HDRLEN, ret->nlmsg_len - NLMSG_HDRLEN };
	step = NLMSG_ALIGN(ret->nlmsg_len);
	if (step > r->left)
		step = r->left;
	*r = (struct reader){ r->at + step, r->left - step };
	return true;
}

static int error_of(struct reader body)
{
	int32_t error;

	if (body.left < sizeof(error))
		return -EBADMSG;
	memcpy(&error, body.at, sizeof(error));
	return error < 0 && error >= -4095 ? error : -EBADMSG;
}

int ct_decode(const void *message, size_t size, uint32_t seq, struct ct_entry *ret)
{
	struct reader r = { message, size }, body, v;
	bool original = false, reply = false;
	struct nlmsghdr h;
	int type;

	if (!next_message(&r, &h, &body))
		return -EBADMSG;
	if (h.nlmsg_seq != seq)
		return -EAGAIN;
	if (h.nlmsg_type == NLMSG_ERROR)
		return error_of(body);
	if (h.nlmsg_type != (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW) ||
	    body.left < sizeof(struct nfgenmsg))
		return -EBADMSG;
	body = (struct reader){ body.at + sizeof(struct nfgenmsg),
				body.left - sizeof(struct nfgenmsg) };
	while ((type = next_attr(&body, &v)) >= 0) {
		if (type == CTA_TUPLE_ORIG) {
			decode_tuple(v, &ret->original);
			original = ret->original.ip_version;
		} else if (type == CTA_TUPLE_REPLY) {
			decode_tuple(v, &ret->reply);
			reply = ret->reply.ip_version;
		}
	}
	return original && reply ? 0 : -EBADMSG;
}

int ct_decode_chains(const void *messages, size_t size, uint32_t seq, bool *ret_nat)
{
	struct reader r = { messages, size }, body, v;
	struct nlmsghdr h;
	int type;

	while (next_message(&r, &h, &body)) {
		if (h.nlmsg_seq != seq)
			continue;
		if (h.nlmsg_type == NLMSG_DONE)
			return 1;
		if (h.nlmsg_type == NLMSG_ERROR)
			return error_of(body);
		if (body.left < sizeof(struct nfgenmsg))
			return -EBADMSG;
		body = (struct reader){ body.at + sizeof(struct nfgenmsg),
					body.left - sizeof(struct nfgenmsg) };
		while ((type = next_attr(&body, &v)) >= 0)
			if (type == NFTA_CHAIN_TYPE && v.left >= 4 && !memcmp(v.at, "nat", 4))
				*ret_nat = true;
	}
	return 0;
}
