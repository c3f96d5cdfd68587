/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over every file of its corpus, each also cut at every length up to 256. An empty corpus fails. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data;
	size_t size;

	if (!file)
		return -1;
	fseek(file, 0, SEEK_END);
	size = (size_t)ftell(file);
	rewind(file);
	data = malloc(size + 1);
	if (!data || fread(data, 1, size, file) != size) {
		free(data);
		fclose(file);
		return -1;
	}
	fclose(file);
	LLVMFuzzerTestOneInput(data, size);
	for (size_t cut = 0; cut < size && cut < 256; cut++) {
		uint8_t *piece = malloc(cut + 1); /* its own block: reading past the end shows */

		for (size_t i = 0; piece && i < cut; i++)
			piece[i] = data[i];
		if (piece)
			LLVMFuzzerTestOneInput(piece, cut);
		free(piece);
	}
	free(data);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned count = 0;
	struct dirent *entry;
	DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;

	if (!folder)
		return fprintf(stderr, "usage: replay CORPUS-FOLDER (which must exist)\n"), 1;
	while ((entry = readdir(folder))) {
		char path[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name);
		if (replay(path)) {
			fprintf(stderr, "cannot read %s\n", path);
			return 1;
		}
		count++;
	}
	closedir(folder);
	printf("%u inputs\n", count);
	return count ? 0 : 1;
}
