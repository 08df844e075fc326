// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What every step needs of a packet, and counting what became of it.
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include "lib/addresses.h"
#include "lib/maps.h"

// linux/icmp.h would bring in the C library's headers.
struct icmphdr {
	__u8 type;
	__u8 code;
	__sum16 checksum;
	union {
		struct {
			__be16 id;
			__be16 sequence;
		} echo;
		__be32 rest;
	} un;
};

enum { ICMP_ECHOREPLY = 0, ICMP_DEST_UNREACH = 3, ICMP_ECHO = 8, ICMP_TIME_EXCEEDED = 11, ICMP_PARAMETERPROB = 12 };

#define NEXT_ICMPV6 58
#define NEXT_HOP 0
#define NEXT_ROUTING 43
#define NEXT_FRAGMENT 44
#define NEXT_AUTH 51
#define NEXT_DEST 60

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

enum packet_flag {
	PACKET_PORTS = 1, // the tuple's ports are known
	PACKET_FRAGMENT = 2, // any fragment
	PACKET_LATER_FRAGMENT = 4, // without the transport header
	PACKET_ICMP_ERROR = 8,
	PACKET_ICMP_ECHO = 16,
};

struct packet {
	struct tuple tuple;
	__u32 fragment_id;
	__u16 l4_offset;
	__u16 l3_length; // of the whole IP packet
	__u8 ttl;
	__u8 icmp_type;
	__u8 tcp_flags;
	__u8 flags; // enum packet_flag
	__u32 identity; // of the sender, where another node or its own endpoint says so; else 0
};

static __always_inline void count_bytes(__u32 direction, __u32 reason, __u32 length)
{
	__u32 index = direction * COUNTER_REASONS + reason;
	struct counter *counter = bpf_map_lookup_elem(&sh_counters, &index);
	if (counter) {
		counter->packets++;
		counter->bytes += length;
	}
}

static __always_inline bool packet_is_ipv4(const struct packet *packet)
{
	return is_ipv4(&packet->tuple.source);
}

// Ports of fragments: the first one leaves them in a table, later ones take them from there.
static __always_inline void resolve_fragment(struct packet *packet)
{
	if (!(packet->flags & PACKET_FRAGMENT))
		return;
	struct fragment_key key = {
		.source = packet->tuple.source, .destination = packet->tuple.destination,
		.id = packet->fragment_id, .protocol = packet->tuple.protocol,
	};
	if (packet->flags & PACKET_LATER_FRAGMENT) {
		struct fragment_ports *ports = bpf_map_lookup_elem(&sh_fragments, &key);
		if (!ports)
			return;
		packet->tuple.source_port = ports->source_port;
		packet->tuple.destination_port = ports->destination_port;
		packet->flags |= PACKET_PORTS;
	} else if (packet->flags & PACKET_PORTS) {
		struct fragment_ports ports = {
			.source_port = packet->tuple.source_port,
			.destination_port = packet->tuple.destination_port,
		};
		bpf_map_update_elem(&sh_fragments, &key, &ports, BPF_ANY);
	}
}
