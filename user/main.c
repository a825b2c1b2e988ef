/* SPDX-License-Identifier: Apache-2.0 */
/* argv -> configuration -> the collector or a subcommand -> exit code. */
#define _GNU_SOURCE
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "config/config.h"
#include "output/shipper.h"
#include "user/commands.h"
#include "user/journal_reader.h"
#include "user/nat.h"
#include "user/starter.h"
#include "user/util/log.h"

#define EXIT_USAGE  2
#define LARGE_BLOCK (64 << 10)

static const struct config_command *find_command(const char *name)
{
	for (const struct config_command *command = commands; command->name; command++)
		if (!strcmp(command->name, name))
			return command;
	return NULL;
}

static void refuse_command(const char *name, struct config_errors *errors)
{
	char names[256] = "";
	size_t len = 0;

	for (const struct config_command *command = commands; command->name; command++)
		len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", len ? ", " : "",
					command->name);
	config_error(errors, "\"%s\" is not a command; allowed: %s", name, names);
}

/* A flag that the command does not take is a mistake, not noise. */
static void refuse_flags(const struct config_command *command, unsigned given,
			 struct config_errors *errors)
{
	for (const struct config_command_flag_row *f = config_command_flags; f->name; f++) {
		char names[256] = "";
		size_t len = 0;

		if (!(given & ~command->flags & f->bit))
			continue;
		for (const struct config_command *other = commands; other->name; other++)
			if (other->flags & f->bit && len < sizeof(names))
				len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s",
							len ? ", " : "", other->name);
		config_error(errors, "--%s: %s does not take it; %s%s", f->name, command->name,
			     len ? "these commands do: " : "no command does", names);
	}
}

/* Keys are in our memory: no core file, and nobody may attach. */
static void forbid_dumps(void)
{
	struct rlimit none = { 0, 0 };

	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
}

/*
 * A large block is a mapping of its own: what of it was never written is no memory, and it is given
 * back when it is freed. glibc by itself does neither any more once such a block was freed.
 */
static void map_large_blocks(void)
{
	/* One byte in such a mapping would be two megabytes where huge pages are always made. */
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
#ifdef M_MMAP_THRESHOLD
	mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
#endif
}

int main(int argc, char **argv, char **envp)
{
	_cleanup_(config_freep) struct config *c = NULL;
	const struct config_command *command = &commands[0];
	enum config_action action = CONFIG_RUN;
	struct config_errors errors;
	int rest = argc, loaded, err;
	bool usage; /* a mistake of the command itself, not of the configuration */

	forbid_dumps();
	map_large_blocks();
	/* Whoever reads our standard error may go away: that is no reason to stop. */
	signal(SIGPIPE, SIG_IGN);
	if (argc == 2 && !strcmp(argv[1], "shipper"))
		return shipper_main(3);
	if (argc == 2 && !strcmp(argv[1], "starter"))
		return starter_main(3);
	if (argc == 2 && !strcmp(argv[1], NAT_VERB))
		return nat_main(3);
	if (argc >= 2 && !strcmp(argv[1], JOURNAL_READER_VERB))
		return journal_reader_main(3, argc - 2, argv + 2);
	err = config_new(&c);
	if (err) {
		log_error("start: %s", log_strerror(err));
		return EXIT_FAILURE;
	}
	config_errors_init(&errors);
	config_load(c, argc, argv, envp, &action, &rest, &errors);
	loaded = errors.n;
	if (action == CONFIG_HELP) {
		config_print_help(stdout, commands);
		return fflush(stdout) || ferror(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	if (action == CONFIG_VERSION) {
		printf("sekoia-ebpf %s\n", SEKOIA_VERSION);
		return fflush(stdout) || ferror(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	if (rest < argc) {
		command = find_command(argv[rest]);
		if (!command)
			refuse_command(argv[rest], &errors);
		else if (argc - ++rest > command->max_args)
			config_error(&errors, "\"%s\": %s takes %s%s",
				     argv[rest + command->max_args], command->name,
				     command->args ? "" : "no ",
				     command->args ? command->args : "arguments");
	}
	if (command)
		refuse_flags(command, c->command_flags, &errors);
	usage = errors.n > loaded;
	if (command && command->needs_key)
		config_load_key(c, &errors);
	if (!command || (errors.n && (usage || !command->bears_mistakes))) {
		fprintf(stderr, "%.*s", (int)errors.text.len, buf_data(&errors.text));
		fprintf(stderr, "sekoia-ebpf: %d %s; try --help\n", errors.n,
			errors.n == 1 ? "mistake" : "mistakes");
		config_errors_done(&errors);
		return EXIT_USAGE;
	}
	c->mistakes = &errors;
	log_set_level((enum log_level)c->log_level);
	err = command->run(c, argc - rest, argv + rest);
	config_errors_done(&errors);
	return err;
}
