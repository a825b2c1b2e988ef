/* SPDX-License-Identifier: Apache-2.0 */
#include "user/interfaces.h"

#include "tests/lib/test.h"

TEST(only_our_own_namespace)
{
	struct interfaces i;
	struct slice name;

	interfaces_init(&i);
	CHECK(i.netns != 0);
	/* The loopback interface is the first of every namespace. */
	name = interfaces_find(&i, 1, i.netns, 0);
	CHECK_MEM(name.p, name.len, "lo");
	name = interfaces_find(&i, 1, i.netns + 1, 0);
	CHECK_INT(name.len, 0);
	name = interfaces_find(&i, 0, i.netns, 0);
	CHECK_INT(name.len, 0);
	name = interfaces_find(&i, 2000000000, i.netns, 0);
	CHECK_INT(name.len, 0);
	i.netns = 0;
	name = interfaces_find(&i, 1, 0, 0);
	CHECK_INT(name.len, 0);
}

TEST(asked_again_after_a_while)
{
	struct interfaces i;

	interfaces_init(&i);
	interfaces_find(&i, 1, i.netns, 1000);
	interfaces_find(&i, 1, i.netns, 1000 + INTERFACES_KEEP_MS - 1);
	CHECK_INT(i.lookups, 1);
	interfaces_find(&i, 1, i.netns, 1000 + INTERFACES_KEEP_MS);
	CHECK_INT(i.lookups, 2);
	interfaces_find(&i, 1 + INTERFACES_MAX, i.netns, 1000 + INTERFACES_KEEP_MS);
	interfaces_find(&i, 1, i.netns, 1000 + INTERFACES_KEEP_MS);
	CHECK_INT(i.lookups, 4); /* two numbers, one slot */
}
