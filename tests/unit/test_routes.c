/* SPDX-License-Identifier: Apache-2.0 */
/* intake.routes: what it may say, which event takes which, and what key that is. */
#include "user/routes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "config/private.h"
#include "config/routes.h"
#include "output/output.h"
#include "tests/lib/test.h"

TEST(what_is_no_list_is_refused)
{
	static const struct {
		const char *text;
		bool good;
	} rows[] = {
		{ "sshd:/etc/key", true },
		{ "sshd:/etc/key, flows:/etc/a:b , nginx*:/k", true },
		{ "sshd:key", false },
		{ "sshd", false },
		{ ":/etc/key", false },
		{ "sshd:", false },
		{ "", false },
		{ "sshd:/k,", false },
		{ ",sshd:/k", false },
		{ "sshd:/k,,su:/k", false },
		{ "two words:/k", false },
		{ "a;b:/k", false },
		{ "sshd:/k,su:/k,sshd:/l", false },
		{ "a:/k,b:/k,c:/k,d:/k,e:/k,f:/k,g:/k,h:/k,i:/k,j:/k,k:/k,l:/k,m:/k,n:/k,o:/k,p:/k",
		  true },
		{ "a:/k,b:/k,c:/k,d:/k,e:/k,f:/k,g:/k,h:/k,i:/k,j:/k,k:/k,l:/k,m:/k,n:/k,o:/k,p:/k,"
		  "q:/k",
		  false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char text[256];

		snprintf(text, sizeof(text), "%s", rows[i].text);
		CHECK_INT(!config_check_routes(text), rows[i].good);
	}
}

TEST(the_first_one_that_fits)
{
	static const struct {
		enum msg_class class;
		const char *app, *unit, *want;
	} rows[] = {
		{ MSG_JOURNAL, "sshd", "ssh.service", "sshd" },
		{ MSG_JOURNAL, "sftp-server", "ssh.service", "ssh.service" },
		{ MSG_JOURNAL, "nginx", "nginx.service", "ngin?" },
		{ MSG_JOURNAL, "worker", "nginx.service", "ngin?" },
		{ MSG_JOURNAL, "su", "", "" },
		{ MSG_JOURNAL, "flows", "", "" },
		{ MSG_JOURNAL, "kernel", "kernel.service", "" },
		{ MSG_FLOW, "sekoia-ebpf", "", "flows" },
		{ MSG_FLOW, "sshd", "", "flows" },
		{ MSG_KERNEL, "kernel", "", "kernel" },
		{ MSG_SELF, "sekoia-ebpf", "", "" },
		{ MSG_SELF, "sshd", "", "" },
	};
	_cleanup_(routes_freep) struct routes *r = NULL, *none = NULL;

	CHECK_INT(routes_new("sshd:/a, ssh.service:/b,ngin?:/c,flows:/d,kernel:/e", &r), 0);
	CHECK_INT(routes_new(NULL, &none), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct slice app = slice_of(rows[i].app), unit = slice_of(rows[i].unit);
		struct slice got = routes_find(r, rows[i].class, app, unit);

		CHECK_MEM(got.p, got.len, rows[i].want);
		CHECK_INT(routes_find(none, rows[i].class, app, unit).len, 0);
	}
}

TEST(keys)
{
	static const struct {
		const char *route, *want;
	} rows[] = {
		{ "", "aaaaaaaaaaaaaaaa" },	 { "sshd", "bbbbbbbbbbbbbbbb" },
		{ "flows", "cccccccccccccccc" }, { "ssh", "aaaaaaaaaaaaaaaa" },
		{ "gone", "aaaaaaaaaaaaaaaa" },
	};
	const struct config c = { .intake_key = (char[]){ "aaaaaaaaaaaaaaaa" },
				  .intake_route_keys = (char[]){
					  "sshd:bbbbbbbbbbbbbbbb,flows:cccccccccccccccc" } };
	const struct config none = { 0 };

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct slice key = output_key(&c, slice_of(rows[i].route));

		CHECK_MEM(key.p, key.len, rows[i].want);
	}
	CHECK(!output_key(&none, SLICE("sshd")).p);
}

TEST(key_files)
{
	_cleanup_(config_freep) struct config *c = NULL;
	struct config_errors e;
	char path[] = "/tmp/test_routes.XXXXXX", list[128];
	int fd = mkstemp(path);

	CHECK_INT(write(fd, "  0123456789abcdef\n", 19), 19);
	close(fd);
	CHECK_INT(config_new(&c), 0);
	config_errors_init(&e);
	snprintf(list, sizeof(list), "sshd:%s, flows:%s", path, path);
	config_set(c, config_find("intake.key"), "fedcba9876543210", "test", &e);
	config_set(c, config_find("intake.routes"), list, "test", &e);
	config_load_key(c, &e);
	CHECK_INT(e.n, 0);
	CHECK_STR(c->intake_route_keys, "sshd:0123456789abcdef,flows:0123456789abcdef");
	/* Open to all, then no key, then gone: each is named, and the key never. */
	CHECK_INT(chmod(path, 0644), 0);
	config_load_key(c, &e);
	CHECK(e.n == 2 && strstr(buf_data(&e.text), "chmod 600"));
	CHECK(!c->intake_route_keys);
	CHECK_INT(chmod(path, 0600), 0);
	CHECK_INT(truncate(path, 5), 0);
	config_load_key(c, &e);
	CHECK_INT(e.n, 4);
	CHECK_INT(unlink(path), 0);
	config_load_key(c, &e);
	CHECK_INT(e.n, 6);
	CHECK(!strstr(buf_data(&e.text), "0123"));
	config_errors_done(&e);
}
