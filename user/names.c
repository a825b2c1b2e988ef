/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "user/quic_initial.h"

#define NONE	  UINT32_MAX
#define PROTO_TCP 6
#define PROTO_UDP 17
#define SECOND_NS 1000000000ull
#define PART_NS	  (10 * SECOND_NS) /* the rest of a hello comes within this time */
#define DNS_PORT  53
#define QUIC_PORT 443
/* A flow without a connection begins with the packet that names it, on whichever of two clocks. */
#define START_SLACK_NS (SECOND_NS / 100)

/* ------------------------------------------------------------------ a table, least recent first
 * out */

union key {
	uint64_t words[5];
	struct {
		uint8_t address[16];
		uint64_t owner;
		uint8_t kind; /* enum owner_kind */
		uint8_t ip_version;
	} address;
	struct {
		uint8_t local[16], remote[16];
		uint16_t local_port, remote_port;
		uint8_t protocol, outbound;
		uint8_t pad[2];
	} flow;
};
_Static_assert(sizeof(union key) == 40, "hashed as words");

enum owner_kind { OWNER_ANYBODY, OWNER_CGROUP, OWNER_PROCESS };

/* Shared by all entries of one answer. */
struct text {
	uint32_t refs;
	uint32_t len;
	char bytes[];
};

struct address {
	struct text *now, *before;   /* before may be NULL */
	uint64_t since_ns, until_ns; /* of now */
	uint64_t before_since_ns;
};

enum parts_kind { PARTS_HELLO, PARTS_ANSWER, PARTS_QUIC };

struct parts {
	uint32_t slot; /* of names.parts */
	enum parts_kind kind;
	union {
		struct {
			size_t len;
			uint32_t next_seq;
			uint8_t bytes[TLS_HELLO_MAX];
		};
		struct quic_hello quic;
	};
};

/* One of the three; of a DNS flow over TCP the last two. */
struct flow_name {
	struct tls_hello *hello;
	struct parts *parts;
	struct names_answer *answer;
	uint64_t boot_ns;
};

struct node {
	union key key;
	uint32_t chain, newer, older;
	union {
		struct address address;
		struct flow_name flow;
	};
};

struct table {
	struct node *nodes;
	uint32_t *buckets;
	uint32_t max, mask, n, free;
	uint32_t newest, oldest;
};

struct names {
	struct table addresses, flows;
	uint64_t seed;
	struct flow_name *parts[NAMES_MAX_PARTS]; /* who has them; NULL: free */
	uint32_t next_part;
	struct quic *quic; /* NULL: not wanted, or not to be had */
	bool wants_quic;
	struct quic_hello quic_hello; /* of the datagram that is looked at */
	struct names_stats stats;
};

static uint32_t bucket_of(const struct names *n, const struct table *t, const union key *k)
{
	uint64_t h = n->seed;

	for (size_t i = 0; i < sizeof(k->words) / sizeof(k->words[0]); i++) {
		h = (h ^ k->words[i]) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29;
	}
	return (uint32_t)(h ^ h >> 32) & t->mask;
}

static int table_init(struct table *t, uint32_t max)
{
	uint32_t buckets = 16;

	while (buckets < max)
		buckets *= 2;
	*t = (struct table){ .max = max, .mask = buckets - 1, .newest = NONE, .oldest = NONE };
	t->nodes = calloc(max, sizeof(*t->nodes));
	t->buckets = malloc(buckets * sizeof(*t->buckets));
	if (!t->nodes || !t->buckets)
		return -ENOMEM;
	memset(t->buckets, 0xff, buckets * sizeof(*t->buckets));
	t->free = NONE;
	return 0;
}

static void unlink_age(struct table *t, uint32_t i)
{
	struct node *e = &t->nodes[i];

	*(e->newer == NONE ? &t->newest : &t->nodes[e->newer].older) = e->older;
	*(e->older == NONE ? &t->oldest : &t->nodes[e->older].newer) = e->newer;
}

static void link_newest(struct table *t, uint32_t i)
{
	struct node *e = &t->nodes[i];

	e->newer = NONE;
	e->older = t->newest;
	*(t->newest == NONE ? &t->oldest : &t->nodes[t->newest].newer) = i;
	t->newest = i;
}

/* Its place, or NONE. Who is looked for is in use: the newest from here on. */
static uint32_t find_at(const struct names *n, struct table *t, const union key *k)
{
	for (uint32_t i = t->buckets[bucket_of(n, t, k)]; i != NONE; i = t->nodes[i].chain) {
		if (memcmp(t->nodes[i].key.words, k->words, sizeof(k->words)) != 0)
			continue;
		unlink_age(t, i);
		link_newest(t, i);
		return i;
	}
	return NONE;
}

static struct node *find(const struct names *n, struct table *t, const union key *k)
{
	uint32_t i = find_at(n, t, k);

	return i == NONE ? NULL : &t->nodes[i];
}

static void text_put(struct text *t)
{
	if (t && !--t->refs)
		free(t);
}

static void drop_parts(struct names *n, struct flow_name *f)
{
	if (f->parts)
		n->parts[f->parts->slot] = NULL;
	free(f->parts);
	f->parts = NULL;
}

/* What an entry holds; the entry itself stays. */
static void clear(struct names *n, const struct table *t, struct node *e)
{
	if (t == &n->addresses) {
		text_put(e->address.now);
		text_put(e->address.before);
		e->address = (struct address){ 0 };
		return;
	}
	drop_parts(n, &e->flow);
	free(e->flow.hello);
	free(e->flow.answer);
	e->flow = (struct flow_name){ 0 };
}

static void take_out(struct names *n, struct table *t, struct node *e)
{
	uint32_t i = (uint32_t)(e - t->nodes), bucket = bucket_of(n, t, &e->key);

	if (t->buckets[bucket] == i)
		t->buckets[bucket] = e->chain;
	for (uint32_t at = t->buckets[bucket]; at != NONE; at = t->nodes[at].chain)
		if (t->nodes[at].chain == i)
			t->nodes[at].chain = e->chain;
	unlink_age(t, i);
	clear(n, t, e);
	e->chain = t->free;
	t->free = i;
	t->n--;
}

/* The one of that key, or a new one in place of the oldest. */
static struct node *get(struct names *n, struct table *t, const union key *k, uint64_t *evicted)
{
	uint32_t i = find_at(n, t, k), *bucket;
	struct node *e;

	if (i != NONE)
		return &t->nodes[i];
	if (t->n == t->max) {
		take_out(n, t, &t->nodes[t->oldest]);
		++*evicted;
	}
	if (t->free != NONE) {
		i = t->free;
		t->free = t->nodes[i].chain;
	} else {
		i = t->n; /* as long as none was ever taken out, they are used in order */
	}
	e = &t->nodes[i];
	e->key = *k;
	bucket = &t->buckets[bucket_of(n, t, k)];
	e->chain = *bucket;
	*bucket = i;
	link_newest(t, i);
	t->n++;
	return e;
}

static void table_done(struct names *n, struct table *t)
{
	for (uint32_t i = t->newest; i != NONE; i = t->nodes[i].older)
		clear(n, t, &t->nodes[i]);
	free(t->nodes);
	free(t->buckets);
}

int names_new(const struct names_opts *opts, struct names **ret)
{
	_cleanup_(names_freep) struct names *n = calloc(1, sizeof(*n));
	uint32_t addresses =
		opts && opts->max_addresses ? opts->max_addresses : NAMES_MAX_ADDRESSES;
	uint32_t flows = opts && opts->max_flows ? opts->max_flows : NAMES_MAX_FLOWS;

	if (!n)
		return -ENOMEM;
	n->addresses.newest = n->flows.newest = NONE;
	/* So that nobody can choose addresses that are all in one chain. */
	if (getrandom(&n->seed, sizeof(n->seed), GRND_NONBLOCK) < 0)
		n->seed = (uint64_t)(uintptr_t)n;
	if (table_init(&n->addresses, addresses) < 0 || table_init(&n->flows, flows) < 0)
		return -ENOMEM;
	n->wants_quic = opts && opts->quic;
	if (n->wants_quic && quic_new(&n->quic) == -ENOMEM)
		return -ENOMEM;
	*ret = TAKE_PTR(n);
	return 0;
}

void names_free(struct names *n)
{
	if (!n)
		return;
	table_done(n, &n->addresses);
	table_done(n, &n->flows);
	quic_free(n->quic);
	free(n);
}

bool names_lacks_quic(const struct names *n)
{
	return n->wants_quic && !n->quic;
}

/* ------------------------------------------------------------------ addresses */

static void learn(struct names *n, enum owner_kind kind, uint64_t owner,
		  const struct dns_address *a, struct text *text, uint64_t boot_ns)
{
	union key k = { .address = { .owner = owner, .kind = kind, .ip_version = a->ip_version } };
	uint64_t ttl_ns = a->ttl_s * SECOND_NS;
	struct address *e;

	memcpy(k.address.address, a->bytes, sizeof(a->bytes));
	e = &get(n, &n->addresses, &k, &n->stats.evicted_addresses)->address;
	if (!e->now || e->now->len != text->len ||
	    memcmp(e->now->bytes, text->bytes, text->len) != 0) {
		text_put(e->before);
		e->before = e->now;
		e->before_since_ns = e->since_ns;
		e->now = text;
		e->since_ns = boot_ns;
		text->refs++;
	}
	e->until_ns = boot_ns + (ttl_ns > NAMES_KEEP_NS ? ttl_ns : NAMES_KEEP_NS);
}

/* A pid comes again, but not with that start. */
static uint64_t process_of(const struct task_ref *t)
{
	return t->pid ? t->start_ns ^ (uint64_t)t->pid << 40 : 0;
}

/* Block lists answer with this host itself, or with nobody: that is no name of it. */
static bool is_nobodys(const struct dns_address *a)
{
	static const uint8_t zero[15];

	if (a->ip_version == 4)
		return a->bytes[0] == 127 || a->bytes[0] == 0;
	return !memcmp(a->bytes, zero, sizeof(zero)) && a->bytes[15] <= 1;
}

void names_learn(struct names *n, const struct task_ref *asker, const struct dns_answer *a,
		 uint64_t boot_ns)
{
	struct text *text;

	n->stats.answers++;
	if (!a->n_addresses || !a->name_len)
		return;
	text = malloc(sizeof(*text) + a->name_len);
	if (!text)
		return;
	*text = (struct text){ .refs = 1, .len = (uint32_t)a->name_len };
	memcpy(text->bytes, a->name, a->name_len);
	for (int i = 0; i < a->n_addresses; i++) {
		const struct dns_address *address = &a->addresses[i];

		if (asker->pid)
			learn(n, OWNER_PROCESS, process_of(asker), address, text, boot_ns);
		if (is_nobodys(address))
			continue;
		if (asker->cgroup_id)
			learn(n, OWNER_CGROUP, asker->cgroup_id, address, text, boot_ns);
		learn(n, OWNER_ANYBODY, 0, address, text, boot_ns);
	}
	text_put(text);
}

/* The name that it had when the flow began. */
static struct slice name_at(const struct address *e, uint64_t start_ns)
{
	if (start_ns > e->until_ns)
		return (struct slice){ 0 };
	if (start_ns >= e->since_ns)
		return (struct slice){ e->now->bytes, e->now->len };
	if (e->before && start_ns >= e->before_since_ns)
		return (struct slice){ e->before->bytes, e->before->len };
	return (struct slice){ 0 };
}

struct names_domain names_find_domain(struct names *n, const struct flow *f)
{
	/* Who connected is who has asked, mostly. */
	const struct task_ref *who = f->opener.pid ? &f->opener : &f->user;
	const uint64_t owners[] = {
		[OWNER_PROCESS] = process_of(who), [OWNER_CGROUP] = who->cgroup_id
	};
	union key k = { .address = { .ip_version = f->ip_version } };

	if (!f->outbound && f->direction_known)
		return (struct names_domain){ 0 };
	memcpy(k.address.address, f->remote, sizeof(f->remote));
	if (f->ip_version == 4)
		memset(k.address.address + 4, 0, 12);
	for (int kind = OWNER_PROCESS; kind >= OWNER_ANYBODY; kind--) {
		struct slice name;
		struct node *e;

		if (kind != OWNER_ANYBODY && !owners[kind])
			continue;
		k.address.kind = (uint8_t)kind;
		k.address.owner = kind == OWNER_ANYBODY ? 0 : owners[kind];
		e = find(n, &n->addresses, &k);
		if (!e)
			continue;
		name = name_at(&e->address, f->start_ns);
		if (!name.len)
			continue;
		n->stats.flows_named++;
		return (struct names_domain){ name, kind != OWNER_PROCESS };
	}
	return (struct names_domain){ 0 };
}

/* ------------------------------------------------------------------ flows */

static union key flow_key(const uint8_t local[16], const uint8_t remote[16], uint16_t local_port,
			  uint16_t remote_port, uint8_t ip_version, uint8_t protocol, bool outbound)
{
	union key k = { .flow = { .local_port = local_port,
				  .remote_port = remote_port,
				  .protocol = protocol,
				  .outbound = outbound } };
	size_t size = ip_version == 4 ? 4 : 16;

	memcpy(k.flow.local, local, size);
	memcpy(k.flow.remote, remote, size);
	return k;
}

/* outbound: of the flow, which is the question's when the packet is an answer. */
static union key packet_key(const struct packet_sample *p, bool outbound)
{
	return flow_key(p->local, p->remote, p->local_port, p->remote_port, p->ip_version,
			p->protocol, outbound);
}

static struct flow_name *flow_name(struct names *n, const struct packet_sample *p, bool outbound)
{
	union key k = packet_key(p, outbound);

	return &get(n, &n->flows, &k, &n->stats.evicted_flows)->flow;
}

static struct flow_name *find_flow_name(struct names *n, const struct packet_sample *p,
					bool outbound)
{
	union key k = packet_key(p, outbound);
	struct node *e = find(n, &n->flows, &k);

	return e ? &e->flow : NULL;
}

static const struct flow_name *find_flow(struct names *n, const struct flow *f)
{
	union key k = flow_key(f->local, f->remote, f->local_port, f->remote_port, f->ip_version,
			       f->protocol, f->outbound);
	struct node *e = find(n, &n->flows, &k);
	uint64_t slack_ns = f->protocol == PROTO_TCP ? 0 : START_SLACK_NS;

	/* Of a connection that began as one with the same ports had ended: that one's. */
	if (!e && !f->direction_known) {
		k.flow.outbound = !k.flow.outbound;
		e = find(n, &n->flows, &k);
	}
	if (!e || (!f->start_unknown && e->flow.boot_ns + slack_ns < f->start_ns))
		return NULL;
	return &e->flow;
}

const struct tls_hello *names_find_hello(struct names *n, const struct flow *f)
{
	const struct flow_name *e = find_flow(n, f);

	if (!e || !e->hello)
		return NULL;
	n->stats.flows_with_hello++;
	return e->hello;
}

const struct names_answer *names_find_answer(struct names *n, const struct flow *f)
{
	const struct flow_name *e = find_flow(n, f);

	return e ? e->answer : NULL;
}

void names_forget(struct names *n, const struct flow *f)
{
	union key k = flow_key(f->local, f->remote, f->local_port, f->remote_port, f->ip_version,
			       f->protocol, f->outbound);
	struct node *e = find(n, &n->flows, &k);

	/* One that came later is of the next flow with these ports. */
	if (e && e->flow.boot_ns <= f->last_ns)
		take_out(n, &n->flows, e);
}

/* ------------------------------------------------------------------ packets */

static bool is_loopback(const struct packet_sample *p)
{
	size_t size = p->ip_version == 4 ? 4 : 16;

	return (size == 4 && p->remote[0] == 127) || !memcmp(p->local, p->remote, size);
}

/* A and AAAA of one name, asked from one socket, are one transaction; else the last one counts. */
static void keep_answer(struct flow_name *f, const struct dns_answer *a, uint64_t boot_ns)
{
	struct names_answer *kept = f->answer;
	bool is_new = !kept;

	if (!kept)
		kept = f->answer = calloc(1, sizeof(*kept));
	if (!kept)
		return;
	if (is_new || strcmp(kept->name, a->name) != 0) {
		*kept = (struct names_answer){ .type = a->type, .rcode = a->rcode };
		memcpy(kept->name, a->name, a->name_len + 1);
	}
	if (!kept->n_addresses)
		kept->rcode = a->rcode;
	for (int i = 0; i < a->n_addresses && kept->n_addresses < NAMES_ANSWER_ADDRESSES; i++)
		kept->addresses[kept->n_addresses++] = a->addresses[i];
	f->boot_ns = boot_ns;
}

static void take_answer(struct names *n, const struct packet_sample *p)
{
	struct dns_answer a;

	if (dns_parse((const uint8_t *)p->data.p, p->data.len, p->full_len, &a) < 0) {
		n->stats.malformed++;
		return;
	}
	names_learn(n, &p->asker, &a, p->boot_ns);
	/* Loopback is no flow, most of the time. */
	if (!is_loopback(p))
		keep_answer(flow_name(n, p, true), &a, p->boot_ns);
}

/* Ports come again: what an earlier flow's client said is not this one's. */
static void begin_hello(struct flow_name *f, uint64_t boot_ns)
{
	if (f->hello && boot_ns - f->boot_ns > PART_NS) {
		free(f->hello);
		f->hello = NULL;
	}
	f->boot_ns = boot_ns;
}

static void keep_hello(struct flow_name *f, const struct tls_hello *h)
{
	if (!f->hello)
		f->hello = malloc(sizeof(*h));
	if (f->hello)
		*f->hello = *h;
}

/* A place for what one may grow to. NULL: no memory. */
static struct parts *new_parts(struct names *n, struct flow_name *f, enum parts_kind kind)
{
	uint32_t slot;

	if (f->parts) {
		f->parts->kind = kind;
		return f->parts;
	}
	slot = n->next_part++ % NAMES_MAX_PARTS;
	if (n->parts[slot]) {
		n->stats.incomplete++; /* the one that waits for longest */
		drop_parts(n, n->parts[slot]);
	}
	f->parts = malloc(sizeof(*f->parts));
	if (!f->parts)
		return NULL;
	f->parts->slot = slot;
	f->parts->kind = kind;
	n->parts[slot] = f;
	return f->parts;
}

static void keep_part(struct names *n, struct flow_name *f, enum parts_kind kind, const void *bytes,
		      size_t len, uint32_t next_seq)
{
	struct parts *parts = new_parts(n, f, kind);

	if (!parts)
		return;
	parts->len = len;
	parts->next_seq = next_seq;
	memmove(parts->bytes, bytes, len);
}

/* True when it is the next part of one, which still has room. */
static bool add_part(struct names *n, struct flow_name *f, const struct packet_sample *p)
{
	struct parts *parts = f->parts;

	if (!parts || parts->kind != PARTS_HELLO || p->seq != parts->next_seq ||
	    p->boot_ns - f->boot_ns > PART_NS)
		return false;
	if (p->data.len > sizeof(parts->bytes) - parts->len) {
		drop_parts(n, f);
		return false;
	}
	memcpy(parts->bytes + parts->len, p->data.p, p->data.len);
	parts->len += p->data.len;
	parts->next_seq += (uint32_t)p->data.len;
	return true;
}

/* ------------------------------------------------------------------ answers over TCP */

static uint32_t end_seq(const struct packet_sample *p)
{
	return p->seq + (uint32_t)p->data.len;
}

/*
 * RFC 1035, 4.2.2: messages one behind the other, each behind its length. Takes those that are
 * whole; of one that will never be, what there is. *ret_at is where what is left begins. False: it
 * is none.
 */
static bool take_messages(struct names *n, const struct packet_sample *p, const uint8_t *bytes,
			  size_t len, bool is_end, size_t *ret_at)
{
	size_t at = 0;

	while (len - at >= 2) {
		size_t size = (size_t)bytes[at] << 8 | bytes[at + 1], have = len - at - 2;
		struct dns_answer a;

		if (have < size && !is_end)
			break;
		if (dns_parse(bytes + at + 2, have < size ? have : size, size, &a) < 0)
			return false;
		names_learn(n, &p->asker, &a, p->boot_ns);
		if (!is_loopback(p))
			keep_answer(flow_name(n, p, true), &a, p->boot_ns);
		at = have < size ? len : at + 2 + size;
	}
	*ret_at = at;
	return true;
}

static void take_dns_stream(struct names *n, const struct packet_sample *p)
{
	uint64_t answers = n->stats.answers;
	struct flow_name *f = find_flow_name(n, p, true);
	struct parts *parts = f && f->parts && f->parts->kind == PARTS_ANSWER ? f->parts : NULL;
	const uint8_t *bytes = (const uint8_t *)p->data.p;
	size_t len = p->data.len, at = 0;
	bool is_end = p->full_len > p->data.len, is_good;

	if (parts && (int32_t)(p->seq - parts->next_seq) < 0) {
		n->stats.parts++; /* once more */
		return;
	}
	if (parts && (p->seq != parts->next_seq || p->boot_ns - f->boot_ns > PART_NS)) {
		drop_parts(n, f);
		n->stats.incomplete++;
		n->stats.parts++;
		return;
	}
	if (parts) {
		if (len > sizeof(parts->bytes) - parts->len) {
			len = sizeof(parts->bytes) - parts->len;
			is_end = true;
		}
		memcpy(parts->bytes + parts->len, p->data.p, len);
		parts->len += len;
		parts->next_seq = end_seq(p);
		bytes = parts->bytes;
		len = parts->len;
	}
	is_good = take_messages(n, p, bytes, len, is_end, &at);
	if (is_good && at < len && !is_end) {
		f = flow_name(n, p, true);
		f->boot_ns = p->boot_ns;
		keep_part(n, f, PARTS_ANSWER, bytes + at, len - at, end_seq(p));
	} else if (parts) {
		drop_parts(n, f);
	}
	/* A packet counts once, whatever is in it. */
	if (n->stats.answers != answers)
		n->stats.answers = answers + 1;
	else if (is_good)
		n->stats.parts++;
	else
		n->stats.malformed++;
}

/* ------------------------------------------------------------------ hellos */

static bool is_hello_start(struct slice s)
{
	return s.len >= 6 && s.p[0] == 22 && s.p[1] == 3 && s.p[5] == 1;
}

static void take_hello(struct names *n, const struct packet_sample *p)
{
	struct tls_hello h;
	struct flow_name *f;
	int err;

	if (!is_hello_start(p->data)) {
		f = find_flow_name(n, p, p->outbound);
		if (!f || !add_part(n, f, p)) {
			n->stats.incomplete++;
			n->stats.parts++;
			return;
		}
		err = tls_hello_parse(f->parts->bytes, f->parts->len, &h);
	} else {
		err = tls_hello_parse((const uint8_t *)p->data.p, p->data.len, &h);
		if (err && err != -EAGAIN) {
			n->stats.malformed++;
			return;
		}
		f = flow_name(n, p, p->outbound);
		begin_hello(f, p->boot_ns);
		if (err && (p->full_len > p->data.len || p->data.len > TLS_HELLO_MAX))
			n->stats.incomplete++; /* its end was not copied */
		else if (err)
			keep_part(n, f, PARTS_HELLO, p->data.p, p->data.len, end_seq(p));
	}
	if (err == -EAGAIN) {
		n->stats.parts++;
		return;
	}
	drop_parts(n, f);
	if (err) {
		n->stats.malformed++;
		return;
	}
	n->stats.hellos++;
	keep_hello(f, &h);
}

static void take_quic(struct names *n, const struct packet_sample *p)
{
	struct flow_name *f = find_flow_name(n, p, p->outbound);
	bool is_old = f && p->boot_ns - f->boot_ns > PART_NS;
	struct quic_hello *q = &n->quic_hello;
	struct tls_hello h;
	int err;

	if (!n->quic) {
		n->stats.malformed++;
		return;
	}
	/* Sent again, or an acknowledgement of the server's. */
	if (f && f->hello && !is_old) {
		n->stats.parts++;
		return;
	}
	if (f && f->parts && f->parts->kind == PARTS_QUIC && !is_old)
		q = &f->parts->quic;
	else
		memset(q, 0, sizeof(*q));
	err = quic_take_datagram(n->quic, (const uint8_t *)p->data.p, p->data.len, q);
	if (err == -EBADMSG) {
		n->stats.malformed++;
		return;
	}
	if (!err)
		err = quic_hello_parse(q, &h);
	if (err == -EAGAIN) {
		f = flow_name(n, p, p->outbound);
		if (q == &n->quic_hello && new_parts(n, f, PARTS_QUIC))
			f->parts->quic = *q;
		begin_hello(f, p->boot_ns);
		n->stats.parts++;
		return;
	}
	if (f)
		drop_parts(n, f);
	if (err) {
		n->stats.malformed++;
		return;
	}
	f = flow_name(n, p, p->outbound);
	f->boot_ns = p->boot_ns;
	keep_hello(f, &h);
	n->stats.hellos++;
}

void names_take_packet(struct names *n, const struct packet_sample *p)
{
	bool is_answer = !p->outbound && p->remote_port == DNS_PORT;
	uint16_t server_port = p->outbound ? p->remote_port : p->local_port;

	if (p->protocol == PROTO_UDP && !is_answer && server_port == QUIC_PORT)
		take_quic(n, p);
	else if (p->protocol == PROTO_UDP)
		take_answer(n, p);
	else if (p->protocol == PROTO_TCP && is_answer && !is_hello_start(p->data))
		take_dns_stream(n, p);
	else if (p->protocol == PROTO_TCP)
		take_hello(n, p);
	else
		n->stats.malformed++;
}

void names_get_stats(const struct names *n, struct names_stats *ret)
{
	*ret = n->stats;
	ret->addresses = n->addresses.n;
	ret->flows = n->flows.n;
}
