/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over files and folders of files, without libFuzzer: this
 * is how each corpus is part of the ordinary tests. After each file, all of its
 * prefixes and a few hundred fixed mutations of it are tried as well.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long inputs;

/* A copy of exact size, so that a sanitizer sees the first byte read beyond it. */
static void try_one(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		abort();
	memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
	inputs++;
}

static void try_file(const char *path)
{
	static uint8_t data[1 << 20];
	uint64_t state = 88172645463325252ull;
	size_t size, step;
	FILE *f = fopen(path, "re");

	if (!f) {
		perror(path);
		exit(1);
	}
	size = fread(data, 1, sizeof(data), f);
	fclose(f);
	try_one(data, size);
	step = size / 512 + 1;
	for (size_t n = 0; n < size; n += step)
		try_one(data, n);
	for (int i = 0; size && i < 300; i++) {
		uint8_t saved[4];
		size_t at[4];

		for (int k = 0; k < 4; k++) {
			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
			at[k] = (size_t)(state >> 8) % size;
			saved[k] = data[at[k]];
			if (k <= i % 4)
				data[at[k]] = (uint8_t)state;
		}
		try_one(data, size);
		for (int k = 3; k >= 0; k--)
			data[at[k]] = saved[k];
	}
}

static void try_path(const char *path)
{
	struct stat st;
	struct dirent *e;
	DIR *d;

	if (stat(path, &st) < 0) {
		perror(path);
		exit(1);
	}
	if (!S_ISDIR(st.st_mode)) {
		try_file(path);
		return;
	}
	d = opendir(path);
	if (!d) {
		perror(path);
		exit(1);
	}
	while ((e = readdir(d))) {
		char *child;

		if (e->d_name[0] == '.')
			continue;
		if (asprintf(&child, "%s/%s", path, e->d_name) < 0)
			abort();
		try_path(child);
		free(child);
	}
	closedir(d);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		try_path(argv[i]);
	printf("%lu inputs\n", inputs);
	return inputs ? 0 : 1;
}
