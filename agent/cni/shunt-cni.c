// SPDX-License-Identifier: Apache-2.0
// The CNI plugin that container runtimes start: hands CNI's environment and standard input to the node agent's
// unix socket and prints the answer. It knows nothing of networks; a stopped agent only delays it.
//
// Request:  4 bytes length (big endian), then JSON: {"env":{"CNI_COMMAND":"ADD",…},"stdin":"<text>"}
// Response: 4 bytes length, then one byte exit code, then the text for standard output.
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { MAX_INPUT = 4 << 20, MAX_ANSWER = 4 << 20, RETRY_MS = 100 };

// How long without an agent, and how long in all: kubelet gives up on a sandbox after four minutes, and each try
// that it gives up is made again in full.
enum { ABSENT_MS = 30000, TOTAL_MS = 110000 };

#define DEFAULT_SOCKET "/var/run/shunt/cni.sock"

static const char *const forwarded[] = { "CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME",
	"CNI_ARGS", "CNI_PATH", "CNI_NETNS_OVERRIDE" };

static long long now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

// Prints a CNI error and returns the exit code. `message` must need no JSON escapes.
static int fail(int code, const char *message, const char *details)
{
	printf("{\"cniVersion\":\"1.0.0\",\"code\":%d,\"msg\":\"%s\",\"details\":\"%s\"}\n", code, message, details);
	return 1;
}

static char *read_input(size_t *length)
{
	size_t capacity = 65536;
	char *text = malloc(capacity);
	*length = 0;
	while (text) {
		ssize_t got = read(0, text + *length, capacity - *length - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		*length += (size_t)got;
		if (*length > MAX_INPUT)
			return NULL;
		if (*length + 1 >= capacity)
			text = realloc(text, capacity *= 2);
	}
	if (text)
		text[*length] = 0;
	return text;
}

// Appends `text` as a JSON string; the buffer has room for six times its length.
static char *put_json(char *to, const char *text, size_t length)
{
	*to++ = '"';
	for (size_t index = 0; index < length; index++) {
		unsigned char byte = (unsigned char)text[index];
		if (byte == '"' || byte == '\\') {
			*to++ = '\\';
			*to++ = (char)byte;
		} else if (byte < 0x20 || byte == 0x7f) {
			to += sprintf(to, "\\u%04x", byte);
		} else {
			*to++ = (char)byte;
		}
	}
	*to++ = '"';
	return to;
}

static char *build_request(const char *input, size_t input_length, size_t *length)
{
	size_t room = input_length;
	for (size_t index = 0; index < sizeof(forwarded) / sizeof(*forwarded); index++)
		room += strlen(forwarded[index]) + (getenv(forwarded[index]) ? strlen(getenv(forwarded[index])) : 0) + 8;
	char *request = malloc(room * 6 + 64), *at = request + 4;
	if (!request)
		return NULL;
	at = stpcpy(at, "{\"env\":{");
	int first = 1;
	for (size_t index = 0; index < sizeof(forwarded) / sizeof(*forwarded); index++) {
		const char *value = getenv(forwarded[index]);
		if (!value)
			continue;
		if (!first)
			*at++ = ',';
		first = 0;
		at = put_json(at, forwarded[index], strlen(forwarded[index]));
		*at++ = ':';
		at = put_json(at, value, strlen(value));
	}
	at = stpcpy(at, "},\"stdin\":");
	at = put_json(at, input, input_length);
	*at++ = '}';
	*length = (size_t)(at - request);
	uint32_t size = htonl((uint32_t)(*length - 4));
	memcpy(request, &size, 4);
	return request;
}

// The value of the configuration's "socket" key, if it is a plain absolute path.
static const char *socket_path(char *input)
{
	static char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	const char *at = strstr(input, "\"socket\"");
	if (!at)
		return DEFAULT_SOCKET;
	at += strlen("\"socket\"");
	at += strspn(at, " \t\r\n:");
	if (*at++ != '"' || *at != '/')
		return DEFAULT_SOCKET;
	size_t length = strcspn(at, "\"\\");
	if (at[length] != '"' || length >= sizeof(path))
		return DEFAULT_SOCKET;
	memcpy(path, at, length);
	path[length] = 0;
	return path;
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static int transfer(int fd, char *data, size_t length, int writing)
{
	while (length > 0) {
		ssize_t done = writing ? send(fd, data, length, MSG_NOSIGNAL) : recv(fd, data, length, 0);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return -1;
		data += done;
		length -= (size_t)done;
	}
	return 0;
}

// One attempt. Returns the exit code, or -1 when the agent went away before it had answered, and then when that was.
static int ask(const char *path, char *request, size_t length, long long deadline, long long *last_seen)
{
	int fd = connect_to(path);
	if (fd < 0)
		return -1;
	long long left = deadline - now_ms();
	struct timeval limit = { .tv_sec = left > 1000 ? left / 1000 : 1 };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	uint32_t size = 0;
	char *answer = NULL;
	int result = -1;
	if (transfer(fd, request, length, 1) == 0 && transfer(fd, (char *)&size, 4, 0) == 0) {
		size = ntohl(size);
		answer = size >= 1 && size <= MAX_ANSWER ? malloc(size) : NULL;
		if (answer && transfer(fd, answer, size, 0) == 0) {
			fwrite(answer + 1, 1, size - 1, stdout);
			result = (unsigned char)answer[0];
		}
	}
	free(answer);
	close(fd);
	*last_seen = now_ms();
	return result;
}

int main(void)
{
	const char *command = getenv("CNI_COMMAND");
	if (!command)
		return fail(4, "CNI_COMMAND is not set", "this program is started by a container runtime, not by hand");
	if (strcmp(command, "VERSION") == 0) {
		puts("{\"cniVersion\":\"1.1.0\",\"supportedVersions\":"
		     "[\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}");
		return 0;
	}
	size_t input_length = 0, length = 0;
	char *input = read_input(&input_length);
	if (!input)
		return fail(6, "cannot read the network configuration from standard input", "too large, or no memory");
	char *request = build_request(input, input_length, &length);
	if (!request)
		return fail(5, "no memory", "");
	const char *path = socket_path(input);
	long long last_seen = now_ms(), deadline = last_seen + TOTAL_MS;
	do {
		int code = ask(path, request, length, deadline, &last_seen);
		if (code >= 0)
			return code;
		usleep(RETRY_MS * 1000);
	} while (now_ms() < deadline && now_ms() < last_seen + ABSENT_MS);
	return fail(11, "the Shunt agent does not answer on this node; try again later",
		"look at the pod shunt-agent of this node in namespace kube-system");
}
