/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Says numbered lines to a syslog socket (/dev/log), one datagram each, at a
 * rate, and waits for whoever reads it when there is nobody: what it counts as
 * said, the kernel has taken. Line N of TAG is "TAG N and some text, TAG N end".
 *
 *   syslog_sender SOCKET TAG FROM COUNT RATE
 *
 * RATE is in lines a second, 0 is as fast as they are read. SIGTERM ends it
 * early. Prints how many it said.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 120 /* without a reader */

static volatile sig_atomic_t is_over;

static void on_term(int signo)
{
	(void)signo;
	is_over = 1;
}

/* Keeps to the rate on the whole: who is late does not wait. */
static void wait_for_turn(const struct timespec *start, unsigned long done, unsigned long rate)
{
	uint64_t ns = (uint64_t)start->tv_nsec + (uint64_t)done * 1000000000 / rate;
	struct timespec due = { .tv_sec = start->tv_sec + (time_t)(ns / 1000000000),
				.tv_nsec = (long)(ns % 1000000000) };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
}

/* 0, or -errno when nobody has read for PATIENCE_S or somebody wants us to end. */
static int say(int fd, const struct sockaddr_un *to, const char *text, size_t len)
{
	struct timespec pause = { .tv_nsec = 10000000 };

	for (int tries = 0; tries < PATIENCE_S * 100 && !is_over; tries++) {
		if (sendto(fd, text, len, 0, (const struct sockaddr *)to, sizeof(*to)) >= 0)
			return 0;
		if (errno == EINTR)
			continue;
		if (errno != ECONNREFUSED && errno != ENOENT && errno != ENOBUFS)
			return -errno;
		nanosleep(&pause, NULL);
	}
	return is_over ? -EINTR : -ETIMEDOUT;
}

int main(int argc, char **argv)
{
	struct sigaction on = { .sa_handler = on_term };
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	unsigned long from, count, rate, n;
	struct timespec start;
	char text[512];
	int fd, err = 0;

	if (argc != 6 || strlen(argv[1]) >= sizeof(to.sun_path) || strlen(argv[2]) > 64) {
		fputs("Usage: syslog_sender SOCKET TAG FROM COUNT RATE\n", stderr);
		return 2;
	}
	strcpy(to.sun_path, argv[1]);
	from = strtoul(argv[3], NULL, 10);
	count = strtoul(argv[4], NULL, 10);
	rate = strtoul(argv[5], NULL, 10);
	sigaction(SIGTERM, &on, NULL);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		perror("syslog_sender: socket");
		return EXIT_FAILURE;
	}
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (n = 0; n < count && !is_over; n++) {
		int len = snprintf(text, sizeof(text),
				   "<14>%s[%d]: %s %lu and some text, as a program has it: "
				   "session opened for user x, %s %lu end",
				   argv[2], (int)getpid(), argv[2], from + n, argv[2], from + n);

		if (rate)
			wait_for_turn(&start, n, rate);
		err = say(fd, &to, text, (size_t)len);
		if (err)
			break;
	}
	close(fd);
	printf("%lu\n", n);
	if (err && err != -EINTR) {
		fprintf(stderr, "syslog_sender: %s: %s\n", argv[1], strerror(-err));
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
