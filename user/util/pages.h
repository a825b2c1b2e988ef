/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is kept for the next time, and is none until then. */
#pragma once

#include <stddef.h>

/*
 * What is there is not needed any more: whole pages of it go back to the kernel, and read as
 * zeroes. The block stays whoever's it is. Allocated memory only; NULL with a size of 0 is fine.
 */
void pages_forget(void *p, size_t size);
