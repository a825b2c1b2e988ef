/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line of the kernel's log as a record: ECS JSON on every transport, as the
 * endpoint format wants it, or the raw text with journal.schema = raw.
 * Lines that programs wrote to /dev/kmsg keep the name and pid they begin with. Pure.
 */
#pragma once

#include "user/kmsg.h"
#include "user/record.h"

/* 0, or -ENODATA: an empty line, which is not worth a record. */
int kernel_record_format(struct record *r, const struct kmsg *k, struct msg *ret);
