/* SPDX-License-Identifier: Apache-2.0 */
/* What people read about the options: --help and the sample file, both from the table. */
#define _GNU_SOURCE
#include "config/config.h"

#include <string.h>

#include "config/private.h"
#include "user/util/wrap.h"

#define COLUMN 28 /* where the help of an option begins */

void config_format_allowed(const struct config_option *o, char *ret, size_t size)
{
	char min[32], max[32];
	size_t len = 0;

	*ret = '\0';
	switch (o->type) {
	case CONFIG_STRING:
	case CONFIG_SECRET:
		break;
	case CONFIG_BOOL:
		snprintf(ret, size, "yes or no");
		break;
	case CONFIG_NUMBER:
	case CONFIG_BYTES:
	case CONFIG_DURATION:
		snprintf(ret, size, "%s to %s", config_format_number(o, o->min, min, sizeof(min)),
			 config_format_number(o, o->max, max, sizeof(max)));
		break;
	case CONFIG_ENUM:
		for (int i = 0; o->values[i] && len < size; i++)
			len += (size_t)snprintf(ret + len, size - len, "%s%s", i ? ", " : "",
						o->values[i]);
		break;
	}
}

/* "The help (1s to 1h; default 30s)" */
static void format_help(const struct config_option *o, char *ret, size_t size)
{
	char allowed[160] = "";

	/* For these the metavar says it. */
	if (o->type != CONFIG_BOOL)
		config_format_allowed(o, allowed, sizeof(allowed));
	if (!*allowed && !o->initial)
		snprintf(ret, size, "%s", o->help);
	else
		snprintf(ret, size, "%s (%s%s%s%s)", o->help, allowed,
			 *allowed && o->initial ? "; " : "", o->initial ? "default " : "",
			 o->initial ? o->initial : "");
}

const char *config_metavar(const struct config_option *o)
{
	if (o->metavar)
		return o->metavar;
	return o->type == CONFIG_BOOL ? "yes|no" : "VALUE";
}

/* left is printed; what it means stands beside it, or below when left is long. */
static void print_beside(FILE *f, const char *left, const char *help)
{
	size_t len = strlen(left);
	char margin[COLUMN + 1];

	fputs(left, f);
	snprintf(margin, sizeof(margin), "%*s", COLUMN, "");
	if (len > COLUMN - 2)
		fprintf(f, "\n%s", margin);
	else
		fprintf(f, "%*s", (int)(COLUMN - len), "");
	wrap_print(f, help, margin, COLUMN);
}

static void print_flag(FILE *f, char letter, const char *flag, const char *value, const char *help)
{
	char left[CONFIG_NAME_SIZE + 32], short_flag[] = "-x,";

	short_flag[1] = letter;
	snprintf(left, sizeof(left), "  %3s --%s%s%s", letter ? short_flag : "", flag,
		 *value ? " " : "", value);
	print_beside(f, left, help);
}

static void print_command(FILE *f, const struct config_command *command)
{
	char left[CONFIG_NAME_SIZE + 64];
	size_t len;

	len = (size_t)snprintf(left, sizeof(left), "  %s%s%s", command->name,
			       command->args ? " " : "", command->args ? command->args : "");
	for (const struct config_command_flag_row *flag = config_command_flags; flag->name; flag++)
		if (command->flags & flag->bit && len < sizeof(left))
			len += (size_t)snprintf(left + len, sizeof(left) - len, " [--%s]",
						flag->name);
	print_beside(f, left, command->help);
}

static bool starts_section(const struct config_option *o, const char **section)
{
	size_t len = strcspn(o->key, ".") + 1;
	bool is_new = strncmp(o->key, *section, len) != 0;

	*section = o->key;
	return is_new;
}

void config_print_help(FILE *f, const struct config_command *commands)
{
	const char *section = "";

	fputs("Usage: sekoia-ebpf [OPTION]... [COMMAND]\n"
	      "\n"
	      "Captures this host's network flows, journal and kernel log through eBPF, and\n"
	      "delivers each event to a Sekoia.io intake. Nothing is lost in silence.\n"
	      "\n"
	      "  sudo sekoia-ebpf --intake-key KEY\n"
	      "  sudo sekoia-ebpf --intake-key KEY --region fra2 --output relp\n"
	      "  sudo sekoia-ebpf --output stdout       (look at the events, send none)\n"
	      "\n",
	      f);
	for (const struct config_command *command = commands; command->name; command++)
		print_command(f, command);
	fputc('\n', f);
	print_flag(f, 'c', "config", "FILE", "Read this file (default " CONFIG_DEFAULT_FILE ")");
	print_flag(f, 'h', "help", "", "Show this text");
	print_flag(f, 'V', "version", "", "Show the version");
	for (const struct config_command_flag_row *flag = config_command_flags; flag->name; flag++)
		print_flag(f, 0, flag->name, "", flag->help);
	for (const struct config_option *o = config_options; o->key; o++) {
		char flag[CONFIG_NAME_SIZE], help[512];

		if (o->internal)
			continue;
		if (starts_section(o, &section))
			fprintf(f, "\n[%.*s]\n", (int)strcspn(o->key, "."), o->key);
		format_help(o, help, sizeof(help));
		print_flag(f, o->letter, config_flag_name(o, flag), config_metavar(o), help);
	}
	fputs("\n"
	      "Each option is a flag (--tls-ca FILE), a variable of the environment\n"
	      "(SEKOIA_TLS_CA=FILE) and a line of the file (ca = FILE in [tls]); a flag counts\n"
	      "before the environment, and that before the file. Sizes take k, M, G, T; times\n"
	      "take ms, s, m, h. https_proxy and no_proxy count when --output-proxy is not\n"
	      "given.\n",
	      f);
}

void config_print_sample(FILE *f)
{
	const char *section = "";

	fputs("# " CONFIG_DEFAULT_FILE ", the configuration of sekoia-ebpf.\n"
	      "#\n"
	      "# Every option is here, commented out, with its default. The same options are\n"
	      "# flags (--output-host) and variables of the environment (SEKOIA_OUTPUT_HOST),\n"
	      "# which count before this file; --help names them.\n"
	      "#\n"
	      "# A line is a [section], name = value, or a comment that begins with # or ;. A\n"
	      "# value ends with its line and is written without quotes. Behind a value, a\n"
	      "# blank and a ; begin a comment. Sizes take k, M, G, T (powers of 1024), times\n"
	      "# ms, s, m, h (a bare number is seconds).\n"
	      "#\n"
	      "# With a key or a proxy's password in it, this file must not be readable by\n"
	      "# everyone: chmod 600.\n",
	      f);
	for (const struct config_option *o = config_options; o->key; o++) {
		const char *name = strchr(o->key, '.') + 1;
		char allowed[160];

		if (o->internal)
			continue;
		if (starts_section(o, &section))
			fprintf(f, "\n[%.*s]\n", (int)strcspn(o->key, "."), o->key);
		else
			fputc('\n', f);
		fputs("# ", f);
		wrap_print(f, o->help, "# ", 2);
		config_format_allowed(o, allowed, sizeof(allowed));
		if (*allowed) {
			fputs("# Allowed: ", f);
			wrap_print(f, allowed, "# ", strlen("# Allowed: "));
		}
		fprintf(f, "#%s = %s\n", name, o->initial ? o->initial : config_metavar(o));
	}
}
