// SPDX-License-Identifier: Apache-2.0
// Connect, request, close: how many short connections a second a path carries.
//   crr server ADDRESS PORT
//   crr client ADDRESS PORT MILLISECONDS
//     prints "connections p50_us p99_us p99.9_us kernel_us": times of the connect, and kernel time of the process
// Both end with the process that started them.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_SAMPLES = 2000000 };

static double now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static struct sockaddr_in endpoint(const char *address, const char *port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };
	if (inet_pton(AF_INET, address, &to.sin_addr) != 1) {
		fprintf(stderr, "crr: not an IPv4 address: %s\n", address);
		exit(2);
	}
	return to;
}

static int fail(const char *what)
{
	fprintf(stderr, "crr: %s: %s\n", what, strerror(errno));
	return 1;
}

static int serve(struct sockaddr_in at)
{
	int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&at, sizeof(at)) || listen(listener, 1024))
		return fail("listen");
	for (;;) {
		char byte;
		int client = accept(listener, NULL, NULL);
		if (client < 0)
			continue;
		if (read(client, &byte, 1) == 1 && write(client, &byte, 1) != 1)
			fail("write");
		close(client);
	}
}

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;
	return (x > y) - (x < y);
}

static int request(struct sockaddr_in to, float *connect_us)
{
	struct linger reset = { .l_onoff = 1 }; // no TIME_WAIT: ports last
	int client = socket(AF_INET, SOCK_STREAM, 0);
	double start = now_us();
	char byte = 'x';
	if (connect(client, (struct sockaddr *)&to, sizeof(to)))
		return fail("connect");
	*connect_us = now_us() - start;
	if (write(client, &byte, 1) != 1 || read(client, &byte, 1) != 1)
		return fail("request");
	setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(client);
	return 0;
}

// Time that the kernel worked for this process, what it did with its packets meanwhile included.
static double kernel_us(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_stime.tv_sec * 1e6 + usage.ru_stime.tv_usec;
}

static int measure(struct sockaddr_in to, int milliseconds)
{
	float *samples = malloc(MAX_SAMPLES * sizeof(*samples));
	int count = 0;
	double kernel_before = kernel_us();
	for (double end = now_us() + milliseconds * 1e3; now_us() < end && count < MAX_SAMPLES; count++)
		if (request(to, &samples[count]))
			return 1;
	double kernel = kernel_us() - kernel_before;
	qsort(samples, count, sizeof(*samples), by_value);
	printf("%d %.1f %.1f %.1f %.0f\n", count, samples[count / 2], samples[(int)(count * 0.99)],
	       samples[(int)(count * 0.999)], kernel);
	return 0;
}

int main(int argc, char **argv)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (argc == 4 && !strcmp(argv[1], "server"))
		return serve(endpoint(argv[2], argv[3]));
	if (argc == 5 && !strcmp(argv[1], "client"))
		return measure(endpoint(argv[2], argv[3]), atoi(argv[4]));
	fprintf(stderr, "usage: crr server ADDRESS PORT | crr client ADDRESS PORT MILLISECONDS\n");
	return 2;
}
