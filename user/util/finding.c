/* SPDX-License-Identifier: Apache-2.0 */
#include "user/util/finding.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void tidy(char *text, size_t size)
{
	text[size - 1] = '\0';
	for (unsigned char *p = (unsigned char *)text; *p; p++)
		if (*p < ' ' || *p == 0x7f)
			*p = '?';
}

void finding_tidy(struct finding *f)
{
	if ((unsigned)f->state >= FINDING_STATES)
		f->state = FINDING_FAIL;
	tidy(f->what, sizeof(f->what));
	tidy(f->text, sizeof(f->text));
	tidy(f->cure, sizeof(f->cure));
}

void finding_tell(const struct finding_sink *to, enum finding_state state, const char *what,
		  const char *cure, const char *fmt, ...)
{
	struct finding f = { .state = state };
	va_list ap;

	snprintf(f.what, sizeof(f.what), "%s", what);
	snprintf(f.cure, sizeof(f.cure), "%s", cure ? cure : "");
	va_start(ap, fmt);
	vsnprintf(f.text, sizeof(f.text), fmt, ap);
	va_end(ap);
	finding_tidy(&f);
	to->take(to->arg, &f);
}

const char *finding_state_name(enum finding_state state)
{
	static const char *const names[FINDING_STATES] = {
		[FINDING_OK] = "ok",
		[FINDING_TWIN] = "twin",
		[FINDING_WARN] = "warn",
		[FINDING_FAIL] = "FAIL",
	};

	return (unsigned)state < FINDING_STATES ? names[state] : "FAIL";
}
