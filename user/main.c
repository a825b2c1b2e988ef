/* SPDX-License-Identifier: Apache-2.0 */
/* argv -> configuration -> the collector or a subcommand -> exit code. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "config/config.h"
#include "output/shipper.h"
#include "user/collector.h"
#include "user/probe.h"
#include "user/util/log.h"

#define EXIT_USAGE 2

static int run_collector(const struct config *c)
{
	if (geteuid() != 0 && (c->flows || c->journal || c->kernel_log)) {
		log_error("capturing needs root: sudo sekoia-ebpf ...");
		return EXIT_FAILURE;
	}
	return collector_run(c);
}

/* Removes what a collector that will not come back left in the kernel. */
static int run_cleanup(const struct config *c)
{
	_cleanup_close_ int fd = -1;
	char text[400] = "";
	int n = 0;

	if (access(c->bpf_dir, F_OK) == 0) {
		if (kernel_lock(c->bpf_dir, text, sizeof(text), &fd) < 0) {
			log_error("%s", text);
			return EXIT_FAILURE;
		}
		n = kernel_cleanup(c->bpf_dir);
	}
	printf("%s: %d %s removed\n", c->bpf_dir, n, n == 1 ? "capture" : "captures");
	return EXIT_SUCCESS;
}

/* The first row is what a bare invocation runs. */
static const struct command {
	const char *name;
	bool needs_key;
	int (*run)(const struct config *c);
} commands[] = {
	{ "run", true, run_collector },
	{ "cleanup", false, run_cleanup },
};

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

/* Keys are in our memory: no core file, and nobody may attach. */
static void forbid_dumps(void)
{
	struct rlimit none = { 0, 0 };

	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
}

int main(int argc, char **argv, char **envp)
{
	_cleanup_(config_freep) struct config *c = NULL;
	const struct command *command = &commands[0];
	enum config_action action = CONFIG_RUN;
	struct config_errors errors;
	int rest = argc, err;

	forbid_dumps();
	/* Whoever reads our standard error may go away: that is no reason to stop. */
	signal(SIGPIPE, SIG_IGN);
	if (argc == 2 && !strcmp(argv[1], "shipper"))
		return shipper_main(3);
	err = config_new(&c);
	if (err) {
		log_error("start: %s", log_strerror(err));
		return EXIT_FAILURE;
	}
	config_errors_init(&errors);
	config_load(c, argc, argv, envp, &action, &rest, &errors);
	if (action == CONFIG_HELP) {
		config_print_help(stdout);
		return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	if (action == CONFIG_VERSION) {
		printf("sekoia-ebpf %s\n", SEKOIA_VERSION);
		return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	if (rest < argc) {
		command = find_command(argv[rest]);
		if (!command || rest + 1 < argc)
			config_error(&errors, "\"%s\" is not a command; allowed: run, cleanup",
				     command ? argv[rest + 1] : argv[rest]);
	}
	if (command && command->needs_key)
		config_load_key(c, &errors);
	if (errors.n) {
		fprintf(stderr, "%.*s", (int)errors.text.len, buf_data(&errors.text));
		fprintf(stderr, "sekoia-ebpf: %d %s; try --help\n", errors.n,
			errors.n == 1 ? "mistake" : "mistakes");
		config_errors_done(&errors);
		return EXIT_USAGE;
	}
	config_errors_done(&errors);
	log_set_level((enum log_level)c->log_level);
	return command->run(c);
}
