/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Journal samples, one after the other on a few sockets: each is a byte of
 * kind, one of socket, two of length (little endian), and its data. The lines
 * become records. At the end the streams are saved and restored.
 */
#include <stdlib.h>

#include "user/journal.h"
#include "user/journal_record.h"
#include "user/util/crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { KIND_NATIVE, KIND_SYSLOG, KIND_STDOUT, KIND_AUDIT, KIND_UNKNOWN, KIND_RESTORE, KINDS };

static struct record *record;

static bool on_line(void *arg, const struct journal_line *line)
{
	const struct journal_details d = { 0 };
	struct msg m;

	if (line->pri > 191 || (!line->text.len && !line->cut_bytes))
		abort();
	*(size_t *)arg += line->text.len;
	record->journal_schema = (enum config_journal_schema)(line->text.len % 3);
	journal_record_format(record, line, &d, &m);
	if (m.text.len + m.json.len > RECORD_MAX_BYTES || !(m.text.len + m.json.len))
		abort();
	return true;
}

/* What was told, in one number; every third line is refused at first. */
struct sum {
	uint32_t crc;
	unsigned calls;
	bool refuses;
};

static bool on_line_sum(void *arg, const struct journal_line *l)
{
	struct sum *s = arg;

	if (s->refuses && s->calls++ % 3 == 1)
		return false;
	s->crc = crc32c(s->crc, &l->pri, sizeof(l->pri));
	s->crc = crc32c(s->crc, &l->pid, sizeof(l->pid));
	s->crc = crc32c(s->crc, &l->cut_bytes, sizeof(l->cut_bytes));
	s->crc = crc32c(s->crc, l->identifier.p, l->identifier.len);
	s->crc = crc32c(s->crc, l->text.p, l->text.len);
	return true;
}

/* A line that was not taken comes again, also after a crash, and nothing else changes. */
static void decode_twice(struct journal *j[2], struct sum sum[2], const struct journal_sample *s)
{
	journal_decode(j[0], s, 0, on_line_sum, &sum[0]);
	while (!journal_decode(j[1], s, 0, on_line_sum, &sum[1])) {
		struct buf saved;

		buf_init(&saved, 8 << 20);
		if (journal_stream_save(j[1], &saved) < 0)
			abort();
		journal_free(j[1]);
		if (journal_new(NULL, &j[1]) < 0 ||
		    journal_stream_restore(j[1], buf_slice(&saved)) < 0)
			abort();
		buf_done(&saved);
	}
	if (sum[0].crc != sum[1].crc)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const paths[KINDS] = {
		"/run/systemd/journal/socket", "/dev/log", "/run/systemd/journal/stdout", "", "", ""
	};
	const struct journal_opts opts = { .max_streams = 3, .max_bytes = 4096 };
	struct buf saved;
	struct journal_stats stats;
	struct sum sum[2] = { { 0 }, { .refuses = true } };
	struct journal *j, *twins[2];
	size_t told = 0;

	if (!record && record_new(&(struct record_opts){ .hostname = SLICE("host") }, &record) < 0)
		abort();
	if (journal_new(&opts, &j) < 0 || journal_new(NULL, &twins[0]) < 0 ||
	    journal_new(NULL, &twins[1]) < 0)
		abort();
	while (size >= 4) {
		unsigned kind = data[0] % KINDS;
		size_t len = data[2] | (size_t)data[3] << 8;
		struct journal_sample s = {
			.boot_ns = size,
			.socket = data[1] % 5,
			.socket_ino = data[1] / 128,
			.pid = data[1] & 1,
			.uid = data[1] & 2,
			.stream = kind == KIND_STDOUT || (kind == KIND_SYSLOG && data[1] & 4),
			.netlink = kind == KIND_AUDIT,
			.path = slice_of(paths[kind]),
		};

		data += 4;
		size -= 4;
		if (len > size)
			len = size;
		s.data = (struct slice){ (const char *)data, len };
		s.full_len = (uint32_t)len + (data - 4)[1] / 250;
		if (s.stream && (data - 4)[1] / 8 % 4 == 3) {
			s.lost = (uint32_t)len * 3 + 1;
			s.lost_open = (data - 4)[1] & 64;
		}
		if (kind == KIND_RESTORE) {
			journal_stream_restore(j, s.data);
		} else {
			journal_decode(j, &s, 0, on_line, &told);
			decode_twice(twins, sum, &s);
		}
		journal_get_stats(j, &stats);
		if (stats.streams > opts.max_streams || stats.bytes > opts.max_bytes)
			abort();
		data += len;
		size -= len;
	}
	buf_init(&saved, 1 << 20);
	if (journal_stream_save(j, &saved) < 0 || journal_stream_restore(j, buf_slice(&saved)) < 0)
		abort();
	journal_flush_idle(j, 0, 0, NULL, 0, on_line, &told);
	journal_get_stats(j, &stats);
	if (stats.bytes)
		abort();
	buf_done(&saved);
	journal_free(j);
	journal_free(twins[0]);
	journal_free(twins[1]);
	return 0;
}
