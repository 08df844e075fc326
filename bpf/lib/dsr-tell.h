// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Direct server return, the sending side: see dsr.h.
#pragma once

#include "lib/dsr.h"

// Whether answers of a backend there go to the client by themselves.
static __always_inline bool returns_directly(const struct packet *packet, const struct ipcache_entry *owner)
{
	__u32 wanted = packet->tuple.protocol == IPPROTO_TCP   ? CONFIG_DSR_TCP
		       : packet->tuple.protocol == IPPROTO_UDP ? CONFIG_DSR_UDP
							       : 0;
	return (config.flags & wanted) && owner && (owner->flags & IPCACHE_IN_CLUSTER) &&
	       !(owner->flags & (IPCACHE_NODE | IPCACHE_LOCAL | IPCACHE_BESIDE)) &&
	       !is_unspecified6(&owner->tunnel_endpoint) && !(packet->flags & PACKET_FRAGMENT) && !has_options(packet);
}

// Only what begins a connection says it, and every datagram.
static __always_inline bool tells_service(const struct nat_entry *flow, const struct packet *packet)
{
	return (flow->flags & NAT_DSR) && (packet->tuple.protocol == IPPROTO_UDP || starts_connection(packet));
}

// Writes the service that the packet was for (`seen` in scratch) into it. Returns 0 or a reason to drop.
static __noinline int tell_service(struct __sk_buff *skb, struct packet *packet)
{
	struct scratch *scratch = scratch_of_cpu();
	if (!scratch || !packet)
		return DROP_TRANSLATE_FAILED;
	const struct tuple *seen = &scratch->seen;
	if (packet_is_ipv4(packet)) {
		struct dsr_option4 option = {
			.type = DSR_OPTION4, .length = sizeof(option), .port = seen->destination_port,
			.address = seen->destination.word[3],
		};
		if (bpf_skb_adjust_room(skb, sizeof(option), BPF_ADJ_ROOM_NET, 0) ||
		    bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(struct iphdr), &option, sizeof(option), 0) ||
		    resize4(skb, packet, sizeof(option),
			    bpf_csum_diff(NULL, 0, (__be32 *)&option, sizeof(option), 0)))
			return DROP_TRANSLATE_FAILED;
		return 0;
	}
	struct dsr_option6 option = {
		.next = packet->tuple.protocol, .length = sizeof(option) / 8 - 1, .type = DSR_OPTION6,
		.option_length = sizeof(option) - offsetof(struct dsr_option6, port), .port = seen->destination_port,
		.address = seen->destination,
	};
	if (bpf_skb_adjust_room(skb, sizeof(option), BPF_ADJ_ROOM_NET, 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(struct ipv6hdr), &option, sizeof(option),
				BPF_F_RECOMPUTE_CSUM) ||
	    resize6(skb, packet, sizeof(option), NEXT_DEST))
		return DROP_TRANSLATE_FAILED;
	return 0;
}
