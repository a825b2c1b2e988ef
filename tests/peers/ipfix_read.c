/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads streams of IPFIX messages (RFC 7011, over TCP) from files and prints each
 * data record as a line of JSON. Knows nothing of our elements: their names and types
 * are those that the stream itself gives (RFC 5610); those without one have their
 * number. Fails on anything that is not as the RFCs want it: lengths, unknown templates,
 * sequence numbers. A stream that was cut in a message is told, and no error.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEMPLATES 512 /* by their id, from 256 on */
#define FIELDS	  128
#define NAMES	  64

struct spec {
	uint32_t pen;
	uint16_t id, len;
};
static struct template
{
	int n;
	struct spec specs[FIELDS];
}
templates[TEMPLATES];

static struct learned {
	uint32_t pen, id, type;
	char name[64];
} names[NAMES];
static int n_names;
static char domain_name[256];

static const struct {
	uint16_t id;
	const char *name, *type; /* u, s, 4, 6 */
} iana[] = {
	{ 1, "octetDeltaCount", "u" },
	{ 2, "packetDeltaCount", "u" },
	{ 4, "protocolIdentifier", "u" },
	{ 6, "tcpControlBits", "u" },
	{ 7, "sourceTransportPort", "u" },
	{ 8, "sourceIPv4Address", "4" },
	{ 10, "ingressInterface", "u" },
	{ 11, "destinationTransportPort", "u" },
	{ 12, "destinationIPv4Address", "4" },
	{ 14, "egressInterface", "u" },
	{ 27, "sourceIPv6Address", "6" },
	{ 28, "destinationIPv6Address", "6" },
	{ 32, "icmpTypeCodeIPv4", "u" },
	{ 60, "ipVersion", "u" },
	{ 61, "flowDirection", "u" },
	{ 82, "interfaceName", "s" },
	{ 136, "flowEndReason", "u" },
	{ 139, "icmpTypeCodeIPv6", "u" },
	{ 148, "flowId", "u" },
	{ 152, "flowStartMilliseconds", "u" },
	{ 153, "flowEndMilliseconds", "u" },
	{ 225, "postNATSourceIPv4Address", "4" },
	{ 226, "postNATDestinationIPv4Address", "4" },
	{ 227, "postNAPTSourceTransportPort", "u" },
	{ 228, "postNAPTDestinationTransportPort", "u" },
	{ 239, "biflowDirection", "u" },
	{ 281, "postNATSourceIPv6Address", "6" },
	{ 282, "postNATDestinationIPv6Address", "6" },
	{ 371, "userName", "s" },
};

static const uint8_t *at, *end; /* of what is being read */

static void die(const char *why)
{
	fprintf(stderr, "ipfix_read: %s\n", why);
	exit(EXIT_FAILURE);
}

static const uint8_t *take(size_t n)
{
	const uint8_t *p = at;

	if (n > (size_t)(end - at))
		die("something ends in the middle");
	at += n;
	return p;
}

static uint64_t number(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | *p++;
	return v;
}

static uint64_t take_number(size_t n)
{
	return number(take(n), n);
}

static void read_templates(const uint8_t *set_end, bool options)
{
	while (set_end - at >= 4) {
		uint64_t id = take_number(2), n = take_number(2);
		struct template *t;

		if (id < 256 || id >= 256 + TEMPLATES || !n || n > FIELDS)
			die("a template with an odd id, or fields");
		if (options && !take_number(2))
			die("options without a scope");
		t = &templates[id - 256];
		t->n = (int)n;
		for (uint64_t i = 0; i < n; i++) {
			uint64_t element = take_number(2);

			t->specs[i].len = (uint16_t)take_number(2);
			t->specs[i].id = element & 0x7fff;
			t->specs[i].pen = element & 0x8000 ? (uint32_t)take_number(4) : 0;
		}
	}
}

static void print_text(const uint8_t *p, size_t n)
{
	putchar('"');
	for (; n; n--, p++) {
		if (*p == '"' || *p == '\\')
			printf("\\%c", *p);
		else if (*p < 0x20)
			printf("\\u%04x", *p);
		else
			putchar(*p);
	}
	putchar('"');
}

static void print_value(char type, const uint8_t *p, size_t n)
{
	char text[INET6_ADDRSTRLEN];

	if (type == 's') {
		print_text(p, n);
	} else if (type == '4' || type == '6') {
		if (n != (type == '4' ? 4 : 16))
			die("an address of an odd length");
		inet_ntop(type == '4' ? AF_INET : AF_INET6, p, text, sizeof(text));
		printf("\"%s\"", text);
	} else {
		if (n > 8)
			die("a number of an odd length");
		printf("%" PRIu64, number(p, n));
	}
}

static void print_field(const struct spec *s, const uint8_t *p, size_t n)
{
	bool reverse = s->pen == 29305;

	if (!s->pen || reverse) {
		for (size_t i = 0; i < sizeof(iana) / sizeof(*iana); i++) {
			if (iana[i].id != s->id)
				continue;
			if (reverse)
				printf(",\"reverse%c%s\":", iana[i].name[0] - 32, iana[i].name + 1);
			else
				printf(",\"%s\":", iana[i].name);
			print_value(iana[i].type[0], p, n);
			return;
		}
	}
	for (int i = 0; i < n_names; i++) {
		if (names[i].pen != s->pen || names[i].id != s->id)
			continue;
		printf(",\"%s\":", names[i].name);
		print_value(names[i].type == 13 ? 's' : 'u', p, n);
		return;
	}
	printf(",\"%u/%u\":", s->pen, s->id);
	print_text(p, 0);
}

/* What options say: of an element, or of the domain. False: it is a flow. */
static bool take_option(const struct template *t, const uint8_t *const *p, const size_t *len)
{
	struct learned l = { 0 };

	for (int i = 0; i < t->n; i++) {
		if (t->specs[i].pen)
			continue;
		switch (t->specs[i].id) {
		case 346:
			l.pen = (uint32_t)number(p[i], len[i]);
			break;
		case 303:
			l.id = (uint32_t)number(p[i], len[i]);
			break;
		case 339:
			l.type = (uint32_t)number(p[i], len[i]);
			break;
		case 341:
			snprintf(l.name, sizeof(l.name), "%.*s", (int)len[i], (const char *)p[i]);
			break;
		case 300:
			snprintf(domain_name, sizeof(domain_name), "%.*s", (int)len[i],
				 (const char *)p[i]);
			return true;
		}
	}
	if (!l.name[0])
		return false;
	for (int i = 0; i < n_names; i++)
		if (names[i].pen == l.pen && names[i].id == l.id)
			return true;
	if (n_names == NAMES)
		die("more names than elements");
	names[n_names++] = l;
	return true;
}

static uint32_t read_records(const uint8_t *set_end, uint16_t id, uint32_t domain)
{
	const struct template *t = &templates[id - 256];
	uint32_t records = 0;

	if (id < 256 || id >= 256 + TEMPLATES || !t->n)
		die("data without a template");
	while (at < set_end) {
		const uint8_t *p[FIELDS];
		size_t len[FIELDS];

		for (int i = 0; i < t->n; i++) {
			len[i] = t->specs[i].len;
			if (len[i] == 65535) {
				len[i] = take_number(1);
				if (len[i] == 255)
					len[i] = take_number(2);
			}
			p[i] = take(len[i]);
		}
		records++;
		if (take_option(t, p, len))
			continue;
		printf("{\"template\":%u,\"domain\":%u,\"observationDomainName\":", id, domain);
		print_text((const uint8_t *)domain_name, strlen(domain_name));
		for (int i = 0; i < t->n; i++)
			print_field(&t->specs[i], p[i], len[i]);
		puts("}");
	}
	if (at != set_end)
		die("a record is longer than its set");
	return records;
}

static void read_stream(const uint8_t *data, size_t size)
{
	const uint8_t *message = data, *file_end = data + size;
	uint32_t sequence = 0;

	memset(templates, 0, sizeof(templates));
	while (message < file_end) {
		uint32_t domain;
		size_t len;

		at = message;
		end = file_end;
		if (file_end - message < 16 ||
		    (len = number(message + 2, 2)) > (size_t)(file_end - message)) {
			fprintf(stderr, "ipfix_read: the stream was cut in a message\n");
			return;
		}
		if (take_number(2) != 10 || len < 16)
			die("no message of IPFIX");
		end = message + len;
		take(6);
		if (take_number(4) != sequence)
			die("a wrong sequence number");
		domain = (uint32_t)take_number(4);
		while (at < end) {
			const uint8_t *set = at;
			uint16_t id = (uint16_t)take_number(2), set_len = (uint16_t)take_number(2);

			if (set_len < 4 || set_len > end - set)
				die("a set of an odd length");
			if (id == 2 || id == 3)
				read_templates(set + set_len, id == 3);
			else
				sequence += read_records(set + set_len, id, domain);
		}
		message = end;
	}
}

int main(int argc, char **argv)
{
	static uint8_t data[64 << 20];

	if (argc < 2) {
		fprintf(stderr, "Usage: ipfix_read FILE...\n");
		return EXIT_FAILURE;
	}
	for (int i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "re");
		size_t n;

		if (!f)
			die("a file can not be opened");
		n = fread(data, 1, sizeof(data), f);
		fclose(f);
		read_stream(data, n);
	}
	return EXIT_SUCCESS;
}
