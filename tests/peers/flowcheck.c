/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds flow records against the truth of tcpgen and udpgen: is each flow
 * there, once, with its exact bytes and its process? Records of one flow are
 * deltas and are summed. A connection between two processes of one host is two
 * flows: the client's (flowDirection 1) and the server's (0), which must agree.
 *
 * What a reset leaves on the way nobody knows. Then ("reset-flight") what one end
 * sent is at most what was written, and what the other one received is at most that,
 * and at least that without what the record says was never acknowledged.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "user/util/cleanup.h"
#include "user/util/log.h"

enum { SERVER, CLIENT }; /* as flowDirection has it */

static const char *const side_names[] = { [SERVER] = "server", [CLIENT] = "client" };

struct key {
	uint8_t src[16], dst[16];
	uint16_t sport, dport;
	uint32_t proto;
};

/* What one side's records said, summed. */
struct seen {
	uint64_t sent, received, packets_sent, packets_received, unacknowledged, total;
	uint32_t records, finals, pid, opener;
	bool other_pid;	 /* not all records named the same process, or one named none */
	bool is_guess;	 /* the process is named as uncertain */
	bool is_inexact; /* so is what was sent */
};

struct truth_line {
	struct key key;
	uint64_t sent, received, ip_sent, ip_received, packets_sent, packets_received;
	uint64_t server_sent, server_received;
	uint32_t pid[2], opener[2], flows;
	bool no_server, in_flight;
	char mode[16];
	struct seen seen[2];
};

struct options {
	int sides;
	bool payload, no_pid, allow_repeats, allow_unended;
	uint64_t allow_missing;
};

/* Open addressing; n is a power of two. Slots hold an index + 1. */
struct table {
	uint32_t *slots;
	size_t n;
};

struct check {
	struct options opts;
	struct truth_line *lines;
	size_t n_lines;
	struct table by_key;
	struct event_id {
		uint64_t name, seq;
	} * ids;
	size_t n_ids, cap_ids;
	struct table by_id;
	uint64_t records, bad_lines, other, repeated, no_id, no_direction;
};

/* ------------------------------------------------------------------ tables */

static uint64_t hash_bytes(const void *p, size_t n)
{
	const uint8_t *at = p;
	uint64_t h = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < n; i++)
		h = (h ^ at[i]) * 0x100000001b3ull;
	return h ^ h >> 29;
}

static void table_init(struct table *t, size_t at_least)
{
	t->n = 1024;
	while (t->n < at_least * 2)
		t->n *= 2;
	t->slots = calloc(t->n, sizeof(*t->slots));
	if (!t->slots) {
		log_error("no memory");
		exit(2);
	}
}

static struct truth_line *find_line(struct check *c, const struct key *key, uint32_t **ret_slot)
{
	size_t i = hash_bytes(key, sizeof(*key)) & (c->by_key.n - 1);

	for (; c->by_key.slots[i]; i = (i + 1) & (c->by_key.n - 1)) {
		struct truth_line *l = &c->lines[c->by_key.slots[i] - 1];

		if (memcmp(&l->key, key, sizeof(*key)) == 0)
			return l;
	}
	if (ret_slot)
		*ret_slot = &c->by_key.slots[i];
	return NULL;
}

/* True when this id was there before; remembers it. */
static bool seen_id(struct check *c, struct event_id id)
{
	size_t i;

	if (c->n_ids * 2 >= c->by_id.n) {
		free(c->by_id.slots);
		table_init(&c->by_id, c->n_ids * 2);
		for (size_t k = 0; k < c->n_ids; k++) {
			for (i = hash_bytes(&c->ids[k], sizeof(id)) & (c->by_id.n - 1);
			     c->by_id.slots[i];)
				i = (i + 1) & (c->by_id.n - 1);
			c->by_id.slots[i] = (uint32_t)k + 1;
		}
	}
	for (i = hash_bytes(&id, sizeof(id)) & (c->by_id.n - 1); c->by_id.slots[i];
	     i = (i + 1) & (c->by_id.n - 1)) {
		struct event_id *have = &c->ids[c->by_id.slots[i] - 1];

		if (have->name == id.name && have->seq == id.seq)
			return true;
	}
	if (c->n_ids == c->cap_ids) {
		c->cap_ids = c->cap_ids ? c->cap_ids * 2 : 4096;
		c->ids = realloc(c->ids, c->cap_ids * sizeof(*c->ids));
		if (!c->ids) {
			log_error("no memory");
			exit(2);
		}
	}
	c->ids[c->n_ids++] = id;
	c->by_id.slots[i] = (uint32_t)c->n_ids;
	return false;
}

/* ------------------------------------------------------------------ reading */

static struct json_object *get(struct json_object *o, const char *a, const char *b)
{
	struct json_object *v = NULL;

	if (!json_object_is_type(o, json_type_object) || !json_object_object_get_ex(o, a, &v))
		return NULL;
	return b ? get(v, b, NULL) : v;
}

static uint64_t get_u64(struct json_object *o, const char *a, const char *b)
{
	struct json_object *v = get(o, a, b);

	return v ? (uint64_t)json_object_get_int64(v) : 0;
}

static const char *get_text(struct json_object *o, const char *a, const char *b)
{
	struct json_object *v = get(o, a, b);

	return v ? json_object_get_string(v) : NULL;
}

/* IPv4 takes the first four bytes; the rest, and so the family, is told by proto's high bits. */
static bool parse_address(const char *text, uint8_t ret[16], uint32_t *family)
{
	memset(ret, 0, 16);
	if (text && inet_pton(AF_INET, text, ret) == 1) {
		*family = 4;
		return true;
	}
	*family = 6;
	return text && inet_pton(AF_INET6, text, ret) == 1;
}

static bool make_key(struct key *ret, const char *src, const char *dst, uint64_t sport,
		     uint64_t dport, uint64_t proto)
{
	uint32_t family, other;

	memset(ret, 0, sizeof(*ret));
	if (!parse_address(src, ret->src, &family) || !parse_address(dst, ret->dst, &other) ||
	    family != other)
		return false;
	ret->sport = (uint16_t)sport;
	ret->dport = (uint16_t)dport;
	ret->proto = (uint32_t)proto | family << 16;
	return true;
}

static bool read_truth(struct check *c, const char *path)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0, cap = 0;
	uint32_t *slot;

	if (!f) {
		log_error("%s: %s", path, log_strerror(errno));
		return false;
	}
	while (getline(&line, &size, f) > 0) {
		struct json_object *o = json_tokener_parse(line);
		struct truth_line l = { 0 };
		const char *mode = get_text(o, "mode", NULL);

		if (!make_key(&l.key, get_text(o, "src", NULL), get_text(o, "dst", NULL),
			      get_u64(o, "sport", NULL), get_u64(o, "dport", NULL),
			      get_u64(o, "proto", NULL))) {
			log_error("%s: not a line of truth: %s", path, line);
			json_object_put(o);
			return false;
		}
		l.sent = get_u64(o, "sent", NULL);
		l.received = get_u64(o, "received", NULL);
		l.ip_sent = get_u64(o, "sent_ip_bytes", NULL);
		l.ip_received = get_u64(o, "received_ip_bytes", NULL);
		l.packets_sent = get_u64(o, "sent_datagrams", NULL);
		l.packets_received = get_u64(o, "received_datagrams", NULL);
		l.pid[CLIENT] = (uint32_t)get_u64(o, "client_pid", NULL);
		l.pid[SERVER] = (uint32_t)get_u64(o, "server_pid", NULL);
		snprintf(l.mode, sizeof(l.mode), "%s", mode ? mode : "");
		l.server_sent = get_u64(o, "server_sent", NULL);
		l.server_received = get_u64(o, "server_received", NULL);
		l.opener[CLIENT] = (uint32_t)get_u64(o, "client_opener", NULL);
		l.opener[SERVER] = (uint32_t)get_u64(o, "server_opener", NULL);
		l.flows = (uint32_t)get_u64(o, "flows", NULL);
		l.flows = l.flows ? l.flows : 1;
		l.no_server = strcmp(l.mode, "refused") == 0 || strcmp(l.mode, "timed-out") == 0;
		l.in_flight = strcmp(l.mode, "reset-flight") == 0;
		json_object_put(o);
		if (c->n_lines == cap) {
			cap = cap ? cap * 2 : 4096;
			c->lines = realloc(c->lines, cap * sizeof(*c->lines));
			if (!c->lines) {
				log_error("no memory");
				return false;
			}
		}
		c->lines[c->n_lines++] = l;
	}
	table_init(&c->by_key, c->n_lines);
	for (size_t i = 0; i < c->n_lines; i++) {
		if (find_line(c, &c->lines[i].key, &slot)) {
			log_error("%s: line %zu repeats a tuple", path, i + 1);
			return false;
		}
		*slot = (uint32_t)i + 1;
	}
	return true;
}

/* "<hex>-<number>"; other texts are hashed. */
static struct event_id parse_id(const char *text)
{
	unsigned long long name, seq;
	int end = 0;

	if (sscanf(text, "%16llx-%20llu%n", &name, &seq, &end) == 2 && !text[end])
		return (struct event_id){ name, seq };
	return (struct event_id){ hash_bytes(text, strlen(text)), UINT64_MAX };
}

/* Is this among what the record itself calls uncertain? */
static bool is_uncertain(struct json_object *o, const char *what)
{
	struct json_object *list = get(o, "sekoia_ebpf", "uncertain");

	for (size_t i = 0; list && i < json_object_array_length(list); i++)
		if (!strcmp(json_object_get_string(json_object_array_get_idx(list, i)), what))
			return true;
	return false;
}

static void take_record(struct check *c, struct json_object *o)
{
	const char *src = get_text(o, "sourceIPv4Address", NULL);
	const char *dst = get_text(o, "destinationIPv4Address", NULL);
	const char *id = get_text(o, "event", "id");
	struct json_object *direction = get(o, "flowDirection", NULL);
	struct truth_line *l;
	struct seen *s;
	struct key key;
	uint32_t pid;

	src = src ? src : get_text(o, "sourceIPv6Address", NULL);
	dst = dst ? dst : get_text(o, "destinationIPv6Address", NULL);
	if (!make_key(&key, src, dst, get_u64(o, "sourceTransportPort", NULL),
		      get_u64(o, "destinationTransportPort", NULL),
		      get_u64(o, "protocolIdentifier", NULL))) {
		c->other++;
		return;
	}
	l = find_line(c, &key, NULL);
	if (!l) {
		c->other++;
		return;
	}
	c->records++;
	if (!id) {
		c->no_id++;
	} else if (seen_id(c, parse_id(id))) {
		c->repeated++;
		return;
	}
	if (!direction) {
		c->no_direction++;
		return;
	}
	s = &l->seen[json_object_get_int(direction) ? CLIENT : SERVER];
	s->sent += get_u64(o, "initiatorOctets", NULL);
	s->received += get_u64(o, "responderOctets", NULL);
	s->packets_sent += get_u64(o, "initiatorPackets", NULL);
	s->packets_received += get_u64(o, "responderPackets", NULL);
	/* IANA 136: 2 is the active timeout; all others end the flow. */
	s->finals += get_u64(o, "flowEndReason", NULL) != 2;
	pid = (uint32_t)get_u64(o, "process", "pid");
	if (is_uncertain(o, "process"))
		s->is_guess = true;
	/* The last one knows best: a socket may be used by another process than made it. */
	else if (!pid)
		s->other_pid = true;
	s->pid = pid;
	s->opener = (uint32_t)get_u64(get(o, "sekoia_ebpf", NULL), "opener", "pid");
	s->is_inexact |= is_uncertain(o, "out_bytes");
	s->unacknowledged += get_u64(o, "sekoia_ebpf", "unacknowledged");
	s->total +=
		get_u64(o, "flowEndReason", NULL) == 2 ? 0 : get_u64(o, "octetTotalCount", NULL);
	s->records++;
}

static bool read_records(struct check *c, const char *path)
{
	_cleanup_fclose_ FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;

	if (!f) {
		log_error("%s: %s", path, log_strerror(errno));
		return false;
	}
	while (getline(&line, &size, f) > 0) {
		struct json_object *o;

		if (*line != '{') {
			c->other++; /* text */
			continue;
		}
		o = json_tokener_parse(line);
		if (o)
			take_record(c, o);
		else
			c->bad_lines++;
		json_object_put(o);
	}
	return true;
}

/* ------------------------------------------------------------------ the verdict */

static void describe(const struct truth_line *l, int side, const char *what, const char *detail)
{
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];
	int family = l->key.proto >> 16 == 4 ? AF_INET : AF_INET6;

	inet_ntop(family, l->key.src, src, sizeof(src));
	inet_ntop(family, l->key.dst, dst, sizeof(dst));
	fprintf(stderr, "%s: %s %s.%u -> %s.%u, %s side, %s\n", what, l->mode, src, l->key.sport,
		dst, l->key.dport, side_names[side], detail);
}

struct totals {
	uint64_t expected, flows, missing, wrong_bytes, wrong_packets, wrong_pid, wrong_opener,
		wrong_totals, not_ended, ended_twice, inexact, guessed;
};

static bool is_within(uint64_t low, uint64_t n, uint64_t high)
{
	return low <= n && n <= high;
}

/* Of a connection that was cut: written, sent, received in this order, as far as is known. */
static bool is_cut_right(const struct truth_line *l, int side)
{
	const struct seen *c = &l->seen[CLIENT], *s = &l->seen[SERVER];

	if (l->seen[side].is_inexact != (l->seen[side].unacknowledged > 0))
		return false;
	if (c->sent > l->sent || s->received > l->server_sent)
		return false;
	if (!c->records || !s->records)
		return true;
	return is_within(c->sent - c->unacknowledged, s->sent, c->sent) &&
	       is_within(s->received - s->unacknowledged, c->received, s->received);
}

/* Who made the socket, where the truth says so. Nobody but its user is named when they are one. */
static bool is_opener_right(const struct truth_line *l, int side)
{
	uint32_t is = l->seen[side].opener, ought = l->opener[side];

	if (!ought || l->seen[side].is_guess)
		return true;
	/* Each worker has a listener on the port: which one it was is not known. */
	if (!strcmp(l->mode, "reuseport") && side == SERVER)
		return !is || is == l->pid[side];
	return ought == l->pid[side] ? !is : is == ought;
}

static void check_side(const struct check *c, const struct truth_line *l, int side,
		       struct totals *t)
{
	const struct seen *s = &l->seen[side];
	bool udp = (l->key.proto & 0xffff) == 17, ip = udp && !c->opts.payload;
	uint64_t sent = ip ? l->ip_sent : l->sent, received = ip ? l->ip_received : l->received;
	char text[160];

	t->flows++;
	t->inexact += s->is_inexact;
	t->guessed += s->is_guess;
	if (l->in_flight ? !is_cut_right(l, side) : s->sent != sent || s->received != received) {
		snprintf(text, sizeof(text),
			 "%" PRIu64 "/%" PRIu64 " bytes in %u records, not %" PRIu64 "/%" PRIu64,
			 s->sent, s->received, s->records, sent, received);
		if (t->wrong_bytes < 10)
			describe(l, side, "wrong bytes", text);
		t->wrong_bytes++;
	}
	if (udp &&
	    (s->packets_sent != l->packets_sent || s->packets_received != l->packets_received)) {
		snprintf(text, sizeof(text),
			 "%" PRIu64 "/%" PRIu64 " packets, not %" PRIu64 "/%" PRIu64,
			 s->packets_sent, s->packets_received, l->packets_sent,
			 l->packets_received);
		if (t->wrong_packets < 10)
			describe(l, side, "wrong packets", text);
		t->wrong_packets++;
	}
	if (s->total && l->flows == 1 && s->total != s->sent + s->received) {
		snprintf(text, sizeof(text), "%" PRIu64 " bytes in %u records, %" PRIu64 " in all",
			 s->sent + s->received, s->records, s->total);
		if (t->wrong_totals < 10)
			describe(l, side, "wrong total", text);
		t->wrong_totals++;
	}
	if (!c->opts.no_pid && !is_opener_right(l, side)) {
		snprintf(text, sizeof(text), "opened by %u, not %u, used by %u", s->opener,
			 l->opener[side], s->pid);
		if (t->wrong_opener < 10)
			describe(l, side, "wrong opener", text);
		t->wrong_opener++;
	}
	if (!c->opts.no_pid && !s->is_guess && (s->other_pid || s->pid != l->pid[side])) {
		snprintf(text, sizeof(text), "process %u, not %u", s->pid, l->pid[side]);
		if (t->wrong_pid < 10)
			describe(l, side, "wrong pid", text);
		t->wrong_pid++;
	}
	if (s->finals < l->flows && !c->opts.allow_unended) {
		snprintf(text, sizeof(text), "%u final records of %u", s->finals, l->flows);
		if (t->not_ended < 10)
			describe(l, side, "not ended", text);
		t->not_ended++;
	}
	if (s->finals > l->flows) {
		snprintf(text, sizeof(text), "%u final records", s->finals);
		if (t->ended_twice < 10)
			describe(l, side, "ended twice", text);
		t->ended_twice++;
	}
}

static bool judge(const struct check *c)
{
	struct totals t = { 0 };
	bool right;

	for (size_t i = 0; i < c->n_lines; i++) {
		const struct truth_line *l = &c->lines[i];
		int expected = l->no_server ? 1 : c->opts.sides, found = 0;

		t.expected += (uint64_t)expected;
		for (int side = CLIENT; side >= SERVER; side--) {
			if (l->seen[side].records) {
				found++;
				check_side(c, l, side, &t);
			} else if (expected == 2) {
				if (t.missing++ < 10)
					describe(l, side, "missing", "no record");
			}
		}
		if (expected == 1 && !found && t.missing++ < 10)
			describe(l, CLIENT, "missing", "no record");
	}
	right = t.missing <= c->opts.allow_missing && !t.wrong_bytes && !t.wrong_packets &&
		!t.wrong_pid && !t.wrong_opener && !t.wrong_totals && !t.not_ended &&
		!t.ended_twice && t.flows + t.missing == t.expected && !c->bad_lines && !c->no_id &&
		!c->no_direction && (c->opts.allow_repeats || !c->repeated);
	printf("{\"right\":%s,\"connections\":%zu,\"expected\":%" PRIu64 ",\"flows\":%" PRIu64
	       ",\"missing\":%" PRIu64 ",\"repeated\":%" PRIu64 ",\"wrong_bytes\":%" PRIu64
	       ",\"wrong_packets\":%" PRIu64 ",\"wrong_pid\":%" PRIu64 ",\"wrong_opener\":%" PRIu64
	       ",\"wrong_totals\":%" PRIu64 ",\"inexact\":%" PRIu64 ",\"guessed\":%" PRIu64
	       ",\"not_ended\":%" PRIu64 ",\"ended_twice\":%" PRIu64 ",\"no_id\":%" PRIu64
	       ",\"no_direction\":%" PRIu64 ",\"records\":%" PRIu64 ",\"bad_lines\":%" PRIu64
	       ",\"other\":%" PRIu64 "}\n",
	       right ? "true" : "false", c->n_lines, t.expected, t.flows, t.missing, c->repeated,
	       t.wrong_bytes, t.wrong_packets, t.wrong_pid, t.wrong_opener, t.wrong_totals,
	       t.inexact, t.guessed, t.not_ended, t.ended_twice, c->no_id, c->no_direction,
	       c->records, c->bad_lines, c->other);
	return right;
}

static const char help[] =
	"Usage: flowcheck [OPTION]... TRUTH RECORDS...\n"
	"Holds flow records (one JSON object a line; - is standard input) against the\n"
	"truth of tcpgen or udpgen. Says what is wrong, ends with a line of JSON, and\n"
	"succeeds only when all is right.\n\n"
	"  --sides 1|2      flows for each connection: 2 when both ends are on this host (2)\n"
	"  --udp-octets WHAT  ip or payload: what a UDP flow's octets count (ip)\n"
	"  --no-pid         do not look at processes\n"
	"  --allow-missing N  so many flows may lack: those that the books call missed\n"
	"  --allow-repeats  the same event id twice is reported, but is no failure\n"
	"  --allow-unended  a flow may lack its last record\n\n"
	"\"inexact\" and \"guessed\" count the flows whose own records say so of what was\n"
	"sent, or of the process: the process is then not looked at.\n"
	"A record of no tuple in the truth, or a text, is counted as \"other\".\n";

int main(int argc, char **argv)
{
	static const struct option longopts[] = {
		{ "sides", 1, NULL, 's' },	   { "udp-octets", 1, NULL, 'u' },
		{ "no-pid", 0, NULL, 'p' },	   { "allow-missing", 1, NULL, 'm' },
		{ "allow-repeats", 0, NULL, 'r' }, { "allow-unended", 0, NULL, 'e' },
		{ "help", 0, NULL, 'h' },	   { 0 },
	};
	struct check c = { .opts.sides = 2 };
	int opt;
	bool right;

	log_set_name("flowcheck");
	while ((opt = getopt_long(argc, argv, "h", longopts, NULL)) != -1) {
		switch (opt) {
		case 's':
			c.opts.sides = atoi(optarg);
			break;
		case 'u':
			c.opts.payload = strcmp(optarg, "payload") == 0;
			break;
		case 'p':
			c.opts.no_pid = true;
			break;
		case 'r':
			c.opts.allow_repeats = true;
			break;
		case 'm':
			c.opts.allow_missing = strtoull(optarg, NULL, 10);
			break;
		case 'e':
			c.opts.allow_unended = true;
			break;
		case 'h':
			fputs(help, stdout);
			return 0;
		default:
			return 2;
		}
	}
	if (argc - optind < 2 || c.opts.sides < 1 || c.opts.sides > 2) {
		fputs(help, stderr);
		return 2;
	}
	if (!read_truth(&c, argv[optind]))
		return 2;
	table_init(&c.by_id, 4096);
	for (int i = optind + 1; i < argc; i++)
		if (!read_records(&c, argv[i]))
			return 2;
	right = judge(&c);
	free(c.lines);
	free(c.ids);
	free(c.by_key.slots);
	free(c.by_id.slots);
	return right ? EXIT_SUCCESS : EXIT_FAILURE;
}
