/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spool's directory as its writer and its readers see it: names, listings,
 * and reading files that another process writes or that somebody may have
 * replaced. Nothing here follows a link or waits for a FIFO: the cursors'
 * folder belongs to the unprivileged reader.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "output/spool_format.h"

#define SPOOL_NAME_SIZE 24

void spool_segment_name(uint64_t first_seq, char ret[static SPOOL_NAME_SIZE]);
bool spool_cursor_name_is_valid(const char *name);

/* The first sequences of all segments, ascending; *ret is malloc'ed. 0 or -errno. */
int spool_list(int dir_fd, uint64_t **ret, size_t *ret_n);

/* A regular file, opened for reading: -errno, -EBADMSG for anything else. */
int spool_open_regular(int dir_fd, const char *name);

/* As spool_identity_decode(); *ret is untouched on failure; ret_epochs may be NULL. */
int spool_state_read(int fd, struct spool_state *ret, struct spool_epochs *ret_epochs);

/* The cursor NAME in the folder cursors_fd. 0, -EBADMSG or -errno. */
int spool_cursor_read(int cursors_fd, const char *name, struct spool_cursor *ret);

/* pread() that goes on after short reads: how much there was, or -errno. */
ssize_t spool_pread(int fd, void *p, size_t n, uint64_t off);
/*
 * A page that the disk does not give back, for good: zeroes take its place, up to
 * its end, at most n of them. How many, or -EIO when the file is over.
 */
ssize_t spool_pread_zeroes(int fd, void *p, size_t n, uint64_t off);
/* pwrite() of all of it: 0 or -errno, with some of it written perhaps. */
int spool_pwrite(int fd, const void *p, size_t n, uint64_t off);
