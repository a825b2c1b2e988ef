/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is kept for the next time, and is none until then. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * What is there is not needed any more: whole pages of it go back to the kernel, and read as
 * zeroes. The block stays whoever's it is. Allocated memory only; NULL with a size of 0 is fine.
 */
void pages_forget(void *p, size_t size);

/*
 * The same of a ring of mask + 1 slots of this size: of all that are not between the positions
 * head and tail.
 */
void pages_forget_ring(void *ring, size_t slot, uint64_t mask, uint64_t head, uint64_t tail);
