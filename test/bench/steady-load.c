// SPDX-License-Identifier: Apache-2.0
// Short connections at a steady rate, each told apart by the address that it reached.
//   steady-load server ADDRESS PORT      answers each connection with the last byte of the address that it came to
//   steady-load client ADDRESS PORT CONNECTIONS_A_SECOND MILLISECONDS
//     prints a line for each connection: "start_ns connected_ns end_ns backend port", the times of CLOCK_MONOTONIC, for
//     one that failed -errno as its backend, and the client's port
// Both end with the process that started them.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { SECOND_NS = 1000000000, DEADLINE_SECONDS = 3 };

static long long now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * (long long)SECOND_NS + now.tv_nsec;
}

static int fail(const char *what)
{
	fprintf(stderr, "steady-load: %s: %s\n", what, strerror(errno));
	return 1;
}

static void give_deadline(int connection)
{
	struct timeval deadline = { .tv_sec = DEADLINE_SECONDS };
	setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline));
	setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof(deadline));
}

static int serve(const struct sockaddr_in *at)
{
	int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (const struct sockaddr *)at, sizeof(*at)) || listen(listener, 4096))
		return fail("listen");
	for (;;) {
		struct sockaddr_in own;
		socklen_t size = sizeof(own);
		unsigned char byte;
		int connection = accept(listener, NULL, NULL);
		if (connection < 0)
			continue;
		give_deadline(connection);
		if (read(connection, &byte, 1) == 1 && !getsockname(connection, (struct sockaddr *)&own, &size)) {
			byte = ntohl(own.sin_addr.s_addr) & 0xff;
			if (write(connection, &byte, 1) != 1)
				fail("write");
		}
		close(connection);
	}
}

// The backend that answered, or -errno. A connection that ends without an answer counts as reset.
static int request(const struct sockaddr_in *to, long long *connected_ns, int *port)
{
	struct sockaddr_in own = {};
	socklen_t size = sizeof(own);
	struct linger reset = { .l_onoff = 1 }; // no TIME_WAIT: ports last
	int connection = socket(AF_INET, SOCK_STREAM, 0), result;
	unsigned char byte = 0;
	give_deadline(connection);
	result = connect(connection, (const struct sockaddr *)to, sizeof(*to));
	*connected_ns = now_ns();
	*port = getsockname(connection, (struct sockaddr *)&own, &size) ? 0 : ntohs(own.sin_port);
	if (!result && write(connection, &byte, 1) == 1) {
		ssize_t got = read(connection, &byte, 1);
		result = got == 1 ? byte : got == 0 ? -ECONNRESET : -errno;
	} else {
		result = -errno;
	}
	setsockopt(connection, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(connection);
	return result;
}

static int load(const struct sockaddr_in *to, long long per_second, long long milliseconds)
{
	long long start = now_ns(), end = start + milliseconds * 1000000;
	while (start < end) {
		long long connected, next = start + SECOND_NS / per_second;
		int port, backend = request(to, &connected, &port);
		if (printf("%lld %lld %lld %d %d\n", start, connected, now_ns(), backend, port) < 0 || fflush(stdout))
			return fail("write");
		struct timespec until = { .tv_sec = next / SECOND_NS, .tv_nsec = next % SECOND_NS };
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
		start = now_ns();
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	if (argc < 4 || inet_pton(AF_INET, argv[2], &address.sin_addr) != 1) {
		fprintf(stderr, "usage: steady-load server ADDRESS PORT | client ADDRESS PORT RATE MILLISECONDS\n");
		return 2;
	}
	address.sin_port = htons(atoi(argv[3]));
	if (argc == 4 && !strcmp(argv[1], "server"))
		return serve(&address);
	if (argc == 6 && !strcmp(argv[1], "client") && atoll(argv[4]) > 0)
		return load(&address, atoll(argv[4]), atoll(argv[5]));
	return 2;
}
