/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to the kernel's connection tracking, and answers as it gives them. */
#include "user/ctnetlink.h"

#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>

#include "tests/lib/test.h"

static const struct ct_tuple v4 = { .source = { 10, 0, 0, 1 },
				    .destination = { 10, 0, 0, 50 },
				    .source_port = 40000,
				    .destination_port = 80,
				    .ip_version = 4,
				    .protocol = 6 };
static const struct ct_tuple v6 = { .source = { 0xfd, [15] = 1 },
				    .destination = { 0xfd, [15] = 2 },
				    .source_port = 1,
				    .destination_port = 65535,
				    .ip_version = 6,
				    .protocol = 17 };

static bool is_same(const struct ct_tuple *a, const struct ct_tuple *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* An answer is a question's tuple, twice, under another type. */
static size_t answer(const struct ct_tuple *original, const struct ct_tuple *reply, uint32_t seq,
		     uint8_t ret[static CT_MESSAGE_MAX])
{
	uint8_t second[CT_MESSAGE_MAX];
	size_t n = ct_encode_get(original, seq, ret), m = ct_encode_get(reply, seq, second);
	const size_t head = NLMSG_HDRLEN + sizeof(struct nfgenmsg);
	struct nlmsghdr *h = (struct nlmsghdr *)ret;
	struct nlattr *a = (struct nlattr *)(ret + n);

	memcpy(ret + n, second + head, m - head);
	a->nla_type = CTA_TUPLE_REPLY | NLA_F_NESTED;
	n += m - head;
	h->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW;
	h->nlmsg_len = (uint32_t)n;
	return n;
}

TEST(tuples_come_back)
{
	static _Alignas(8) uint8_t bytes[CT_MESSAGE_MAX];
	struct ct_entry e = { 0 };
	size_t n = answer(&v4, &v4, 7, bytes);

	CHECK_INT(ct_decode(bytes, n, 7, &e), 0);
	CHECK(is_same(&e.original, &v4) && is_same(&e.reply, &v4));
	CHECK_INT(ct_decode(bytes, n, 8, &e), -EAGAIN);
	n = answer(&v6, &v6, 9, bytes);
	CHECK_INT(ct_decode(bytes, n, 9, &e), 0);
	CHECK(is_same(&e.original, &v6) && is_same(&e.reply, &v6));
	for (size_t i = 0; i < n; i++)
		CHECK_INT(ct_decode(bytes, i, 9, &e), -EBADMSG);
}

TEST(errors)
{
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
	} m = { .h = { .nlmsg_len = sizeof(m), .nlmsg_type = NLMSG_ERROR, .nlmsg_seq = 3 },
		.e = { .error = -ENOENT } };
	struct ct_entry e;

	CHECK_INT(ct_decode(&m, sizeof(m), 3, &e), -ENOENT);
	m.e.error = -EPERM;
	CHECK_INT(ct_decode(&m, sizeof(m), 3, &e), -EPERM);
	/* "All is well" is no answer to this question. */
	m.e.error = 0;
	CHECK_INT(ct_decode(&m, sizeof(m), 3, &e), -EBADMSG);
}

static size_t chain(const char *type, uint8_t *ret)
{
	struct nlmsghdr *h = (struct nlmsghdr *)ret;
	struct nlattr *a = (struct nlattr *)(ret + NLMSG_HDRLEN + sizeof(struct nfgenmsg));
	size_t n = strlen(type) + 1, len = (size_t)((uint8_t *)a - ret) + NLA_HDRLEN + NLA_ALIGN(n);

	memset(ret, 0, len);
	*h = (struct nlmsghdr){ .nlmsg_len = (uint32_t)len,
				.nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWCHAIN,
				.nlmsg_seq = 5 };
	*a = (struct nlattr){ .nla_len = (uint16_t)(NLA_HDRLEN + n), .nla_type = NFTA_CHAIN_TYPE };
	memcpy(a + 1, type, n);
	return len;
}

TEST(chains)
{
	static _Alignas(8) uint8_t bytes[CT_MESSAGE_MAX];
	struct nlmsghdr done = { .nlmsg_len = sizeof(done),
				 .nlmsg_type = NLMSG_DONE,
				 .nlmsg_seq = 5 };
	bool nat = false;
	size_t n;

	CHECK(ct_encode_chains(5, bytes) > NLMSG_HDRLEN);
	n = chain("filter", bytes);
	CHECK_INT(ct_decode_chains(bytes, n, 5, &nat), 0);
	CHECK(!nat);
	n += chain("nat", bytes + n);
	CHECK_INT(ct_decode_chains(bytes, n, 6, &nat), 0);
	CHECK(!nat);
	memcpy(bytes + n, &done, sizeof(done));
	CHECK_INT(ct_decode_chains(bytes, n + sizeof(done), 5, &nat), 1);
	CHECK(nat);
}
