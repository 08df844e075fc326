// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Translating packets of flows, and ICMP errors about them.
#pragma once

#include "lib/forward.h"
#include "lib/quote.h"
#include "lib/rewrite.h"

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
