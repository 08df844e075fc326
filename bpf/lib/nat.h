// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Translated flows. Node ports and masquerading share one table of tuple -> tuple with an entry a direction.
#pragma once

#include "lib/forward.h"
#include "lib/rewrite.h"
#include "lib/services.h"

#define SECOND 1000000000ULL

// What an ICMP error quotes: the packet that it answers.
struct quote {
	struct tuple tuple;
	__u32 l3_offset;
	__u32 port_offset; // of the ports, or of an echo's identifier
	bool echo;
};

// What would not fit on the stack, one a CPU. Programs at tc run without being interrupted by each other; callers
// and callees use different members.
struct scratch {
	struct nat_entry entry; // of a flow being made
	struct tuple seen;
	struct quote quote;
	struct tuple key;
	struct tuple inner;
	struct tuple outer;
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

static __always_inline struct tuple reversed(const struct tuple *tuple)
{
	struct tuple back = {
		.source = tuple->destination, .destination = tuple->source,
		.source_port = tuple->destination_port, .destination_port = tuple->source_port,
		.protocol = tuple->protocol,
	};
	return back;
}

static __always_inline bool same_tuple(const struct tuple *a, const struct tuple *b)
{
	return same_address(&a->source, &b->source) && same_address(&a->destination, &b->destination) &&
	       a->source_port == b->source_port && a->destination_port == b->destination_port &&
	       a->protocol == b->protocol;
}

// True when the flow is over or was given up, so that its port may serve another.
static __always_inline bool is_stale(const struct nat_entry *entry, __u64 now)
{
	__u64 limit = entry->to.protocol == IPPROTO_TCP ? 7200 * SECOND : 180 * SECOND;
	if (entry->flags & NAT_CLOSING)
		limit = 10 * SECOND;
	else if ((entry->flags & NAT_REVERSE) && !(entry->flags & NAT_REPLIED))
		limit = 60 * SECOND;
	return now - entry->last_seen_ns > limit;
}

static __always_inline void refresh(struct nat_entry *entry, const struct packet *packet)
{
	__u64 now = bpf_ktime_get_ns();
	if (now - entry->last_seen_ns > SECOND)
		entry->last_seen_ns = now;
	__u32 flags = entry->flags;
	if (flags & NAT_REVERSE)
		flags |= NAT_REPLIED;
	if (packet->tcp_flags & (TCP_FIN | TCP_RST))
		flags |= NAT_CLOSING;
	else if (packet->tcp_flags & TCP_SYN)
		flags &= ~NAT_CLOSING;
	if (flags != entry->flags)
		entry->flags = flags;
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

static __always_inline bool starts_connection(const struct packet *packet)
{
	return (packet->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

// Whether a new connection attempt may choose its backend anew.
static __always_inline bool starts_anew(const struct nat_entry *entry, const struct packet *packet)
{
	__u64 now = bpf_ktime_get_ns();
	if (starts_connection(packet) && ((entry->flags & NAT_CLOSING) || now - entry->last_seen_ns > 5 * SECOND))
		return true;
	return is_stale(entry, now);
}

static __always_inline __u64 *translated_slot(__u32 ifindex)
{
	__u32 slot = ifindex % TRANSLATED_SLOTS;
	return bpf_map_lookup_elem(&sh_translated, &slot);
}

// Whether packets that come in by this device may belong to a translated flow.
static __always_inline bool may_be_translated(__u32 ifindex)
{
	__u64 *translated = translated_slot(ifindex);
	return translated && *translated;
}

static __always_inline void set_translated(__u32 ifindex)
{
	__u64 *translated = translated_slot(ifindex);
	if (translated && !*translated)
		*translated = 1;
}

// The entry of an established translated flow, refreshed; NULL when it is to be made (anew).
static __always_inline struct nat_entry *find_flow(const struct packet *packet)
{
	if (!(packet->flags & PACKET_PORTS))
		return NULL;
	struct nat_entry *entry = bpf_map_lookup_elem(&sh_nat, &packet->tuple);
	if (!entry || (!(entry->flags & NAT_REVERSE) && starts_anew(entry, packet)))
		return NULL;
	refresh(entry, packet);
	return entry;
}
