// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What comes from other nodes for a pod of this one.
#pragma once

#include "lib/nat.h"

// A packet for a pod of this node whose flows may be translated.
static __noinline int to_translated_pod(struct __sk_buff *skb, struct packet *packet)
{
	if (!packet)
		return TC_ACT_SHOT;
	resolve_fragment(packet);
	struct nat_entry *flow = find_flow(packet);
	if (flow && (flow->flags & NAT_REVERSE)) {
		struct tuple to = flow->to;
		int failed = rewrite(skb, packet, &to);
		if (failed)
			return drop(skb, DIRECTION_INGRESS, failed);
		return deliver(skb, packet, DIRECTION_INGRESS, FORWARD_REVERSE);
	}
	if ((packet->flags & PACKET_ICMP_ERROR) && translate_icmp_error(skb, packet) == TRANSLATE_FAILED)
		return drop(skb, DIRECTION_INGRESS, DROP_TRANSLATE_FAILED);
	return deliver(skb, packet, DIRECTION_INGRESS, FORWARD_LOCAL);
}
