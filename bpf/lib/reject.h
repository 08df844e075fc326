// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Telling a client at once that nobody serves it: a reset for TCP, "port unreachable" for the rest.
#pragma once

#include "lib/nat.h"

enum { REJECT_TTL = 64, ICMP_PORT_UNREACH = 3, ICMPV6_DEST_UNREACH = 1, ICMPV6_PORT_UNREACH = 4 };

// What a reject changes in a TCP header, in its order.
struct tcp_core {
	__be32 sequence;
	__be32 acknowledgement;
	__u8 data_offset;
	__u8 flags;
	__be16 window;
};

static __always_inline int swap_macs(struct __sk_buff *skb)
{
	__u8 macs[12], swapped[12];
	if (read_bytes(skb, 0, macs, sizeof(macs)))
		return -1;
	__builtin_memcpy(swapped, macs + 6, 6);
	__builtin_memcpy(swapped + 6, macs, 6);
	write_bytes(skb, 0, swapped, sizeof(swapped));
	return 0;
}

// Sends the packet out by the device that it came in by.
static __always_inline int send_back(struct __sk_buff *skb, __u32 direction)
{
	if (swap_macs(skb))
		return drop(skb, direction, DROP_TRUNCATED);
	count(skb, direction, FORWARD_REJECTED);
	skb->tc_index = TC_INDEX_ROUTED;
	return bpf_redirect(skb->ifindex, 0);
}

static __always_inline int renew_ttl(struct __sk_buff *skb, const struct packet *packet)
{
	__u8 ttl = REJECT_TTL;
	if (!packet_is_ipv4(packet))
		return bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, hop_limit), &ttl, 1,
					   BPF_F_RECOMPUTE_CSUM);
	// TTL and protocol share a word.
	__be16 before = bpf_htons(packet->ttl << 8 | packet->tuple.protocol);
	__be16 after = bpf_htons(REJECT_TTL << 8 | packet->tuple.protocol);
	if (bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), before, after, 2))
		return -1;
	return bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct iphdr, ttl), &ttl, 1, 0);
}

// RFC 9293, 3.10.7.1: the answer to a segment for a connection that does not exist. The segment becomes its answer:
// swapping both ends changes no checksum, and what else changes is made up for, whoever computes the sum.
static __noinline int reset(struct __sk_buff *skb, struct packet *packet, __u32 direction)
{
	struct scratch *scratch = scratch_of_cpu();
	if (!packet || !scratch)
		return TC_ACT_SHOT;
	struct tcp_core core, answer = {};
	if (bpf_skb_load_bytes(skb, packet->l4_offset + 4, &core, sizeof(core)))
		return drop(skb, direction, DROP_TRUNCATED);
	if (core.flags & TCP_RST)
		return drop(skb, direction, DROP_NO_BACKEND);
	answer.data_offset = core.data_offset;
	if (core.flags & TCP_ACK) {
		answer.sequence = core.acknowledgement;
		answer.flags = TCP_RST;
	} else {
		__u32 payload = packet->l3_length + ETH_HLEN - packet->l4_offset - (core.data_offset >> 4) * 4;
		__u32 phantom = !!(core.flags & TCP_SYN) + !!(core.flags & TCP_FIN);
		answer.acknowledgement = bpf_htonl(bpf_ntohl(core.sequence) + payload + phantom);
		answer.flags = TCP_RST | TCP_ACK;
	}
	__s64 change = bpf_csum_diff((__be32 *)&core, sizeof(core), (__be32 *)&answer, sizeof(answer), 0);
	scratch->key = reversed(&packet->tuple);
	if (bpf_l4_csum_replace(skb, packet->l4_offset + offsetof(struct tcphdr, check), 0, change, 0) ||
	    bpf_skb_store_bytes(skb, packet->l4_offset + 4, &answer, sizeof(answer), 0) ||
	    rewrite(skb, packet, &scratch->key) || renew_ttl(skb, packet))
		return drop(skb, direction, DROP_TRANSLATE_FAILED);
	return send_back(skb, direction);
}

static __always_inline __sum16 folded(__s64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __noinline int unreachable4(struct __sk_buff *skb, const struct packet *packet)
{
	struct scratch *scratch = scratch_of_cpu();
	if (!scratch || !packet)
		return -1;
	struct icmp4_answer *answer = &scratch->answer4;
	enum { HEAD = offsetof(struct icmp4_answer, quote), QUOTE = sizeof(answer->quote) };
	__builtin_memset(answer, 0, sizeof(*answer));
	// With options the quote would have no ports: such clients wait.
	if (packet->l4_offset != ETH_HLEN + sizeof(struct iphdr) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN, answer->quote, QUOTE) ||
	    bpf_skb_change_tail(skb, ETH_HLEN + QUOTE, 0) || bpf_skb_adjust_room(skb, HEAD, BPF_ADJ_ROOM_MAC, 0))
		return -1;
	answer->ip.version = 4;
	answer->ip.ihl = 5;
	answer->ip.tot_len = bpf_htons(HEAD + QUOTE);
	answer->ip.ttl = REJECT_TTL;
	answer->ip.protocol = IPPROTO_ICMP;
	answer->ip.saddr = packet->tuple.destination.word[3];
	answer->ip.daddr = packet->tuple.source.word[3];
	answer->ip.check = folded(bpf_csum_diff(NULL, 0, (__be32 *)&answer->ip, sizeof(answer->ip), 0));
	answer->icmp.type = ICMP_DEST_UNREACH;
	answer->icmp.code = ICMP_PORT_UNREACH;
	answer->icmp.checksum =
		folded(bpf_csum_diff(NULL, 0, (__be32 *)&answer->icmp, sizeof(answer->icmp) + QUOTE, 0));
	return bpf_skb_store_bytes(skb, ETH_HLEN, answer, HEAD, 0);
}

static __noinline int unreachable6(struct __sk_buff *skb, const struct packet *packet)
{
	struct scratch *scratch = scratch_of_cpu();
	if (!scratch || !packet)
		return -1;
	struct icmp6_answer *answer = &scratch->answer6;
	enum { HEAD = offsetof(struct icmp6_answer, quote), QUOTE = sizeof(answer->quote) };
	__builtin_memset(answer, 0, sizeof(*answer));
	if (packet->l4_offset != ETH_HLEN + sizeof(struct ipv6hdr) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN, answer->quote, QUOTE) ||
	    bpf_skb_change_tail(skb, ETH_HLEN + QUOTE, 0) || bpf_skb_adjust_room(skb, HEAD, BPF_ADJ_ROOM_MAC, 0))
		return -1;
	answer->ip.version = 6;
	answer->ip.payload_len = bpf_htons(sizeof(answer->icmp) + QUOTE);
	answer->ip.nexthdr = NEXT_ICMPV6;
	answer->ip.hop_limit = REJECT_TTL;
	__builtin_memcpy(&answer->ip.saddr, &packet->tuple.destination, 16);
	__builtin_memcpy(&answer->ip.daddr, &packet->tuple.source, 16);
	answer->icmp.type = ICMPV6_DEST_UNREACH;
	answer->icmp.code = ICMPV6_PORT_UNREACH;
	// What the checksum covers besides (RFC 8200, 8.1) lies behind the quote.
	answer->pseudo.source = packet->tuple.destination;
	answer->pseudo.destination = packet->tuple.source;
	answer->pseudo.length = bpf_htonl(sizeof(answer->icmp) + QUOTE);
	answer->pseudo.next = bpf_htonl(NEXT_ICMPV6);
	answer->icmp.checksum = folded(bpf_csum_diff(NULL, 0, (__be32 *)&answer->icmp,
						     sizeof(answer->icmp) + QUOTE + sizeof(answer->pseudo), 0));
	return bpf_skb_store_bytes(skb, ETH_HLEN, answer, HEAD, 0);
}

// Answers a packet to a service that has no backends, in the service's name.
static __noinline int reject(struct __sk_buff *skb, struct packet *packet, __u32 direction)
{
	if (!packet || (packet->flags & PACKET_FRAGMENT))
		return drop(skb, direction, DROP_NO_BACKEND);
	if (packet->tuple.protocol == IPPROTO_TCP)
		return reset(skb, packet, direction);
	if (packet_is_ipv4(packet) ? unreachable4(skb, packet) : unreachable6(skb, packet))
		return drop(skb, direction, DROP_NO_BACKEND);
	return send_back(skb, direction);
}
