// SPDX-License-Identifier: Apache-2.0
// connect-storm ADDRESS PORT MILLISECONDS: connects UDP sockets, which sends nothing, as fast as it can for so long, and
// prints how many.
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static long long now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	const struct sockaddr nowhere = { .sa_family = AF_UNSPEC };
	if (argc != 4 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
		fprintf(stderr, "usage: connect-storm ADDRESS PORT MILLISECONDS\n");
		return 2;
	}
	to.sin_port = htons(atoi(argv[2]));
	int socket_fd = socket(AF_INET, SOCK_DGRAM, 0);
	long long connected = 0, end = now_ms() + atoll(argv[3]);
	while (now_ms() < end)
		for (int count = 0; count < 1000; count++) {
			connected += connect(socket_fd, (struct sockaddr *)&to, sizeof(to)) == 0;
			connect(socket_fd, &nowhere, sizeof(nowhere));
		}
	printf("%lld\n", connected);
	return 0;
}
