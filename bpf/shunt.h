// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Everything that the kernel programs and user space share: map keys, values, configuration, reasons.
// agent/datapath-layout.ts mirrors this file; agent/datapath-layout.test.ts proves through BTF that they agree.
// Enums rather than macros for what user space needs: only enums reach BTF.
#pragma once

#include <linux/types.h>

// One address form for both families: 16 bytes, network order, IPv4 as ::ffff:a.b.c.d.
struct address {
	__be32 word[4];
};
_Static_assert(sizeof(struct address) == 16, "address");

// How Hubble numbers verdicts.
enum verdict {
	VERDICT_FORWARDED = 1,
	VERDICT_DROPPED = 2,
	VERDICT_AUDIT = 4,
	VERDICT_REDIRECTED = 5,
	VERDICT_TRANSLATED = 7,
};

enum direction {
	DIRECTION_INGRESS = 0, // towards the pod, the node or the cluster
	DIRECTION_EGRESS = 1, // from the pod
	DIRECTION_COUNT = 2,
};

// Why a packet went where it went. Forwarding reasons are below 130, drop reasons from 130 on with the numbers
// of Hubble's DropReason, so that the two never overlap.
enum reason {
	FORWARD_LOCAL = 1, // to a pod of this node
	FORWARD_OVERLAY = 2, // into the tunnel
	FORWARD_DIRECT = 3, // routed to another node
	FORWARD_WORLD = 4, // routed out of the cluster
	FORWARD_HOST = 5, // to the node itself
	FORWARD_STACK = 6, // left to the kernel's stack (ICMP errors, neighbour discovery, too big for the tunnel)
	FORWARD_TO_POD = 7, // from the node's stack to a pod
	FORWARD_MASQUERADED = 8, // as WORLD, source translated
	FORWARD_SERVICE = 9, // a node port or external address, translated to a backend
	FORWARD_REVERSE = 10, // a reply, translated back
	FORWARD_REJECTED = 11, // a service without backends: the client was told so
	FORWARD_TURNED = 12, // as SERVICE or REVERSE, back out of the uplink by its driver (XDP)
	FORWARD_AUDITED = 13, // beside another reason: policy would have denied it
	DROP_INVALID_SOURCE_MAC = 130,
	DROP_INVALID_SOURCE_IP = 132,
	DROP_POLICY_DENIED = 133,
	DROP_INVALID_PACKET = 134,
	DROP_TRUNCATED = 135,
	DROP_UNSUPPORTED_L3 = 139,
	DROP_UNKNOWN_L4 = 142,
	DROP_UNKNOWN_TARGET = 150, // no such pod behind this address
	DROP_TRANSLATE_FAILED = 155, // the NAT table refused the entry
	DROP_FRAGMENT = 157, // a later fragment whose first one was not seen, on a translated path
	DROP_NO_BACKEND = 158, // a service without (suitable) backends
	DROP_NAT_NO_PORT = 167, // no free masquerading port towards that destination
	DROP_FIB_FAILED = 169,
	DROP_INVALID_IDENTITY = 171,
	DROP_UNKNOWN_SENDER = 172, // tunnel packet whose source does not live on the sending node
	DROP_SOURCE_RANGE = 177, // not in the service's loadBalancerSourceRanges
};

// A pod of this node, or one of the node's own addresses. Map sh_endpoints: address -> endpoint.
enum endpoint_flag {
	ENDPOINT_HOST = 1, // an address of the node itself: packets go to the stack
	ENDPOINT_NODE_PORTS = 2, // one on which node ports answer
};

struct endpoint {
	__u32 ifindex; // host side of the pod's veth pair; 0 for ENDPOINT_HOST
	__u32 id; // small number of the endpoint on this node; POLICY_HOST for ENDPOINT_HOST
	__u32 identity;
	__u8 mac[6]; // the pod's side
	__u8 host_mac[6]; // the node's side
	__u16 flags; // enum endpoint_flag
	__u16 reserved;
};
_Static_assert(sizeof(struct endpoint) == 28, "endpoint");

// Who is where, longest prefix first. Map sh_ipcache: prefix -> ipcache_entry.
enum ipcache_flag {
	IPCACHE_TUNNEL = 1, // reached by VXLAN through tunnel_endpoint
	IPCACHE_IN_CLUSTER = 2, // never masqueraded
	IPCACHE_NODE = 4, // a node's own address: node ports answer on it
	IPCACHE_NEXT_HOP = 8, // the node is a neighbour on the uplink and of the prefix's family: no route is looked up
	IPCACHE_LOCAL = 16, // a range of this node's own: what is no endpoint there is another pod network's, for the stack
	IPCACHE_BESIDE = 32, // another pod network still carries this prefix: its routes go before the tunnel
};

struct ipcache_key {
	__u32 prefix_length; // bits of the 16-byte form: an IPv4 prefix counts 96 more
	struct address address;
};
_Static_assert(sizeof(struct ipcache_key) == 20, "ipcache_key");

struct ipcache_entry {
	struct address tunnel_endpoint; // the node that it lives on; zero when none
	__u32 identity;
	__u16 flags; // enum ipcache_flag
	__u16 reserved;
};
_Static_assert(sizeof(struct ipcache_entry) == 24, "ipcache_entry");

// Map sh_services: service_key -> service. A node port (or a host port without address) has the unspecified
// address of its family: ::ffff:0.0.0.0 or ::.
struct service_key {
	struct address address;
	__be16 port;
	__u8 protocol; // IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP
	__u8 reserved;
};
_Static_assert(sizeof(struct service_key) == 20, "service_key");

enum service_flag {
	SERVICE_EXTERNAL_LOCAL = 1, // externalTrafficPolicy Local: from outside only to backends of this node
	SERVICE_INTERNAL_LOCAL = 2, // internalTrafficPolicy Local
	SERVICE_HOST_PORT = 4, // answers on a port outside the node port range
	SERVICE_SOURCE_RANGES = 8, // only for clients in sh_source_ranges
	SERVICE_WEIGHTED = 16, // backends have weights: sockets too choose by the table
};

// Slots 0 … backend_count - 1 are for the policy Cluster, the local_count slots after them for Local.
struct service {
	__u32 id;
	__u32 generation; // which set of backend slots is the current one
	__u16 backend_count;
	__u16 local_count;
	__u16 flags; // enum service_flag
	__u16 table_size; // entries of the Maglev table over slots 0 … backend_count - 1; 0 is none
	__u32 affinity_seconds; // ClientIP affinity; 0 is none
};
_Static_assert(sizeof(struct service) == 20, "service");

// Map sh_backends: backend_key -> backend.
struct backend_key {
	__u32 service_id;
	__u32 generation;
	__u32 slot;
};
_Static_assert(sizeof(struct backend_key) == 12, "backend_key");

struct backend {
	struct address address;
	__be16 port;
	__u16 flags; // none yet
	__u32 id; // stable number of (address, port, protocol), for statistics
};
_Static_assert(sizeof(struct backend) == 24, "backend");

// Map sh_maglev: maglev_key -> slots. The table of a service (Eisenbud and others, "Maglev: A Fast and Reliable
// Software Network Load Balancer", NSDI 2016) in pieces: the entry of a hash h is number h mod table_size.
enum { MAGLEV_CHUNK = 256 };

struct maglev_key {
	__u32 service_id;
	__u32 generation;
	__u32 chunk; // number of the entry / MAGLEV_CHUNK
};
_Static_assert(sizeof(struct maglev_key) == 12, "maglev_key");

struct maglev_chunk {
	__u16 slot[MAGLEV_CHUNK];
};
_Static_assert(sizeof(struct maglev_chunk) == 512, "maglev_chunk");

// Map sh_members, for services with affinity: in which slots a backend is, so that a client stays with it.
struct member_key {
	__u32 service_id;
	__u32 generation;
	__u32 backend_id;
};
_Static_assert(sizeof(struct member_key) == 12, "member_key");

struct member {
	__u16 cluster; // slot + 1 among those of the policy Cluster; 0: not among them
	__u16 local; // the same among those of Local
};
_Static_assert(sizeof(struct member) == 4, "member");

// Map sh_affinity, LRU: the backend that a client had last.
struct affinity_key {
	struct address client; // its address; for a socket the cookie of its network namespace in the first two words
	__u32 service_id;
	__u32 is_socket;
};
_Static_assert(sizeof(struct affinity_key) == 24, "affinity_key");

struct affinity {
	__u64 last_used_ns; // bpf_ktime_get_ns
	__u32 backend_id;
	__u32 reserved;
};
_Static_assert(sizeof(struct affinity) == 16, "affinity");

// Map sh_source_ranges: whom a service with SERVICE_SOURCE_RANGES serves. The value says nothing.
struct source_range_key {
	__u32 prefix_length; // bits of what follows: those of the address's 16-byte form and 32 more
	__u32 service_id;
	struct address address;
};
_Static_assert(sizeof(struct source_range_key) == 24, "source_range_key");

// Map sh_lb_stats, per CPU: how often a backend was chosen. backend_id 0 counts what found no backend.
struct lb_stats_key {
	__u32 service_id;
	__u32 backend_id;
};
_Static_assert(sizeof(struct lb_stats_key) == 8, "lb_stats_key");

struct lb_stats {
	__u64 connections;
};
_Static_assert(sizeof(struct lb_stats) == 8, "lb_stats");

// What tells one flow's direction from another's. For ICMP echo the identifier stands for the client's port, and
// the other port is 0.
struct tuple {
	struct address source;
	struct address destination;
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol;
	__u8 reserved[3];
};
_Static_assert(sizeof(struct tuple) == 40, "tuple");

// Map sh_nat, LRU: a packet's tuple as it arrives -> what it becomes. A translated flow has two entries, one a
// direction; node ports and masquerading share the table.
enum nat_flag {
	NAT_REVERSE = 1, // made for replies
	NAT_SERVICE = 2, // made by a service, else by masquerading
	NAT_CLOSING = 4, // FIN seen in this direction
	NAT_REPLIED = 8, // a reply was seen
	NAT_FOREIGN = 16, // not ours: netfilter translates this connection, and goes on when new ones are ours
	NAT_ENDED = 32, // FIN seen in both directions, or RST in one
	NAT_DSR = 64, // the backend's node answers the client by itself: there is no entry for replies here
};

// Seconds without a packet after which a flow is given up; those of netfilter, with what kube-proxy sets of them.
enum flow_timeout {
	FLOW_TIMEOUT_TCP = 86400,
	FLOW_TIMEOUT_TCP_CLOSING = 3600, // one end may still send
	FLOW_TIMEOUT_OTHER = 180,
	FLOW_TIMEOUT_UNREPLIED = 60,
	FLOW_TIMEOUT_ENDED = 2,
};

// Map sh_flow_stats, per CPU, array of __u64: entries of sh_nat made and removed by programs, and removed by the agent.
// What is missing was evicted because the map was full.
enum flow_stat {
	FLOW_MADE = 0,
	FLOW_REMOVED = 1,
	FLOW_COLLECTED = 2,
	FLOW_STATS = 3,
};

struct nat_entry {
	struct tuple to;
	__u64 last_seen_ns; // bpf_ktime_get_ns, refreshed at most once a second
	__u32 service_id;
	__u32 backend_id;
	__u32 flags; // enum nat_flag
	__u32 reserved;
};
_Static_assert(sizeof(struct nat_entry) == 64, "nat_entry");

// Map sh_translated, array: ifindex of a pod's veth modulo its size -> 1 once packets from there may have an entry
// in sh_nat. Most pods never have one and are spared the lookup; two that share a slot cost one too many.
enum { TRANSLATED_SLOTS = 4096 };

// Map sh_fragments, LRU: ports of a fragmented datagram, remembered from its first fragment.
struct fragment_key {
	struct address source;
	struct address destination;
	__u32 id;
	__u8 protocol;
	__u8 reserved[3];
};
_Static_assert(sizeof(struct fragment_key) == 40, "fragment_key");

struct fragment_ports {
	__be16 source_port;
	__be16 destination_port;
};
_Static_assert(sizeof(struct fragment_ports) == 4, "fragment_ports");

// Map sh_socket_nat, LRU: which service address a socket believes to talk to.
struct socket_nat_key {
	__u64 cookie;
	struct address address; // the backend
	__be16 port;
	__u8 protocol;
	__u8 reserved[5];
};
_Static_assert(sizeof(struct socket_nat_key) == 32, "socket_nat_key");

struct socket_nat {
	struct address address; // the service
	__be16 port;
	__u16 reserved;
	__u32 service_id;
};
_Static_assert(sizeof(struct socket_nat) == 24, "socket_nat");

// Policy. Map sh_policy_of, array: an endpoint's id -> the word by which its packets are judged: the number of a policy set
// above POLICY_FLAGS bits of flags. Zero judges nothing. One word, so that no packet is judged by half a set. The node itself
// (ENDPOINT_HOST) is number POLICY_HOST.
enum policy_flag {
	POLICY_INGRESS = 1, // judged towards the endpoint
	POLICY_EGRESS = 2, // judged from the endpoint
	POLICY_AUDIT = 4, // what is denied is counted, and passes
};
enum { POLICY_FLAGS = 3, POLICY_HOST = 0, POLICY_ENDPOINTS = 16384 };

// Map sh_policy_tables: policy_table_key -> policy_table. The everybody's entry is there for each direction
// that is judged; that of an identity only when it is another one.
enum { POLICY_EVERYBODY = 0xffffffff };

struct policy_table_key {
	__u32 set;
	__u32 identity;
	__u32 direction;
};
_Static_assert(sizeof(struct policy_table_key) == 12, "policy_table_key");

struct policy_table {
	__u32 table; // its number in sh_policy_ports
	__u32 lengths; // bit n: entries there name ports by their first n bits
	__u32 rule; // for what none of them covers
	__u32 action; // enum policy_action
	__u32 networks; // 1: some addresses have another table, in sh_policy_networks
};
_Static_assert(sizeof(struct policy_table) == 20, "policy_table");

// Map sh_policy_networks, longest prefix first: policy_network_key -> policy_table, instead of the table that the peer's identity
// has. Rules by networks are about an address, whoever has it.
struct policy_network_key {
	__u32 prefix_length; // bits of what follows
	__u32 table; // that of the identity
	__u32 ip_version; // 4 or 6: else short prefixes of IPv6 would hold every IPv4 address
	struct address address;
};
_Static_assert(sizeof(struct policy_network_key) == 28, "policy_network_key");

// Map sh_policy_ports: policy_port_key -> policy_verdict. The entry with the most bits holds. By hash for each length that a table
// has, mostly one: in a trie of all tables' ports a look-up would cost more the more there are.
struct policy_port_key {
	__u32 table;
	__be16 port; // of the receiver, its first bits; for ICMP its type
	__u8 bits; // how many: 16 is one port, 0 the whole protocol
	__u8 protocol;
};
_Static_assert(sizeof(struct policy_port_key) == 8, "policy_port_key");

enum policy_action {
	POLICY_DENY = 0,
	POLICY_ALLOW = 1,
	POLICY_UNLESS = 2, // denied because nothing allows it: what allows addresses may still
};

struct policy_verdict {
	__u32 rule; // number of the rule that says so, for the flow's record
	__u32 action; // enum policy_action
};
_Static_assert(sizeof(struct policy_verdict) == 8, "policy_verdict");

// Map sh_policy_prefixes, longest prefix first: policy_prefix_key -> identity of the longest prefix that policies name
// for an address.
enum policy_prefix_kind {
	POLICY_PREFIX_WORLD = 0, // for addresses beyond the cluster; the whole of each family is there
	POLICY_PREFIX_POD = 1, // for the others: only prefixes that also stand for pods
	POLICY_PREFIX_IPV6 = 2, // added for that family: else its short prefixes would hold every IPv4 address
};

struct policy_prefix_key {
	__u32 prefix_length; // bits of what follows
	__u32 kind; // enum policy_prefix_kind
	struct address address;
};
_Static_assert(sizeof(struct policy_prefix_key) == 24, "policy_prefix_key");

// Map sh_policy_flows, LRU: a connection's first packet as the pods see it -> by which words it was let through. Replies
// find it by their reversed tuple.
enum policy_flow_flag {
	POLICY_FLOW_REPLIED = 1,
	POLICY_FLOW_FIN = 2, // from the one that opened it
	POLICY_FLOW_REPLY_FIN = 4,
	POLICY_FLOW_ENDED = 8, // both, or a reset
};

struct policy_flow {
	__u64 last_seen_ns; // bpf_ktime_get_ns, refreshed at most once a second
	__u32 word[2]; // by direction: the endpoint's word of sh_policy_of and 1; 0 when it was not judged there
	__u32 rule[2];
	__u32 flags; // enum policy_flow_flag
	__u32 reserved;
};
_Static_assert(sizeof(struct policy_flow) == 32, "policy_flow");

// Map sh_policy_denials, LRU: what was denied, or would have been.
struct policy_denial_key {
	struct address peer;
	__u32 endpoint;
	__u32 identity; // of the peer
	__u32 word;
	__u8 direction;
	__u8 protocol;
	__be16 port;
};
_Static_assert(sizeof(struct policy_denial_key) == 32, "policy_denial_key");

struct policy_denial {
	__u64 packets;
	__u64 last_seen_ns;
	__u32 rule;
	__u32 reserved;
};
_Static_assert(sizeof(struct policy_denial) == 24, "policy_denial");

// Map sh_counters, per CPU, array: index direction * 256 + reason.
enum { COUNTER_REASONS = 256 };

struct counter {
	__u64 packets;
	__u64 bytes;
};
_Static_assert(sizeof(struct counter) == 16, "counter");

// The read-only configuration, set before load, so that branches for what is off vanish.
enum config_flag {
	CONFIG_TUNNEL = 1, // the VXLAN device is there
	CONFIG_MASQUERADE = 2,
	CONFIG_SET_RETVAL = 4, // bpf_set_retval is there (Linux 5.18): no backends answers ECONNREFUSED
	CONFIG_NODE_PORTS = 8, // translate node ports and external addresses at the uplink
	CONFIG_HANDOVER = 16, // connections that are not ours from their first packet on are netfilter's
	CONFIG_POD_SERVICES = 32, // translate what pods send to a service as packets, past the sockets
	CONFIG_DSR_TCP = 64, // direct server return
	CONFIG_DSR_UDP = 128,
	CONFIG_POLICY = 256, // what pods send and get is judged
};

struct config {
	struct address node_address4; // source of masqueraded packets; zero when the family is off
	struct address node_address6;
	struct address gateway4; // first address of the node's pod CIDR: source of what is sent into the tunnel
	struct address gateway6;
	__u64 host_netns_cookie; // loopback node ports answer only in this network namespace
	__u32 flags; // enum config_flag
	__u32 tunnel_ifindex;
	__u32 tunnel_mtu; // largest inner IP packet that fits
	__u32 uplink_ifindex; // where next hops are
	__u32 uplink_mtu;
	__u32 local_identity_host;
	__u16 tunnel_port; // host order, like all ports here
	__u16 node_port_min;
	__u16 node_port_max;
	__u16 masquerade_port_min;
	__u16 masquerade_port_max;
	__u16 reserved[3];
};
_Static_assert(sizeof(struct config) == 112, "config");
