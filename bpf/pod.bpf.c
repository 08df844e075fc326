// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The host side of a pod's veth pair: what the pod sends, and what the stack sends to the pod.
#include "lib/serve.h"

// ARP asks and tells about the pod's own addresses only; the stack answers for the gateway.
static __always_inline int from_pod_arp(struct __sk_buff *skb)
{
	struct {
		__u8 header[8]; // types, sizes, operation
		__u8 sender_mac[6];
		__u8 sender[4];
	} __attribute__((packed)) arp;
	if (read_bytes(skb, ETH_HLEN, &arp, sizeof(arp)))
		return drop(skb, DIRECTION_EGRESS, DROP_TRUNCATED);
	__be32 sender;
	__builtin_memcpy(&sender, arp.sender, 4);
	struct address address = mapped_address(sender);
	struct endpoint *endpoint = find_endpoint(&address);
	if (!endpoint || endpoint->ifindex != skb->ifindex)
		return drop(skb, DIRECTION_EGRESS, DROP_INVALID_SOURCE_IP);
	return pass(skb, DIRECTION_EGRESS, FORWARD_STACK);
}

// Neighbour discovery that a host may send: solicitations, advertisements, group membership. Not router
// advertisements nor redirects.
static __always_inline bool is_neighbour_discovery(const struct packet *packet)
{
	__u8 type = packet->icmp_type;
	return packet->tuple.protocol == NEXT_ICMPV6 &&
	       (type == 133 || type == 135 || type == 136 || (type >= 130 && type <= 132) || type == 143);
}

// Returns 0 when the packet may come from this pod, else the reason to drop it.
static __always_inline int check_source(struct __sk_buff *skb, struct packet *packet)
{
	struct endpoint *source = find_endpoint(&packet->tuple.source);
	if (!source || source->ifindex != skb->ifindex || (source->flags & ENDPOINT_HOST))
		return DROP_INVALID_SOURCE_IP;
	__u8 mac[6];
	if (read_bytes(skb, 6, mac, sizeof(mac)))
		return DROP_TRUNCATED;
	for (int index = 0; index < 6; index++)
		if (mac[index] != source->mac[index])
			return DROP_INVALID_SOURCE_MAC;
	packet->identity = source->identity;
	return 0;
}

// Makes the flow of this packet leave under the node's own address; returns 0 or a reason to drop.
static __noinline int masquerade(struct __sk_buff *skb, struct packet *packet)
{
	struct scratch *scratch = scratch_of_cpu();
	if (!scratch)
		return DROP_TRANSLATE_FAILED;
	if (!(packet->flags & PACKET_PORTS))
		return packet->flags & PACKET_LATER_FRAGMENT ? DROP_FRAGMENT
		       : packet->flags & PACKET_ICMP_ERROR  ? DROP_NAT_NO_PORT
							    : DROP_UNKNOWN_L4;
	struct nat_entry *entry = &scratch->entry;
	__builtin_memset(entry, 0, sizeof(*entry));
	scratch->seen = packet->tuple;
	entry->to = packet->tuple;
	entry->to.source = *own_address(packet_is_ipv4(packet), false);
	entry->last_seen_ns = bpf_ktime_get_ns();
	if (is_unspecified6(&entry->to.source))
		return DROP_NAT_NO_PORT;
	set_translated(skb->ifindex);
	int reason = choose_port(&scratch->seen, entry);
	if (!reason)
		reason = remember(scratch);
	return reason ? reason : rewrite(skb, packet, &entry->to);
}

static __always_inline int to_endpoint(struct __sk_buff *skb, struct packet *packet, const struct endpoint *target)
{
	int failed = judge(skb, packet, DIRECTION_INGRESS);
	if (failed)
		return drop(skb, DIRECTION_INGRESS, failed);
	if (target->flags & ENDPOINT_HOST)
		return pass(skb, DIRECTION_EGRESS, FORWARD_HOST);
	count(skb, DIRECTION_EGRESS, FORWARD_LOCAL);
	return to_local_pod(skb, packet, target);
}

// As an endpoint's flags: node ports of other nodes answer, their host ports are their own.
enum { REMOTE_NODE = ENDPOINT_HOST | ENDPOINT_NODE_PORTS, NO_SERVICE = -2 };

// Services have addresses that are nobody's; only what has no socket program goes to node ports by packets.
static __always_inline bool may_be_service(const struct packet *packet, const struct endpoint *target,
					   const struct ipcache_entry *owner)
{
	if (!can_be_served(packet))
		return false;
	if (!target && !owner)
		return true;
	if (packet->tuple.protocol != IPPROTO_SCTP)
		return false;
	return target ? target->flags & ENDPOINT_HOST : owner->flags & IPCACHE_NODE;
}

// Judges what a pod sends to a service, when it is translated: the backend, but not a masquerade in the pod's place.
static __always_inline int judge_sent(struct __sk_buff *skb, struct packet *packet, const struct address *sender,
				      __be16 port)
{
	struct scratch *scratch = scratch_of_cpu();
	if (!(config.flags & CONFIG_POLICY) || !scratch)
		return 0;
	scratch->packet = *packet;
	scratch->packet.tuple.source = *sender;
	scratch->packet.tuple.source_port = port;
	return judge_packet(skb, DIRECTION_EGRESS);
}

// A pod's packet to a service that its socket did not translate: other protocols, source ranges, virtual machines.
static __noinline int serve_pod(struct __sk_buff *skb, struct packet *packet, __u32 target)
{
	struct service_key key = {};
	struct service *service = find_packet_service(packet, target, &key);
	if (!service)
		return NO_SERVICE;
	if (is_handed_over(packet))
		return pass(skb, DIRECTION_EGRESS, FORWARD_STACK);
	set_translated(skb->ifindex);
	struct address sender = packet->tuple.source;
	__be16 port = packet->tuple.source_port;
	int failed = serve(skb, packet, service, &key, true);
	if (failed)
		return not_served(skb, packet, DIRECTION_EGRESS, failed);
	failed = judge_sent(skb, packet, &sender, port);
	if (failed)
		return drop(skb, DIRECTION_EGRESS, failed);
	return deliver(skb, packet, DIRECTION_EGRESS, FORWARD_SERVICE);
}

// What leaves the node, or comes back from a translated flow.
static __noinline int leave(struct __sk_buff *skb, struct packet *packet)
{
	resolve_fragment(packet);
	bool translated = may_be_translated(skb->ifindex);
	struct nat_entry *flow = translated ? find_flow(packet) : NULL;
	if (flow) {
		__u32 reason = flow->flags & NAT_REVERSE ? FORWARD_REVERSE : FORWARD_MASQUERADED;
		__u32 flags = flow->flags & (NAT_REVERSE | NAT_SERVICE);
		struct tuple to = flow->to;
		// What is judged is the backend behind a service, and the pod behind a masquerade.
		struct address sender = packet->tuple.source;
		__be16 port = packet->tuple.source_port;
		int failed = flags ? 0 : judge(skb, packet, DIRECTION_EGRESS);
		if (!failed)
			failed = rewrite(skb, packet, &to);
		if (!failed && flags == NAT_SERVICE)
			failed = judge_sent(skb, packet, &sender, port);
		if (failed)
			return drop(skb, DIRECTION_EGRESS, failed);
		return deliver(skb, packet, DIRECTION_EGRESS, reason);
	}
	if (translated && (packet->flags & PACKET_ICMP_ERROR)) {
		int done = translate_icmp_error(skb, packet);
		if (done == TRANSLATED)
			return deliver(skb, packet, DIRECTION_EGRESS, FORWARD_REVERSE);
		if (done == TRANSLATE_FAILED)
			return drop(skb, DIRECTION_EGRESS, DROP_TRANSLATE_FAILED);
	}
	struct endpoint *target = find_endpoint(&packet->tuple.destination);
	struct ipcache_entry *owner = target ? NULL : find_owner(&packet->tuple.destination);
	if ((config.flags & CONFIG_POD_SERVICES) && may_be_service(packet, target, owner)) {
		int done = serve_pod(skb, packet, target ? target->flags : owner ? REMOTE_NODE : 0);
		if (done != NO_SERVICE)
			return done;
	}
	int failed = judge(skb, packet, DIRECTION_EGRESS);
	if (failed)
		return drop(skb, DIRECTION_EGRESS, failed);
	if (target)
		return to_endpoint(skb, packet, target);
	if (is_foreign_pod(owner))
		return pass(skb, DIRECTION_EGRESS, FORWARD_STACK);
	struct scratch *scratch = scratch_of_cpu();
	if (!scratch)
		return TC_ACT_SHOT;
	struct route *route = &scratch->route;
	if (is_tunnelled(owner)) {
		if (is_larger(skb, packet, config.tunnel_mtu)) // the stack fragments it or says what would fit
			return pass(skb, DIRECTION_EGRESS, FORWARD_STACK);
		if (find_route_beside(skb, packet, owner, route)) {
			count(skb, DIRECTION_EGRESS, FORWARD_DIRECT);
			return to_route(skb, packet, route);
		}
		count(skb, DIRECTION_EGRESS, FORWARD_OVERLAY);
		return to_tunnel(skb, packet, owner);
	}
	if (is_next_hop(skb, packet, owner)) {
		count(skb, DIRECTION_EGRESS, FORWARD_DIRECT);
		return to_next_hop(skb, packet, owner);
	}
	bool in_cluster = owner && (owner->flags & IPCACHE_IN_CLUSTER);
	if (!find_route(skb, packet, route)) // the stack says why not
		return pass(skb, DIRECTION_EGRESS, FORWARD_STACK);
	__u32 reason = in_cluster ? FORWARD_DIRECT : FORWARD_WORLD;
	if (!in_cluster && (config.flags & CONFIG_MASQUERADE)) {
		failed = masquerade(skb, packet);
		if (failed)
			return drop(skb, DIRECTION_EGRESS, failed);
		reason = FORWARD_MASQUERADED;
	}
	count(skb, DIRECTION_EGRESS, reason);
	return to_route(skb, packet, route);
}

SEC("tc") int from_pod(struct __sk_buff *skb)
{
	if (skb->protocol == bpf_htons(ETH_P_ARP))
		return from_pod_arp(skb);
	struct packet packet = {};
	int failed = parse(skb, &packet);
	if (failed)
		return drop(skb, DIRECTION_EGRESS, failed);
	const struct address *source = &packet.tuple.source;
	const struct address *destination = &packet.tuple.destination;
	bool own_link = !packet_is_ipv4(&packet) && (is_link_local6(source) || is_unspecified6(source));
	if (!own_link)
		failed = check_source(skb, &packet);
	else if (!is_neighbour_discovery(&packet))
		failed = DROP_INVALID_SOURCE_IP;
	if (failed)
		return drop(skb, DIRECTION_EGRESS, failed);
	if (own_link || is_neighbour_discovery(&packet))
		return pass(skb, DIRECTION_EGRESS, FORWARD_STACK);
	if (is_multicast(destination))
		return drop(skb, DIRECTION_EGRESS, DROP_UNKNOWN_TARGET);
	if (is_loopback(destination) || is_loopback(source))
		return drop(skb, DIRECTION_EGRESS, DROP_INVALID_PACKET);
	struct endpoint *target = find_endpoint(destination);
	bool for_host = target && (target->flags & ENDPOINT_HOST);
	if (packet.ttl <= 1 && !for_host) // the stack says "time exceeded"
		return pass(skb, DIRECTION_EGRESS, FORWARD_STACK);
	bool sctp_to_host = for_host && packet.tuple.protocol == IPPROTO_SCTP;
	if (target && !sctp_to_host && !may_be_translated(skb->ifindex)) {
		failed = judge(skb, &packet, DIRECTION_EGRESS);
		return failed ? drop(skb, DIRECTION_EGRESS, failed) : to_endpoint(skb, &packet, target);
	}
	return leave(skb, &packet);
}

// What the stack sends, the node's own and what another pod network's pods send; replies among it are translated back.
SEC("tc") int to_pod(struct __sk_buff *skb)
{
	bool is_ip = skb->protocol == bpf_htons(ETH_P_IP) || skb->protocol == bpf_htons(ETH_P_IPV6);
	bool translated = may_be_translated(skb->ifindex);
	struct packet packet = {};
	if (!is_ip || (!translated && !(config.flags & CONFIG_POLICY)) || parse(skb, &packet))
		return pass(skb, DIRECTION_INGRESS, FORWARD_TO_POD);
	resolve_fragment(&packet);
	struct nat_entry *flow = translated ? find_flow(&packet) : NULL;
	int failed = judge_host(skb, &packet, DIRECTION_EGRESS);
	if (failed)
		return drop(skb, DIRECTION_EGRESS, failed);
	if (!flow || !(flow->flags & NAT_REVERSE)) {
		failed = judge(skb, &packet, DIRECTION_INGRESS);
		return failed ? drop(skb, DIRECTION_INGRESS, failed) : pass(skb, DIRECTION_INGRESS, FORWARD_TO_POD);
	}
	struct tuple to = flow->to;
	failed = rewrite(skb, &packet, &to);
	return failed ? drop(skb, DIRECTION_INGRESS, failed) : pass(skb, DIRECTION_INGRESS, FORWARD_REVERSE);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
