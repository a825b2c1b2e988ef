/* SPDX-License-Identifier: Apache-2.0 */
/* The names of audit records, as linux/audit.h numbers them and audit.log writes them. Pure. */
#pragma once

/* "USER_LOGIN"; NULL: not known. */
const char *audit_type_name(unsigned type);
