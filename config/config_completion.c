/* SPDX-License-Identifier: Apache-2.0 */
/* What bash and zsh complete: options, their values and commands, from the tables. */
#define _GNU_SOURCE
#include "config/config.h"

#include <string.h>

#include "config/private.h"

enum kind { KIND_NOTHING, KIND_VALUES, KIND_FILE, KIND_FOLDER, KIND_USER };

static enum kind kind_of(const struct config_option *o)
{
	if (o->values || o->type == CONFIG_BOOL)
		return KIND_VALUES;
	if (!o->metavar)
		return KIND_NOTHING;
	if (!strcmp(o->metavar, "FILE"))
		return KIND_FILE;
	if (!strcmp(o->metavar, "DIR"))
		return KIND_FOLDER;
	return strcmp(o->metavar, "USER") ? KIND_NOTHING : KIND_USER;
}

/* "fra1 fra2", "yes no" */
static void put_values(FILE *f, const struct config_option *o)
{
	if (!o->values)
		fputs("yes no", f);
	for (int i = 0; o->values && o->values[i]; i++)
		fprintf(f, "%s%s", i ? " " : "", o->values[i]);
}

/* Commands whose arguments are a choice of words say so: "ls|cat|verify". */
static bool has_choice(const struct config_command *command)
{
	return command->args && strchr(command->args, '|') && !strpbrk(command->args, " []<>");
}

static void put_choice(FILE *f, const char *args)
{
	for (; *args; args++)
		fputc(*args == '|' ? ' ' : *args, f);
}

/* ------------------------------------------------------------------ bash */

static void put_bash_words(FILE *f, const struct config_command *commands)
{
	char flag[CONFIG_NAME_SIZE];

	fputs("_sekoia_ebpf_flags='-c --config -h --help -V --version", f);
	for (const struct config_command_flag_row *row = config_command_flags; row->name; row++)
		fprintf(f, "\n\t--%s", row->name);
	for (const struct config_option *o = config_options; o->key; o++) {
		if (o->internal)
			continue;
		fprintf(f, "\n\t--%s", config_flag_name(o, flag));
		if (o->letter)
			fprintf(f, " -%c", o->letter);
	}
	fputs("'\n_sekoia_ebpf_commands='", f);
	for (const struct config_command *command = commands; command->name; command++)
		fprintf(f, "%s%s", command == commands ? "" : " ", command->name);
	fputs("'\n\n", f);
}

static void put_bash_action(FILE *f, const struct config_option *o)
{
	switch (kind_of(o)) {
	case KIND_NOTHING:
		fputs(":", f);
		break;
	case KIND_VALUES:
		fputs("_sekoia_ebpf_offer '", f);
		put_values(f, o);
		fputs("'", f);
		break;
	case KIND_FILE:
		fputs("_sekoia_ebpf_paths -f", f);
		break;
	case KIND_FOLDER:
		fputs("_sekoia_ebpf_paths -d", f);
		break;
	case KIND_USER:
		fputs("_sekoia_ebpf_paths -u", f);
		break;
	}
}

void config_print_bash_completion(FILE *f, const struct config_command *commands)
{
	char flag[CONFIG_NAME_SIZE];

	fputs("# bash completion for sekoia-ebpf. Generated: it follows its tables.\n"
	      "# shellcheck shell=bash disable=SC2207\n\n",
	      f);
	put_bash_words(f, commands);
	fputs("_sekoia_ebpf_offer() {\n"
	      "\tCOMPREPLY=($(compgen -W \"$1\" -- \"$cur\"))\n"
	      "}\n\n"
	      "# Names with blanks stay whole.\n"
	      "_sekoia_ebpf_paths() {\n"
	      "\tlocal IFS=$'\\n'\n"
	      "\tCOMPREPLY=($(compgen \"$1\" -- \"$cur\"))\n"
	      "\t[[ $1 == -u ]] || compopt -o filenames 2>/dev/null\n"
	      "}\n\n"
	      "# The values of option $1. False: it has none, or is no option.\n"
	      "_sekoia_ebpf_value() {\n"
	      "\tcase $1 in\n"
	      "\t-c | --config) _sekoia_ebpf_paths -f ;;\n",
	      f);
	for (const struct config_option *o = config_options; o->key; o++) {
		if (o->internal)
			continue;
		fputs("\t", f);
		if (o->letter)
			fprintf(f, "-%c | ", o->letter);
		fprintf(f, "--%s) ", config_flag_name(o, flag));
		put_bash_action(f, o);
		fputs(" ;;\n", f);
	}
	fputs("\t*) return 1 ;;\n"
	      "\tesac\n"
	      "\treturn 0\n"
	      "}\n\n"
	      "_sekoia_ebpf() {\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command='' i\n\n"
	      "\tCOMPREPLY=()\n"
	      "\t# bash takes --region=fra1 for three words.\n"
	      "\tif [[ $cur == = ]]; then\n"
	      "\t\tcur=\n"
	      "\telif [[ $prev == = ]]; then\n"
	      "\t\tprev=${COMP_WORDS[COMP_CWORD - 2]}\n"
	      "\tfi\n"
	      "\t[[ $cur != -* ]] && _sekoia_ebpf_value \"$prev\" && return\n"
	      "\tif [[ $cur == -* ]]; then\n"
	      "\t\t_sekoia_ebpf_offer \"$_sekoia_ebpf_flags\"\n"
	      "\t\treturn\n"
	      "\tfi\n"
	      "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	      "\t\t[[ \" $_sekoia_ebpf_commands \" == *\" ${COMP_WORDS[i]} \"* ]] && command=${COMP_WORDS[i]}\n"
	      "\tdone\n"
	      "\tcase $command in\n"
	      "\t'') _sekoia_ebpf_offer \"$_sekoia_ebpf_commands\" ;;\n",
	      f);
	for (const struct config_command *command = commands; command->name; command++) {
		if (!has_choice(command))
			continue;
		fprintf(f, "\t%s) _sekoia_ebpf_offer '", command->name);
		put_choice(f, command->args);
		fputs("' ;;\n", f);
	}
	fputs("\tesac\n"
	      "}\n\n"
	      "complete -F _sekoia_ebpf sekoia-ebpf\n",
	      f);
}

/* ------------------------------------------------------------------ zsh */

/* Inside '…[here]…': what _arguments would take for its own. */
static void put_zsh(FILE *f, const char *text, const char *special)
{
	for (; *text; text++) {
		if (*text == '\'') {
			fputs("'\\''", f);
			continue;
		}
		if (*text == '\\' || strchr(special, *text))
			fputc('\\', f);
		fputc(*text, f);
	}
}

static void put_zsh_flag(FILE *f, char letter, const char *flag, const char *help, bool takes_value)
{
	const char *equals = takes_value ? "=" : "";

	fputs("\t\t", f);
	if (letter)
		fprintf(f, "'(-%c --%s)'{-%c%s,--%s%s}'[", letter, flag, letter,
			takes_value ? "+" : "", flag, equals);
	else
		fprintf(f, "'--%s%s[", flag, equals);
	put_zsh(f, help, "[]");
	fputs("]", f);
}

void config_print_zsh_completion(FILE *f, const struct config_command *commands)
{
	char flag[CONFIG_NAME_SIZE];

	fputs("#compdef sekoia-ebpf\n"
	      "# zsh completion for sekoia-ebpf. Generated: it follows its tables.\n\n"
	      "_sekoia_ebpf_commands() {\n"
	      "\tlocal -a commands\n"
	      "\tcommands=(\n",
	      f);
	for (const struct config_command *command = commands; command->name; command++) {
		fprintf(f, "\t\t'%s:", command->name);
		put_zsh(f, command->help, ":");
		fputs("'\n", f);
	}
	fputs("\t)\n"
	      "\t_describe -t commands command commands\n"
	      "}\n\n"
	      "_sekoia_ebpf_words() {\n"
	      "\tcase $words[1] in\n",
	      f);
	for (const struct config_command *command = commands; command->name; command++) {
		if (!has_choice(command))
			continue;
		fprintf(f, "\t%s) compadd ", command->name);
		put_choice(f, command->args);
		fputs(" ;;\n", f);
	}
	fputs("\t*) _message 'no more words' ;;\n"
	      "\tesac\n"
	      "}\n\n"
	      "_sekoia_ebpf() {\n"
	      "\t_arguments -s -S \\\n",
	      f);
	put_zsh_flag(f, 'c', "config", "Read this file", true);
	fputs(":FILE:_files' \\\n", f);
	put_zsh_flag(f, 'h', "help", "Show the help", false);
	fputs("' \\\n", f);
	put_zsh_flag(f, 'V', "version", "Show the version", false);
	fputs("' \\\n", f);
	for (const struct config_command_flag_row *row = config_command_flags; row->name; row++) {
		put_zsh_flag(f, 0, row->name, row->help, false);
		fputs("' \\\n", f);
	}
	for (const struct config_option *o = config_options; o->key; o++) {
		if (o->internal)
			continue;
		put_zsh_flag(f, o->letter, config_flag_name(o, flag), o->help, true);
		fprintf(f, ":%s:", o->type == CONFIG_BOOL ? "yes or no" : config_metavar(o));
		switch (kind_of(o)) {
		case KIND_NOTHING:
			fputs(" ", f);
			break;
		case KIND_VALUES:
			fputs("(", f);
			put_values(f, o);
			fputs(")", f);
			break;
		case KIND_FILE:
			fputs("_files", f);
			break;
		case KIND_FOLDER:
			fputs("_files -/", f);
			break;
		case KIND_USER:
			fputs("_users", f);
			break;
		}
		fputs("' \\\n", f);
	}
	fputs("\t\t'1:command:_sekoia_ebpf_commands' \\\n"
	      "\t\t'*::word:_sekoia_ebpf_words'\n"
	      "}\n\n"
	      "_sekoia_ebpf \"$@\"\n",
	      f);
}
