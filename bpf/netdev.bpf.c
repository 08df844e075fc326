// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The uplink: node ports and external addresses from outside, replies to masqueraded flows, routed pod traffic. The
// overlay device of another pod network, while one is there, is an uplink too.
#include "lib/new-flow.h"

static __always_inline bool in_node_port_range(__be16 port)
{
	__u16 host_order = bpf_ntohs(port);
	return host_order >= config.node_port_min && host_order <= config.node_port_max;
}

static __always_inline struct service *find_external_service(const struct packet *packet, bool to_host,
							     struct service_key *key)
{
	key->address = packet->tuple.destination;
	key->port = packet->tuple.destination_port;
	key->protocol = packet->tuple.protocol;
	struct service *service = bpf_map_lookup_elem(&sh_services, key);
	if (service || !to_host)
		return service;
	key->address = unspecified_like(&packet->tuple.destination);
	service = bpf_map_lookup_elem(&sh_services, key);
	if (service && !(service->flags & SERVICE_HOST_PORT) && !in_node_port_range(key->port))
		return NULL;
	return service;
}

// Fills entry->to for a backend: replies of one on another node must come back through this node.
static __always_inline int aim(const struct packet *packet, const struct backend *backend, struct nat_entry *entry)
{
	entry->to = packet->tuple;
	entry->to.destination = backend->address;
	entry->to.destination_port = backend->port;
	struct endpoint *endpoint = find_endpoint(&backend->address);
	if (endpoint) {
		set_translated(endpoint->ifindex);
		return 0;
	}
	struct ipcache_entry *owner = find_owner(&backend->address);
	if (is_foreign_pod(owner)) // its replies leave by to_netdev
		return 0;
	entry->to.source = *own_address(packet_is_ipv4(packet), is_tunnelled(owner));
	return choose_port(&packet->tuple, entry);
}

// A new flow to a service: chooses a backend and remembers it.
static __noinline int serve(struct __sk_buff *skb, struct packet *packet, struct service *service,
			    struct service_key *key)
{
	struct scratch *scratch = scratch_of_cpu();
	if (!service || !key || !scratch)
		return DROP_NO_BACKEND;
	struct nat_entry *entry = &scratch->entry;
	__builtin_memset(entry, 0, sizeof(*entry));
	scratch->seen = packet->tuple;
	entry->last_seen_ns = bpf_ktime_get_ns();
	entry->flags = NAT_SERVICE;
	entry->service_id = service->id;
	bool local_only = service->flags & SERVICE_EXTERNAL_LOCAL;
	struct backend *backend = choose_backend(key, service, local_only, hash_tuple(&scratch->seen));
	if (!backend)
		return DROP_NO_BACKEND;
	entry->backend_id = backend->id;
	int reason = aim(packet, backend, entry);
	if (!reason)
		reason = remember(&scratch->seen, entry);
	return reason ? reason : rewrite(skb, packet, &entry->to);
}

// While kube-proxy's connections live on, netfilter keeps those that did not begin here.
static __always_inline bool is_handed_over(const struct packet *packet)
{
	return (config.flags & CONFIG_HANDOVER) && packet->tuple.protocol == IPPROTO_TCP && !starts_connection(packet);
}

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
	bpf_map_update_elem(&sh_nat, &packet->tuple, entry, BPF_ANY);
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
	bpf_map_delete_elem(&sh_nat, &scratch->seen);
	bpf_map_delete_elem(&sh_nat, &scratch->key);
}

static __noinline int translate(struct __sk_buff *skb, struct packet *packet, bool to_host)
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
		struct tuple to = flow->to;
		int failed = rewrite(skb, packet, &to);
		if (failed)
			return drop(skb, DIRECTION_INGRESS, failed);
		return deliver(skb, packet, DIRECTION_INGRESS, reason);
	}
	if (packet->flags & PACKET_ICMP_ERROR) {
		int done = translate_icmp_error(skb, packet);
		if (done == TRANSLATED)
			return deliver(skb, packet, DIRECTION_INGRESS, FORWARD_REVERSE);
		return done == TRANSLATE_FAILED ? drop(skb, DIRECTION_INGRESS, DROP_TRANSLATE_FAILED) : TC_NEXT;
	}
	bool can_serve = packet->tuple.protocol == IPPROTO_TCP || packet->tuple.protocol == IPPROTO_UDP;
	if (!(config.flags & CONFIG_NODE_PORTS) || !can_serve || !(packet->flags & PACKET_PORTS))
		return TC_NEXT;
	struct service_key key = {};
	struct service *service = find_external_service(packet, to_host, &key);
	if (!service) {
		end_service_flow(packet);
		return TC_NEXT;
	}
	if (is_handed_over(packet))
		return leave_to_netfilter(packet);
	int failed = serve(skb, packet, service, &key);
	if (failed)
		return drop(skb, DIRECTION_INGRESS, failed);
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
		count(skb, DIRECTION_INGRESS, FORWARD_LOCAL);
		if (may_be_translated(target->ifindex))
			end_service_flow(&packet);
		return to_local_pod(skb, &packet, target);
	}
	return translate(skb, &packet, target != NULL);
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
	if (!(packet.flags & PACKET_PORTS))
		return TC_NEXT;
	struct nat_entry *flow = bpf_map_lookup_elem(&sh_nat, &packet.tuple);
	if (!flow || !(flow->flags & NAT_REVERSE) || !(flow->flags & NAT_SERVICE))
		return TC_NEXT;
	refresh(flow, &packet);
	struct tuple to = flow->to;
	int failed = rewrite(skb, &packet, &to);
	return failed ? drop(skb, DIRECTION_EGRESS, failed) : pass(skb, DIRECTION_EGRESS, FORWARD_REVERSE);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
