// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The VXLAN device: what comes from other nodes, and what the node's own stack sends to their pods.
#include "lib/arrive.h"
#include "lib/dsr-learn.h"

// The node that sent this tunnel packet must be the one on which the inner source lives.
static __always_inline int check_sender(struct __sk_buff *skb, struct packet *packet)
{
	struct bpf_tunnel_key key = {};
	struct address sender;
	if (bpf_skb_get_tunnel_key(skb, &key, TUNNEL_KEY_SIZE, 0) == 0) {
		sender = mapped_address(bpf_htonl(key.remote_ipv4));
	} else {
		if (bpf_skb_get_tunnel_key(skb, &key, TUNNEL_KEY_SIZE, BPF_F_TUNINFO_IPV6))
			return DROP_UNKNOWN_SENDER;
		__builtin_memcpy(sender.word, key.remote_ipv6, 16);
	}
	if (key.tunnel_id >= IDENTITY_FIRST)
		packet->identity = key.tunnel_id;
	struct ipcache_entry *owner = find_owner(&packet->tuple.source);
	if (owner && same_address(&owner->tunnel_endpoint, &sender))
		return 0;
	// A node hands on what clients beyond the cluster send to a service.
	if (!(config.flags & CONFIG_DSR) || (owner && (owner->flags & IPCACHE_IN_CLUSTER)))
		return DROP_UNKNOWN_SENDER;
	struct ipcache_entry *node = find_owner(&sender);
	return node && same_address(&node->tunnel_endpoint, &sender) ? 0 : DROP_UNKNOWN_SENDER;
}

SEC("tc") int from_overlay(struct __sk_buff *skb)
{
	struct packet packet = {};
	int failed = parse(skb, &packet);
	if (!failed)
		failed = check_sender(skb, &packet);
	if (failed)
		return drop(skb, DIRECTION_INGRESS, failed);
	struct endpoint *endpoint = find_endpoint(&packet.tuple.destination);
	if (!endpoint) {
		if (!is_foreign_pod(find_owner(&packet.tuple.destination)))
			return drop(skb, DIRECTION_INGRESS, DROP_UNKNOWN_TARGET);
		bpf_skb_change_type(skb, 0 /* PACKET_HOST */);
		return pass(skb, DIRECTION_INGRESS, FORWARD_STACK);
	}
	if (!(endpoint->flags & ENDPOINT_HOST)) {
		if ((config.flags & CONFIG_DSR) && has_options(&packet)) {
			failed = learn_service(skb, &packet);
			if (failed > 0)
				return drop(skb, DIRECTION_INGRESS, failed);
		}
		if (may_be_translated(endpoint->ifindex))
			return to_translated_pod(skb, &packet);
		failed = judge(skb, &packet, DIRECTION_INGRESS);
		if (failed)
			return drop(skb, DIRECTION_INGRESS, failed);
		count(skb, DIRECTION_INGRESS, FORWARD_LOCAL);
		return to_local_pod(skb, &packet, endpoint);
	}
	resolve_fragment(&packet);
	struct nat_entry *flow = find_flow(&packet);
	if (flow && (flow->flags & NAT_REVERSE)) {
		struct tuple to = flow->to;
		failed = rewrite(skb, &packet, &to);
		if (failed)
			return drop(skb, DIRECTION_INGRESS, failed);
		return deliver(skb, &packet, DIRECTION_INGRESS, FORWARD_REVERSE);
	}
	if (packet.flags & PACKET_ICMP_ERROR) {
		int done = translate_icmp_error(skb, &packet);
		if (done == TRANSLATED)
			return deliver(skb, &packet, DIRECTION_INGRESS, FORWARD_REVERSE);
		if (done == TRANSLATE_FAILED)
			return drop(skb, DIRECTION_INGRESS, DROP_TRANSLATE_FAILED);
	}
	failed = judge(skb, &packet, DIRECTION_INGRESS);
	if (failed)
		return drop(skb, DIRECTION_INGRESS, failed);
	// Whatever destination MAC the sender wrote, it is for this node.
	bpf_skb_change_type(skb, 0 /* PACKET_HOST */);
	return pass(skb, DIRECTION_INGRESS, FORWARD_HOST);
}

SEC("tc") int to_overlay(struct __sk_buff *skb)
{
	if (skb->tc_index == TC_INDEX_TUNNEL_KEY) {
		skb->tc_index = TC_INDEX_ROUTED; // for to_netdev, which sees the outer packet
		return TC_NEXT; // from_pod or from_netdev has done it
	}
	struct packet packet = {};
	int failed = parse(skb, &packet);
	if (failed)
		return drop(skb, DIRECTION_EGRESS, failed);
	failed = judge_host(skb, &packet, DIRECTION_EGRESS);
	if (failed)
		return drop(skb, DIRECTION_EGRESS, failed);
	struct ipcache_entry *owner = find_owner(&packet.tuple.destination);
	if (!owner || !(owner->flags & IPCACHE_TUNNEL))
		return drop(skb, DIRECTION_EGRESS, DROP_UNKNOWN_TARGET);
	if (set_tunnel_key(skb, owner, IDENTITY_DEFAULT))
		return drop(skb, DIRECTION_EGRESS, DROP_TRANSLATE_FAILED);
	return pass(skb, DIRECTION_EGRESS, FORWARD_OVERLAY);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
