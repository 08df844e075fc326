// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Translating packets of flows, and ICMP errors about them.
#pragma once

#include "lib/flow.h"
#include "lib/forward.h"
#include "lib/rewrite.h"

#define QUOTED_L4 8 // bytes of the transport header that an ICMP error quotes at least (RFC 792)

// What an ICMP error quotes: the packet that it answers.
struct quote {
	struct tuple tuple;
	__u32 l3_offset;
	__u32 port_offset; // of the ports, or of an echo's identifier
	bool echo;
};

// An ICMP error being made, and what its checksum covers.
struct icmp4_answer {
	struct iphdr ip;
	struct icmphdr icmp;
	__be32 quote[(sizeof(struct iphdr) + QUOTED_L4) / 4];
};

struct icmp6_answer {
	struct ipv6hdr ip;
	struct icmphdr icmp;
	__be32 quote[(sizeof(struct ipv6hdr) + QUOTED_L4) / 4];
	struct {
		struct address source;
		struct address destination;
		__be32 length;
		__be32 next;
	} pseudo;
};

// What would not fit on the stack, one a CPU. Programs at tc run without being interrupted by each other; callers
// and callees use different members.
struct scratch {
	struct nat_entry entry; // of a flow being made
	struct nat_entry back; // of its replies
	struct tuple seen;
	struct quote quote;
	struct tuple key;
	struct tuple inner;
	struct tuple outer;
	struct affinity_key client;
	struct chosen chosen;
	struct icmp4_answer answer4;
	struct icmp6_answer answer6;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch_space SEC(".maps");

static __always_inline struct scratch *scratch_of_cpu(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&scratch_space, &zero);
}

static __always_inline bool read_quote(struct __sk_buff *skb, const struct packet *packet, struct quote *quote)
{
	__u32 offset = packet->l4_offset + 8;
	quote->l3_offset = offset;
	if (packet_is_ipv4(packet)) {
		struct iphdr ip;
		if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
			return false;
		quote->tuple.source = mapped_address(ip.saddr);
		quote->tuple.destination = mapped_address(ip.daddr);
		quote->tuple.protocol = ip.protocol;
		offset += ip.ihl * 4;
	} else {
		struct ipv6hdr ip;
		if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) || ip.version != 6)
			return false;
		__builtin_memcpy(&quote->tuple.source, &ip.saddr, 16);
		__builtin_memcpy(&quote->tuple.destination, &ip.daddr, 16);
		quote->tuple.protocol = ip.nexthdr;
		offset += sizeof(ip);
	}
	__u8 l4[8];
	if (bpf_skb_load_bytes(skb, offset, l4, sizeof(l4)))
		return false;
	quote->port_offset = offset;
	if (quote->tuple.protocol == IPPROTO_TCP || quote->tuple.protocol == IPPROTO_UDP) {
		__builtin_memcpy(&quote->tuple.source_port, l4, 4);
		return true;
	}
	// Only an echo request is answered by errors.
	quote->echo = true;
	quote->port_offset += 4;
	__builtin_memcpy(&quote->tuple.source_port, l4 + 4, 2);
	return (quote->tuple.protocol == IPPROTO_ICMP && l4[0] == ICMP_ECHO) ||
	       (quote->tuple.protocol == NEXT_ICMPV6 && l4[0] == 128);
}

// Rewrites the quoted packet to `to`, keeping the outer ICMP checksum right.
static __always_inline int rewrite_quote(struct __sk_buff *skb, const struct packet *packet, const struct quote *quote,
					 const struct tuple *to)
{
	__u32 checksum = packet->l4_offset + offsetof(struct icmphdr, checksum);
	if (packet_is_ipv4(packet)) {
		// The quoted header's own checksum absorbs the change, so the outer sum stays.
		__be32 before[2] = { quote->tuple.source.word[3], quote->tuple.destination.word[3] };
		__be32 after[2] = { to->source.word[3], to->destination.word[3] };
		__s64 change = bpf_csum_diff(before, sizeof(before), after, sizeof(after), 0);
		if (bpf_l3_csum_replace(skb, quote->l3_offset + offsetof(struct iphdr, check), 0, change, 0) ||
		    bpf_skb_store_bytes(skb, quote->l3_offset + offsetof(struct iphdr, saddr), after, sizeof(after), 0))
			return -1;
	} else {
		struct address before[2] = { quote->tuple.source, quote->tuple.destination };
		struct address after[2] = { to->source, to->destination };
		__s64 change = bpf_csum_diff(before[0].word, sizeof(before), after[0].word, sizeof(after), 0);
		if (bpf_l4_csum_replace(skb, checksum, 0, change, 0) ||
		    bpf_skb_store_bytes(skb, quote->l3_offset + offsetof(struct ipv6hdr, saddr), after, sizeof(after), 0))
			return -1;
	}
	if (quote->echo) {
		if (bpf_l4_csum_replace(skb, checksum, quote->tuple.source_port, to->source_port, 2))
			return -1;
		return bpf_skb_store_bytes(skb, quote->port_offset, &to->source_port, 2, 0);
	}
	__u32 before, after;
	__builtin_memcpy(&before, &quote->tuple.source_port, 4);
	__builtin_memcpy(&after, &to->source_port, 4);
	if (bpf_l4_csum_replace(skb, checksum, before, after, 4))
		return -1;
	return bpf_skb_store_bytes(skb, quote->port_offset, &after, 4, 0);
}

enum { NOT_TRANSLATED = 0, TRANSLATED = 1, TRANSLATE_FAILED = 2 };

// Translates an ICMP error about a translated flow: the error belongs to the flow's other direction, so the
// reverse of what it quotes is looked up.
static __noinline int translate_icmp_error(struct __sk_buff *skb, struct packet *packet)
{
	struct scratch *scratch = scratch_of_cpu();
	if (!scratch)
		return TRANSLATE_FAILED;
	struct quote *quote = &scratch->quote;
	__builtin_memset(quote, 0, sizeof(*quote));
	if (!read_quote(skb, packet, quote))
		return NOT_TRANSLATED;
	scratch->key = reversed(&quote->tuple);
	struct nat_entry *entry = bpf_map_lookup_elem(&sh_nat, &scratch->key);
	if (!entry)
		return NOT_TRANSLATED;
	scratch->inner = reversed(&entry->to);
	scratch->outer = packet->tuple;
	scratch->outer.destination = scratch->inner.source;
	if (same_address(&packet->tuple.source, &quote->tuple.destination))
		scratch->outer.source = scratch->inner.destination; // sent by the flow's end itself, not by a router
	if (rewrite_quote(skb, packet, quote, &scratch->inner) || rewrite(skb, packet, &scratch->outer))
		return TRANSLATE_FAILED;
	return TRANSLATED;
}
