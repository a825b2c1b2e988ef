/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start-up only ever gives things up: take the configuration, read the trust
 * store, drop privileges, go into the sandbox, and then, not before, open the spool and the
 * network. What happens to messages is in pipeline.c.
 */
#define _GNU_SOURCE
#include "output/shipper.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config/config.h"
#include "output/output.h"
#include "output/pipeline.h"
#include "output/shipper_sandbox.h"
#include "output/spool.h"
#include "output/tls.h"
#include "user/util/cleanup.h"
#include "user/util/clock.h"
#include "user/util/control.h"
#include "user/util/log.h"
#include "user/util/loop.h"
#include "user/util/privs.h"

#define OUTPUTS_MAX 8
/* The collector sends the configuration at once, or it is not the collector. */
#define CONFIG_WAIT_MS 10000
/* A shipper that was told to stop may hold the cursor's lock for this long. */
#define LOCK_WAIT_MS 10000
#define LOCK_POLL_MS 100
/* How often the files of TLS are tried again. */
#define TRUST_RETRY_MS 1000
/* What an orphan takes for its goodbyes. */
#define ORPHAN_MS 1000

/* What an ending shipper leaves to the next one: CONTROL_BOOKS. */
struct books {
	uint8_t type;
	char name[31]; /* of the output */
	struct spool_cursor cursor;
};
_Static_assert(sizeof(struct books) <= CONTROL_BOOKS_MAX, "");

struct shipper {
	struct loop *loop;
	struct config *config;
	struct tls_client *tls;
	const struct output_ops *ops[OUTPUTS_MAX];
	struct spool_reader *readers[OUTPUTS_MAX]; /* until a pipeline has it */
	struct pipeline *pipelines[OUTPUTS_MAX];
	const struct spool_cursor *cursors[OUTPUTS_MAX]; /* the pipelines' */
	struct books books[OUTPUTS_MAX];		 /* of the shipper before */
	int n, n_books;
	struct loop_io control;
	struct loop_timer again; /* keeps the loop from sleeping */
};

/* ------------------------------------------------------------------ start */

/* The group's signals are the collector's: it decides, and says so on the socket. */
static void ignore_signals(void)
{
	static const int signos[] = { SIGTERM, SIGINT, SIGHUP, SIGPIPE };

	for (size_t i = 0; i < sizeof(signos) / sizeof(signos[0]); i++)
		signal(signos[i], SIG_IGN);
}

/* 1 and the text's length, 0 when the collector is gone, or -errno. */
static int receive_config(int control_fd, char *text, size_t size, size_t *ret_len)
{
	struct pollfd p = { .fd = control_fd, .events = POLLIN };
	struct iovec iov = { .iov_base = text, .iov_len = size };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;
	int r;

	do {
		r = poll(&p, 1, CONFIG_WAIT_MS);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	if (!r)
		return -ETIMEDOUT;
	n = recvmsg(control_fd, &m, MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	if (m.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	*ret_len = (size_t)n;
	return n > 0;
}

/* The text holds the key: no copy of it is left behind, whatever happens. */
static int read_config(struct config *c, char *text, size_t len)
{
	_cleanup_fclose_ FILE *f = NULL;
	struct config_errors e;
	int err = 0;

	f = fmemopen(text, len, "r");
	if (!f)
		return -errno;
	setvbuf(f, NULL, _IONBF, 0);
	config_errors_init(&e);
	config_read_file(c, f, "configuration", &e);
	if (e.n) {
		log_error("the collector's configuration: %.*s", (int)e.text.len,
			  buf_data(&e.text));
		err = -EINVAL;
	}
	config_errors_done(&e);
	return err;
}

static int take_config(struct shipper *s, int control_fd)
{
	char *text = malloc(CONTROL_CONFIG_MAX);
	size_t len = 0;
	int r;

	if (!text)
		return -ENOMEM;
	r = receive_config(control_fd, text, CONTROL_CONFIG_MAX, &len);
	if (r < 0)
		log_error("no configuration from the collector: %s; this process is started by "
			  "the collector, not by hand",
			  log_strerror(r));
	else if (!r)
		r = -EPIPE;
	else if ((r = config_new(&s->config)) == 0)
		r = read_config(s->config, text, len);
	explicit_bzero(text, CONTROL_CONFIG_MAX);
	free(text);
	return r;
}

/* They were sent before this process began, behind the configuration. */
static void take_books(struct shipper *s, int control_fd)
{
	struct books b;
	uint8_t type;

	while (recv(control_fd, &type, 1, MSG_PEEK | MSG_DONTWAIT) == 1 && type == CONTROL_BOOKS)
		if (recv(control_fd, &b, sizeof(b), MSG_DONTWAIT) == sizeof(b) &&
		    s->n_books < OUTPUTS_MAX)
			s->books[s->n_books++] = b;
}

static void hand_back_books(const struct shipper *s, int control_fd)
{
	for (int i = 0; i < s->n; i++) {
		struct books b = { .type = CONTROL_BOOKS };

		if (!s->cursors[i])
			continue;
		snprintf(b.name, sizeof(b.name), "%s", s->ops[i]->name);
		b.cursor = *s->cursors[i];
		/* Whoever does not take them has the cursors. */
		(void)send(control_fd, &b, sizeof(b), MSG_NOSIGNAL | MSG_DONTWAIT);
	}
}

static int find_outputs(struct shipper *s)
{
	const char *p = s->config->output;

	for (;;) {
		size_t len = strcspn(p, ",");
		char name[32];

		snprintf(name, sizeof(name), "%.*s", (int)len, p);
		if (s->n == OUTPUTS_MAX) {
			log_error("output.type: more than %d outputs", OUTPUTS_MAX);
			return -EINVAL;
		}
		s->ops[s->n] = len < sizeof(name) ? output_find(name) : NULL;
		if (!s->ops[s->n]) {
			log_error("output.type: there is no output \"%s\"", name);
			return -EINVAL;
		}
		for (int i = 0; i < s->n; i++) {
			if (s->ops[i] == s->ops[s->n]) {
				log_error("output.type: %s is there twice", name);
				return -EINVAL;
			}
		}
		s->n++;
		if (!p[len])
			return 0;
		p += len + 1;
	}
}

static int read_trust(struct shipper *s, char *text, size_t text_size)
{
	const struct tls_opts opts = {
		.ca = s->config->tls_ca,
		.cert = s->config->tls_cert,
		.key = s->config->tls_key,
	};
	bool remote = false;
	int err;

	for (int i = 0; i < s->n; i++)
		remote |=
			s->ops[i]->needs_tls ? s->ops[i]->needs_tls(s->config) : !s->ops[i]->local;
	if (!remote)
		return 0;
	text[0] = '\0';
	err = tls_client_new(&opts, text, text_size, &s->tls);
	if (err && !text[0])
		snprintf(text, text_size, "tls: %s", log_strerror(err));
	return err;
}

/* Sleeps for so long. -EPIPE: the collector is gone, or wants us to stop. */
static int sleep_unless_stopped(int control_fd, uint64_t wait_ms)
{
	uint64_t until_ms = clock_mono_ms() + wait_ms;
	char data[CONTROL_MSG_MAX + 1];
	struct control_msg m;
	uint64_t now_ms;
	ssize_t n;

	while ((now_ms = clock_mono_ms()) < until_ms) {
		struct pollfd p = { .fd = control_fd, .events = POLLIN };

		if (poll(&p, 1, (int)(until_ms - now_ms)) < 0 && errno != EINTR)
			return -errno;
		/* Wake-ups need no care: whoever begins looks at the spool. */
		n = recv(control_fd, data, sizeof(data), MSG_DONTWAIT);
		if (!n || (n < 0 && errno != EAGAIN && errno != EINTR))
			return -EPIPE;
		if (n > 0 && control_decode(data, (size_t)n, &m) == 0 && m.type == CONTROL_STOP)
			return -EPIPE;
	}
	return 0;
}

/*
 * A CA file may be mounted or mended later. To die of it would repeat the line
 * at each new start; so it is told once, and tried again.
 */
static int wait_for_trust(struct shipper *s, int control_fd)
{
	char text[512] = "", told[512] = "";
	int err;

	while (read_trust(s, text, sizeof(text)) < 0) {
		if (strcmp(text, told) != 0)
			log_error("%s; nothing is sent until that is mended", text);
		memcpy(told, text, sizeof(told));
		err = sleep_unless_stopped(control_fd, TRUST_RETRY_MS);
		if (err)
			return err;
	}
	if (told[0])
		log_info("the files of TLS can be read now");
	return 0;
}

static int drop_privileges(const struct shipper *s)
{
	const char *name;
	uid_t uid;
	gid_t gid;
	int err;

	name = privs_lookup_unprivileged(s->config->shipper_user, &uid, &gid);
	err = privs_drop(uid, gid);
	if (err == -EINVAL)
		log_error("shipper.user: %s is root, or in its group; the shipper runs as neither",
			  name);
	else if (err == -EPERM)
		log_error("can not become the user %s: the collector needs CAP_SETUID, CAP_SETGID "
			  "and CAP_SETPCAP to start the shipper",
			  name);
	else if (err)
		log_error("can not become the user %s: %s", name, log_strerror(err));
	else
		log_debug("runs as %s (%u:%u), without any privilege", name, (unsigned int)uid,
			  (unsigned int)gid);
	return err;
}

static bool collector_is_gone(int control_fd, int wait_ms)
{
	struct pollfd p = { .fd = control_fd };

	return poll(&p, 1, wait_ms) > 0 && (p.revents & (POLLHUP | POLLERR | POLLNVAL));
}

static int open_reader(struct shipper *s, int i, int control_fd)
{
	const char *dir = s->config->spool_dir;
	uint64_t give_up_ms = clock_mono_ms() + LOCK_WAIT_MS;
	int err;

	for (;;) {
		err = spool_reader_new(dir, s->ops[i]->name, &s->readers[i]);
		if (err != -EBUSY || clock_mono_ms() >= give_up_ms)
			break;
		if (collector_is_gone(control_fd, LOCK_POLL_MS))
			return -EPIPE;
	}
	if (err == -EBUSY)
		log_error("%s: the cursor in %s is held by another shipper; is another collector "
			  "running?",
			  s->ops[i]->name, dir);
	else if (err)
		log_error("%s: opening the cursor in %s: %s", s->ops[i]->name, dir,
			  log_strerror(err));
	for (int k = 0; k < s->n_books && !err; k++)
		if (strncmp(s->books[k].name, s->ops[i]->name, sizeof(s->books[k].name)) == 0 &&
		    spool_reader_adopt(s->readers[i], &s->books[k].cursor))
			log_info("%s: the cursor was lost; going on with what it said",
				 s->ops[i]->name);
	return err;
}

/* ------------------------------------------------------------------ the loop */

static void stop_all(struct shipper *s, uint64_t deadline_ms, bool drain)
{
	for (int i = 0; i < s->n; i++)
		pipeline_stop(s->pipelines[i], deadline_ms, drain);
}

static void on_message(struct shipper *s, const void *data, size_t len)
{
	struct control_msg m;

	if (control_decode(data, len, &m) < 0) {
		log_error("a message of the collector is not understood; it is ignored");
		return;
	}
	if (m.type == CONTROL_STOP) {
		stop_all(s, m.deadline_ms, true);
		return;
	}
	for (int i = 0; i < s->n; i++)
		pipeline_wake(s->pipelines[i]);
}

static void on_control(void *arg, uint32_t epoll_events)
{
	struct shipper *s = arg;
	/* One more than the longest, so that a longer one is seen to be wrong. */
	char data[CONTROL_MSG_MAX + 1];
	ssize_t n;

	(void)epoll_events;
	while ((n = recv(s->control.fd, data, sizeof(data), MSG_DONTWAIT)) > 0)
		on_message(s, data, (size_t)n);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	/* The collector died. The next shipper goes on from the cursors. */
	log_warning("the collector is gone; stopping");
	loop_del(&s->control);
	stop_all(s, loop_now_ms(s->loop) + ORPHAN_MS, false);
}

static void on_again(void *arg, uint64_t now_ms)
{
	(void)arg;
	(void)now_ms;
}

static void before_sleep(void *arg)
{
	struct shipper *s = arg;
	bool more = false, done = true;

	for (int i = 0; i < s->n; i++) {
		more |= pipeline_turn(s->pipelines[i]);
		done &= pipeline_is_done(s->pipelines[i]);
	}
	if (done)
		loop_stop(s->loop, 0);
	else if (more)
		loop_timer_set(s->loop, &s->again, loop_now_ms(s->loop));
}

static int make_pipelines(struct shipper *s)
{
	for (int i = 0; i < s->n; i++) {
		struct pipeline_opts opts = {
			.loop = s->loop,
			.config = s->config,
			.ops = s->ops[i],
			.tls = s->tls,
			.reader = s->readers[i],
		};
		int err;

		s->cursors[i] = spool_reader_cursor(s->readers[i]);
		if (getrandom(&opts.seed, sizeof(opts.seed), 0) < 0)
			opts.seed = clock_boot_ns();
		err = pipeline_new(&opts, &s->pipelines[i]);
		if (err)
			return err;
		s->readers[i] = NULL;
	}
	return 0;
}

static int run(struct shipper *s, int control_fd)
{
	int err;

	err = loop_new(&s->loop);
	if (err)
		return err;
	err = make_pipelines(s);
	if (err)
		return err;
	s->again = (struct loop_timer){ .fn = on_again };
	s->control =
		(struct loop_io){ .fd = control_fd, .events = EPOLLIN, .fn = on_control, .arg = s };
	err = loop_add(s->loop, &s->control);
	if (err)
		return err;
	loop_before_sleep(s->loop, before_sleep, s);
	return loop_run(s->loop);
}

static int start_and_run(struct shipper *s, int control_fd)
{
	int err;

	err = take_config(s, control_fd);
	if (err)
		return err;
	log_set_level((enum log_level)s->config->log_level);
	take_books(s, control_fd);
	err = find_outputs(s);
	if (err)
		return err;
	err = wait_for_trust(s, control_fd);
	if (err)
		return err;
	shipper_sandbox_view(s->config);
	err = drop_privileges(s);
	if (err)
		return err;
	err = shipper_sandbox_enter(s->config);
	if (err)
		return err;
	for (int i = 0; i < s->n; i++) {
		err = open_reader(s, i, control_fd);
		if (err)
			return err;
	}
	err = run(s, control_fd);
	if (err)
		log_error("stopping: %s", log_strerror(err));
	return err;
}

int shipper_main(int control_fd)
{
	struct shipper s = { .control.fd = -1 };
	int err;

	log_set_name("sekoia-ebpf[shipper]");
	ignore_signals();
	/* Executed as /proc/self/exe, it would be "exe" to ps and top. */
	prctl(PR_SET_NAME, "sekoia-shipper", 0, 0, 0);
	err = privs_hide_memory();
	if (err)
		log_error("hiding the memory: %s", log_strerror(err));
	else
		err = start_and_run(&s, control_fd);
	hand_back_books(&s, control_fd);

	for (int i = 0; i < s.n; i++) {
		pipeline_free(s.pipelines[i]);
		spool_reader_free(s.readers[i]);
	}
	loop_free(s.loop);
	tls_client_free(s.tls);
	config_free(s.config);
	/* -EPIPE: the collector was gone before this began. Nobody to blame. */
	return !err || err == -EPIPE ? EXIT_SUCCESS : EXIT_FAILURE;
}
