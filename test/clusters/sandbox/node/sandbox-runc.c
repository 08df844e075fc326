// SPDX-License-Identifier: Apache-2.0
// Stands before runc: where CAP_SYS_RESOURCE is not in the bounding set, a container that asks for it cannot
// start, so it is taken out of the bundle's (or exec's) capabilities first. Elsewhere it only runs runc.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { cap_sys_resource = 24 };
static const char wanted[] = "\"CAP_SYS_RESOURCE\"";

// The end of the JSON object that opens at `text`, strings skipped.
static char *object_end(char *text) {
	int depth = 0, in_string = 0;
	for (; *text; text++) {
		if (in_string) {
			if (*text == '\\' && text[1])
				text++;
			else if (*text == '"')
				in_string = 0;
		} else if (*text == '"') {
			in_string = 1;
		} else if (*text == '{') {
			depth++;
		} else if (*text == '}' && --depth == 0) {
			return text;
		}
	}
	return text;
}

static char *cut(char *at, size_t length) {
	memmove(at, at + length, strlen(at + length) + 1);
	return at;
}

// Removes the capability, with one comma beside it, from every "capabilities" object.
static int strip(char *text) {
	int changed = 0;
	for (char *place = text; (place = strstr(place, "\"capabilities\":{"));) {
		place += strlen("\"capabilities\":");
		char *end = object_end(place);
		for (char *found = place; (found = strstr(found, wanted)) && found < end; changed = 1) {
			size_t length = strlen(wanted);
			if (found[length] == ',') {
				length++;
			} else if (found[-1] == ',') {
				found--;
				length++;
			}
			cut(found, length);
			end -= length;
		}
	}
	return changed;
}

static void strip_file(const char *path) {
	struct stat info;
	int in = open(path, O_RDONLY | O_CLOEXEC);
	if (in < 0 || fstat(in, &info) != 0)
		return;
	char *text = malloc(info.st_size + 1);
	ssize_t length = text ? read(in, text, info.st_size) : -1;
	close(in);
	if (length != info.st_size)
		return;
	text[length] = 0;
	if (!strip(text))
		return;
	char next[4096];
	snprintf(next, sizeof(next), "%s.new", path);
	int out = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, info.st_mode & 0777);
	size_t rest = strlen(text);
	if (out < 0 || write(out, text, rest) != (ssize_t)rest || close(out) != 0 || rename(next, path) != 0)
		fprintf(stderr, "sandbox-runc: cannot write %s: %s\n", path, strerror(errno));
}

static const char *value_of(int argc, char **argv, const char *name, const char *letter) {
	size_t length = strlen(name);
	for (int i = 1; i < argc; i++) {
		if ((strcmp(argv[i], name) == 0 || strcmp(argv[i], letter) == 0) && i + 1 < argc)
			return argv[i + 1];
		if (strncmp(argv[i], name, length) == 0 && argv[i][length] == '=')
			return argv[i] + length + 1;
	}
	return 0;
}

int main(int argc, char **argv) {
	if (prctl(PR_CAPBSET_READ, cap_sys_resource) == 0) {
		const char *bundle = value_of(argc, argv, "--bundle", "-b");
		const char *process = value_of(argc, argv, "--process", "-p");
		char path[4096];
		snprintf(path, sizeof(path), "%s/config.json", bundle ? bundle : ".");
		if (bundle)
			strip_file(path);
		if (process)
			strip_file(process);
	}
	execv("/usr/sbin/runc", argv);
	execv("/usr/bin/runc", argv);
	execv("/usr/local/sbin/runc", argv);
	fprintf(stderr, "sandbox-runc: cannot run runc: %s\n", strerror(errno));
	return 127;
}
