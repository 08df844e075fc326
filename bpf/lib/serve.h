// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Services by packets: what reaches the node from outside, and what pods send past the sockets.
#pragma once

#include "lib/dsr-tell.h"
#include "lib/new-flow.h"
#include "lib/reject.h"
#include "lib/services.h"

static __always_inline bool in_node_port_range(__be16 port)
{
	__u16 host_order = bpf_ntohs(port);
	return host_order >= config.node_port_min && host_order <= config.node_port_max;
}

// What serve() returns when the client is to be told that there is no backend.
enum { REJECT = -1 };

static __always_inline bool can_be_served(const struct packet *packet)
{
	__u8 protocol = packet->tuple.protocol;
	return (packet->flags & PACKET_PORTS) &&
	       (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP);
}

// `target`: flags of the node's address that the packet is for (enum endpoint_flag); 0 when it is for none.
static __always_inline struct service *find_packet_service(const struct packet *packet, __u32 target,
							   struct service_key *key)
{
	key->address = packet->tuple.destination;
	key->port = packet->tuple.destination_port;
	key->protocol = packet->tuple.protocol;
	struct service *service = service_of(key);
	if (service || !(target & ENDPOINT_HOST))
		return service;
	key->address = unspecified_like(&packet->tuple.destination);
	service = service_of(key);
	if (!service || (service->flags & SERVICE_HOST_PORT))
		return service;
	return (target & ENDPOINT_NODE_PORTS) && in_node_port_range(key->port) ? service : NULL;
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
	if (returns_directly(packet, owner)) {
		entry->flags |= NAT_DSR;
		return 0;
	}
	entry->to.source = *own_address(packet_is_ipv4(packet), is_tunnelled(owner));
	return choose_port(&packet->tuple, entry);
}

// The same for a client that is a pod of this node: it keeps its address within the cluster.
static __always_inline int aim_from_pod(const struct packet *packet, const struct backend *backend,
					struct nat_entry *entry)
{
	entry->to = packet->tuple;
	entry->to.destination = backend->address;
	entry->to.destination_port = backend->port;
	struct endpoint *endpoint = find_endpoint(&backend->address);
	if (endpoint) {
		set_translated(endpoint->ifindex);
		if (!same_address(&backend->address, &packet->tuple.source))
			return 0;
		// Served by itself: a pod takes no packet that seems to be its own.
		entry->to.source = *own_address(packet_is_ipv4(packet), true);
		return choose_port(&packet->tuple, entry);
	}
	struct ipcache_entry *owner = find_owner(&backend->address);
	if (!(config.flags & CONFIG_MASQUERADE) || (owner && (owner->flags & IPCACHE_IN_CLUSTER)))
		return 0;
	entry->to.source = *own_address(packet_is_ipv4(packet), false);
	return choose_port(&packet->tuple, entry);
}

// A new flow to a service: chooses a backend and remembers it. Returns 0 or a reason to drop.
static __noinline int serve(struct __sk_buff *skb, struct packet *packet, struct service *service,
			    struct service_key *key, bool from_pod)
{
	struct scratch *scratch = scratch_of_cpu();
	if (!service || !key || !scratch)
		return DROP_NO_BACKEND;
	struct nat_entry *entry = &scratch->entry;
	struct chosen *chosen = &scratch->chosen;
	__builtin_memset(entry, 0, sizeof(*entry));
	scratch->seen = packet->tuple;
	entry->last_seen_ns = bpf_ktime_get_ns();
	entry->flags = NAT_SERVICE;
	__u32 local = from_pod ? SERVICE_INTERNAL_LOCAL : SERVICE_INTERNAL_LOCAL | SERVICE_EXTERNAL_LOCAL;
	scratch->client.client = packet->tuple.source;
	scratch->client.is_socket = 0;
	chosen->service = *service;
	bool found = choose_backend(key, chosen, local, hash_tuple(&scratch->seen), &scratch->client);
	if (!may_use(&chosen->service, &packet->tuple.source))
		return DROP_SOURCE_RANGE;
	count_choice(chosen->service.id, found ? chosen->backend.id : 0);
	if (!found) {
		bool is_known_empty = chosen->service.backend_count == 0 && chosen->service.local_count == 0;
		return is_known_empty ? REJECT : DROP_NO_BACKEND;
	}
	entry->service_id = chosen->service.id;
	entry->backend_id = chosen->backend.id;
	int reason = from_pod ? aim_from_pod(packet, &chosen->backend, entry) : aim(packet, &chosen->backend, entry);
	if (!reason)
		reason = remember(scratch);
	if (!reason)
		reason = rewrite(skb, packet, &entry->to);
	return !reason && !from_pod && (entry->flags & NAT_DSR) ? tell_service(skb, packet) : reason;
}

static __always_inline int not_served(struct __sk_buff *skb, struct packet *packet, __u32 direction, int reason)
{
	return reason == REJECT ? reject(skb, packet, direction) : drop(skb, direction, reason);
}

// While kube-proxy's connections live on, netfilter keeps those that did not begin here.
static __always_inline bool is_handed_over(const struct packet *packet)
{
	return (config.flags & CONFIG_HANDOVER) && packet->tuple.protocol == IPPROTO_TCP && !starts_connection(packet);
}
