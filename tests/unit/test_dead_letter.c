/* SPDX-License-Identifier: Apache-2.0 */
/* What is set aside can be read, stays below its ceiling, and no line is ever torn. */
#define _GNU_SOURCE
#include "output/dead_letter.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/test.h"

static char dir[] = "/tmp/sekoia-dead.XXXXXX";

static void clean_up(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	if (system(command) != 0)
		perror(command);
}

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/dead/%s", dir, name);
	return path;
}

static struct dead_letter letter = {
	.dir = dir,
	.output = "relp",
	.target = "a.example:514 (1 of 2)",
	.reason = "the peer refuses it twice: 500 \"no\"\x01",
	.real_us = 1795424976408987,
	.max_bytes = 1 << 20,
};

static struct msg msg_of(const char *text, const char *json)
{
	return (struct msg){ .seq = 7,
			     .epoch = 0xabcdef,
			     .time_us = 1795424900000001,
			     .class = MSG_JOURNAL,
			     .pri = 38,
			     .host = SLICE("h"),
			     .app = SLICE("sshd"),
			     .procid = SLICE("12"),
			     .text = slice_of(text),
			     .json = slice_of(json) };
}

/* The last line of a file, parsed; *ret_lines how many there are. */
static struct json_object *last_line(const char *name, int *ret_lines)
{
	struct json_object *o = NULL;
	FILE *f = fopen(path_of(name), "r");
	char *line = NULL;
	size_t size = 0;

	*ret_lines = 0;
	while (f && getline(&line, &size, f) > 0) {
		++*ret_lines;
		json_object_put(o);
		o = json_tokener_parse(line);
		CHECK(o);
	}
	free(line);
	if (f)
		fclose(f);
	return o;
}

static const char *member(struct json_object *o, const char *key)
{
	struct json_object *v;

	return o && json_object_object_get_ex(o, key, &v) ? json_object_get_string(v) : "(none)";
}

TEST(set_up)
{
	if (!mkdtemp(dir))
		exit(1);
	atexit(clean_up);
	CHECK_INT(mkdir(path_of(""), 0700), 0);
}

TEST(a_letter_has_all_that_is_known)
{
	struct msg m = msg_of("failed \"x\"\n\xff", "{\"event\":{\"kind\":\"event\",\"reason\":");
	struct json_object *o, *inner;
	struct stat st;
	uint64_t dropped;
	int lines;

	CHECK_INT(dead_letter_write(&letter, &m, &dropped), 0);
	o = last_line("relp.jsonl", &lines);
	CHECK_INT(lines, 1);
	CHECK_STR(member(o, "time"), "2026-11-23T09:09:36.408987Z");
	CHECK_STR(member(o, "output"), "relp");
	CHECK_STR(member(o, "target"), "a.example:514 (1 of 2)");
	CHECK_STR(member(o, "reason"), "the peer refuses it twice: 500 \"no\"\x01");
	CHECK_STR(member(o, "id"), "0000000000abcdef-7");
	CHECK_STR(member(o, "seq"), "7");
	CHECK_STR(member(o, "class"), "journal");
	CHECK_STR(member(o, "app"), "sshd");
	/* The event is whole JSON, as the intake would have had it. */
	inner = json_tokener_parse(member(o, "message"));
	CHECK(inner);
	CHECK_STR(
		json_object_to_json_string_ext(inner, JSON_C_TO_STRING_PLAIN),
		"{\"event\":{\"kind\":\"event\",\"reason\":\"failed \\\"x\\\"\\n\xef\xbf\xbd\"}}");
	json_object_put(inner);
	json_object_put(o);
	CHECK_INT(stat(path_of("relp.jsonl"), &st), 0);
	CHECK_INT(st.st_mode & 0777, 0600);

	m = msg_of("a raw line", "");
	CHECK_INT(dead_letter_write(&letter, &m, &dropped), 0);
	o = last_line("relp.jsonl", &lines);
	CHECK_INT(lines, 2);
	CHECK_STR(member(o, "message"), "a raw line");
	json_object_put(o);
}

TEST(above_the_ceiling_the_oldest_go)
{
	static char text[3000];
	struct msg m;
	struct stat a, b;
	uint64_t dropped, all = 0;
	int lines, older;

	memset(text, 'x', sizeof(text) - 1);
	m = msg_of(text, "");
	letter.output = "https";
	letter.max_bytes = 40000;
	for (m.seq = 1; m.seq <= 100; m.seq++) {
		CHECK_INT(dead_letter_write(&letter, &m, &dropped), 0);
		all += dropped;
	}
	json_object_put(last_line("https.jsonl", &lines));
	json_object_put(last_line("https.jsonl.1", &older));
	CHECK_INT(all + (uint64_t)lines + (uint64_t)older, 100);
	CHECK(all > 0);
	CHECK_INT(stat(path_of("https.jsonl"), &a), 0);
	CHECK_INT(stat(path_of("https.jsonl.1"), &b), 0);
	CHECK(a.st_size + b.st_size <= 40000);
	letter.max_bytes = 4000;
	CHECK_INT(dead_letter_write(&letter, &m, &dropped), -EFBIG);
	CHECK_INT(dropped, 0);
}

TEST(a_full_disk_leaves_no_half_line)
{
	static char text[3000];
	struct rlimit old, small = { 5000, RLIM_INFINITY };
	struct msg m;
	uint64_t dropped;
	int lines;

	memset(text, 'x', sizeof(text) - 1);
	m = msg_of(text, "");
	letter.output = "syslog";
	letter.max_bytes = 1 << 20;
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	small.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_FSIZE, &small);
	CHECK_INT(dead_letter_write(&letter, &m, &dropped), 0);
	CHECK_INT(dead_letter_write(&letter, &m, &dropped), -EFBIG);
	setrlimit(RLIMIT_FSIZE, &old);
	json_object_put(last_line("syslog.jsonl", &lines));
	CHECK_INT(lines, 1);
	CHECK_INT(dead_letter_write(&letter, &m, &dropped), 0);
	json_object_put(last_line("syslog.jsonl", &lines));
	CHECK_INT(lines, 2);
}

TEST(what_is_no_file_of_ours_is_left_alone)
{
	struct msg m = msg_of("x", "");
	uint64_t dropped;

	letter.output = "link";
	CHECK_INT(symlink("/etc/passwd", path_of("link.jsonl")), 0);
	CHECK_INT(dead_letter_write(&letter, &m, &dropped), -ELOOP);
	letter.output = "fifo";
	CHECK_INT(mkfifo(path_of("fifo.jsonl"), 0600), 0);
	CHECK(dead_letter_write(&letter, &m, &dropped) < 0);
	letter.dir = "/nonexistent";
	CHECK_INT(dead_letter_write(&letter, &m, &dropped), -ENOENT);
}
