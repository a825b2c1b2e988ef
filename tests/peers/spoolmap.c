/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows what lies where in a segment that is whole, for tests that damage it:
 * a line for each batch and for each record, offsets and sizes in bytes.
 *
 *   batch OFFSET HEADER_SIZE BODY_SIZE FIRST_SEQ RECORDS
 *   record OFFSET SIZE SEQ
 *   hole OFFSET SIZE SEQ
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "output/spool_format.h"
#include "user/util/cleanup.h"

/* Returns the offset behind the batch at off, or 0 when there is no good one. */
static size_t show_batch(const uint8_t *p, size_t n, const struct spool_key *key, size_t off)
{
	struct spool_batch b;
	ssize_t header = spool_batch_decode(p + off, n - off, key, &b);
	size_t end;

	if (header <= 0 || n - off - (size_t)header < b.body_len)
		return 0;
	printf("batch %zu %zd %" PRIu32 " %" PRIu64 " %" PRIu32 "\n", off, header, b.body_len,
	       b.first_seq, b.n_records);
	off += (size_t)header;
	end = off + b.body_len;
	while (off < end) {
		struct msg m;
		ssize_t size = spool_record_decode(p + off, end - off, key, &m);

		if (size <= 0)
			return 0;
		printf("%s %zu %zd %" PRIu64 "\n", m.class == SPOOL_HOLE ? "hole" : "record", off,
		       size, m.seq);
		off += (size_t)size;
	}
	return end;
}

static int show(const uint8_t *p, size_t n)
{
	uint64_t id, first_seq;
	struct spool_key key;
	size_t off = SPOOL_SEGMENT_HEADER;

	if (spool_segment_decode(p, n, &id, &first_seq) < 0)
		return -EBADMSG;
	spool_key_init(&key, id);
	while (off < n) {
		off = show_batch(p, n, &key, off);
		if (!off)
			return -EBADMSG;
	}
	return 0;
}

int main(int argc, char **argv)
{
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_free_ uint8_t *p = NULL;
	long size;

	if (argc != 2) {
		fprintf(stderr, "Usage: spoolmap SEGMENT\n");
		return 2;
	}
	f = fopen(argv[1], "re");
	if (!f || fseek(f, 0, SEEK_END) < 0 || (size = ftell(f)) < 0) {
		perror(argv[1]);
		return EXIT_FAILURE;
	}
	rewind(f);
	p = malloc((size_t)size + 1);
	if (!p || fread(p, 1, (size_t)size, f) != (size_t)size) {
		perror(argv[1]);
		return EXIT_FAILURE;
	}
	if (show(p, (size_t)size) < 0) {
		fprintf(stderr, "spoolmap: %s: not a whole segment\n", argv[1]);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
