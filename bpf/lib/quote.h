// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What an ICMP error quotes.
#pragma once

#include "lib/parse.h"
#include "lib/scratch.h"

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
