// SPDX-License-Identifier: Apache-2.0
// Who reaches whom: every pod asks every pod, over TCP, UDP and SCTP, IPv4 and IPv6, from inside their namespaces.
//   policy-prober PID,IPV4,IPV6 ...
//     one word a pod: a process in its network namespace, and its addresses ("-" for none)
// Listens in every pod on ports 80 and 81 of each protocol, and prints "ready". For every line "MILLISECONDS" that it
// reads it asks everything once and prints one line of 0 and 1: in the order of families, sources, destinations,
// protocols (TCP, UDP, SCTP) and ports. SCTP is raw packets, an INIT and its INIT ACK (RFC 9260, section 5.1), since
// the kernel may have no SCTP sockets. For a line "flood MILLISECONDS FROM TO" it sends datagrams from one pod to
// both ports of another all the time, by flows old and new, opens connections too, and prints as JSON what of it
// arrived. Ends with its input.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_PODS = 16, FAMILIES = 2, PROTOCOLS = 3, PORTS = 2, TCP = 0, UDP = 1, SCTP = 2 };
enum { MAX_CELLS = FAMILIES * MAX_PODS * MAX_PODS * PROTOCOLS * PORTS };
enum { MAX_SOCKETS = MAX_CELLS + MAX_PODS * 16 };
enum { INIT = 1, INIT_ACK = 2 };
/* Of a flood: datagrams a millisecond to each port and family, and how long its flows and connections last. */
enum { FLOOD = 1 << 30, BURST = 2, FLOW_MS = 25, CONNECTION_MS = 20, CONNECT_MS = 900 };

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct pod {
	int netns;
	union address at[FAMILIES];
	int has[FAMILIES];
};

/* What a socket is for: its owner takes what arrives there. */
enum purpose { LISTENER, ECHO, RAW, CONNECTING, ASKING };

struct socket_of {
	int fd;
	enum purpose purpose;
	int pod;
	int family;
	int cell;
};

static struct pod pods[MAX_PODS];
static int pod_count;
static struct socket_of sockets[MAX_SOCKETS];
static struct pollfd polled[MAX_SOCKETS];
static int socket_count;
static char reached[MAX_CELLS + 1];
static uint32_t round_number;
static long arrived[PORTS];
static const int port_of[PORTS] = { 80, 81 };

struct __attribute__((packed)) sctp_packet {
	uint16_t source, destination;
	uint32_t tag, checksum;
	uint8_t type, flags;
	uint16_t length;
	uint32_t initiate_tag, window;
	uint16_t outbound, inbound;
	uint32_t sequence;
};

static void die(const char *what)
{
	fprintf(stderr, "policy-prober: %s: %s\n", what, strerror(errno));
	exit(1);
}

static long now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000L + now.tv_nsec / 1000000L;
}

static int cell_of(int family, int from, int to, int protocol, int port)
{
	return (((family * pod_count + from) * pod_count + to) * PROTOCOLS + protocol) * PORTS + port;
}

/* CRC-32C, as SCTP wants it (RFC 9260, appendix A): the low byte first. */
static uint32_t crc32c(const void *data, size_t length)
{
	uint32_t crc = ~0u;
	for (const uint8_t *byte = data; length--; byte++) {
		crc ^= *byte;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return htole32(~crc);
}

static void enter(int pod)
{
	if (setns(pods[pod].netns, CLONE_NEWNET))
		die("setns");
}

static int keep(int fd, enum purpose purpose, int pod, int family, int cell)
{
	if (socket_count == MAX_SOCKETS) {
		errno = EMFILE;
		die("sockets");
	}
	sockets[socket_count] = (struct socket_of){ fd, purpose, pod, family, cell };
	polled[socket_count] = (struct pollfd){ .fd = fd, .events = purpose == CONNECTING ? POLLOUT : POLLIN };
	socket_count++;
	return fd;
}

static union address address_of(int pod, int family, int port)
{
	union address to = pods[pod].at[family];
	if (family == 0)
		to.v4.sin_port = htons(port);
	else
		to.v6.sin6_port = htons(port);
	return to;
}

static socklen_t size_of(int family)
{
	return family == 0 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

static int open_socket(int family, int type, int protocol)
{
	int fd = socket(family == 0 ? AF_INET : AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
	if (fd < 0)
		die("socket");
	return fd;
}

static void serve(int pod, int family)
{
	int one = 1, room = 8 << 20;
	enter(pod);
	for (int port = 0; port < PORTS; port++)
		for (int type = SOCK_STREAM;; type = SOCK_DGRAM) {
			union address at = address_of(pod, family, port_of[port]);
			int fd = open_socket(family, type, 0);
			setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
			setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
			if (bind(fd, &at.any, size_of(family)) || (type == SOCK_STREAM && listen(fd, 128)))
				die("listen");
			keep(fd, type == SOCK_STREAM ? LISTENER : ECHO, pod, family, 0);
			if (type == SOCK_DGRAM)
				break;
		}
	keep(open_socket(family, SOCK_RAW, IPPROTO_SCTP), RAW, pod, family, 0);
}

static int raw_socket(int pod, int family)
{
	for (int index = 0; index < socket_count; index++)
		if (sockets[index].purpose == RAW && sockets[index].pod == pod && sockets[index].family == family)
			return sockets[index].fd;
	return -1;
}

static void send_sctp(int fd, int family, union address to, struct sctp_packet packet)
{
	if (family == 0)
		to.v4.sin_port = 0;
	else
		to.v6.sin6_port = 0;
	packet.length = htons(20);
	packet.window = htonl(65536);
	packet.outbound = packet.inbound = htons(1);
	packet.checksum = 0;
	packet.checksum = crc32c(&packet, sizeof(packet));
	sendto(fd, &packet, sizeof(packet), 0, &to.any, size_of(family));
}

static void ask(int cell, int family, int from, int to, int protocol, int port)
{
	union address at = address_of(to, family, port_of[port]);
	if (protocol == TCP) {
		int fd = open_socket(family, SOCK_STREAM, 0);
		if (connect(fd, &at.any, size_of(family)) && errno != EINPROGRESS) {
			close(fd);
			return;
		}
		keep(fd, CONNECTING, from, family, cell);
	} else if (protocol == UDP) {
		uint32_t words[2] = { round_number, cell };
		int fd = open_socket(family, SOCK_DGRAM, 0);
		sendto(fd, words, sizeof(words), 0, &at.any, size_of(family));
		keep(fd, ASKING, from, family, cell);
	} else {
		struct sctp_packet packet = {
			.source = htons(1024 + (round_number * 977 + cell) % 60000),
			.destination = htons(port_of[port]),
			.type = INIT,
			.initiate_tag = htonl(round_number << 16 | (cell + 1)),
			.sequence = htonl(1),
		};
		send_sctp(raw_socket(from, family), family, at, packet);
	}
}

static void take_raw(struct socket_of *socket)
{
	uint8_t data[2048];
	union address from;
	socklen_t length = sizeof(from);
	ssize_t size;
	while ((size = recvfrom(socket->fd, data, sizeof(data), 0, &from.any, &length)) > 0) {
		struct sctp_packet packet;
		size_t header = socket->family == 0 ? (data[0] & 15) * 4u : 0;
		length = sizeof(from);
		if ((size_t)size < header + sizeof(packet))
			continue;
		memcpy(&packet, data + header, sizeof(packet));
		if (packet.type == INIT) {
			struct sctp_packet answer = {
				.source = packet.destination,
				.destination = packet.source,
				.tag = packet.initiate_tag,
				.type = INIT_ACK,
				.initiate_tag = htonl(1),
				.sequence = htonl(1),
			};
			send_sctp(socket->fd, socket->family, from, answer);
		} else if (packet.type == INIT_ACK) {
			uint32_t tag = ntohl(packet.tag), cell = (tag & 0xffff) - 1;
			if (tag >> 16 == (round_number & 0xffff) && cell < MAX_CELLS)
				reached[cell] = '1';
		}
	}
}

static void take(int index)
{
	struct socket_of *socket = &sockets[index];
	uint32_t words[2];
	union address from;
	socklen_t length = sizeof(from);
	if (socket->purpose == LISTENER) {
		int fd;
		struct linger reset = { .l_onoff = 1 };
		while ((fd = accept4(socket->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
			close(fd);
		}
	} else if (socket->purpose == ECHO) {
		while (recvfrom(socket->fd, words, sizeof(words), 0, &from.any, &length) == sizeof(words)) {
			if (words[1] & FLOOD)
				arrived[words[1] & 1] += words[0] == round_number;
			else
				sendto(socket->fd, words, sizeof(words), 0, &from.any, length);
			length = sizeof(from);
		}
	} else if (socket->purpose == RAW) {
		take_raw(socket);
	} else if (socket->purpose == CONNECTING) {
		int error = 0;
		socklen_t size = sizeof(error);
		getsockopt(socket->fd, SOL_SOCKET, SO_ERROR, &error, &size);
		if (error == 0 || error == ECONNRESET)
			reached[socket->cell] = '1';
		polled[index].fd = -1;
	} else if (recv(socket->fd, words, sizeof(words), 0) == sizeof(words) && words[0] == round_number)
		reached[words[1]] = '1';
}

static void take_until(long deadline)
{
	for (long left = deadline - now_ms(); left > 0; left = deadline - now_ms()) {
		int ready = poll(polled, socket_count, left);
		if (ready < 0 && errno != EINTR)
			die("poll");
		for (int index = 0; ready > 0 && index < socket_count; index++)
			if (polled[index].revents != 0)
				take(index);
	}
}

/* Asks whatever was not reached yet. Returns how much that was. */
static int ask_all(void)
{
	int asked = 0;
	for (int from = 0; from < pod_count; from++) {
		enter(from);
		for (int family = 0; family < FAMILIES; family++)
			for (int to = 0; to < pod_count; to++)
				for (int what = 0; what < PROTOCOLS * PORTS; what++) {
					int cell = cell_of(family, from, to, what / PORTS, what % PORTS);
					if (reached[cell] == '1' || !pods[from].has[family] || !pods[to].has[family])
						continue;
					ask(cell, family, from, to, what / PORTS, what % PORTS);
					asked++;
				}
		take_until(now_ms() + 1);
	}
	return asked;
}

static void forget_from(int first)
{
	struct linger reset = { .l_onoff = 1 };
	for (int index = first; index < socket_count; index++) {
		setsockopt(sockets[index].fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		close(sockets[index].fd);
	}
	socket_count = first;
}

/* Everything is asked twice, half the time each: a packet may be lost. */
static void run_round(long patience_ms)
{
	int first = socket_count, cells = cell_of(FAMILIES - 1, pod_count - 1, pod_count - 1, SCTP, PORTS - 1) + 1;
	memset(reached, '0', cells);
	reached[cells] = 0;
	for (int time = 0; time < 2; time++) {
		round_number++;
		if (ask_all() == 0)
			break;
		/* What is reached is reached soon; the rest of the time is for what is not. */
		take_until(now_ms() + patience_ms / 2);
		forget_from(first);
	}
	forget_from(first);
	puts(reached);
	fflush(stdout);
}

/* Connections of a flood that are under way: the oldest first. */
struct attempt {
	int fd, port;
	long since;
};

static void flood(long milliseconds, int from, int to)
{
	static struct attempt attempts[4096];
	long end = now_ms() + milliseconds, sent[PORTS] = {}, opened[PORTS] = {}, connected[PORTS] = {};
	long flow_at = 0, connection_at = 0;
	int flows[FAMILIES] = { -1, -1 }, first = 0, last = 0;
	round_number++;
	memset(arrived, 0, sizeof(arrived));
	enter(from);
	while (now_ms() < end || first != last) {
		long now = now_ms();
		for (int family = 0; family < FAMILIES && now < end; family++) {
			if (!pods[from].has[family] || !pods[to].has[family])
				continue;
			if (now >= flow_at) {
				if (flows[family] >= 0)
					close(flows[family]);
				flows[family] = open_socket(family, SOCK_DGRAM, 0);
			}
			for (int port = 0; port < PORTS; port++) {
				uint32_t words[2] = { round_number, FLOOD | port };
				union address at = address_of(to, family, port_of[port]);
				for (int count = 0; count < BURST; count++)
					sent[port] += sendto(flows[family], words, sizeof(words), 0, &at.any, size_of(family)) > 0;
				if (now >= connection_at && (last + 1) % 4096 != first) {
					int fd = open_socket(family, SOCK_STREAM, 0);
					connect(fd, &at.any, size_of(family));
					attempts[last] = (struct attempt){ fd, port, now };
					last = (last + 1) % 4096;
					opened[port]++;
				}
			}
		}
		if (now >= flow_at)
			flow_at = now + FLOW_MS;
		if (now >= connection_at)
			connection_at = now + CONNECTION_MS;
		while (first != last && now - attempts[first].since >= CONNECT_MS) {
			struct linger reset = { .l_onoff = 1 };
			struct pollfd ready = { .fd = attempts[first].fd, .events = POLLOUT };
			/* Reset by the server means that it was there. */
			int error = 0;
			socklen_t size = sizeof(error);
			if (poll(&ready, 1, 0) == 1) {
				getsockopt(ready.fd, SOL_SOCKET, SO_ERROR, &error, &size);
				connected[attempts[first].port] += error == 0 || error == ECONNRESET;
			}
			setsockopt(ready.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
			close(ready.fd);
			first = (first + 1) % 4096;
		}
		take_until(now_ms() + 1);
	}
	take_until(now_ms() + 200);
	for (int family = 0; family < FAMILIES; family++)
		if (flows[family] >= 0)
			close(flows[family]);
	printf("{");
	for (int port = 0; port < PORTS; port++)
		printf("%s\"%d\":{\"sent\":%ld,\"arrived\":%ld,\"opened\":%ld,\"connected\":%ld}", port ? "," : "",
		       port_of[port], sent[port], arrived[port], opened[port], connected[port]);
	puts("}");
	fflush(stdout);
}

static void read_pod(char *word)
{
	char *save = NULL, *pid = strtok_r(word, ",", &save), path[64];
	struct pod *pod = &pods[pod_count];
	snprintf(path, sizeof(path), "/proc/%s/ns/net", pid);
	pod->netns = open(path, O_RDONLY | O_CLOEXEC);
	if (pod->netns < 0)
		die(path);
	for (int family = 0; family < FAMILIES; family++) {
		char *text = strtok_r(NULL, ",", &save);
		void *address = family == 0 ? (void *)&pod->at[0].v4.sin_addr : (void *)&pod->at[1].v6.sin6_addr;
		pod->at[family].any.sa_family = family == 0 ? AF_INET : AF_INET6;
		pod->has[family] = text != NULL && inet_pton(family == 0 ? AF_INET : AF_INET6, text, address) == 1;
	}
	pod_count++;
}

int main(int argc, char **argv)
{
	char line[64];
	struct rlimit files = { 8192, 8192 };
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setrlimit(RLIMIT_NOFILE, &files);
	if (argc < 2 || argc - 1 > MAX_PODS) {
		fprintf(stderr, "usage: policy-prober PID,IPV4,IPV6 ... (at most %d)\n", MAX_PODS);
		return 2;
	}
	for (int index = 1; index < argc; index++)
		read_pod(argv[index]);
	for (int pod = 0; pod < pod_count; pod++)
		for (int family = 0; family < FAMILIES; family++)
			if (pods[pod].has[family])
				serve(pod, family);
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) != NULL) {
		long milliseconds;
		int from, to;
		if (sscanf(line, "flood %ld %d %d", &milliseconds, &from, &to) != 3)
			run_round(atol(line));
		else if (from >= 0 && from < pod_count && to >= 0 && to < pod_count)
			flood(milliseconds, from, to);
	}
	return 0;
}
