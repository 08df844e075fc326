// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Changing a packet's addresses and ports, and its checksums with them.
#pragma once

#include <linux/tcp.h>
#include <linux/udp.h>
#include "lib/parse.h"
#include "lib/crc32c.h"

static __always_inline __u32 l4_checksum_offset(const struct packet *packet)
{
	switch (packet->tuple.protocol) {
	case IPPROTO_TCP:
		return packet->l4_offset + offsetof(struct tcphdr, check);
	case IPPROTO_UDP:
		return packet->l4_offset + offsetof(struct udphdr, check);
	default:
		return packet->l4_offset + offsetof(struct icmphdr, checksum);
	}
}

// Writes both addresses; the transport checksum follows when it covers them and is in this fragment.
static __always_inline int rewrite_addresses(struct __sk_buff *skb, const struct packet *packet, const struct tuple *to)
{
	__u64 flags = BPF_F_PSEUDO_HDR;
	bool covered = !(packet->flags & PACKET_LATER_FRAGMENT) && packet->tuple.protocol != IPPROTO_SCTP;
	if (packet->tuple.protocol == IPPROTO_UDP)
		flags |= BPF_F_MARK_MANGLED_0;
	if (packet_is_ipv4(packet)) {
		__be32 before[2] = { packet->tuple.source.word[3], packet->tuple.destination.word[3] };
		__be32 after[2] = { to->source.word[3], to->destination.word[3] };
		__s64 change = bpf_csum_diff(before, sizeof(before), after, sizeof(after), 0);
		if (covered && packet->tuple.protocol != IPPROTO_ICMP &&
		    bpf_l4_csum_replace(skb, l4_checksum_offset(packet), 0, change, flags))
			return -1;
		if (bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), 0, change, 0))
			return -1;
		return bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct iphdr, saddr), after, sizeof(after), 0);
	}
	struct address before[2] = { packet->tuple.source, packet->tuple.destination };
	struct address after[2] = { to->source, to->destination };
	__s64 change = bpf_csum_diff(before[0].word, sizeof(before), after[0].word, sizeof(after), 0);
	if (covered && bpf_l4_csum_replace(skb, l4_checksum_offset(packet), 0, change, flags))
		return -1;
	return bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, saddr), after, sizeof(after), 0);
}

static __always_inline int rewrite_echo_id(struct __sk_buff *skb, const struct packet *packet, const struct tuple *to)
{
	bool request = packet->icmp_type == ICMP_ECHO || packet->icmp_type == 128;
	__be16 before = request ? packet->tuple.source_port : packet->tuple.destination_port;
	__be16 after = request ? to->source_port : to->destination_port;
	if (before == after)
		return 0;
	if (bpf_l4_csum_replace(skb, l4_checksum_offset(packet), before, after, sizeof(after)))
		return -1;
	return bpf_skb_store_bytes(skb, packet->l4_offset + offsetof(struct icmphdr, un), &after, sizeof(after), 0);
}

static __always_inline int rewrite_sctp_ports(struct __sk_buff *skb, const struct packet *packet, __u32 change, __u32 after)
{
	__u32 checksum;
	__u32 offset = packet->l4_offset + 8;
	if (bpf_skb_load_bytes(skb, offset, &checksum, sizeof(checksum)))
		return -1;
	if (checksum) { // else the device is still to compute it
		checksum = crc32c_after(checksum, change, packet->l3_length + ETH_HLEN - packet->l4_offset);
		if (bpf_skb_store_bytes(skb, offset, &checksum, sizeof(checksum), 0))
			return -1;
	}
	return bpf_skb_store_bytes(skb, packet->l4_offset, &after, sizeof(after), 0);
}

static __always_inline int rewrite_ports(struct __sk_buff *skb, const struct packet *packet, const struct tuple *to)
{
	if (packet->flags & PACKET_LATER_FRAGMENT || !(packet->flags & PACKET_PORTS))
		return 0;
	if (packet->flags & PACKET_ICMP_ECHO)
		return rewrite_echo_id(skb, packet, to);
	__u32 before, after;
	__builtin_memcpy(&before, &packet->tuple.source_port, 4);
	__builtin_memcpy(&after, &to->source_port, 4);
	if (before == after)
		return 0;
	if (packet->tuple.protocol == IPPROTO_SCTP)
		return rewrite_sctp_ports(skb, packet, before ^ after, after);
	__u64 flags = sizeof(after);
	if (packet->tuple.protocol == IPPROTO_UDP)
		flags |= BPF_F_MARK_MANGLED_0;
	if (bpf_l4_csum_replace(skb, l4_checksum_offset(packet), before, after, flags))
		return -1;
	return bpf_skb_store_bytes(skb, packet->l4_offset, &after, sizeof(after), 0);
}

// Makes the packet carry `to`; returns 0 or a reason to drop it.
static __noinline int rewrite(struct __sk_buff *skb, struct packet *packet, const struct tuple *to)
{
	if (rewrite_addresses(skb, packet, to) || rewrite_ports(skb, packet, to))
		return DROP_TRANSLATE_FAILED;
	packet->tuple = *to;
	return 0;
}
