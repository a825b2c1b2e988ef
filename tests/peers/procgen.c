/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short processes whose every one is known: a worker on each CPU makes its share
 * of N shells that exit at once, one after the other, and the truth file has a line
 * "NUMBER PID PARENT CODE" for each. The arguments name the run and the number.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int run(FILE *truth, const char *token, long from, long step, long count)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET((size_t)(from % sysconf(_SC_NPROCESSORS_ONLN)), &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	for (long i = from; i < count; i += step) {
		char number[24], code[24];
		char *argv[] = { (char *)"sh",	(char *)"-c", (char *)"exit $2",
				 (char *)token, number,	      code,
				 NULL };
		int status;
		pid_t pid;

		snprintf(number, sizeof(number), "%ld", i);
		snprintf(code, sizeof(code), "%ld", i % 200);
		if (posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ) != 0) {
			perror("/bin/sh");
			return 1;
		}
		if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
		    WEXITSTATUS(status) != i % 200) {
			fprintf(stderr, "process %ld did not exit as it should\n", i);
			return 1;
		}
		fprintf(truth, "%ld %d %d %ld\n", i, (int)pid, (int)getpid(), i % 200);
	}
	return fclose(truth) != 0;
}

int main(int argc, char **argv)
{
	long count = argc > 2 ? atol(argv[2]) : 0, workers = sysconf(_SC_NPROCESSORS_ONLN);
	int failed = 0, status;

	if (argc != 4 || count < 1) {
		fprintf(stderr, "usage: procgen TOKEN COUNT TRUTH\n");
		return 2;
	}
	for (long w = 0; w < workers; w++) {
		pid_t pid = fork();

		if (pid == 0) {
			char *path = NULL;
			FILE *f = NULL;

			if (asprintf(&path, "%s.%ld", argv[3], w) > 0)
				f = fopen(path, "we");
			_exit(f ? run(f, argv[1], w, workers, count) : 1);
		}
		if (pid < 0)
			return 1;
	}
	while (wait(&status) > 0)
		failed |= status != 0;
	return failed;
}
