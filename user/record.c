/* SPDX-License-Identifier: Apache-2.0 */
#include "user/record.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HOSTNAME_MAX 255
#define CUT_NOTE_MAX 48
#define ESCAPE_PIECE 1024

static const char *const severities[] = {
	"emergency", "alert", "critical", "error", "warning", "notice", "info", "debug",
};

static const char *const facilities[] = {
	"kern",	  "user",   "mail",	"daemon", "auth",   "syslog", "lpr",	"news",
	"uucp",	  "cron",   "authpriv", "ftp",	  "ntp",    "audit",  "alert",	"clock",
	"local0", "local1", "local2",	"local3", "local4", "local5", "local6", "local7",
};

static const char *severity_name(unsigned severity)
{
	return severity < sizeof(severities) / sizeof(*severities) ? severities[severity] : NULL;
}

static const char *facility_name(unsigned facility)
{
	return facility < sizeof(facilities) / sizeof(*facilities) ? facilities[facility] : NULL;
}

static int set_facts(struct record *r, const struct record_opts *opts)
{
	char host[RECORD_HOST_SIZE];
	struct slice host_json, agent_json;
	struct json_writer w;

	if (opts->hostname.len > HOSTNAME_MAX)
		return -EINVAL;

	json_init(&w, host, sizeof(host));
	json_object(&w, NULL);
	json_slice(&w, "hostname", opts->hostname);
	json_array(&w, "ip");
	for (int i = 0; i < opts->n_ips && i < RECORD_MAX_IPS; i++)
		json_str(&w, NULL, opts->ips[i]);
	json_array_end(&w);
	json_object(&w, "os");
	json_plain(&w, "type", "linux", 5);
	if (opts->os_name.len)
		json_slice(&w, "name", opts->os_name);
	if (opts->os_version.len)
		json_slice(&w, "version", opts->os_version);
	json_object_end(&w);
	json_object_end(&w);
	host_json = (struct slice){ r->host, json_len(&w) };

	w.comma = false;
	json_object(&w, NULL);
	if (opts->agent_id.len)
		json_slice(&w, "id", opts->agent_id);
	json_plain(&w, "name", RECORD_NAME, sizeof(RECORD_NAME) - 1);
	json_plain(&w, "type", RECORD_NAME, sizeof(RECORD_NAME) - 1);
	if (opts->version.len)
		json_slice(&w, "version", opts->version);
	json_object_end(&w);
	if (!json_len(&w) || json_len(&w) + opts->hostname.len > sizeof(host))
		return -EINVAL;
	agent_json = (struct slice){ r->host + host_json.len, json_len(&w) - host_json.len };

	r->hostname = (struct slice){ r->host + json_len(&w), opts->hostname.len };
	memcpy(r->host, host, json_len(&w));
	if (opts->hostname.len)
		memcpy(r->host + json_len(&w), opts->hostname.p, opts->hostname.len);
	r->host_json = host_json;
	r->agent_json = agent_json;
	r->id_len =
		(size_t)snprintf(r->id, sizeof(r->id), "%016llx-", (unsigned long long)opts->epoch);
	r->flow_schema = opts->flow_schema;
	r->journal_schema = opts->journal_schema;
	return 0;
}

int record_new(const struct record_opts *opts, struct record **ret)
{
	_cleanup_(record_freep) struct record *r = NULL;
	int e;

	r = malloc(sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->seq = 0;
	r->boot_to_real_ns = 0;
	r->kernel_to_real_ns = 0;
	r->name_container = NULL;
	e = set_facts(r, opts);
	if (e < 0)
		return e;
	*ret = TAKE_PTR(r);
	return 0;
}

void record_free(struct record *r)
{
	free(r);
}

void record_set_container_names(struct record *r,
				void (*fn)(void *arg, const struct container_info *c,
					   struct container_name *ret),
				void *arg)
{
	r->name_container = fn;
	r->name_container_arg = arg;
}

uint64_t record_real_us(const struct record *r, uint64_t boot_ns)
{
	int64_t real_ns = (int64_t)boot_ns + r->boot_to_real_ns;

	return real_ns < 0 ? 0 : (uint64_t)real_ns / 1000;
}

static size_t put_digits(char *at, uint64_t value)
{
	char digits[20], *p = digits + sizeof(digits);
	size_t len;

	do {
		*--p = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	len = (size_t)(digits + sizeof(digits) - p);
	memcpy(at, p, len);
	return len;
}

void record_begin(struct record *r, struct json_writer *w, uint64_t time_us)
{
	json_init(w, r->json, sizeof(r->json));
	json_object(w, NULL);
	json_time_us(w, "@timestamp", time_us);
	json_key(w, "host");
	json_raw(w, r->host_json.p, r->host_json.len);
	json_key(w, "agent");
	json_raw(w, r->agent_json.p, r->agent_json.len);
}

void record_put_id(struct record *r, struct json_writer *w)
{
	size_t len = r->id_len + put_digits(r->id + r->id_len, r->seq);

	json_plain(w, "id", r->id, len);
}

static void put_if(struct json_writer *w, const char *key, struct slice text)
{
	if (text.len)
		json_slice(w, key, text);
}

static void put_args(struct json_writer *w, struct slice args)
{
	const char *end = args.p + args.len;

	json_array(w, "args");
	for (const char *p = args.p; p < end;) {
		size_t n = strnlen(p, (size_t)(end - p));

		json_slice(w, NULL, (struct slice){ p, n });
		p += n + 1;
	}
	json_array_end(w);
}

void record_open_process(struct record *r, struct json_writer *w, const struct process_info *p)
{
	json_object(w, "process");
	json_u64(w, "pid", p->pid);
	put_if(w, "name", p->name);
	put_if(w, "executable", p->executable);
	if (p->args.len)
		put_args(w, p->args);
	put_if(w, "command_line", p->command_line);
	if (p->start_ns)
		json_time_us(w, "start", record_real_us(r, p->start_ns));
	if (p->parent.pid) {
		json_object(w, "parent");
		json_u64(w, "pid", p->parent.pid);
		put_if(w, "name", p->parent.name);
		put_if(w, "executable", p->parent.executable);
		put_if(w, "command_line", p->parent.command_line);
		json_object_end(w);
	}
}

void record_put_process(struct record *r, struct json_writer *w, const struct process_info *p)
{
	if (!p || !p->pid)
		return;
	record_open_process(r, w, p);
	json_object_end(w);
}

void record_put_container(struct record *r, struct json_writer *w, const struct container_info *c)
{
	struct container_name names = { .runtime = NULL };
	const char *runtime;

	if (!c->id[0] && !c->pod_uid[0])
		return;
	if (r->name_container)
		r->name_container(r->name_container_arg, c, &names);
	runtime = c->runtime ? c->runtime : names.runtime;
	if (c->id[0]) {
		json_object(w, "container");
		json_str(w, "id", c->id);
		put_if(w, "name", names.name);
		if (runtime)
			json_str(w, "runtime", runtime);
		if (names.image.len) {
			json_object(w, "image");
			json_slice(w, "name", names.image);
			if (names.tag.len) {
				json_array(w, "tag");
				json_slice(w, NULL, names.tag);
				json_array_end(w);
			}
			json_object_end(w);
		}
		json_object_end(w);
	}
	/* A pod is known by its uid, which is in the cgroup's path, or by what its files say. */
	if (c->pod_uid[0] || names.pod.len) {
		json_object(w, "orchestrator");
		json_plain(w, "type", "kubernetes", 10);
		put_if(w, "namespace", names.namespace);
		json_object(w, "resource");
		json_plain(w, "type", "pod", 3);
		put_if(w, "name", names.pod);
		if (c->pod_uid[0])
			json_str(w, "id", c->pod_uid);
		json_object_end(w);
		json_object_end(w);
	}
}

void record_put_user(struct json_writer *w, uint32_t uid, struct slice name)
{
	char id[20];

	json_object(w, "user");
	json_plain(w, "id", id, put_digits(id, uid)); /* a keyword in ECS, so a text */
	put_if(w, "name", name);
	json_object_end(w);
}

static void put_code(struct json_writer *w, const char *key, unsigned code, const char *name)
{
	json_object(w, key);
	json_u64(w, "code", code);
	if (name)
		json_str(w, "name", name);
	json_object_end(w);
}

void record_open_log(struct json_writer *w, const char *logger, const struct msg *m)
{
	unsigned facility = m->pri >> 3, severity = m->pri & 7;

	json_object(w, "log");
	json_str(w, "level", severity_name(severity));
	json_str(w, "logger", logger);
	json_object(w, "syslog");
	json_slice(w, "appname", m->app);
	if (m->procid.len)
		json_slice(w, "procid", m->procid);
	put_code(w, "facility", facility, facility_name(facility));
	put_code(w, "severity", severity, severity_name(severity));
}

void record_put_log(struct json_writer *w, const char *logger, const struct msg *m)
{
	record_open_log(w, logger, m);
	json_object_end(w);
	json_object_end(w);
}

void record_open_event(struct record *r, struct json_writer *w, const char *provider)
{
	json_object(w, "event");
	record_put_id(r, w);
	json_plain(w, "kind", "event", 5);
	json_array(w, "category");
	json_plain(w, NULL, "host", 4);
	json_array_end(w);
	json_array(w, "type");
	json_plain(w, NULL, "info", 4);
	json_array_end(w);
	json_str(w, "provider", provider);
}

/* The end of the last whole character at or before n. */
static size_t char_border(struct slice text, size_t n)
{
	size_t back = n;

	if (n >= text.len)
		return text.len;
	while (back > 0 && n - back < 3 && ((unsigned char)text.p[back] & 0xc0) == 0x80)
		back--;
	/* Not UTF-8 at all: anywhere is as good. */
	return ((unsigned char)text.p[back] & 0xc0) == 0x80 ? n : back;
}

/* How much of text, from its start, takes at most room bytes when escaped. */
static size_t escaped_fit(struct slice text, size_t room)
{
	char scratch[ESCAPE_PIECE * JSON_ESCAPE_MAX], *end;
	size_t done = 0, used = 0, piece = ESCAPE_PIECE;

	if (text.len <= room / JSON_ESCAPE_MAX)
		return text.len;
	while (done < text.len && piece) {
		struct slice rest = { text.p + done, text.len - done };
		size_t n = char_border(rest, piece);

		if (!n ||
		    json_escape(scratch, sizeof(scratch), (struct slice){ rest.p, n }, &end) < 0 ||
		    (size_t)(end - scratch) > room - used) {
			piece /= 2;
			continue;
		}
		used += (size_t)(end - scratch);
		done += n;
	}
	return done;
}

static size_t raw_fit(struct slice text, size_t room)
{
	return text.len <= room ? text.len : char_border(text, room);
}

void record_finish_text(struct record *r, enum config_journal_schema schema,
			struct json_writer *head, struct slice text, uint64_t cut_bytes,
			struct msg *ret)
{
	bool is_raw = schema == JOURNAL_SCHEMA_RAW;
	size_t room = sizeof(r->json), len;

	/* What the JSON still needs: the key, two quotes, two braces. */
	if (!is_raw)
		room -= json_len(head) + sizeof(",\"reason\":\"\"}}");
	len = is_raw ? raw_fit(text, room) : escaped_fit(text, room);
	if (len < text.len || cut_bytes) {
		room -= CUT_NOTE_MAX;
		len = is_raw ? raw_fit(text, room) : escaped_fit(text, room);
		cut_bytes += text.len - len;
		if (len)
			memcpy(r->text, text.p, len);
		len += (size_t)snprintf(r->text + len, CUT_NOTE_MAX,
					"\xe2\x80\xa6 [%llu bytes cut]",
					(unsigned long long)cut_bytes);
		text = (struct slice){ r->text, len };
	}

	switch (schema) {
	case JOURNAL_SCHEMA_RAW:
		ret->text = text;
		ret->json = (struct slice){ r->json, 0 };
		return;
	case JOURNAL_SCHEMA_ECS:
		json_slice(head, "reason", text);
		json_object_end(head);
		json_object_end(head);
		ret->text = (struct slice){ r->text, 0 };
		break;
	default:
		json_key(head, "reason");
		ret->text = text;
		break;
	}
	ret->json = (struct slice){ r->json, json_len(head) };
}
