/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of names: who is told what, since when, and what a ceiling does. */
#include "user/names.h"

#include "tests/lib/hello.h"
#include "tests/lib/quic.h"
#include "tests/lib/test.h"

#define SECOND 1000000000ull

static const struct task_ref curl = { .pid = 10, .start_ns = 5, .cgroup_id = 77 };
static const struct task_ref fork_of_it = { .pid = 11, .start_ns = 6, .cgroup_id = 77 };
static const struct task_ref other = { .pid = 12, .start_ns = 7, .cgroup_id = 88 };

static struct dns_answer answer(const char *name, uint8_t last, uint32_t ttl_s)
{
	struct dns_answer a = { .type = DNS_A, .name_len = strlen(name), .n_addresses = 1 };

	memcpy(a.name, name, a.name_len + 1);
	a.addresses[0] = (struct dns_address){ .bytes = { 192, 0, 2, last },
					       .ip_version = 4,
					       .ttl_s = ttl_s };
	return a;
}

static struct flow flow_to(uint8_t last, struct task_ref who, uint64_t start_ns)
{
	return (struct flow){ .start_ns = start_ns,
			      .last_ns = start_ns + SECOND,
			      .opener = who,
			      .user = who,
			      .local = { 192, 0, 2, 1 },
			      .remote = { 192, 0, 2, last },
			      .local_port = 40000,
			      .remote_port = 443,
			      .ip_version = 4,
			      .protocol = 6,
			      .outbound = true,
			      .direction_known = true };
}

static void check_name(struct names *n, struct flow f, const char *want, bool by_other)
{
	struct names_domain d = names_find_domain(n, &f);

	CHECK_MEM(d.name.p ? d.name.p : "", d.name.len, want);
	CHECK_INT(d.by_other, by_other);
}

TEST(the_process_before_its_cgroup_before_anybody)
{
	_cleanup_(names_freep) struct names *n = NULL;
	struct dns_answer a = answer("a.test", 7, 60), b = answer("b.test", 7, 60);
	struct flow in;

	CHECK_INT(names_new(NULL, &n), 0);
	names_learn(n, &curl, &a, 100 * SECOND);
	check_name(n, flow_to(7, curl, 101 * SECOND), "a.test", false);
	check_name(n, flow_to(7, fork_of_it, 101 * SECOND), "a.test", true);
	check_name(n, flow_to(7, other, 101 * SECOND), "a.test", true);
	check_name(n, flow_to(8, curl, 101 * SECOND), "", false);
	/* The same address by another name, for somebody else. */
	names_learn(n, &other, &b, 102 * SECOND);
	check_name(n, flow_to(7, curl, 103 * SECOND), "a.test", false);
	check_name(n, flow_to(7, fork_of_it, 103 * SECOND), "a.test", true);
	check_name(n, flow_to(7, other, 103 * SECOND), "b.test", false);
	/* What others began has no destination that was asked for. */
	in = flow_to(7, curl, 103 * SECOND);
	in.outbound = false;
	check_name(n, in, "", false);
	/* A pid that is another process by now. */
	in = flow_to(7, curl, 103 * SECOND);
	in.opener.start_ns = in.user.start_ns = 9;
	in.opener.cgroup_id = in.user.cgroup_id = 0;
	check_name(n, in, "b.test", true);
}

TEST(this_host_is_called_nothing)
{
	_cleanup_(names_freep) struct names *n = NULL;
	struct dns_answer a = answer("ads.test", 7, 60);
	struct flow f = flow_to(7, curl, 101 * SECOND), g = flow_to(7, other, 101 * SECOND);

	CHECK_INT(names_new(NULL, &n), 0);
	memcpy(a.addresses[0].bytes, "\x7f\0\0\1", 4);
	memcpy(f.remote, "\x7f\0\0\1", 4);
	memcpy(g.remote, "\x7f\0\0\1", 4);
	names_learn(n, &curl, &a, 100 * SECOND);
	check_name(n, f, "ads.test", false);
	check_name(n, g, "", false);
}

TEST(a_flow_keeps_the_name_that_it_began_with)
{
	_cleanup_(names_freep) struct names *n = NULL;
	struct dns_answer a = answer("a.test", 7, 60), b = answer("b.test", 7, 60);

	CHECK_INT(names_new(NULL, &n), 0);
	names_learn(n, &curl, &a, 100 * SECOND);
	names_learn(n, &curl, &a, 110 * SECOND);
	names_learn(n, &curl, &b, 200 * SECOND);
	check_name(n, flow_to(7, curl, 99 * SECOND), "", false);
	check_name(n, flow_to(7, curl, 105 * SECOND), "a.test", false);
	check_name(n, flow_to(7, curl, 199 * SECOND), "a.test", false);
	check_name(n, flow_to(7, curl, 201 * SECOND), "b.test", false);
}

TEST(a_name_grows_old)
{
	_cleanup_(names_freep) struct names *n = NULL;
	struct dns_answer brief = answer("a.test", 7, 1), lasting = answer("b.test", 8, 86400);

	CHECK_INT(names_new(NULL, &n), 0);
	names_learn(n, &curl, &brief, 100 * SECOND);
	names_learn(n, &curl, &lasting, 100 * SECOND);
	check_name(n, flow_to(7, curl, 3600 * SECOND), "a.test", false);
	check_name(n, flow_to(7, curl, 3701 * SECOND), "", false);
	check_name(n, flow_to(8, curl, 80000 * SECOND), "b.test", false);
	check_name(n, flow_to(8, curl, 90000 * SECOND), "", false);
}

TEST(the_ceiling)
{
	_cleanup_(names_freep) struct names *n = NULL;
	const struct task_ref nobody = { 0 };
	struct names_stats s;

	CHECK_INT(names_new(&(struct names_opts){ .max_addresses = 10, .max_flows = 4 }, &n), 0);
	for (uint8_t i = 0; i < 100; i++) {
		struct dns_answer a = answer("a.test", i, 60);

		names_learn(n, &nobody, &a, 100 * SECOND);
		/* One that is in use stays. */
		check_name(n, flow_to(0, curl, 101 * SECOND), "a.test", true);
	}
	names_get_stats(n, &s);
	CHECK_INT(s.addresses, 10);
	CHECK_INT(s.evicted_addresses, 90);
	CHECK_INT(s.answers, 100);
	check_name(n, flow_to(99, curl, 101 * SECOND), "a.test", true);
	check_name(n, flow_to(50, curl, 101 * SECOND), "", false);
}

/* ------------------------------------------------------------------ hellos */

static const uint16_t ciphers[] = { 0x1301, 1 }, extensions[] = { 43, 21, 1 },
		      versions[] = { 0x0304, 1 };
static uint8_t bytes[16384];
static size_t n_bytes;

static void make(const char *name, size_t pad)
{
	n_bytes = hello_make(&(struct hello_wish){ .server_name = name,
						   .ciphers = ciphers,
						   .extensions = extensions,
						   .versions = versions,
						   .pad = pad },
			     bytes);
}

static struct packet_sample packet(uint16_t port, size_t from, size_t len, uint64_t boot_ns)
{
	return (struct packet_sample){ .boot_ns = boot_ns,
				       .local = { 192, 0, 2, 1 },
				       .remote = { 192, 0, 2, 7 },
				       .local_port = port,
				       .remote_port = 443,
				       .ip_version = 4,
				       .protocol = 6,
				       .outbound = true,
				       .seq = 0xfffffff0u + (uint32_t)from,
				       .full_len = (uint32_t)len,
				       .data = { (const char *)bytes + from, len } };
}

static void take(struct names *n, struct packet_sample p)
{
	names_take_packet(n, &p);
}

static const char *hello_of(struct names *n, struct flow f)
{
	const struct tls_hello *h = names_find_hello(n, &f);

	return h ? h->server_name : "";
}

TEST(a_hello_is_of_one_connection)
{
	_cleanup_(names_freep) struct names *n = NULL;
	struct flow f = flow_to(7, curl, 100 * SECOND), next = flow_to(7, curl, 200 * SECOND);
	struct names_stats s;

	CHECK_INT(names_new(NULL, &n), 0);
	make("a.test", 10);
	take(n, packet(40000, 0, n_bytes, 100 * SECOND + 1));
	CHECK_STR(hello_of(n, f), "a.test");
	/* The next one with these ports has said nothing. */
	CHECK_STR(hello_of(n, next), "");
	f.local_port = 40001;
	CHECK_STR(hello_of(n, f), "");
	f.local_port = 40000;
	f.outbound = false;
	CHECK_STR(hello_of(n, f), "");
	f.outbound = true;
	names_forget(n, &f);
	CHECK_STR(hello_of(n, f), "");
	/* What the next one has said is not forgotten with the one before. */
	take(n, packet(40000, 0, n_bytes, 200 * SECOND + 1));
	names_forget(n, &f);
	CHECK_STR(hello_of(n, next), "a.test");
	names_get_stats(n, &s);
	CHECK_INT(s.hellos, 2);
	CHECK_INT(s.flows, 1);
	CHECK_INT(s.flows_with_hello, 2);
}

TEST(a_hello_in_parts)
{
	_cleanup_(names_freep) struct names *n = NULL;
	struct flow f = flow_to(7, curl, 100 * SECOND);
	struct names_stats s;

	CHECK_INT(names_new(NULL, &n), 0);
	make("a.test", 2500);
	take(n, packet(40000, 0, 1400, 101 * SECOND));
	CHECK_STR(hello_of(n, f), "");
	take(n, packet(40000, 1400, 1000, 101 * SECOND));
	take(n, packet(40000, 1400, 1000, 101 * SECOND)); /* again: not the next */
	CHECK_STR(hello_of(n, f), "");
	take(n, packet(40000, 2400, n_bytes - 2400, 101 * SECOND));
	CHECK_STR(hello_of(n, f), "a.test");
	/* Its rest comes too late; its rest alone; its end was not copied. */
	take(n, packet(40001, 0, 1400, 101 * SECOND));
	take(n, packet(40001, 1400, n_bytes - 1400, 112 * SECOND));
	take(n, packet(40002, 1400, n_bytes - 1400, 112 * SECOND));
	{
		struct packet_sample p = packet(40003, 0, 1400, 101 * SECOND);

		p.full_len = 5000;
		take(n, p);
	}
	names_get_stats(n, &s);
	CHECK_INT(s.hellos, 1);
	CHECK_INT(s.incomplete, 4);
	CHECK_INT(s.malformed, 0);
	CHECK_INT(s.parts, 7); /* each packet is one or the other */
}

TEST(parts_have_a_ceiling)
{
	_cleanup_(names_freep) struct names *n = NULL;
	struct names_stats s;

	CHECK_INT(names_new(&(struct names_opts){ .max_flows = 100 }, &n), 0);
	make("a.test", 2500);
	for (uint16_t i = 0; i < 1000; i++)
		take(n, packet(i, 0, 1400, 101 * SECOND));
	/* The last ones can still be completed. */
	for (uint16_t i = 1000 - NAMES_MAX_PARTS; i < 1000; i++)
		take(n, packet(i, 1400, n_bytes - 1400, 101 * SECOND));
	names_get_stats(n, &s);
	CHECK_INT(s.hellos, NAMES_MAX_PARTS);
	CHECK_INT(s.incomplete, 1000 - NAMES_MAX_PARTS);
	CHECK_INT(s.flows, 100);
	CHECK_INT(s.evicted_flows, 900);
}

TEST(a_transaction)
{
	static const uint8_t message[] = "\0\1\x81\x80\0\1\0\1\0\0\0\0\1a\4test\0\0\1\0\1"
					 "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\x09";
	_cleanup_(names_freep) struct names *n = NULL;
	struct flow f = flow_to(7, curl, 100 * SECOND);
	struct packet_sample p = packet(40000, 0, 0, 101 * SECOND);
	const struct names_answer *a;

	CHECK_INT(names_new(NULL, &n), 0);
	p.protocol = f.protocol = 17;
	p.remote_port = f.remote_port = 53;
	p.outbound = false; /* an answer comes in; its flow began here */
	p.asker = curl;
	p.data = (struct slice){ (const char *)message, sizeof(message) - 1 };
	p.full_len = sizeof(message) - 1;
	take(n, p);
	a = names_find_answer(n, &f);
	CHECK(a);
	if (!a)
		return;
	CHECK_STR(a->name, "a.test");
	CHECK_INT(a->n_addresses, 1);
	CHECK_INT(a->addresses[0].bytes[3], 9);
	check_name(n, flow_to(9, curl, 102 * SECOND), "a.test", false);
	/* To this host itself: no flow will ask for it. */
	names_forget(n, &f);
	memcpy(p.remote, "\x7f\0\0\x35", 4);
	memcpy(f.remote, p.remote, 4);
	take(n, p);
	CHECK(!names_find_answer(n, &f));
}

/* RFC 1035, 4.2.2: the same message behind its length, in a segment as it comes. */
static const uint8_t dns_message[] = "\0\1\x81\x80\0\1\0\1\0\0\0\0\1a\4test\0\0\1\0\1"
				     "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\x09";
#define DNS_LEN (sizeof(dns_message) - 1)

static struct packet_sample segment(const uint8_t *stream, size_t from, size_t len)
{
	struct packet_sample p = packet(40000, 0, 0, 101 * SECOND + from);

	p.remote_port = 53;
	p.outbound = false;
	p.asker = curl;
	p.seq = 0xffffffe0u + (uint32_t)from; /* it wraps */
	p.data = (struct slice){ (const char *)stream + from, len };
	p.full_len = (uint32_t)len;
	return p;
}

/* Three answers, for a.test, b.test and c.test, with .9, .10 and .11. */
static size_t dns_stream(uint8_t *ret)
{
	size_t n = 0;

	for (uint8_t i = 0; i < 3; i++) {
		ret[n++] = 0;
		ret[n++] = (uint8_t)DNS_LEN;
		memcpy(ret + n, dns_message, DNS_LEN);
		ret[n + 13] = (uint8_t)('a' + i);
		ret[n + DNS_LEN - 1] = (uint8_t)(9 + i);
		n += DNS_LEN;
	}
	return n;
}

TEST(answers_over_tcp_in_any_pieces)
{
	uint8_t stream[3 * (2 + DNS_LEN)];
	size_t len = dns_stream(stream);

	for (size_t piece = 1; piece <= len; piece++) {
		_cleanup_(names_freep) struct names *n = NULL;
		struct flow f = flow_to(7, curl, 100 * SECOND);
		struct names_stats s;
		uint64_t packets = 0;

		CHECK_INT(names_new(NULL, &n), 0);
		for (size_t at = 0; at < len; at += piece, packets++) {
			struct packet_sample p =
				segment(stream, at, len - at < piece ? len - at : piece);

			names_take_packet(n, &p);
		}
		check_name(n, flow_to(9, curl, 102 * SECOND), "a.test", false);
		check_name(n, flow_to(10, curl, 102 * SECOND), "b.test", false);
		check_name(n, flow_to(11, curl, 102 * SECOND), "c.test", false);
		f.remote_port = 53;
		CHECK(names_find_answer(n, &f));
		if (names_find_answer(n, &f))
			CHECK_STR(names_find_answer(n, &f)->name, "c.test");
		names_get_stats(n, &s);
		CHECK_INT(s.malformed + s.incomplete, 0);
		CHECK_INT(s.answers + s.parts, packets);
	}
}

TEST(answers_over_tcp_that_are_not_whole)
{
	_cleanup_(names_freep) struct names *n = NULL;
	uint8_t stream[3 * (2 + DNS_LEN)], large[9000] = { 0x20, 0 };
	size_t one = 2 + DNS_LEN;
	struct packet_sample p;
	struct names_stats s;

	CHECK_INT(names_new(NULL, &n), 0);
	dns_stream(stream);
	/* A segment is missing; then one that begins with a message. */
	p = segment(stream, 0, 20);
	names_take_packet(n, &p);
	names_take_packet(n, &p); /* sent again */
	p = segment(stream, 30, 10);
	names_take_packet(n, &p);
	check_name(n, flow_to(9, curl, 102 * SECOND), "", false);
	p = segment(stream, one, one);
	names_take_packet(n, &p);
	check_name(n, flow_to(10, curl, 102 * SECOND), "b.test", false);
	/* Of one whose end was not copied there are the addresses before. */
	memcpy(large, stream + 2 * one, one);
	large[0] = 0x10;
	p = segment(large, 0, one);
	p.full_len = 5000;
	large[2 + 2] |= 2; /* and it says so itself */
	names_take_packet(n, &p);
	check_name(n, flow_to(11, curl, 102 * SECOND), "c.test", false);
	/* Nonsense. */
	p = segment((const uint8_t *)"\0\5rubbish", 0, 7);
	names_take_packet(n, &p);
	names_get_stats(n, &s);
	CHECK_INT(s.answers, 2);
	CHECK_INT(s.parts, 3);
	CHECK_INT(s.incomplete, 1);
	CHECK_INT(s.malformed, 1);
	/* One that goes on for longer than we keep. */
	memcpy(large, stream, one);
	large[0] = 0xff;
	for (size_t at = 0; at < sizeof(large); at += 900) {
		p = segment(large, at, 900);
		names_take_packet(n, &p);
	}
	names_get_stats(n, &s);
	CHECK_INT(s.answers, 3);
	CHECK_INT(s.parts, 3 + 9);
}

/* ------------------------------------------------------------------ QUIC */

static struct packet_sample datagram(uint16_t port, const uint8_t *text, size_t len,
				     uint64_t boot_ns)
{
	struct packet_sample p = packet(port, 0, 0, boot_ns);

	p.protocol = 17;
	p.data = (struct slice){ (const char *)text, len };
	p.full_len = (uint32_t)len;
	return p;
}

TEST(quic_in_one_and_in_two_datagrams)
{
	_cleanup_(names_freep) struct names *n = NULL, *off = NULL;
	uint8_t frames[4096], first[2048], second[2048];
	struct packet_sample p;
	struct flow f = flow_to(7, curl, 101 * SECOND + 1000);
	struct names_stats s;
	size_t len, end;

	CHECK_INT(names_new(&(struct names_opts){ .quic = true }, &n), 0);
	CHECK(!names_lacks_quic(n));
	make("a.test", 200);
	len = quic_crypto(bytes + 5, 0, n_bytes - 5, frames);
	quic_seal(&(struct quic_wish){ .size = 1200 }, frames, len, first);
	p = datagram(40000, first, 1200, 101 * SECOND);
	names_take_packet(n, &p);
	f.protocol = 17;
	/* The flow began with this packet, by its own clock a moment later. */
	CHECK_STR(hello_of(n, f), "a.test");
	CHECK(names_find_hello(n, &f)->ja4[0] == 'q');
	/* An acknowledgement of the server's is no part of anything. */
	quic_seal(&(struct quic_wish){ .id = "servers_", .number = 1, .size = 1200 },
		  (const uint8_t *)"\2\0\0\0\0", 5, second);
	p = datagram(40000, second, 1200, 101 * SECOND + 5000);
	names_take_packet(n, &p);
	/* In two, the second one first; on the other end, too. */
	make("long.test", 1500);
	end = n_bytes - 5;
	len = quic_crypto(bytes + 5, 1000, end - 1000, frames);
	quic_seal(&(struct quic_wish){ .number = 1, .size = 1200 }, frames, len, second);
	len = quic_crypto(bytes + 5, 0, 1000, frames);
	quic_seal(&(struct quic_wish){ .size = 1200 }, frames, len, first);
	p = datagram(443, second, 1200, 101 * SECOND);
	p.remote_port = 40001;
	p.outbound = false;
	names_take_packet(n, &p);
	p.data.p = (const char *)first;
	names_take_packet(n, &p);
	f.local_port = 443;
	f.remote_port = 40001;
	f.outbound = false;
	CHECK_STR(hello_of(n, f), "long.test");
	/* The same ports again, another name. */
	make("next.test", 1500);
	end = n_bytes - 5;
	len = quic_crypto(bytes + 5, 0, 1000, frames);
	quic_seal(&(struct quic_wish){ .keys_of = "another_", .size = 1200 }, frames, len, first);
	p.data.p = (const char *)first;
	p.boot_ns = 200 * SECOND;
	names_take_packet(n, &p);
	f.start_ns = f.last_ns = 200 * SECOND;
	CHECK_STR(hello_of(n, f), "");
	len = quic_crypto(bytes + 5, 1000, end - 1000, frames);
	quic_seal(&(struct quic_wish){ .keys_of = "another_", .number = 1, .size = 1200 }, frames,
		  len, second);
	p.data.p = (const char *)second;
	names_take_packet(n, &p);
	CHECK_STR(hello_of(n, f), "next.test");
	/* Nonsense takes no place. */
	p = datagram(40002, bytes, 1200, 200 * SECOND);
	names_get_stats(n, &s);
	CHECK_INT(s.flows, 2);
	names_take_packet(n, &p);
	names_get_stats(n, &s);
	CHECK_INT(s.flows, 2);
	CHECK_INT(s.hellos, 3);
	CHECK_INT(s.parts, 3);
	CHECK_INT(s.malformed, 1);
	CHECK_INT(s.incomplete, 0);
	/* A ring of before, where it was wanted. */
	CHECK_INT(names_new(NULL, &off), 0);
	p = datagram(40000, second, 1200, 200 * SECOND);
	names_take_packet(off, &p);
	names_get_stats(off, &s);
	CHECK_INT(s.malformed, 1);
}
