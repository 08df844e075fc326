// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Direct server return, the backend's side: see dsr.h.
#pragma once

#include "lib/dsr.h"

// Takes the service's address and port out of the packet. False when it says none.
static __always_inline bool take_service(struct __sk_buff *skb, struct packet *packet, struct tuple *to)
{
	if (packet_is_ipv4(packet)) {
		struct dsr_option4 option;
		if (bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(struct iphdr), &option, sizeof(option)) ||
		    option.type != DSR_OPTION4 || option.length != sizeof(option))
			return false;
		to->source = mapped_address(option.address);
		to->source_port = option.port;
		__s64 sum = bpf_csum_diff((__be32 *)&option, sizeof(option), NULL, 0, 0);
		return !bpf_skb_adjust_room(skb, -(int)sizeof(option), BPF_ADJ_ROOM_NET, 0) &&
		       !resize4(skb, packet, -(int)sizeof(option), sum);
	}
	struct dsr_option6 option;
	__u8 next;
	if (bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, nexthdr), &next, 1) || next != NEXT_DEST ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(struct ipv6hdr), &option, sizeof(option)) ||
	    option.length != sizeof(option) / 8 - 1 || option.type != DSR_OPTION6 || is_ipv4(&option.address))
		return false;
	to->source = option.address;
	to->source_port = option.port;
	return !bpf_skb_adjust_room(skb, -(int)sizeof(option), BPF_ADJ_ROOM_NET, 0) &&
	       !resize6(skb, packet, -(int)sizeof(option), option.next);
}

enum { SERVICE_LEARNED = -1 };

// A packet with options for a pod of this node: when another node says in it for which service it is, answers will come
// from there. What pods write is not believed. Returns SERVICE_LEARNED, 0 when there is none, or a reason to drop.
static __noinline int learn_service(struct __sk_buff *skb, struct packet *packet)
{
	struct scratch *scratch = scratch_of_cpu();
	if (!scratch || !packet)
		return DROP_TRANSLATE_FAILED;
	struct ipcache_entry *owner = find_owner(&packet->tuple.source);
	if ((owner && (owner->flags & IPCACHE_IN_CLUSTER)) || !(packet->flags & PACKET_PORTS))
		return 0;
	struct nat_entry *entry = &scratch->entry;
	__builtin_memset(entry, 0, sizeof(*entry));
	scratch->key = reversed(&packet->tuple);
	entry->to = scratch->key;
	if (!take_service(skb, packet, &entry->to))
		return 0;
	entry->last_seen_ns = bpf_ktime_get_ns();
	entry->flags = NAT_REVERSE | NAT_SERVICE | NAT_REPLIED | NAT_DSR;
	struct endpoint *endpoint = find_endpoint(&packet->tuple.destination);
	if (!endpoint || put_flow(&scratch->key, entry))
		return DROP_TRANSLATE_FAILED;
	set_translated(endpoint->ifindex);
	return SERVICE_LEARNED;
}
