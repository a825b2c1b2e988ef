/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a source must remember beside its position, such as the unfinished
 * lines of journal streams, on disk so that it survives the collector.
 *
 * Two files are written in turn, each before the batch that it belongs to is
 * committed, with what the spool will then say: the source's position and the
 * next sequence number. One of the two grows with each commit that matters. After
 * a crash the spool says which file is right: the newest that is not beyond it.
 */
#pragma once

#include <stdint.h>

#include "user/util/buf.h"

struct stream_moment {
	uint64_t generation; /* of the position */
	uint64_t position;
	uint64_t next_seq;
};

struct stream_state {
	char path[2][480];
	uint32_t turn; /* which one is written next */
	uint32_t magic;
};

/* name is the files' stem in dir. magic names the form of the bytes. */
void stream_state_init(struct stream_state *s, const char *dir, const char *name, uint32_t magic);

/* 0 or -errno. Survives SIGKILL at any instant; after a power failure it is of no use. */
int stream_state_save(struct stream_state *s, const struct stream_moment *when, struct slice bytes);

/* Fills ret (initialised by the caller); -ENOENT when there is none for this moment. */
int stream_state_load(struct stream_state *s, const struct stream_moment *now, struct buf *ret);

/* Removes both files. */
void stream_state_forget(struct stream_state *s);
