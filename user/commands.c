/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands, and those that are a few lines. */
#include "user/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "user/collector.h"
#include "user/collector_sandbox.h"
#include "user/command_check.h"
#include "user/command_spool.h"
#include "user/command_status.h"
#include "user/command_tail.h"
#include "user/command_top.h"
#include "user/probe.h"
#include "user/record_line.h"
#include "user/util/cleanup.h"
#include "user/util/log.h"

static int run_collector(const struct config *c, int argc, char **argv)
{
	char missing[512];

	(void)argc, (void)argv;
	if (geteuid() != 0 && (c->flows || c->journal || c->kernel_log)) {
		log_error("capturing needs root: sudo sekoia-ebpf ...");
		return EXIT_FAILURE;
	}
	if (geteuid() == 0 &&
	    !collector_may_start(c->flows || c->journal, missing, sizeof(missing))) {
		log_error("root, but without %s; give it these capabilities, or CAP_SYS_ADMIN for "
			  "the BPF ones",
			  missing);
		return EXIT_FAILURE;
	}
	return collector_run(c);
}

/* Removes what a collector that will not come back left in the kernel. */
static int run_cleanup(const struct config *c, int argc, char **argv)
{
	_cleanup_close_ int fd = -1;
	char text[400] = "";
	int n = 0;

	(void)argc, (void)argv;
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

const struct config_command commands[] = {
	{ .name = "run",
	  .help = "Capture and deliver: what is done without a command",
	  .needs_key = true,
	  .run = run_collector },
	{ .name = "check",
	  .help = "Can this host do it? Tries kernel, rights, disk, network and key",
	  .flags = COMMAND_JSON,
	  .needs_key = true,
	  .bears_mistakes = true,
	  .run = command_check },
	{ .name = "status",
	  .args = "[metrics]",
	  .flags = COMMAND_JSON,
	  .help = "Show the books of the collector that runs; 0: well, 1: none, 2: look at it",
	  .max_args = 1,
	  .run = command_status },
	{ .name = "tail",
	  .args = "[FILTER...]",
	  .flags = COMMAND_JSON,
	  .max_args = RECORD_WISHES,
	  .help = "Show the records of the collector that runs as they pass; filters: flows, "
		  "journal, kernel, self, process=, pid=, host=, port=, container=, text=",
	  .run = command_tail },
	{ .name = "top",
	  .args = "[process|peer|container] [rate|total|flows]",
	  .flags = COMMAND_ONCE,
	  .max_args = 2,
	  .help = "Show the flows that go on, added up, once a second; keys change what and how",
	  .run = command_top },
	{ .name = "cleanup",
	  .help = "Remove what a collector that was killed left in the kernel",
	  .run = run_cleanup },
	{ .name = "spool",
	  .args = "ls|cat|verify [DIR]",
	  .max_args = 3,
	  .help = "Show what waits in a spool, each event of it, or whether it is whole",
	  .run = command_spool },
	{ 0 },
};
