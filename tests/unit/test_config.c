/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration: each type, each source, their order, and what becomes of secrets. */
#define _GNU_SOURCE
#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/test.h"
#include "user/commands.h"

#define KEY	  "abcdefghijklmnop0123456789ABCDEF"
#define OTHER_KEY "ZYXWVUTSRQPONMLK0123456789abcdef"
#define SAMPLE	  "config/sekoia-ebpf.conf" /* programs run from the top of the tree */

struct loaded {
	struct config *c;
	struct config_errors e;
	char *text; /* the mistakes */
	enum config_action action;
	int rest, result, argc;
	char *argv[64], *envp[64];
	char *words[128]; /* what argv and envp were, to free them */
	int n_words;
};

static void loaded_done(struct loaded *l)
{
	config_free(l->c);
	config_errors_done(&l->e);
	free(l->text);
	for (int i = 0; i < l->n_words; i++)
		free(l->words[i]);
}
#define _loaded_ _cleanup_(loaded_done)

static void loaded_init(struct loaded *l)
{
	*l = (struct loaded){ 0 };
	config_errors_init(&l->e);
	CHECK_INT(config_new(&l->c), 0);
}

static void take_text(struct loaded *l)
{
	free(l->text);
	l->text = strndup(l->e.text.len ? buf_data(&l->e.text) : "", l->e.text.len);
}

/* "a b c" into words that may be written to; NULL stands for none. */
static int split(struct loaded *l, const char *line, char **ret)
{
	int n = 0;

	for (const char *p = line; p && *p;) {
		size_t len = strcspn(p, " ");

		ret[n] = strndup(p, len);
		l->words[l->n_words++] = ret[n++];
		p += len + (p[len] == ' ');
	}
	ret[n] = NULL;
	return n;
}

/* The path keeps the machine's own file out of the test. */
static void load(struct loaded *l, const char *path, const char *env, const char *flags)
{
	_cleanup_free_ char *line = NULL;

	loaded_init(l);
	if (asprintf(&line, "sekoia-ebpf --config %s%s%s", path, flags ? " " : "",
		     flags ? flags : "") < 0)
		abort();
	l->argc = split(l, line, l->argv);
	split(l, env, l->envp);
	l->result = config_load(l->c, l->argc, l->argv, l->envp, &l->action, &l->rest, &l->e);
	take_text(l);
}

static void read_text(struct loaded *l, const char *text, size_t len)
{
	FILE *f = len ? fmemopen((void *)text, len, "r") : fopen("/dev/null", "re");

	loaded_init(l);
	config_read_file(l->c, f, "f", &l->e);
	fclose(f);
	take_text(l);
}

static char dir[] = "/tmp/test_config.XXXXXX";

static void remove_dir(void)
{
	static const char *const names[] = { "conf", "intake-key" };
	char path[64];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	rmdir(dir);
}

/* A file in a folder of this program; the path is good until the next call. */
static const char *file(const char *name, mode_t mode, const char *text)
{
	static char path[64];
	FILE *f;

	if (dir[strlen(dir) - 1] == 'X') {
		if (!mkdtemp(dir))
			abort();
		atexit(remove_dir);
	}
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	unlink(path);
	f = fopen(path, "we");
	if (!f)
		abort();
	fputs(text, f);
	fclose(f);
	chmod(path, mode);
	return path;
}

#define CHECK_HAS(text, part)                                                                      \
	do {                                                                                       \
		if (!strstr((text), (part))) {                                                     \
			printf("# %s:%d: no \"%s\" in \"%s\"\n", __FILE__, __LINE__, (part),       \
			       (text));                                                            \
			test_failed = true;                                                        \
		}                                                                                  \
	} while (0)

static bool is_text(const struct config_option *o)
{
	return o->type == CONFIG_STRING || o->type == CONFIG_SECRET;
}

/* ------------------------------------------------------------------ the table */

TEST(the_table_keeps_its_own_rules)
{
	for (const struct config_option *o = config_options; o->key; o++) {
		CHECK(strchr(o->key, '.') && strlen(o->key) < 56);
		CHECK(config_find(o->key) == o);
		CHECK(o->help && o->help[strlen(o->help) - 1] != '.');
		CHECK(o->type == CONFIG_BOOL || o->metavar);
		/* A string may be a list of these words. */
		CHECK(!o->values || o->type == CONFIG_ENUM || o->type == CONFIG_STRING);
		CHECK(o->values || o->type != CONFIG_ENUM);
		CHECK(is_text(o) || o->initial);
		CHECK(is_text(o) || !o->check);
	}
	CHECK(!config_find("output"));
	CHECK(!config_find("output.hosts"));
}

TEST(defaults)
{
	_cleanup_(config_freep) struct config *c = NULL;

	CHECK_INT(config_new(&c), 0);
	CHECK_STR(c->output, "https");
	CHECK_INT(c->region, REGION_FRA1);
	CHECK_INT(c->output_batch_bytes, 2 << 20);
	CHECK_INT(c->output_connect_timeout_ms, 30000);
	CHECK_INT(c->spool_sync_interval_ms, 1000);
	CHECK_INT(c->spool_max_bytes, 1 << 30);
	CHECK_INT(c->log_level, LOG_LEVEL_INFO);
	CHECK(c->flows && !c->flows_loopback && c->output_gzip);
	CHECK(!c->intake_key && !c->output_host && !c->hostname);
}

/* ------------------------------------------------------------------ values */

static const struct {
	const char *key, *value;
	const char *error; /* a part of it; NULL: the value is taken */
	uint64_t number;   /* for numbers, enums and bools */
	const char *text;  /* for texts, if it is not the value itself */
} values[] = {
	{ "output.port", "0", NULL, 0 },
	{ "output.port", "65535", NULL, 65535 },
	{ "output.port", "00080", NULL, 80 },
	{ "output.port", "65536", "is too large; allowed: 0 to 65535" },
	{ "output.port", "18446744073709551616", "is too large" },
	{ "output.port", "-1", "is not a number; allowed: 0 to 65535" },
	{ "output.port", "+1", "is not a number" },
	{ "output.port", "1k", "is not a number" },
	{ "output.port", "", "is not a number" },
	{ "output.port", "x", "\"x\" is not a number" },
	{ "output.port", "1 ", "is not a number" },
	{ "flows.max", "1023", "is too small; allowed: 1024 to 4194304" },

	{ "spool.drop_order", "kernel,journal", NULL, 0 },
	{ "spool.drop_order", "oldest", NULL, 0 },
	{ "spool.drop_order", "flows", NULL, 0 },
	{ "spool.drop_order", "flows,self", "is not an order; allowed: journal, flows, kernel" },
	{ "spool.drop_order", "flows,", "is not an order" },
	{ "spool.drop_order", "oldest,flows", "is not an order" },
	{ "spool.drop_order", "flows,kernel,flows", "names something twice" },
	{ "spool.max_age", "168h", NULL, 168ull * 3600 * 1000 },
	{ "spool.max_age", "0", NULL, 0 },
	{ "spool.max_bytes", "1M", NULL, 1 << 20 },
	{ "spool.max_bytes", "2048k", NULL, 2 << 20 },
	{ "spool.max_bytes", "1048576", NULL, 1 << 20 },
	{ "spool.max_bytes", "3MiB", NULL, 3 << 20 },
	{ "spool.max_bytes", "2g", NULL, 2ull << 30 },
	{ "spool.max_bytes", "16T", NULL, 16ull << 40 },
	{ "spool.max_bytes", "17T", "is too large; allowed: 1M to 16T" },
	{ "spool.max_bytes", "99999999999G", "is too large" },
	{ "spool.max_bytes", "1MB", "is not a size" },
	{ "spool.max_bytes", "1.5G", "is not a size" },
	{ "spool.max_bytes", "1", "is too small" },
	{ "spool.max_bytes", "M", "is not a size" },

	{ "output.timeout", "90", NULL, 90000 },
	{ "output.timeout", "1500ms", NULL, 1500 },
	{ "output.timeout", "2m", NULL, 120000 },
	{ "output.timeout", "1h", NULL, 3600000 },
	{ "output.timeout", "61m", "is too large; allowed: 1s to 1h" },
	{ "output.timeout", "999ms", "is too small" },
	{ "output.timeout", "1M", "is not a time" },
	{ "output.timeout", "1d", "is not a time" },
	{ "collector.stop_timeout", "0", NULL, 0 },
	{ "flows.active_timeout", "25h", "allowed: 1s to 24h" },

	{ "output.gzip", "no", NULL, 0 },
	{ "output.gzip", "YES", NULL, 1 },
	{ "output.gzip", "off", NULL, 0 },
	{ "output.gzip", "on", NULL, 1 },
	{ "output.gzip", "False", NULL, 0 },
	{ "output.gzip", "true", NULL, 1 },
	{ "output.gzip", "0", NULL, 0 },
	{ "output.gzip", "1", NULL, 1 },
	{ "output.gzip", "2", "is neither yes nor no" },
	{ "output.gzip", "", "is neither yes nor no" },

	{ "intake.region", "sgp1", NULL, REGION_SGP1 },
	{ "intake.region", "SGP1", NULL, REGION_SGP1 },
	{ "intake.region", "eu",
	  "\"eu\" is not known; allowed: fra1, fra2, mco1, uae1, usa1, sgp1" },
	{ "spool.sync", "batch", NULL, 2 },
	{ "spool.sync", "", "is not known; allowed: none, interval, batch" },

	{ "intake.key", KEY, NULL },
	{ "intake.key", "abcdefghijklmno", "is not an intake key; allowed: 16 to 128 letters" },
	{ "intake.key", "abcdefghijklmnop-123", "is not an intake key" },
	{ "intake.key", "abcdefghijklmnop\xc3\xa9", "is not an intake key" },

	{ "output.type", "https", NULL },
	{ "output.type", "relp, file ,stdout", NULL, 0, "relp,file,stdout" },
	{ "output.type", "relp,relp", "names an output twice" },
	{ "output.type", "kafka",
	  "\"kafka\" is not an output; allowed: https, relp, syslog, ipfix, netflow9, stdout, file" },
	{ "output.type", "https,", "is not an output" },
	{ "output.type", "HTTPS", "is not an output" },
	{ "output.type", "", "is empty" },

	{ "output.host", "intake.sekoia.io", NULL },
	{ "output.host", "192.0.2.1", NULL },
	{ "output.host", "2001:db8::1", NULL },
	{ "output.host", "[2001:db8::1]", NULL },
	{ "output.host", "[2001:db8::1", "is not a host" },
	{ "output.host", "[2001:db8::1]514", "is not a host" },
	{ "output.host", "[a.example]:514", "is not a host" },
	{ "output.host", "https://intake.sekoia.io", "is not a host" },
	{ "output.host", "intake.sekoia.io:443", NULL },
	{ "output.host", "a.example:1514, 192.0.2.1,[2001:db8::1]:10514,b.example", NULL },
	{ "output.host", "a.example,", "is not a host" },
	{ "output.host", "a.example,,b.example", "is not a host" },
	{ "output.host", "a.example:0", "is not a host" },
	{ "output.host", "a.example:65536", "is not a host" },
	{ "output.host", "a,b,c,d,e,f,g,h,i", "more than 8 hosts" },
	{ "output.host", "a..b", "is not a host" },
	{ "output.host", "-a.b", "is not a host" },
	{ "output.host", "a-.b", "is not a host" },
	{ "output.host", "a b", "is not a host" },
	{ "tls.server_name", "x/y", "is not a host" },

	{ "output.path", "/api/v1", NULL },
	{ "output.path", "/api/v1/", NULL, 0, "/api/v1" },
	{ "output.path", "/", NULL, 0, "" },
	{ "output.path", "api", "is not a path" },
	{ "output.path", "/a?b=c", "has a character that no path" },
	{ "output.path", "/a b", "has a character that no path" },

	{ "output.proxy", "http://proxy.example:3128", NULL },
	{ "output.proxy", "HTTP://proxy.example:3128/", NULL, 0, "http://proxy.example:3128" },
	{ "output.proxy", "http://u:p%40@192.0.2.1:80", NULL },
	{ "output.proxy", "http://u:p@ss@[2001:db8::1]:80", NULL },
	{ "output.proxy", "http://proxy.example", "has no port" },
	{ "output.proxy", "http://proxy.example:0", "has no port" },
	{ "output.proxy", "http://proxy.example:99999", "has no port" },
	{ "output.proxy", "http://:80", "has no host name" },
	{ "output.proxy", "http://2001:db8::1:80", "has no host name" },
	{ "output.proxy", "http://", "has no port" },
	{ "output.proxy", "http:///", "has no port" },
	{ "output.proxy", "https://u:hush@proxy.example:443", "which is not supported" },
	{ "output.proxy", "socks5://proxy.example:1080", "SOCKS" },
	{ "output.proxy", "proxy.example:3128", "is not the address of an HTTP proxy" },
	{ "output.proxy", "http://u:hu sh@proxy.example:3128", "write it as %XX" },

	{ "collector.hostname", "web-1.example", NULL },
	{ "collector.hostname", "caf\xc3\xa9", "is not a host name" },

	{ "spool.dir", "/var/a b", NULL },
	{ "spool.dir", "/var/a;b#c", NULL },
	{ "spool.dir", "/var/a ;b", "has a comment in it" },
	{ "spool.dir", "/var/a # b", "has a comment in it" },
	{ "spool.dir", "; x", "has a comment in it" },
	{ "spool.dir", " /var", "begins or ends with a blank" },
	{ "spool.dir", "/var ", "begins or ends with a blank" },
	{ "spool.dir", "/va\nr", "\"/va?r\" has a control character" },
	{ "spool.dir", "\"/var\"", "is in quotes" },
	{ "spool.dir", "", "is empty" },
};

static void check_value(const struct config *c, const struct config_option *o, size_t i)
{
	const void *at = (const char *)c + o->offset;

	switch (o->type) {
	case CONFIG_STRING:
	case CONFIG_SECRET:
		CHECK_STR(*(char *const *)at, values[i].text ? values[i].text : values[i].value);
		break;
	case CONFIG_BOOL:
		CHECK_INT(*(const bool *)at, values[i].number);
		break;
	case CONFIG_ENUM:
		CHECK_INT(*(const int *)at, values[i].number);
		break;
	default:
		CHECK_INT(*(const uint64_t *)at, values[i].number);
	}
}

TEST(values_of_each_type)
{
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
		const struct config_option *o = config_find(values[i].key);
		_loaded_ struct loaded l;

		loaded_init(&l);
		config_set(l.c, o, values[i].value, "somewhere:7", &l.e);
		take_text(&l);
		if (l.e.n != (values[i].error ? 1 : 0)) {
			printf("# %s = %s: \"%s\"\n", o->key, values[i].value, l.text);
			test_failed = true;
		} else if (values[i].error) {
			CHECK(strncmp(l.text, "somewhere:7: ", 13) == 0);
			CHECK_HAS(l.text, o->key);
			CHECK_HAS(l.text, values[i].error);
			/* A secret is not in its mistake, not even in part. */
			if (o->type == CONFIG_SECRET)
				CHECK(!strchr(l.text, '"') && !strstr(l.text, "abcdefg") &&
				      !strstr(l.text, "hu"));
		} else {
			check_value(l.c, o, i);
		}
	}
}

TEST(a_refused_value_leaves_the_old_one)
{
	_loaded_ struct loaded l;

	load(&l, "/dev/null", NULL, "--spool-dir /a --spool-dir= --output-port 7 --output-port x");
	CHECK_INT(l.result, -EINVAL);
	CHECK_INT(l.e.n, 2);
	CHECK_STR(l.c->spool_dir, "/a");
	CHECK_INT(l.c->output_port, 7);
}

TEST(a_long_value_is_refused_and_shown_in_part)
{
	_loaded_ struct loaded l;
	char text[5001];

	memset(text, 'a', 5000);
	text[5000] = '\0';
	loaded_init(&l);
	config_set(l.c, config_find("spool.dir"), text, "x:1", &l.e);
	take_text(&l);
	CHECK_HAS(l.text, "aaa...\" is too long");
	CHECK(strlen(l.text) < 200);
}

/* ------------------------------------------------------------------ the file */

static const struct {
	const char *name, *text;
	size_t len; /* 0: the text's own */
	int n;	    /* of mistakes */
	const char *error;
} files[] = {
	{ "nothing", "" },
	{ "plain", "[output]\nhost = a.example\n" },
	{ "no newline at the end", "[output]\nhost = a.example" },
	{ "carriage returns", "[output]\r\nhost = a.example\r\n" },
	{ "a byte order mark", "\xef\xbb\xbf[output]\nhost = a.example\n" },
	{ "blanks everywhere", "  [output]  \n\t host\t=  a.example  \n\n   \n" },
	{ "comments", "# one\n; two\n[output] ; three\n  # four\nhost = a.example ; five\n" },
	{ "a colon", "[output]\nhost: a.example\n" },
	{ "a section twice", "[output]\nhost = a.example\n[tls]\n[output]\nport = 1\n" },
	{ "an empty value unsets", "[tls]\nca =\n" },
	{ "a comment in place of a value", "[tls]\nca = ; none\n" },
	{ "an option twice", "[output]\nport = 1\n[tls]\n[output]\nport = 2\n", 0, 1,
	  "f:5: output.port is given twice; first in line 2" },
	{ "no section yet", "host = x\n", 0, 1, "f:1: stands before any [section]" },
	{ "an unknown section", "[outptu]\nhost = x\nport = y\nz\n", 0, 1,
	  "f:1: there is no section [outptu]; did you mean [output]?" },
	{ "a very unknown section", "[kafka]\n", 0, 1, "f:1: there is no section [kafka]\n" },
	{ "a section without end", "[output\nhost = x\n", 0, 1, "f:1: a section without its ]" },
	{ "text behind a section", "[output] host = x\n", 0, 1, "f:1: text behind a section" },
	{ "an unknown name", "[output]\nhots = x\n", 0, 1,
	  "f:2: [output] has no hots; did you mean host?" },
	{ "a name of another section", "[output]\nserver_name = x\n", 0, 1,
	  "did you mean server_name in [tls]?" },
	{ "a very unknown name", "[output]\nzookeeper = x\n", 0, 1,
	  "f:2: [output] has no zookeeper\n" },
	{ "a long name",
	  "[output]\n"
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa = x\n",
	  0, 1, "f:2: [output] has no aaaaaaa" },
	{ "no equals sign", "[output]\nhost\n" KEY "\nport = 1\n", 0, 2,
	  "f:2: neither a [section] nor name = value\nf:3: neither" },
	{ "a hash behind a value", "[tls]\nca = /x # y\n", 0, 1,
	  "f:2: tls.ca: \"/x # y\" has a comment" },
	{ "no continuation", "[tls]\nca = /x\n  /y\n", 0, 1, "f:3: neither" },
	{ "a NUL byte", "[tls]\nca = /x\0y\n[foo]\n", 22, 1, "f:2: a NUL byte" },
	{ "a wrong value", "[output]\nport = 99999\n", 0, 1,
	  "f:2: output.port: \"99999\" is too large; allowed: 0 to 65535" },
	{ "all at once",
	  "[output]\nport = x\n[tsl]\n[intake]\nregion = mars\nkey = short\nnothing\n", 0, 5,
	  "f:2: output.port: \"x\" is not a number; allowed: 0 to 65535\n"
	  "f:3: there is no section [tsl]; did you mean [tls]?\n"
	  "f:5: intake.region: \"mars\" is not known; allowed: fra1, fra2, mco1, uae1, usa1, sgp1\n"
	  "f:6: intake.key: the value is not an intake key; allowed: 16 to 128 letters and digits\n"
	  "f:7: neither a [section] nor name = value\n" },
};

TEST(files)
{
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		_loaded_ struct loaded l;

		read_text(&l, files[i].text, files[i].len ? files[i].len : strlen(files[i].text));
		if (l.e.n != files[i].n) {
			printf("# %s: %d mistakes, not %d: %s\n", files[i].name, l.e.n, files[i].n,
			       l.text);
			test_failed = true;
		}
		CHECK_HAS(l.text, files[i].error ? files[i].error : "");
		if (strstr(files[i].text, "a.example"))
			CHECK_STR(l.c->output_host, "a.example");
		CHECK(!strstr(l.text, KEY));
	}
}

TEST(long_lines)
{
	for (int over = 0; over < 2; over++) {
		size_t size = 20000, path_len = over ? 9000 : 4000;
		_cleanup_free_ char *text = malloc(size);
		_loaded_ struct loaded l;

		/* A comment may be of any length. */
		snprintf(text, size, "[spool]\n#%09000d\ndir = /%0*d\nsync = batch\n", 0,
			 (int)path_len, 0);
		read_text(&l, text, strlen(text));
		CHECK_INT(l.e.n, over);
		if (over)
			CHECK_HAS(l.text, "f:3: the line is too long; allowed: ");
		else
			CHECK_INT(strlen(l.c->spool_dir), path_len + 1);
		CHECK_INT(l.c->spool_sync, 2);
	}
}

TEST(a_text_without_end_ends)
{
	size_t size = 3 << 20;
	_cleanup_free_ char *text = malloc(size);
	_loaded_ struct loaded l;

	memset(text, '#', size);
	read_text(&l, text, size);
	CHECK_INT(l.e.n, 1);
	CHECK_HAS(l.text, "larger than 1 MiB");
}

TEST(mistakes_have_a_ceiling)
{
	_cleanup_free_ char *text = NULL;
	_loaded_ struct loaded l;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	for (int i = 0; i < 5000; i++)
		fprintf(f, "[x%d]\n", i);
	fclose(f);
	read_text(&l, text, size);
	CHECK_INT(l.e.n, 5000);
	CHECK(strlen(l.text) < 65536);
	CHECK_HAS(l.text, "f:99: ");
	CHECK_HAS(l.text, "there are more mistakes");
}

TEST(files_that_can_not_be_read)
{
	_loaded_ struct loaded missing, folder;

	load(&missing, "/nonexistent/conf", NULL, "--output-port x");
	CHECK_INT(missing.result, -ENOENT);
	/* And the other mistakes are told with it. */
	CHECK_INT(missing.e.n, 2);
	CHECK_HAS(missing.text, "/nonexistent/conf: can not be opened: No such file");
	load(&folder, "/", NULL, NULL);
	CHECK_INT(folder.result, -EINVAL);
	CHECK_HAS(folder.text, "/: can not be read: Is a directory");
}

static const struct {
	const char *text;
	mode_t mode;
	const char *error;
} exposed[] = {
	{ "[intake]\nkey = " KEY "\n", 0600, NULL },
	{ "[intake]\nkey = " KEY "\n", 0640, NULL },
	{ "[intake]\nkey = " KEY "\n", 0644,
	  "the intake key in it is open to every user (mode 0644)" },
	{ "[intake]\nkey = " KEY "\n", 0602, "(mode 0602)" },
	{ "[intake]\nregion = fra2\n", 0644, NULL },
	{ "[output]\nproxy = http://u:p@h:1\n", 0644, "the proxy's password in it is open" },
	{ "[output]\nproxy = http://h:1\n", 0644, NULL },
};

TEST(secrets_in_open_files)
{
	for (size_t i = 0; i < sizeof(exposed) / sizeof(*exposed); i++) {
		const char *path = file("conf", exposed[i].mode, exposed[i].text);
		_loaded_ struct loaded l;
		char cure[96];

		load(&l, path, NULL, NULL);
		snprintf(cure, sizeof(cure), "to mend it: chmod 600 %s\n", path);
		CHECK_INT(l.e.n, exposed[i].error ? 1 : 0);
		CHECK_HAS(l.text, exposed[i].error ? exposed[i].error : "");
		CHECK_HAS(l.text, exposed[i].error ? cure : "");
		CHECK(!strstr(l.text, KEY));
	}
}

/* ------------------------------------------------------------------ order */

TEST(flags_over_environment_over_file)
{
	_loaded_ struct loaded l;

	load(&l,
	     file("conf", 0600,
		  "[output]\nhost = file\nport = 1\ntype = relp\n[log]\nlevel = debug\n"),
	     "SEKOIA_OUTPUT_HOST=env SEKOIA_OUTPUT_PORT=2 HOME=/", "--output-host flag");
	CHECK_STR(l.text, "");
	CHECK_INT(l.result, 0);
	CHECK_STR(l.c->output_host, "flag");
	CHECK_INT(l.c->output_port, 2);
	CHECK_STR(l.c->output, "relp");
	CHECK_INT(l.c->log_level, LOG_LEVEL_DEBUG);
	CHECK_INT(l.action, CONFIG_RUN);
}

TEST(the_file_named_by_the_environment)
{
	char variable[128], word[] = "sekoia-ebpf", *argv[] = { word, NULL };
	char *envp[] = { variable, NULL };
	_loaded_ struct loaded l;

	snprintf(variable, sizeof(variable), "SEKOIA_CONFIG=%s",
		 file("conf", 0600, "[output]\nport = 9\n"));
	loaded_init(&l);
	CHECK_INT(config_load(l.c, 1, argv, envp, &l.action, &l.rest, &l.e), 0);
	CHECK_INT(l.c->output_port, 9);
	CHECK_INT(l.rest, 1);
}

TEST(environment)
{
	_loaded_ struct loaded l;

	load(&l, "/dev/null",
	     "SEKOIA_REGION=usa1 SEKOIA_OUTPUT=relp,stdout SEKOIA_FLOWS_LOOPBACK=yes SEKOIA_BTF=/b "
	     "SEKOIA_SPOOL_DIR= SEKOIA_LOG_LEVEL= SEKOIA_TLS_CA= CREDENTIALS_DIRECTORY=/x "
	     "SEKOIA_EBPF_SERVICE_HOST=192.0.2.1 SEKOIA_EBPF_PORT=tcp://192.0.2.1:80 "
	     "SEKOIA_EBPF_PORT_80_TCP_ADDR=192.0.2.1 NOEQUALS",
	     NULL);
	CHECK_STR(l.text, "");
	CHECK_INT(l.c->region, REGION_USA1);
	CHECK_STR(l.c->output, "relp,stdout");
	CHECK(l.c->flows_loopback);
	CHECK_STR(l.c->btf, "/b");
	CHECK_STR(l.c->spool_dir, "/var/lib/sekoia-ebpf/spool");
	CHECK(!l.c->tls_ca);
}

TEST(environment_with_mistakes)
{
	_loaded_ struct loaded l;

	load(&l, "/dev/null", "SEKOIA_REGOIN=usa1 SEKOIA_OUTPUT_PORT=x SEKOIA_FROBNICATE_ALL=1",
	     NULL);
	CHECK_INT(l.result, -EINVAL);
	CHECK_INT(l.e.n, 3);
	CHECK_HAS(l.text, "SEKOIA_REGOIN: there is no such variable; did you mean SEKOIA_REGION?");
	CHECK_HAS(l.text, "SEKOIA_OUTPUT_PORT: \"x\" is not a number; allowed: 0 to 65535");
	CHECK_HAS(l.text, "SEKOIA_FROBNICATE_ALL: there is no such variable; --help");
}

static const struct {
	const char *env, *flags, *proxy;
} proxies[] = {
	{ "https_proxy=http://p:1", NULL, "http://p:1" },
	{ "https_proxy=p:1", NULL, "http://p:1" },
	{ "https_proxy=http://p:1/", NULL, "http://p:1" },
	{ "HTTPS_PROXY=http://p:1", NULL, "http://p:1" },
	{ "HTTPS_PROXY=http://p:1 https_proxy=http://q:1", NULL, "http://q:1" },
	{ "https_proxy=http://q:1 all_proxy=http://p:1", NULL, "http://q:1" },
	{ "all_proxy=http://p:1 HTTPS_PROXY=http://q:1", NULL, "http://q:1" },
	{ "ALL_PROXY=http://p:1", NULL, "http://p:1" },
	{ "http_proxy=http://p:1", NULL, NULL },
	{ "https_proxy=", NULL, NULL },
	{ "https_proxy=http://p:1", "--output-proxy http://f:2", "http://f:2" },
	{ "https_proxy=http://p:1", "--output-proxy=", NULL },
	{ "https_proxy=http://p:1 SEKOIA_OUTPUT_PROXY=http://e:3", NULL, "http://e:3" },
	{ "https_proxy=http://p:1 SEKOIA_OUTPUT_PROXY=", NULL, NULL },
	{ "https_proxy=http://p:1 no_proxy=*", NULL, NULL },
	{ "https_proxy=http://p:1 no_proxy=x,sekoia.io", NULL, NULL },
	{ "https_proxy=http://p:1 no_proxy=.SEKOIA.io", NULL, NULL },
	{ "https_proxy=http://p:1 NO_PROXY=intake.sekoia.io", NULL, NULL },
	{ "https_proxy=http://p:1 no_proxy=koia.io,,other", NULL, "http://p:1" },
	{ "https_proxy=http://p:1 no_proxy=sekoia.io", "--output-host a.example", "http://p:1" },
	{ "https_proxy=http://p:1 no_proxy=*.example", "--output-host a.example", NULL },
	{ "https_proxy=socks5://p:1", "--output stdout", NULL },
};

TEST(proxy_of_the_environment)
{
	for (size_t i = 0; i < sizeof(proxies) / sizeof(*proxies); i++) {
		_loaded_ struct loaded l;

		load(&l, "/dev/null", proxies[i].env, proxies[i].flags);
		CHECK_STR(l.text, "");
		CHECK_STR(l.c->output_proxy ? l.c->output_proxy : "none",
			  proxies[i].proxy ? proxies[i].proxy : "none");
	}
}

TEST(a_proxy_that_can_not_be_used_is_told)
{
	_loaded_ struct loaded l;

	load(&l, "/dev/null", "ALL_PROXY=socks5://u:hush@p:1", NULL);
	CHECK_INT(l.e.n, 1);
	CHECK_HAS(l.text, "ALL_PROXY: output.proxy: the value names a SOCKS proxy");
	CHECK(!strstr(l.text, "hush"));
}

/* ------------------------------------------------------------------ flags */

TEST(words_and_options_in_any_order)
{
	_loaded_ struct loaded l;

	load(&l, "/dev/null", NULL, "check --region fra2 now -o relp -- --not-an-option -k");
	CHECK_STR(l.text, "");
	CHECK_INT(l.argc - l.rest, 4);
	CHECK_STR(l.argv[0], "sekoia-ebpf");
	CHECK_STR(l.argv[l.rest], "check");
	CHECK_STR(l.argv[l.rest + 1], "now");
	CHECK_STR(l.argv[l.rest + 2], "--not-an-option");
	CHECK_STR(l.argv[l.rest + 3], "-k");
	CHECK_INT(l.c->region, REGION_FRA2);
	CHECK_STR(l.c->output, "relp");
}

TEST(flags_of_each_form)
{
	_loaded_ struct loaded l;

	load(&l, "/dev/null", NULL,
	     "-rfra2 --output=file --output-file - --flows-loopback --output-gzip no "
	     "--journal-enable --tls-server-name=a.example --btf /b --kernel-log");
	CHECK_STR(l.text, "");
	CHECK_INT(l.rest, l.argc);
	CHECK_INT(l.c->region, REGION_FRA2);
	CHECK_STR(l.c->output_file, "-");
	CHECK(l.c->flows_loopback && !l.c->output_gzip && l.c->journal && l.c->kernel_log);
	CHECK_STR(l.c->tls_server_name, "a.example");
	CHECK_STR(l.c->btf, "/b");
}

static const struct {
	const char *flags, *error;
} wrong_flags[] = {
	{ "--regoin fra2", "--regoin: there is no such option; did you mean --region?" },
	{ "--output-type relp", "--output-type: there is no such option; did you mean --output?" },
	{ "--intake-region=x", "--intake-region: there is no such option; did you mean --region?" },
	{ "--frobnicate-everything", "--frobnicate-everything: there is no such option; --help" },
	{ "--output-host", "--output-host: needs a value: --output-host HOST" },
	{ "--output-host --region fra1", "--output-host: needs a value" },
	{ "-r", "-r: needs a value: -r REGION" },
	{ "-x" KEY, "-x: there is no such option; --help lists them\n" },
	{ "-hV", "-h: there is no such option" },
	{ "--config", "--config: needs a file name" },
	{ "--output-port=x", "--output-port: \"x\" is not a number" },
	{ "--flows-loopback maybe", "--flows-loopback: \"maybe\" is neither yes nor no" },
	{ "--output file", "the file output needs output.file" },
	{ "--tls-cert /c", "tls.cert: needs its private key in tls.key" },
	{ "--tls-key /k", "tls.key: needs its certificate in tls.cert" },
};

TEST(flags_with_mistakes)
{
	for (size_t i = 0; i < sizeof(wrong_flags) / sizeof(*wrong_flags); i++) {
		_loaded_ struct loaded l;

		load(&l, "/dev/null", NULL, wrong_flags[i].flags);
		CHECK_INT(l.result, -EINVAL);
		CHECK_INT(l.e.n, 1);
		CHECK_HAS(l.text, wrong_flags[i].error);
	}
}

TEST(help_and_version_come_before_mistakes)
{
	_loaded_ struct loaded help, version;

	load(&help, "/nonexistent", NULL, "--bad --help -k " KEY);
	CHECK_INT(help.result, 0);
	CHECK_INT(help.action, CONFIG_HELP);
	CHECK_STR(help.text, "");
	for (int i = 0; i < help.argc; i++)
		CHECK(!strstr(help.argv[i], "abc"));
	load(&version, "/dev/null", NULL, "-V");
	CHECK_INT(version.action, CONFIG_VERSION);
}

TEST(mistakes_of_all_sources_at_once)
{
	_loaded_ struct loaded l;

	load(&l, file("conf", 0600, "[output]\nport = x\n"), "SEKOIA_REGION=mars",
	     "--log-level loud --output file");
	CHECK_INT(l.e.n, 4);
	CHECK_HAS(l.text, ":2: output.port: \"x\" is not a number");
	CHECK_HAS(l.text, "SEKOIA_REGION: \"mars\" is not known");
	CHECK_HAS(l.text,
		  "--log-level: \"loud\" is not known; allowed: error, warning, info, debug");
	CHECK_HAS(l.text, "output.file");
}

/* ------------------------------------------------------------------ secrets */

static const char *const secret_flags[] = {
	"--intake-key " KEY,
	"--intake-key=" KEY,
	"-k " KEY,
	"-k" KEY,
	"--unknown -k" KEY " --output-port x",
	"-k " OTHER_KEY " --intake-key " KEY,
	"--output-proxy http://u:abcdefgh@p:1 -k " KEY,
};

TEST(secrets_leave_argv)
{
	for (size_t i = 0; i < sizeof(secret_flags) / sizeof(*secret_flags); i++) {
		_loaded_ struct loaded l;
		bool wiped = false;

		load(&l, "/dev/null", NULL, secret_flags[i]);
		CHECK_STR(l.c->intake_key, KEY);
		/* The words themselves: in place, and to the end. */
		for (int k = 0; k < l.n_words; k++) {
			CHECK(!strstr(l.words[k], "abc") && !strstr(l.words[k], "ZYX"));
			CHECK(!strstr(l.words[k], "DEF") && !strstr(l.words[k], "def"));
			wiped |= strstr(l.words[k], "********************************") != NULL;
		}
		CHECK(wiped);
		CHECK(!strstr(l.text, KEY));
	}
}

TEST(secrets_leave_the_environment)
{
	char key[] = "SEKOIA_INTAKE_KEY=" KEY, proxy[] = "https_proxy=http://u:abc@p:1";
	char home[] = "HOME=/", plain[] = "all_proxy=http://q:1";
	char *envp[] = { key, proxy, home, plain, NULL };
	char word[] = "sekoia-ebpf", null[] = "--config=/dev/null";
	char *argv[] = { word, null, NULL };
	_loaded_ struct loaded l;

	loaded_init(&l);
	CHECK_INT(config_load(l.c, 2, argv, envp, &l.action, &l.rest, &l.e), 0);
	CHECK_STR(l.c->intake_key, KEY);
	CHECK_STR(l.c->output_proxy, "http://u:abc@p:1");
	CHECK_STR(envp[0], "HOME=/");
	CHECK_STR(envp[1], "all_proxy=http://q:1");
	CHECK(!envp[2]);
	for (size_t i = 0; i < sizeof(key); i++)
		CHECK(!key[i]);
	for (size_t i = 0; i < sizeof(proxy); i++)
		CHECK(!proxy[i]);
}

static const struct {
	const char *text;
	mode_t mode;
	const char *error;
	const char *credential_error; /* if it is another */
} key_files[] = {
	{ KEY, 0600, NULL },
	{ KEY "\n", 0400, NULL },
	{ "\n  " KEY " \r\n\n", 0640, NULL },
	{ KEY "\n", 0644, "is open to every user (mode 0644); to mend it: chmod 600" },
	{ "", 0600, "what it holds is not an intake key", "the intake key is missing" },
	{ "\n", 0600, "what it holds is not an intake key", "the intake key is missing" },
	{ KEY "\n" OTHER_KEY "\n", 0600, "what it holds is not an intake key" },
	{ "key = " KEY "\n", 0600, "what it holds is not an intake key" },
};

TEST(key_files_and_credentials)
{
	for (size_t i = 0; i < 2 * sizeof(key_files) / sizeof(*key_files); i++) {
		const char *other = i % 2 ? key_files[i / 2].credential_error : NULL;
		const char *error = other ? other : key_files[i / 2].error;
		const char *path = file("intake-key", key_files[i / 2].mode, key_files[i / 2].text);
		_loaded_ struct loaded l;
		char flags[128];

		snprintf(flags, sizeof(flags), "--intake-key-file %s", path);
		load(&l, "/dev/null", NULL, i % 2 ? NULL : flags);
		CHECK_STR(l.text, "");
		setenv("CREDENTIALS_DIRECTORY", i % 2 ? dir : "/nonexistent", 1);
		config_load_key(l.c, &l.e);
		unsetenv("CREDENTIALS_DIRECTORY");
		take_text(&l);
		CHECK_INT(l.e.n, error ? 1 : 0);
		CHECK_HAS(l.text, error ? error : "");
		CHECK(!strstr(l.text, KEY));
		CHECK_STR(l.c->intake_key ? l.c->intake_key : "none", error ? "none" : KEY);
	}
}

static const struct {
	const char *flags, *error;
} key_cases[] = {
	{ "-o https", "the intake key is missing; give it with --intake-key KEY" },
	{ "-o stdout,relp", "the intake key is missing" },
	{ "-o stdout,file --output-file x", NULL },
	{ "-k " KEY " --intake-key-file /nonexistent", NULL },
	{ "--intake-key-file /nonexistent", "/nonexistent: No such file" },
	{ "-o stdout --intake-key-file /nonexistent", "/nonexistent: No such file" },
};

TEST(where_the_key_comes_from)
{
	unsetenv("CREDENTIALS_DIRECTORY");
	for (size_t i = 0; i < sizeof(key_cases) / sizeof(*key_cases); i++) {
		_loaded_ struct loaded l;

		load(&l, "/dev/null", NULL, key_cases[i].flags);
		config_load_key(l.c, &l.e);
		take_text(&l);
		CHECK_INT(l.e.n, key_cases[i].error ? 1 : 0);
		CHECK_HAS(l.text, key_cases[i].error ? key_cases[i].error : "");
	}
}

/* ------------------------------------------------------------------ to text */

TEST(what_is_written_is_read_again)
{
	_loaded_ struct loaded l, again;
	struct buf first, second;

	load(&l, "/dev/null", NULL,
	     "-k " KEY " -r sgp1 -o relp,file --output-file /a;b --output-path / --output-port 7 "
	     "--output-proxy http://u:p;#@p:1 --output-gzip no --output-timeout 1500ms "
	     "--spool-max-bytes 3G --spool-segment-bytes 100000 --collector-stop-timeout 0 "
	     "--spool-sync batch --flows-active-timeout 2h --log-level debug");
	CHECK_STR(l.text, "");
	buf_init(&first, 65536);
	buf_init(&second, 65536);
	CHECK_INT(config_write(l.c, &first), 0);
	read_text(&again, buf_data(&first), first.len);
	CHECK_STR(again.text, "");
	CHECK_INT(config_write(again.c, &second), 0);
	CHECK(first.len == second.len &&
	      memcmp(buf_data(&first), buf_data(&second), first.len) == 0);
	CHECK_STR(again.c->intake_key, KEY);
	CHECK_STR(again.c->output_proxy, "http://u:p;#@p:1");
	CHECK_STR(again.c->output_path, "");
	CHECK_STR(again.c->output, "relp,file");
	CHECK_INT(again.c->output_timeout_ms, 1500);
	CHECK_INT(again.c->spool_segment_bytes, 100000);
	CHECK_INT(again.c->region, REGION_SGP1);
	CHECK(!again.c->output_gzip && again.c->journal);
	buf_wipe(&first);
	buf_wipe(&second);
}

TEST(defaults_are_not_written)
{
	_cleanup_(config_freep) struct config *c = NULL;
	struct buf text;

	CHECK_INT(config_new(&c), 0);
	buf_init(&text, 4096);
	CHECK_INT(config_write(c, &text), 0);
	CHECK_INT(text.len, 0);
	buf_done(&text);
}

static char *printed(void (*print)(FILE *f))
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	print(f);
	fclose(f);
	return text;
}

static void check_width(const char *text)
{
	for (const char *p = text; *p; p += strcspn(p, "\n") + 1) {
		if (strcspn(p, "\n") > 79) {
			printf("# too wide: %.*s\n", (int)strcspn(p, "\n"), p);
			test_failed = true;
		}
	}
}

static void print_help(FILE *f)
{
	config_print_help(f, commands);
}

TEST(help_fits_the_terminal_and_names_all)
{
	_cleanup_free_ char *text = printed(print_help);

	CHECK(strncmp(text, "Usage: sekoia-ebpf [OPTION]... [COMMAND]\n", 41) == 0);
	check_width(text);
	for (const struct config_command *command = commands; command->name; command++) {
		char line[64];

		snprintf(line, sizeof(line), "\n  %s ", command->name);
		CHECK_HAS(text, line);
	}
	for (const struct config_command_flag_row *f = config_command_flags; f->name; f++) {
		char line[64];

		snprintf(line, sizeof(line), "\n      --%s ", f->name);
		CHECK_HAS(text, line);
	}
	CHECK_HAS(text, "  -k, --intake-key KEY ");
	CHECK_HAS(text, "      --output-requests-per-second N\n");
	CHECK_HAS(text, "      --flows-loopback yes|no");
	CHECK_HAS(text, "(64k to 9M; default 2M)");
}

/* Flags of commands stand anywhere, belong to no file and no variable, and eat no word. */
TEST(command_flags)
{
	static const struct {
		const char *flags;
		unsigned want;
		const char *word, *mistake;
	} cases[] = {
		{ "--json check", COMMAND_JSON, "check", NULL },
		{ "check --json", COMMAND_JSON, "check", NULL },
		{ "check", 0, "check", NULL },
		{ "check -- --json", 0, "check", NULL },
		{ "--json=yes check", COMMAND_JSON, "check", "--json: takes no value\n" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		_loaded_ struct loaded l;

		load(&l, "/dev/null", NULL, cases[i].flags);
		CHECK_INT(l.c->command_flags, cases[i].want);
		CHECK_STR(l.argv[l.rest], cases[i].word);
		CHECK_STR(l.text, cases[i].mistake ? cases[i].mistake : "");
	}
}

/* UPDATE=1 writes the file instead: after a change of the table. */
TEST(the_sample_file_is_what_the_table_says)
{
	_cleanup_free_ char *text = printed(config_print_sample);
	bool update = getenv("UPDATE") != NULL;
	_cleanup_fclose_ FILE *f = fopen(SAMPLE, update ? "we" : "re");
	char on_disk[32768] = "";

	check_width(text);
	CHECK(f);
	if (!f)
		return;
	if (update)
		fputs(text, f);
	else
		CHECK(fread(on_disk, 1, sizeof(on_disk) - 1, f) > 0 && strcmp(on_disk, text) == 0);
}

TEST(each_default_in_the_sample_is_a_good_value)
{
	_cleanup_free_ char *text = printed(config_print_sample);
	_loaded_ struct loaded l;
	struct buf written;
	int n = 0;

	/* Takes the # away, save before the placeholders, which are in capitals. */
	for (char *p = text; *p; p += strcspn(p, "\n") + 1) {
		char *eq = memmem(p, strcspn(p, "\n"), " = ", 3);

		if (p[0] == '#' && p[1] != ' ' && eq && !(eq[3] >= 'A' && eq[3] <= 'Z')) {
			p[0] = ' ';
			n++;
		}
	}
	CHECK(n > 20);
	read_text(&l, text, strlen(text));
	CHECK_STR(l.text, "");
	buf_init(&written, 4096);
	CHECK_INT(config_write(l.c, &written), 0);
	CHECK_INT(written.len, 0);
	buf_done(&written);
}
