/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the collector says of itself, as records: losses and heartbeats. ECS
 * JSON on every transport, whatever the schemas of others. Pure.
 */
#pragma once

#include "user/books.h"
#include "user/losses.h"
#include "user/record.h"

/* What is untold of a loss. size: of the ring that it is about, or 0. */
void self_record_loss(struct record *r, const struct loss *loss, uint64_t now_us, uint64_t size,
		      struct msg *ret);

/* The books. -EMSGSIZE when they do not fit into a record. */
int self_record_heartbeat(struct record *r, const struct books *b, struct msg *ret);

/* "8 MiB", "1.5 GiB", "512 bytes" */
#define SELF_SIZE_TEXT 24
const char *self_format_bytes(uint64_t bytes, char ret[static SELF_SIZE_TEXT]);
