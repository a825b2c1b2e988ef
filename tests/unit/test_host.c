/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/test.h"
#include "user/host.h"

static const struct {
	const char *text, *name, *version;
} cases[] = {
	{ "NAME=Arch\nVERSION_ID=1\n", "Arch", "1" },
	{ "NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n", "Debian GNU/Linux", "12" },
	{ "NAME='Rocky Linux'\nVERSION_ID='8.10'", "Rocky Linux", "8.10" },
	{ "PRETTY_NAME=x\nVERSION_ID_LIKE=y\nNAM=z\n=\n\nNAME", "", "" },
	{ "NAME=\"it's\"\nVERSION_ID=", "it's", "" },
	{ "NAME=\"unended\nVERSION_ID='", "unended", "" },
	{ "NAME=first\nNAME=second", "second", "" },
	{ "NAME=0123456789012345678901234567890123456789012345678901234567890123456789\n",
	  "012345678901234567890123456789012345678901234567890123456789012", "" },
};

TEST(os_release)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct host h = { .n_ips = 0 };

		host_parse_os_release(slice_of(cases[i].text), &h);
		CHECK_STR(h.os_name, cases[i].name);
		CHECK_STR(h.os_version, cases[i].version);
	}
}

TEST(this_host)
{
	struct host h;

	host_read(&h, "of.our.own");
	CHECK_STR(h.name, "of.our.own");
	CHECK(h.n_ips >= 0 && h.n_ips <= RECORD_MAX_IPS);
	host_read(&h, NULL);
	CHECK(h.name[0] != 0);
}
