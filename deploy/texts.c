/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes what is made of the tables of options and commands at build time:
 *
 *   texts man DATE | bash | zsh | sample | help
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "user/commands.h"

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "man") && argc == 3) {
		config_print_man(stdout, commands, argv[2]);
	} else if (!strcmp(what, "bash")) {
		config_print_bash_completion(stdout, commands);
	} else if (!strcmp(what, "zsh")) {
		config_print_zsh_completion(stdout, commands);
	} else if (!strcmp(what, "sample")) {
		config_print_sample(stdout);
	} else if (!strcmp(what, "help")) {
		config_print_help(stdout, commands);
	} else {
		fputs("usage: texts man DATE|bash|zsh|sample|help\n", stderr);
		return 2;
	}
	return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
