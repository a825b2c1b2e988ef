/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sekoia-ebpf(8), in man(7) macros: options and commands from their tables,
 * the rest as it stands here. What it says of signals, files and exit codes is
 * what main.c and collector.c do.
 */
#define _GNU_SOURCE
#include "config/config.h"

#include <ctype.h>
#include <string.h>

#include "config/private.h"

/* Text of ours for troff: hyphens that are to be typed, and no accidental request. */
static void put(FILE *f, const char *text)
{
	bool at_start = true;

	for (; *text; text++) {
		if (at_start && (*text == '.' || *text == '\''))
			fputs("\\&", f);
		if (*text == '-')
			fputs("\\-", f);
		else if (*text == '\\')
			fputs("\\e", f);
		else if (*text == '"')
			fputs("\\(dq", f);
		else
			fputc(*text, f);
		at_start = *text == '\n';
	}
}

/* One paragraph, a sentence a line as troff wants it. */
static void put_text(FILE *f, const char *text)
{
	put(f, text);
	fputc('\n', f);
}

static void put_flag(FILE *f, char letter, const char *flag, const char *value)
{
	fputs(".TP\n", f);
	if (letter)
		fprintf(f, "\\fB\\-%c\\fR, ", letter);
	fputs("\\fB\\-\\-", f);
	put(f, flag);
	fputs("\\fR", f);
	if (*value) {
		fputs(" \\fI", f);
		put(f, value);
		fputs("\\fR", f);
	}
	fputc('\n', f);
}

static void put_option(FILE *f, const struct config_option *o)
{
	char name[CONFIG_NAME_SIZE], allowed[160], section[CONFIG_NAME_SIZE];
	size_t len = strcspn(o->key, ".");

	put_flag(f, o->letter, config_flag_name(o, name), config_metavar(o));
	put(f, o->help);
	fputs(".\n", f);
	config_format_allowed(o, allowed, sizeof(allowed));
	if (*allowed || o->initial) {
		put(f, *allowed ? "Allowed: " : "");
		put(f, allowed);
		put(f, *allowed && o->initial ? "; default: " : o->initial ? "Default: " : "");
		put(f, o->initial ? o->initial : "");
		fputs(".\n", f);
	}
	snprintf(section, sizeof(section), "%.*s", (int)len, o->key);
	fputs(".br\n\\fI", f);
	put(f, config_env_name(o, name));
	fputs("\\fR, or \\fI", f);
	put(f, o->key + len + 1);
	fputs("\\fR in [", f);
	put(f, section);
	fputs("]\n", f);
}

static void put_command(FILE *f, const struct config_command *command)
{
	fputs(".TP\n\\fB", f);
	put(f, command->name);
	fputs("\\fR", f);
	if (command->args) {
		fputs(" \\fI", f);
		put(f, command->args);
		fputs("\\fR", f);
	}
	for (const struct config_command_flag_row *flag = config_command_flags; flag->name;
	     flag++) {
		if (!(command->flags & flag->bit))
			continue;
		fputs(" [\\fB\\-\\-", f);
		put(f, flag->name);
		fputs("\\fR]", f);
	}
	fputc('\n', f);
	put(f, command->help);
	fputs(".\n", f);
}

static void put_options(FILE *f)
{
	const char *section = "";

	put_flag(f, 'c', "config", "FILE");
	put_text(f, "Read this file instead of " CONFIG_DEFAULT_FILE ".");
	put_flag(f, 'h', "help", "");
	put_text(f, "Show a short form of this text.");
	put_flag(f, 'V', "version", "");
	put_text(f, "Show the version.");
	for (const struct config_command_flag_row *flag = config_command_flags; flag->name;
	     flag++) {
		put_flag(f, 0, flag->name, "");
		put(f, flag->help);
		fputs(".\n", f);
	}
	for (const struct config_option *o = config_options; o->key; o++) {
		size_t len = strcspn(o->key, ".") + 1;

		if (o->internal)
			continue;
		if (strncmp(o->key, section, len) != 0) {
			fputs(".SS [", f);
			fprintf(f, "%.*s]\n", (int)len - 1, o->key);
		}
		section = o->key;
		put_option(f, o);
	}
}

/* Lines that begin with "." are requests; the others are text. */
static void put_lines(FILE *f, const char *const *lines)
{
	for (; *lines; lines++) {
		if (**lines == '.')
			fprintf(f, "%s\n", *lines);
		else
			put_text(f, *lines);
	}
}

void config_print_man(FILE *f, const struct config_command *commands, const char *date)
{
	static const char *const description[] = {
		".SH DESCRIPTION",
		"sekoia-ebpf captures this host's network flows, journal and kernel log through",
		"eBPF, and delivers each event to a Sekoia.io intake, over HTTPS, RELP or syslog,",
		"always with TLS.",
		"Events wait in rings in the kernel and in a spool on disk until the intake has",
		"acknowledged them; what a limit forces it to drop is counted.",
		".PP",
		"It is two processes: a collector, which is root and opens no network socket, and",
		"a shipper without any privilege, which alone talks to the network.",
		NULL,
	};
	static const char *const values[] = {
		".SH CONFIGURATION",
		"Each option is a flag, a variable of the environment and a line of the file.",
		"A flag counts before the environment, and that before the file.",
		"Sizes take k, M, G, T (powers of 1024); times take ms, s, m, h, and a bare number",
		"is seconds.",
		"A flag that is yes or no may stand without its value, as the last word or before",
		"another flag: then it is yes.",
		".PP",
		"A line of the file is a [section], name = value, or a comment that begins with #",
		"or ;.",
		"A file with the intake key or a proxy's password in it must not be readable by",
		"everyone.",
		".PP",
		"The intake key comes from the first of these that is there: intake.key,",
		"intake.key_file, the systemd credential intake-key.",
		"As a flag it is wiped from the list of processes at once; it is never written",
		"to disk or to a log.",
		NULL,
	};
	static const char *const end[] = {
		".SH ENVIRONMENT",
		"Besides the variables of the options:",
		".TP",
		".I SEKOIA_CONFIG",
		"The file to read, as with --config.",
		".TP",
		".IR https_proxy ,\\ HTTPS_PROXY ,\\ all_proxy ,\\ ALL_PROXY",
		"The proxy, when output.proxy is not given; the first that is set counts.",
		".TP",
		".IR no_proxy ,\\ NO_PROXY",
		"Hosts that need no proxy of those, with commas between them.",
		".TP",
		".I CREDENTIALS_DIRECTORY",
		"Where systemd puts the credential intake-key.",
		".TP",
		".IR SSL_CERT_FILE ,\\ SSL_CERT_DIR",
		"Where OpenSSL looks for CAs, when tls.ca is not given.",
		".SH SIGNALS",
		".TP",
		".BR SIGINT ,\\ SIGTERM",
		"A clean stop: reports the flows that are open, waits for acknowledgements as long",
		"as collector.stop_timeout says, detaches everything and prints the books.",
		"A second one does not wait.",
		".TP",
		".B SIGKILL",
		"Nothing is lost: the kernel goes on collecting into the rings, and the next start",
		"takes over.",
		".SH EXIT STATUS",
		".TP",
		".B 0",
		"A clean stop; for check: nothing failed.",
		".TP",
		".B 1",
		"It could not start, or not stop cleanly; for check: something failed.",
		".TP",
		".B 2",
		"Mistakes in the configuration or on the command line; each is told.",
		".SH FILES",
		".TP",
		".I " CONFIG_DEFAULT_FILE,
		"The configuration.",
		".TP",
		".I /var/lib/sekoia-ebpf/spool",
		"Events that the intake has not acknowledged.",
		".TP",
		".I /sys/fs/bpf/sekoia-ebpf",
		"Rings and programs, pinned, so that they outlive the collector.",
		".SH EXAMPLES",
		"Can this host do it?",
		".PP",
		".in +4n",
		".EX",
		"sudo sekoia-ebpf --intake-key-file /etc/sekoia-ebpf/key check",
		".EE",
		".in",
		".PP",
		"Look at the events, send none:",
		".PP",
		".in +4n",
		".EX",
		"sudo sekoia-ebpf --output stdout",
		".EE",
		".in",
		".PP",
		"Deliver them over RELP to the region fra2:",
		".PP",
		".in +4n",
		".EX",
		"sudo sekoia-ebpf --intake-key-file /etc/sekoia-ebpf/key \\",
		"    --region fra2 --output relp",
		".EE",
		".in",
		".SH SEE ALSO",
		".BR bpf (2),",
		".BR journald.conf (5),",
		".BR systemd.exec (5)",
		NULL,
	};

	fprintf(f, ".TH SEKOIA\\-EBPF 8 %s \"sekoia\\-ebpf %s\"\n", date, SEKOIA_VERSION);
	fputs(".SH NAME\nsekoia\\-ebpf \\- capture flows, journal and kernel log, and deliver them\n",
	      f);
	fputs(".SH SYNOPSIS\n.B sekoia\\-ebpf\n.RI [ OPTION ]...\n.RI [ COMMAND ]\n", f);
	put_lines(f, description);
	fputs(".SH COMMANDS\n", f);
	for (const struct config_command *command = commands; command->name; command++)
		put_command(f, command);
	put_lines(f, values);
	fputs(".SH OPTIONS\n", f);
	put_options(f);
	put_lines(f, end);
}
