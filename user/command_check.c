/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "sekoia-ebpf check": shows what the check_*.c find out, a line for each
 * thing and one for its cure, or as JSON.
 */
#define _GNU_SOURCE
#include "user/command_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "user/check.h"
#include "user/util/buf.h"
#include "user/util/json_writer.h"
#include "user/util/wrap.h"

#define WHAT_COLUMN 7
#define TEXT_COLUMN 32

struct report {
	bool json, tty;
	int count[FINDING_STATES];
};

static void show_json(const struct report *r, const struct finding *f)
{
	char text[JSON_ESCAPE_MAX * sizeof(*f) + 128];
	struct json_writer w;
	bool first = true;

	for (int i = 0; i < FINDING_STATES; i++)
		first &= !r->count[i];
	json_init(&w, text, sizeof(text));
	json_object(&w, NULL);
	json_str(&w, "check", f->what);
	json_str(&w, "state", f->state == FINDING_FAIL ? "fail" : finding_state_name(f->state));
	json_str(&w, "text", f->text);
	if (f->cure[0])
		json_str(&w, "cure", f->cure);
	json_object_end(&w);
	printf("%s\n  %.*s", first ? "" : ",", (int)json_len(&w), text);
}

static void show_line(const struct report *r, const struct finding *f)
{
	static const char *const colours[FINDING_STATES] = {
		[FINDING_OK] = "\033[32m",
		[FINDING_TWIN] = "\033[36m",
		[FINDING_WARN] = "\033[33m",
		[FINDING_FAIL] = "\033[1;31m",
	};
	const char *name = finding_state_name(f->state);
	char margin[TEXT_COLUMN + 1];

	snprintf(margin, sizeof(margin), "%*s", TEXT_COLUMN, "");
	printf("%s%-4s%s   %-*s ", r->tty ? colours[f->state] : "", name, r->tty ? "\033[0m" : "",
	       TEXT_COLUMN - WHAT_COLUMN - 1, f->what);
	/* On paper and in a pipe a finding is a line; on a terminal it must be readable. */
	if (r->tty)
		wrap_print(stdout, f->text, margin, TEXT_COLUMN);
	else
		printf("%s\n", f->text);
	if (!f->cure[0])
		return;
	fputs("       -> ", stdout);
	if (r->tty)
		wrap_print(stdout, f->cure, "          ", 10);
	else
		printf("%s\n", f->cure);
}

static void take(void *arg, const struct finding *f)
{
	struct report *r = arg;

	if (r->json)
		show_json(r, f);
	else
		show_line(r, f);
	r->count[f->state]++;
	fflush(stdout);
}

static void check_config(const struct check *c)
{
	const struct config_errors *e = c->config->mistakes;
	const char *p, *end;

	if (!e || !e->n) {
		finding_tell(&c->sink, FINDING_OK, "config", NULL, "no mistakes");
		return;
	}
	p = buf_data(&e->text);
	end = p + e->text.len;
	while (p < end) {
		const char *eol = memchr(p, '\n', (size_t)(end - p));
		size_t len = (size_t)((eol ? eol : end) - p);

		finding_tell(&c->sink, FINDING_FAIL, "config", NULL, "%.*s", (int)len, p);
		p += len + 1;
	}
}

static const char *plural(int n)
{
	return n == 1 ? "" : "s";
}

int command_check(const struct config *config, int argc, char **argv)
{
	struct report r = {
		.json = config->command_flags & COMMAND_JSON,
		.tty = isatty(STDOUT_FILENO),
	};
	const struct check c = { .config = config, .sink = { .take = take, .arg = &r } };
	int failures;

	(void)argc, (void)argv;
	if (r.json)
		printf("{\"version\":\"%s\",\"checks\":[", SEKOIA_VERSION);
	check_config(&c);
	check_kernel(&c);
	check_host(&c);
	check_network(&c);
	failures = r.count[FINDING_FAIL];
	if (r.json)
		printf("\n],\"ok\":%d,\"twin\":%d,\"warn\":%d,\"fail\":%d}\n", r.count[FINDING_OK],
		       r.count[FINDING_TWIN], r.count[FINDING_WARN], failures);
	else
		printf("\n%d ok, %d twin%s, %d warning%s, %d failure%s\n", r.count[FINDING_OK],
		       r.count[FINDING_TWIN], plural(r.count[FINDING_TWIN]), r.count[FINDING_WARN],
		       plural(r.count[FINDING_WARN]), failures, plural(failures));
	return failures || fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
