// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Reading a packet of the stack once into what every later step needs.
#pragma once

#include <linux/pkt_cls.h>
#include "lib/packet.h"

// Lets the next program or the stack go on; the same under tcx (TCX_NEXT) and clsact (TC_ACT_UNSPEC).
enum { TC_NEXT = -1 };

// Packet pointers by assembly: clang may merge plain reads of the two context fields, which the verifier refuses.
static __always_inline void *packet_start(const struct __sk_buff *skb)
{
	void *start;
	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(start) : "r"(skb), "i"(offsetof(struct __sk_buff, data)));
	return start;
}

static __always_inline void *packet_end(const struct __sk_buff *skb)
{
	void *end;
	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(end) : "r"(skb), "i"(offsetof(struct __sk_buff, data_end)));
	return end;
}

// Offsets up to here are tried directly; a helper reads what is further in or outside the linear part.
enum { DIRECT_MAX = 256 };

// The bytes at `offset` when they lie in the linear part, else NULL.
static __always_inline void *direct(const struct __sk_buff *skb, __u32 offset, __u32 length)
{
	void *start = packet_start(skb), *end = packet_end(skb);
	return offset <= DIRECT_MAX && start + offset + length <= end ? start + offset : NULL;
}

static __always_inline int read_bytes(const struct __sk_buff *skb, __u32 offset, void *to, __u32 length)
{
	void *at = direct(skb, offset, length);
	if (!at)
		return bpf_skb_load_bytes(skb, offset, to, length);
	__builtin_memcpy(to, at, length);
	return 0;
}

// Writes what no checksum covers, or what leaves every checksum as it is.
static __always_inline void write_bytes(struct __sk_buff *skb, __u32 offset, const void *from, __u32 length)
{
	void *at = direct(skb, offset, length);
	if (at)
		__builtin_memcpy(at, from, length);
	else
		bpf_skb_store_bytes(skb, offset, from, length, 0);
}

static __always_inline void count(const struct __sk_buff *skb, __u32 direction, __u32 reason)
{
	count_bytes(direction, reason, skb->len);
}

static __always_inline int drop(const struct __sk_buff *skb, __u32 direction, __u32 reason)
{
	count(skb, direction, reason);
	return TC_ACT_SHOT;
}

static __always_inline int pass(const struct __sk_buff *skb, __u32 direction, __u32 reason)
{
	count(skb, direction, reason);
	return TC_NEXT;
}

static __always_inline bool is_icmp_error(__u8 protocol, __u8 type)
{
	if (protocol == IPPROTO_ICMP)
		return type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB;
	return type < 128;
}

// Sets the ports of an ICMP tuple: the identifier is the asker's port.
static __always_inline int parse_icmp(struct __sk_buff *skb, struct packet *packet)
{
	struct icmphdr header;
	if (read_bytes(skb, packet->l4_offset, &header, sizeof(header)))
		return DROP_TRUNCATED;
	bool v4 = packet->tuple.protocol == IPPROTO_ICMP;
	packet->icmp_type = header.type;
	if (header.type == (v4 ? ICMP_ECHO : 128)) {
		packet->tuple.source_port = header.un.echo.id;
		packet->flags |= PACKET_ICMP_ECHO | PACKET_PORTS;
	} else if (header.type == (v4 ? ICMP_ECHOREPLY : 129)) {
		packet->tuple.destination_port = header.un.echo.id;
		packet->flags |= PACKET_ICMP_ECHO | PACKET_PORTS;
	} else if (is_icmp_error(packet->tuple.protocol, header.type)) {
		packet->flags |= PACKET_ICMP_ERROR;
	}
	return 0;
}

// What the first chunk of an SCTP packet (RFC 9260) means for an association, as TCP would say it.
static __always_inline __u8 tcp_flags_of_chunk(__u8 type)
{
	switch (type) {
	case 1: // INIT
		return TCP_SYN;
	case 6: // ABORT
	case 14: // SHUTDOWN COMPLETE
		return TCP_RST;
	default:
		return TCP_ACK;
	}
}

static __always_inline int parse_l4(struct __sk_buff *skb, struct packet *packet)
{
	if (packet->flags & PACKET_LATER_FRAGMENT)
		return 0;
	__u8 header[14]; // ports, and TCP's flags at 13
	switch (packet->tuple.protocol) {
	case IPPROTO_TCP:
		if (read_bytes(skb, packet->l4_offset, header, 14))
			return DROP_TRUNCATED;
		packet->tcp_flags = header[13];
		break;
	case IPPROTO_UDP:
		if (read_bytes(skb, packet->l4_offset, header, 8))
			return DROP_TRUNCATED;
		break;
	case IPPROTO_SCTP:
		if (read_bytes(skb, packet->l4_offset, header, 13))
			return DROP_TRUNCATED;
		packet->tcp_flags = tcp_flags_of_chunk(header[12]);
		break;
	case IPPROTO_ICMP:
		return packet_is_ipv4(packet) ? parse_icmp(skb, packet) : 0;
	case NEXT_ICMPV6:
		return packet_is_ipv4(packet) ? 0 : parse_icmp(skb, packet);
	default:
		return 0;
	}
	__builtin_memcpy(&packet->tuple.source_port, header, 4);
	packet->flags |= PACKET_PORTS;
	return 0;
}

static __always_inline int parse_ipv4(struct __sk_buff *skb, struct packet *packet)
{
	struct iphdr ip;
	if (read_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return DROP_TRUNCATED;
	__u32 length = bpf_ntohs(ip.tot_len);
	if (length == 0 && skb->gso_size) // larger than 65535 (BIG TCP)
		length = skb->len - ETH_HLEN;
	if (ip.version != 4 || ip.ihl < 5 || length < ip.ihl * 4u || length + ETH_HLEN > skb->len)
		return DROP_INVALID_PACKET;
	packet->tuple.source = mapped_address(ip.saddr);
	packet->tuple.destination = mapped_address(ip.daddr);
	packet->tuple.protocol = ip.protocol;
	packet->l4_offset = ETH_HLEN + ip.ihl * 4;
	packet->l3_length = length;
	packet->ttl = ip.ttl;
	if (ip.frag_off & bpf_htons(0x3fff)) {
		packet->flags |= PACKET_FRAGMENT;
		packet->fragment_id = ip.id;
		if (ip.frag_off & bpf_htons(0x1fff))
			packet->flags |= PACKET_LATER_FRAGMENT;
	}
	return parse_l4(skb, packet);
}

// Extension headers are followed up to six deep; real packets have one or two, more are refused.
static __always_inline int skip_extensions(struct __sk_buff *skb, struct packet *packet, __u8 next)
{
	__u32 offset = ETH_HLEN + sizeof(struct ipv6hdr);
	for (int depth = 0; depth < 6; depth++) {
		__u8 header[8];
		if (next != NEXT_HOP && next != NEXT_ROUTING && next != NEXT_DEST && next != NEXT_AUTH &&
		    next != NEXT_FRAGMENT) {
			packet->tuple.protocol = next;
			packet->l4_offset = offset;
			return 0;
		}
		if (read_bytes(skb, offset, header, sizeof(header)))
			return DROP_TRUNCATED;
		if (next == NEXT_FRAGMENT) {
			__u16 place = (header[2] << 8) | header[3];
			packet->flags |= PACKET_FRAGMENT;
			if (place & 0xfff8)
				packet->flags |= PACKET_LATER_FRAGMENT;
			__builtin_memcpy(&packet->fragment_id, header + 4, 4);
			offset += 8;
		} else if (next == NEXT_AUTH) {
			offset += (header[1] + 2) * 4;
		} else {
			offset += (header[1] + 1) * 8;
		}
		next = header[0];
	}
	return DROP_INVALID_PACKET;
}

static __always_inline int parse_ipv6(struct __sk_buff *skb, struct packet *packet)
{
	struct ipv6hdr ip;
	if (read_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return DROP_TRUNCATED;
	__u32 length = bpf_ntohs(ip.payload_len) + sizeof(ip);
	if (ip.version != 6 || length + ETH_HLEN > skb->len)
		return DROP_INVALID_PACKET;
	__builtin_memcpy(&packet->tuple.source, &ip.saddr, 16);
	__builtin_memcpy(&packet->tuple.destination, &ip.daddr, 16);
	// A mapped address on the wire would pass for an IPv4 one in every map.
	if (is_ipv4(&packet->tuple.source) || is_ipv4(&packet->tuple.destination))
		return DROP_INVALID_PACKET;
	packet->l3_length = length;
	packet->ttl = ip.hop_limit;
	int reason = skip_extensions(skb, packet, ip.nexthdr);
	return reason ? reason : parse_l4(skb, packet);
}

// Fills `packet` (zeroed before); returns 0 or the reason to drop it.
static __noinline int parse(struct __sk_buff *skb, struct packet *packet)
{
	if (skb->len >= ETH_HLEN + sizeof(struct iphdr) && !direct(skb, ETH_HLEN, sizeof(struct iphdr)) &&
	    bpf_skb_pull_data(skb, ETH_HLEN + sizeof(struct iphdr)))
		return DROP_TRUNCATED;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return parse_ipv4(skb, packet);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(skb, packet);
	return DROP_UNSUPPORTED_L3;
}
