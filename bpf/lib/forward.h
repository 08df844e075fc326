// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Where a packet goes: a pod of this node, the tunnel, another device, or the stack.
#pragma once

#include "lib/policy.h"

// Left on packets that are done with, for the egress program that sees them next and clears it.
enum {
	TC_INDEX_TUNNEL_KEY = 0x5348, // to_overlay: the tunnel key is set
	TC_INDEX_ROUTED = 0x5349, // to_netdev: addresses are final
};
// In the VNI: the sender's identity, else IDENTITY_DEFAULT. From IDENTITY_FIRST on numbers are of workloads.
enum { IDENTITY_DEFAULT = 1, IDENTITY_FIRST = 256 };
// The size that 5.10 knows, without the local address.
#define TUNNEL_KEY_SIZE offsetof(struct bpf_tunnel_key, local_ipv4)

static __always_inline void decrement_ttl(struct __sk_buff *skb, struct packet *packet)
{
	if (packet->ttl <= 1)
		return;
	packet->ttl--;
	if (!packet_is_ipv4(packet)) {
		// No header checksum makes up for it, so a sum that the device took must follow.
		bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, hop_limit), &packet->ttl, 1,
				    BPF_F_RECOMPUTE_CSUM);
		return;
	}
	struct iphdr *ip = direct(skb, ETH_HLEN, sizeof(*ip));
	if (!ip)
		return;
	// RFC 1624: the TTL is the high byte of its word, so one less of it is 0x100 more in the complement.
	__u32 sum = ip->check + bpf_htons(0x100);
	ip->check = sum + (sum >= 0xffff);
	ip->ttl--;
}

static __always_inline int to_local_pod(struct __sk_buff *skb, struct packet *packet, const struct endpoint *endpoint)
{
	__u8 macs[12];
	__builtin_memcpy(macs, endpoint->mac, 6);
	__builtin_memcpy(macs + 6, endpoint->host_mac, 6);
	__u32 ifindex = endpoint->ifindex;
	decrement_ttl(skb, packet);
	write_bytes(skb, 0, macs, sizeof(macs));
	return bpf_redirect_peer(ifindex, 0);
}

static __always_inline bool is_larger(const struct __sk_buff *skb, const struct packet *packet, __u32 mtu)
{
	__u32 length = packet->l3_length;
	if (skb->gso_size)
		length = skb->gso_size + packet->l4_offset - ETH_HLEN + 20;
	return length > mtu;
}

static __always_inline int set_tunnel_key(struct __sk_buff *skb, const struct ipcache_entry *owner, __u32 identity)
{
	struct bpf_tunnel_key key = { .tunnel_id = identity, .tunnel_ttl = 64 };
	__u64 flags = BPF_F_ZERO_CSUM_TX;
	if (is_ipv4(&owner->tunnel_endpoint)) {
		key.remote_ipv4 = bpf_ntohl(owner->tunnel_endpoint.word[3]);
	} else {
		__builtin_memcpy(key.remote_ipv6, owner->tunnel_endpoint.word, 16);
		flags = BPF_F_TUNINFO_IPV6;
	}
	return bpf_skb_set_tunnel_key(skb, &key, TUNNEL_KEY_SIZE, flags);
}

static __always_inline int to_tunnel(struct __sk_buff *skb, struct packet *packet, const struct ipcache_entry *owner)
{
	if (set_tunnel_key(skb, owner, packet->identity ? packet->identity : IDENTITY_DEFAULT))
		return TC_ACT_SHOT;
	decrement_ttl(skb, packet);
	skb->tc_index = TC_INDEX_TUNNEL_KEY;
	return bpf_redirect(config.tunnel_ifindex, 0);
}

// Whether the owner's node is a neighbour that takes this packet as it is.
static __always_inline bool is_next_hop(const struct __sk_buff *skb, const struct packet *packet,
					const struct ipcache_entry *owner)
{
	return owner && (owner->flags & IPCACHE_NEXT_HOP) && !is_larger(skb, packet, config.uplink_mtu);
}

static __always_inline int to_next_hop(struct __sk_buff *skb, struct packet *packet, const struct ipcache_entry *owner)
{
	struct bpf_redir_neigh next = {};
	if (packet_is_ipv4(packet)) {
		next.nh_family = AF_INET;
		next.ipv4_nh = owner->tunnel_endpoint.word[3];
	} else {
		next.nh_family = AF_INET6;
		__builtin_memcpy(next.ipv6_nh, owner->tunnel_endpoint.word, 16);
	}
	decrement_ttl(skb, packet);
	skb->tc_index = TC_INDEX_ROUTED;
	return bpf_redirect_neigh(config.uplink_ifindex, &next, sizeof(next), 0);
}

static __always_inline bool find_route(struct __sk_buff *skb, const struct packet *packet, struct route *route)
{
	struct bpf_fib_lookup *fib = &route->fib;
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->ifindex = skb->ifindex;
	fib->l4_protocol = packet->tuple.protocol;
	if (packet_is_ipv4(packet)) {
		fib->family = AF_INET;
		fib->ipv4_src = packet->tuple.source.word[3];
		fib->ipv4_dst = packet->tuple.destination.word[3];
	} else {
		fib->family = AF_INET6;
		__builtin_memcpy(fib->ipv6_src, packet->tuple.source.word, 16);
		__builtin_memcpy(fib->ipv6_dst, packet->tuple.destination.word, 16);
	}
	route->result = bpf_fib_lookup(skb, fib, sizeof(*fib), 0);
	return route->result == BPF_FIB_LKUP_RET_SUCCESS || route->result == BPF_FIB_LKUP_RET_NO_NEIGH;
}

static __always_inline int to_route(struct __sk_buff *skb, struct packet *packet, const struct route *route)
{
	const struct bpf_fib_lookup *fib = &route->fib;
	decrement_ttl(skb, packet);
	skb->tc_index = TC_INDEX_ROUTED;
	if (route->result == BPF_FIB_LKUP_RET_SUCCESS) {
		write_bytes(skb, 0, fib->dmac, 6);
		write_bytes(skb, 6, fib->smac, 6);
		return bpf_redirect(fib->ifindex, 0);
	}
	struct bpf_redir_neigh next = { .nh_family = fib->family };
	if (fib->family == AF_INET)
		next.ipv4_nh = fib->ipv4_dst;
	else
		__builtin_memcpy(next.ipv6_nh, fib->ipv6_dst, 16);
	return bpf_redirect_neigh(fib->ifindex, &next, sizeof(next), 0);
}

// Whether another pod network's route leads to this owner, and is to be taken while that network is there.
static __always_inline bool find_route_beside(struct __sk_buff *skb, const struct packet *packet,
					      const struct ipcache_entry *owner, struct route *route)
{
	return (owner->flags & IPCACHE_BESIDE) && find_route(skb, packet, route) &&
	       route->fib.ifindex != config.tunnel_ifindex;
}

// Sends a packet whose addresses are final. `reason` is what is counted when that succeeds.
static __noinline int deliver(struct __sk_buff *skb, struct packet *packet, __u32 direction, __u32 reason)
{
	struct endpoint *endpoint = find_endpoint(&packet->tuple.destination);
	if (endpoint) {
		// What a flow's other end sends was judged with the packet that made the flow.
		int failed = reason == FORWARD_REVERSE ? 0 : judge(skb, packet, DIRECTION_INGRESS);
		if (failed)
			return drop(skb, DIRECTION_INGRESS, failed);
		if (endpoint->flags & ENDPOINT_HOST)
			return pass(skb, direction, reason);
		count(skb, direction, reason);
		return to_local_pod(skb, packet, endpoint);
	}
	struct ipcache_entry *owner = find_owner(&packet->tuple.destination);
	if (is_foreign_pod(owner))
		return pass(skb, direction, reason);
	struct scratch *scratch = scratch_of_cpu();
	if (!scratch)
		return TC_ACT_SHOT;
	struct route *route = &scratch->route;
	if (is_tunnelled(owner)) {
		count(skb, direction, reason);
		if (find_route_beside(skb, packet, owner, route))
			return to_route(skb, packet, route);
		return to_tunnel(skb, packet, owner);
	}
	if (is_next_hop(skb, packet, owner)) {
		count(skb, direction, reason);
		return to_next_hop(skb, packet, owner);
	}
	if (!find_route(skb, packet, route))
		return drop(skb, direction, DROP_FIB_FAILED);
	count(skb, direction, reason);
	return to_route(skb, packet, route);
}
