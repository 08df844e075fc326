// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The uplink: node ports and external addresses from outside, replies to masqueraded flows, routed pod traffic. The
// overlay device of another pod network, while one is there, is an uplink too.
#include "lib/arrive.h"
#include "lib/dsr-learn.h"
#include "lib/serve.h"

// Remembers what netfilter keeps, so that it keeps it when everything else is ours.
static __noinline int leave_to_netfilter(const struct packet *packet)
{
	struct scratch *scratch = scratch_of_cpu();
	if (!packet || !scratch)
		return TC_NEXT;
	struct nat_entry *entry = &scratch->entry;
	__builtin_memset(entry, 0, sizeof(*entry));
	entry->to = packet->tuple;
	entry->last_seen_ns = bpf_ktime_get_ns();
	entry->flags = NAT_FOREIGN;
	put_flow(&packet->tuple, entry);
	return TC_NEXT;
}

// A client that reached this backend by a service and now begins to talk to it directly, from the same port: what it
// gets back must not be translated any more.
static __noinline void end_service_flow(const struct packet *packet)
{
	struct scratch *scratch = scratch_of_cpu();
	if (!packet || !scratch || !(packet->flags & PACKET_PORTS))
		return;
	if (!starts_connection(packet) && packet->tuple.protocol != IPPROTO_UDP)
		return;
	scratch->key = reversed(&packet->tuple);
	struct nat_entry *reply = bpf_map_lookup_elem(&sh_nat, &scratch->key);
	if (!reply || !(reply->flags & NAT_SERVICE) || !(reply->flags & NAT_REVERSE))
		return;
	scratch->seen = reversed(&reply->to);
	remove_flow(&scratch->seen);
	remove_flow(&scratch->key);
}

// Makes the packet what its flow says; returns 0 or a reason to drop.
static __always_inline int follow_flow(struct __sk_buff *skb, struct packet *packet, const struct nat_entry *flow)
{
	struct scratch *scratch = scratch_of_cpu();
	if (!scratch)
		return DROP_TRANSLATE_FAILED;
	bool tells = tells_service(flow, packet);
	scratch->seen = packet->tuple;
	scratch->key = flow->to;
	int failed = rewrite(skb, packet, &scratch->key);
	return !failed && tells ? tell_service(skb, packet) : failed;
}

// `target`: flags of the endpoint that the packet is for; 0 when it is for no address of this node. Returns NOT_TRANSLATED
// when there is nothing to do.
static __noinline int translate(struct __sk_buff *skb, struct packet *packet, __u32 target)
{
	resolve_fragment(packet);
	struct nat_entry *flow = find_flow(packet);
	if (flow && (flow->flags & NAT_FOREIGN)) {
		if (!starts_connection(packet))
			return TC_NEXT;
		flow = NULL;
	}
	if (flow) {
		__u32 reason = flow->flags & NAT_REVERSE ? FORWARD_REVERSE : FORWARD_SERVICE;
		int failed = follow_flow(skb, packet, flow);
		if (failed)
			return drop(skb, DIRECTION_INGRESS, failed);
		return deliver(skb, packet, DIRECTION_INGRESS, reason);
	}
	if (packet->flags & PACKET_ICMP_ERROR) {
		int done = translate_icmp_error(skb, packet);
		if (done == TRANSLATED)
			return deliver(skb, packet, DIRECTION_INGRESS, FORWARD_REVERSE);
		return done == TRANSLATE_FAILED ? drop(skb, DIRECTION_INGRESS, DROP_TRANSLATE_FAILED) : NOT_TRANSLATED;
	}
	if (!(config.flags & CONFIG_NODE_PORTS) || !can_be_served(packet))
		return NOT_TRANSLATED;
	struct service_key key = {};
	struct service *service = find_packet_service(packet, target, &key);
	if (!service) {
		end_service_flow(packet);
		return NOT_TRANSLATED;
	}
	if (is_handed_over(packet))
		return leave_to_netfilter(packet);
	int failed = serve(skb, packet, service, &key, false);
	if (failed)
		return not_served(skb, packet, DIRECTION_INGRESS, failed);
	return deliver(skb, packet, DIRECTION_INGRESS, FORWARD_SERVICE);
}

static __always_inline bool is_tunnel_traffic(const struct packet *packet)
{
	return (config.flags & CONFIG_TUNNEL) && packet->tuple.protocol == IPPROTO_UDP &&
	       packet->tuple.destination_port == bpf_htons(config.tunnel_port);
}

SEC("tc") int from_netdev(struct __sk_buff *skb)
{
	if (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6))
		return TC_NEXT;
	struct packet packet = {};
	if (parse(skb, &packet)) // the stack judges what is its own
		return TC_NEXT;
	if (is_tunnel_traffic(&packet) || is_multicast(&packet.tuple.destination))
		return TC_NEXT;
	struct endpoint *target = find_endpoint(&packet.tuple.destination);
	if (target && !(target->flags & ENDPOINT_HOST)) {
		struct endpoint *source = find_endpoint(&packet.tuple.source);
		if (source && !(source->flags & ENDPOINT_HOST))
			return drop(skb, DIRECTION_INGRESS, DROP_INVALID_SOURCE_IP);
		int learned = 0;
		if ((config.flags & CONFIG_DSR) && has_options(&packet))
			learned = learn_service(skb, &packet);
		if (learned > 0)
			return drop(skb, DIRECTION_INGRESS, learned);
		if (may_be_translated(target->ifindex)) {
			if (!learned)
				end_service_flow(&packet);
			return to_translated_pod(skb, &packet);
		}
		int failed = judge(skb, &packet, DIRECTION_INGRESS);
		if (failed)
			return drop(skb, DIRECTION_INGRESS, failed);
		count(skb, DIRECTION_INGRESS, FORWARD_LOCAL);
		return to_local_pod(skb, &packet, target);
	}
	int done = translate(skb, &packet, target ? target->flags : 0);
	if (done != NOT_TRANSLATED)
		return done;
	int failed = judge_host(skb, &packet, DIRECTION_INGRESS);
	return failed ? drop(skb, DIRECTION_INGRESS, failed) : TC_NEXT;
}

// The node's own SCTP to a service: no socket program translates it. Where a program at egress cannot lead (to a server of
// the node itself, or an answer that nobody serves) it is dropped.
static __noinline int serve_host(struct __sk_buff *skb, struct packet *packet)
{
	struct service_key key = {};
	struct nat_entry *flow = find_flow(packet);
	struct service *service = flow ? NULL : find_packet_service(packet, 0, &key);
	int failed = 0;
	if (flow || service)
		failed = flow ? follow_flow(skb, packet, flow) : serve(skb, packet, service, &key, false);
	if (!failed)
		failed = judge_host(skb, packet, DIRECTION_EGRESS);
	if (failed)
		return drop(skb, DIRECTION_EGRESS, failed == REJECT ? DROP_NO_BACKEND : failed);
	if (!flow && !service)
		return TC_NEXT;
	struct endpoint *endpoint = find_endpoint(&packet->tuple.destination);
	if (!endpoint)
		return deliver(skb, packet, DIRECTION_EGRESS, FORWARD_SERVICE);
	if (endpoint->flags & ENDPOINT_HOST)
		return drop(skb, DIRECTION_EGRESS, DROP_UNKNOWN_TARGET);
	write_bytes(skb, 0, endpoint->mac, 6);
	write_bytes(skb, 6, endpoint->host_mac, 6);
	count(skb, DIRECTION_EGRESS, FORWARD_SERVICE);
	return bpf_redirect(endpoint->ifindex, 0);
}

// Replies of backends in the node's own namespace (hostNetwork pods) leave by the stack: translate them back.
SEC("tc") int to_netdev(struct __sk_buff *skb)
{
	if (skb->tc_index == TC_INDEX_ROUTED) {
		skb->tc_index = 0;
		return TC_NEXT;
	}
	if (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6))
		return TC_NEXT;
	struct packet packet = {};
	if (parse(skb, &packet) || is_tunnel_traffic(&packet))
		return TC_NEXT;
	resolve_fragment(&packet);
	bool has_ports = packet.flags & PACKET_PORTS;
	struct nat_entry *flow = has_ports ? bpf_map_lookup_elem(&sh_nat, &packet.tuple) : NULL;
	if (has_ports && packet.tuple.protocol == IPPROTO_SCTP && (config.flags & CONFIG_NODE_PORTS) &&
	    (!flow || !(flow->flags & NAT_REVERSE)))
		return serve_host(skb, &packet);
	int failed = is_multicast(&packet.tuple.destination) ? 0 : judge_host(skb, &packet, DIRECTION_EGRESS);
	if (failed)
		return drop(skb, DIRECTION_EGRESS, failed);
	if (!flow || !(flow->flags & NAT_REVERSE) || !(flow->flags & NAT_SERVICE))
		return TC_NEXT;
	refresh(flow, &packet);
	struct tuple to = flow->to;
	failed = rewrite(skb, &packet, &to);
	return failed ? drop(skb, DIRECTION_EGRESS, failed) : pass(skb, DIRECTION_EGRESS, FORWARD_REVERSE);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
