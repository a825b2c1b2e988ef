/* SPDX-License-Identifier: Apache-2.0 */
/* The lists of [journal]: what they may say, and which lines they want. */
#include "user/journal_filter.h"

#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "config/private.h"
#include "tests/lib/test.h"

TEST(items)
{
	static const struct {
		const char *item, *name;
		bool is_unit, is_identifier;
	} rows[] = {
		{ "ssh.service", "ssh.service", true, true },
		{ "ssh", "ssh.service", true, false },
		{ "ssh", "ssh", true, true },
		{ "ssh", "ssh.socket", false, false },
		{ "ssh", "sshd.service", false, false },
		{ "ssh*", "sshd.service", true, true },
		{ "user@*.service", "user@1000.service", true, true },
		{ "user@*.service", "user@1000.slice", false, false },
		{ "user@*", "user@1000.service", true, true },
		{ "session-?.scope", "session-4.scope", true, true },
		{ "session-?.scope", "session-41.scope", false, false },
		{ "*", "x", true, true },
		{ "*", ".service", true, true },
		{ "?", ".service", false, false },
		{ "a*b*c", "axxbyyc", true, true },
		{ "a*b*c", "axxbyycd", false, false },
		{ "a**b", "ab", true, true },
		{ "*aab", "aaaab", true, true },
		{ "postfix/*", "postfix/smtpd", true, true },
		{ "ssh", "", false, false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct slice item = slice_of(rows[i].item), name = slice_of(rows[i].name);

		CHECK_INT(journal_filter_is_unit(item, name), rows[i].is_unit);
		CHECK_INT(journal_filter_is_identifier(item, name), rows[i].is_identifier);
	}
}

TEST(what_is_wanted)
{
	static const struct {
		char *units, *identifiers;
		const char *unit, *identifier;
		bool wanted;
	} rows[] = {
		{ NULL, NULL, "ssh.service", "sshd", true },
		{ NULL, NULL, "", "", true },
		{ "ssh", NULL, "ssh.service", "sshd", true },
		{ "ssh", NULL, "cron.service", "sshd", false },
		{ "ssh", NULL, "", "sshd", false },
		{ "!ssh", NULL, "ssh.service", "sshd", false },
		{ "!ssh", NULL, "cron.service", "sshd", true },
		{ "!ssh", NULL, "", "sshd", true },
		{ "s*, !ssh", NULL, "ssh.service", "sshd", false },
		{ "s*, !ssh", NULL, "sudo.service", "sudo", true },
		{ "!ssh, s*", NULL, "ssh.service", "sshd", false },
		{ NULL, "sshd, sudo", "ssh.service", "sudo", true },
		{ NULL, "sshd, sudo", "ssh.service", "su", false },
		{ NULL, "sshd", "", "", false },
		{ NULL, "!sshd", "", "", true },
		{ "ssh", "!sudo", "ssh.service", "sshd", true },
		{ "ssh", "!sudo", "ssh.service", "sudo", false },
		{ "ssh", "!sudo", "cron.service", "sshd", false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		_cleanup_(journal_filter_freep) struct journal_filter *f = NULL;
		const struct config c = {
			.journal_units = rows[i].units,
			.journal_identifiers = rows[i].identifiers,
		};

		CHECK_INT(journal_filter_new(&c, &f), 0);
		CHECK_INT(journal_filter_wants(f, slice_of(rows[i].identifier),
					       slice_of(rows[i].unit), SLICE("")),
			  rows[i].wanted);
	}
}

TEST(a_users_unit_is_its_managers_too)
{
	static const struct {
		const char *units;
		bool wanted;
	} rows[] = {
		{ "foo", true },
		{ "user@*.service", true },
		{ "bar", false },
		{ "!foo", false },
		{ "!user@1000", false },
		{ "!bar", true },
		{ "user@1000, !foo", false },
		{ "foo, !user@1001", true },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		_cleanup_(journal_filter_freep) struct journal_filter *f = NULL;
		char units[64];
		const struct config c = { .journal_units = units };

		snprintf(units, sizeof(units), "%s", rows[i].units);
		CHECK_INT(journal_filter_new(&c, &f), 0);
		CHECK_INT(journal_filter_wants(f, SLICE("app"), SLICE("foo.service"),
					       SLICE("user@1000.service")),
			  rows[i].wanted);
	}
}

TEST(severities)
{
	for (unsigned max = 0; max < 8; max++) {
		_cleanup_(journal_filter_freep) struct journal_filter *f = NULL;
		const struct config c = { .journal_max_severity = (int)max };

		CHECK_INT(journal_filter_new(&c, &f), 0);
		for (unsigned severity = 0; severity < 8; severity++)
			CHECK_INT(journal_filter_wants_severity(f, severity), severity <= max);
	}
}

TEST(what_is_no_list_is_refused)
{
	static const struct {
		const char *text;
		bool units, identifiers;
	} rows[] = {
		{ "ssh", true, true },	       { "ssh, !cron.service", true, true },
		{ "postfix/*", false, true },  { "my service", false, false },
		{ "", false, false },	       { "ssh,", false, false },
		{ "!", false, false },	       { "a\tb", false, false },
		{ "caf\xc3\xa9", true, true },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char text[64];

		snprintf(text, sizeof(text), "%s", rows[i].text);
		CHECK_INT(!config_check_units(text), rows[i].units);
		CHECK_INT(!config_check_identifiers(text), rows[i].identifiers);
	}
}
