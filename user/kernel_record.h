/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line of the kernel's log as a record, in the shape of a journal line.
 * Lines that programs wrote to /dev/kmsg keep the name and pid they begin with. Pure.
 */
#pragma once

#include "user/kmsg.h"
#include "user/record.h"

/* 0, or -ENODATA: an empty line, which is not worth a record. */
int kernel_record_format(struct record *r, const struct kmsg *k, struct msg *ret);
