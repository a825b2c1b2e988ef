/* SPDX-License-Identifier: Apache-2.0 */
/* The lists of [flows]: what they may say, and what the kernel is told. */
#include "config/flow_filter.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "config/private.h"
#include "tests/lib/test.h"
#include "user/flow_rules.h"

static struct slice slice(const char *text)
{
	return (struct slice){ text, strlen(text) };
}

TEST(networks)
{
	static const struct {
		const char *text;
		uint32_t prefix_len; /* 999: refused */
		uint8_t last, tenth;
	} rows[] = {
		{ "10.1.2.3", 128, 3, 0xff },
		{ "10.1.2.3/32", 128, 3, 0xff },
		{ "10.1.2.3/24", 120, 0, 0xff },
		{ "10.1.2.255/25", 121, 128, 0xff },
		{ "0.0.0.0/0", 96, 0, 0xff },
		{ "fd00::1", 128, 1, 0 },
		{ "fd00::ff/121", 121, 128, 0 },
		{ "::/0", 0, 0, 0 },
		{ "10.1.2.3/33", 999, 0, 0 },
		{ "fd00::/129", 999, 0, 0 },
		{ "10.1.2", 999, 0, 0 },
		{ "10.1.2.3/", 999, 0, 0 },
		{ "10.1.2.3/-1", 999, 0, 0 },
		{ "10.1.2.3/8x", 999, 0, 0 },
		{ "host", 999, 0, 0 },
		{ "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa", 999, 0, 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct flow_network net = { 0 };
		bool good = flow_network_parse(slice(rows[i].text), &net);

		CHECK(good == (rows[i].prefix_len != 999));
		if (!good)
			continue;
		CHECK_INT(net.prefix_len, rows[i].prefix_len);
		CHECK_INT(net.address[15], rows[i].last);
		CHECK_INT(net.address[10], rows[i].tenth);
	}
}

TEST(ports_and_protocols)
{
	struct flow_ports p;

	CHECK(flow_ports_parse(slice("443"), &p) && p.first == 443 && p.last == 443);
	CHECK(flow_ports_parse(slice("0-65535"), &p) && p.first == 0 && p.last == 65535);
	CHECK(!flow_ports_parse(slice("65536"), &p));
	CHECK(!flow_ports_parse(slice("9-8"), &p));
	CHECK(!flow_ports_parse(slice("-8"), &p));
	CHECK(!flow_ports_parse(slice("8-"), &p));
	CHECK(!flow_ports_parse(slice("http"), &p));
	CHECK_INT(flow_protocol_parse(slice("udp")), 17);
	CHECK_INT(flow_protocol_parse(slice("icmpv6")), 58);
	CHECK_INT(flow_protocol_parse(slice("255")), 255);
	CHECK_INT(flow_protocol_parse(slice("256")), -1);
	CHECK_INT(flow_protocol_parse(slice("quic")), -1);
}

TEST(what_is_no_list_is_refused)
{
	static const struct {
		const char *(*check)(char *value);
		const char *good, *bad[4];
	} rows[] = {
		{ config_check_networks,
		  "10.0.0.0/8 , !fd00::/8",
		  { "", "10.0.0.0/8,", "!", "x" } },
		{ config_check_ports, "1,!2-3", { ",1", "1,,2", "!!1", "1;2" } },
		{ config_check_protocols, "!tcp,1", { "TCP", "-1", "1.5", " " } },
		{ config_check_users, "root,!1000", { "a:b", "a/b", "a,", "!" } },
		{ config_check_commands, "nginx,!curl", { "1234567890123456", "", "a,,b", "!" } },
		{ config_check_cgroups, "/a/b,!/c", { "a", "!", "/a,", "/a,b" } },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[64];

		snprintf(text, sizeof(text), "%s", rows[i].good);
		CHECK(rows[i].check(text) == NULL);
		for (int k = 0; k < 4; k++) {
			snprintf(text, sizeof(text), "%s", rows[i].bad[k]);
			CHECK(rows[i].check(text) != NULL);
		}
	}
}

TEST(a_list_has_a_ceiling)
{
	char text[FLOW_LIST_MAX * 2 + 8] = "1";

	for (int i = 1; i < FLOW_LIST_MAX; i++)
		strcat(text, ",1");
	CHECK(config_check_ports(text) == NULL);
	strcat(text, ",1");
	CHECK(config_check_ports(text) != NULL);
}

TEST(rules_for_the_kernel)
{
	_cleanup_(config_freep) struct config *c = NULL;
	_cleanup_(flow_rules_freep) struct flow_rules *r = NULL, *again = NULL;
	char passwd[] = "/tmp/passwd-XXXXXX", text[200];
	int fd = mkstemp(passwd);

	CHECK(write(fd, "bob:x:77:77::/:/bin/sh\n", 23) == 23);
	close(fd);
	CHECK_INT(config_new(&c), 0);
	CHECK_INT(flow_rules_new(c, -1, passwd, text, sizeof(text), &r), 0);
	CHECK_INT(r->bits, 0);
	CHECK_INT(r->sample_rate, 1);
	flow_rules_free(r);
	r = NULL;

	c->flows_networks = strdup("!10.0.0.0/8");
	c->flows_ports = strdup("64-65,!1");
	c->flows_protocols = strdup("!tcp");
	c->flows_users = strdup("bob,!0");
	c->flows_processes = strdup("!curl");
	c->flows_direction = DIRECTION_OUT;
	c->flows_private = false;
	CHECK_INT(flow_rules_new(c, -1, passwd, text, sizeof(text), &r), 0);
	CHECK_INT(r->bits, FILTER_NETWORKS | FILTER_PORTS | FILTER_PORTS_ONLY | FILTER_PROTOCOLS |
				   FILTER_DIRECTION | FILTER_PRIVATE | FILTER_USERS |
				   FILTER_USERS_ONLY | FILTER_COMMANDS);
	CHECK_INT(r->direction, FLOW_OUT);
	CHECK_INT(r->n_networks, 1);
	CHECK_INT(r->network_verdicts[0], FILTER_UNWANTED);
	CHECK_INT(r->networks[0].prefix_len, 104);
	CHECK_INT(r->ports[1], 3);
	CHECK_INT(r->ports[FILTER_PORT_WORDS], 2);
	CHECK(r->protocols[0] == ~(1ull << 6));
	CHECK_INT(r->n_owners, 3);
	CHECK_INT(r->owners[0].value[0], 77);
	CHECK_INT(r->owner_verdicts[0], FILTER_WANTED);
	CHECK_INT(r->owner_verdicts[1], FILTER_UNWANTED);
	CHECK(!memcmp(r->owners[2].value, "curl\0\0\0\0\0\0\0\0\0\0\0", 16));

	CHECK_INT(flow_rules_new(c, -1, passwd, text, sizeof(text), &again), 0);
	CHECK(flow_rules_equal(r, again));
	again->owners[0].value[0] = 78;
	CHECK(!flow_rules_equal(r, again));

	free(c->flows_users);
	c->flows_users = strdup("alice");
	flow_rules_free(again);
	again = NULL;
	CHECK_INT(flow_rules_new(c, -1, passwd, text, sizeof(text), &again), -ENOENT);
	CHECK(strstr(text, "there is no user \"alice\"") != NULL);
	unlink(passwd);
}
