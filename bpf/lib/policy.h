// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Who may talk to a pod or to the node, and to whom they may. A connection is judged by its first packet, and again when the
// policy of one of its ends has changed.
#pragma once

#include "lib/flow.h"
#include "lib/owners.h"
#include "lib/quote.h"

// Seconds without a packet after which a connection is forgotten.
enum { POLICY_KEEPS_ENDED = 10, POLICY_KEEPS_UNREPLIED = 60, POLICY_KEEPS_OTHER = 180, POLICY_KEEPS_TCP = 86400 };

static __always_inline __u32 word_of(const struct endpoint *endpoint)
{
	__u32 id = endpoint->id;
	__u32 *word = bpf_map_lookup_elem(&sh_policy_of, &id);
	return word ? *word : 0;
}

static __always_inline __u32 *prefix_identity(const struct address *address, __u32 kind)
{
	kind |= is_ipv4(address) ? 0 : POLICY_PREFIX_IPV6;
	struct policy_prefix_key key = { .prefix_length = 160, .kind = kind, .address = *address };
	return bpf_map_lookup_elem(&sh_policy_prefixes, &key);
}

// Whose an address is, as policies know it; 0 for one of the cluster that nobody has told about (yet).
static __noinline __u32 identity_of(const struct address *address)
{
	if (!address)
		return 0;
	struct endpoint *endpoint = find_endpoint(address);
	if (endpoint)
		return endpoint->flags & ENDPOINT_HOST ? config.local_identity_host : endpoint->identity;
	struct ipcache_entry *owner = find_owner(address);
	if (owner && (owner->identity || (owner->flags & (IPCACHE_IN_CLUSTER | IPCACHE_NODE))))
		return owner->identity;
	__u32 *world = prefix_identity(address, POLICY_PREFIX_WORLD);
	return world ? *world : 0;
}

static __always_inline struct policy_table *find_table(__u32 set, __u32 identity, __u32 direction)
{
	struct policy_table_key key = { .set = set, .identity = identity, .direction = direction };
	struct policy_table *table = bpf_map_lookup_elem(&sh_policy_tables, &key);
	if (table)
		return table;
	key.identity = POLICY_EVERYBODY;
	return bpf_map_lookup_elem(&sh_policy_tables, &key);
}

// The table for an address of whoever has `table`.
static __always_inline struct policy_table *table_at(struct policy_table *table, const struct address *address)
{
	struct policy_network_key key = {
		.prefix_length = 192, .table = table->table, .ip_version = is_ipv4(address) ? 4 : 6, .address = *address,
	};
	struct policy_table *found = bpf_map_lookup_elem(&sh_policy_networks, &key);
	return found ? found : table;
}

// `address` is the peer's, where rules by networks are asked too.
static __noinline __u32 action_of(struct question *question, __u32 identity, const struct address *address)
{
	if (!question)
		return POLICY_DENY;
	struct policy_table *table = find_table(question->word >> POLICY_FLAGS, identity, question->direction);
	if (!table)
		return POLICY_DENY; // a set that is no more: the next packet finds the new one
	if (table->networks && address)
		table = table_at(table, address);
	// Read each time: the verifier would follow every combination of bits that it knows.
	volatile __u32 *lengths = &table->lengths;
	__u32 port = bpf_ntohs(question->port);
	for (int bits = 16; bits >= 0; bits--) {
		if (!(*lengths & (1 << bits)))
			continue;
		struct policy_port_key key = {
			.table = table->table, .protocol = question->tuple.protocol, .bits = bits,
			.port = bpf_htons(port & (0xffff << (16 - bits))),
		};
		struct policy_verdict *verdict = bpf_map_lookup_elem(&sh_policy_ports, &key);
		if (!verdict)
			continue;
		question->rule = verdict->rule;
		return verdict->action;
	}
	question->rule = table->rule;
	return table->action;
}

static __noinline int note_denial(struct scratch *scratch)
{
	if (!scratch)
		return 0;
	const struct question *question = &scratch->question;
	struct policy_denial_key *key = &scratch->denial_key;
	key->peer = question->direction == DIRECTION_EGRESS ? question->tuple.destination : question->tuple.source;
	key->endpoint = question->endpoint;
	key->identity = question->identity;
	key->word = question->word;
	key->direction = question->direction;
	key->protocol = question->tuple.protocol;
	key->port = question->port;
	struct policy_denial *known = bpf_map_lookup_elem(&sh_policy_denials, key);
	if (known) {
		__sync_fetch_and_add(&known->packets, 1);
		known->last_seen_ns = bpf_ktime_get_ns();
		return 0;
	}
	struct policy_denial *denial = &scratch->denial;
	denial->packets = 1;
	denial->last_seen_ns = bpf_ktime_get_ns();
	denial->rule = question->rule;
	bpf_map_update_elem(&sh_policy_denials, key, denial, BPF_ANY);
	return 0;
}

enum { JUDGED_DENIED = 0, JUDGED_ALLOWED = 1, JUDGED_AUDITED = 2 };

// Asks the policy; what it denies is noted.
static __always_inline int ask_policy(struct scratch *scratch)
{
	struct question *question = &scratch->question;
	bool out = question->direction == DIRECTION_EGRESS;
	question->rule = 0;
	if (!(question->word & (out ? POLICY_EGRESS : POLICY_INGRESS)))
		return JUDGED_ALLOWED;
	const struct address *peer = out ? &question->tuple.destination : &question->tuple.source;
	__u32 action = action_of(question, question->identity, peer);
	if (action == POLICY_UNLESS) {
		__u32 *prefix = prefix_identity(peer, POLICY_PREFIX_POD);
		if (prefix) // what admins say of networks was asked before, and did not decide
			action = action_of(question, *prefix, NULL);
	}
	if (action == POLICY_ALLOW)
		return JUDGED_ALLOWED;
	note_denial(scratch);
	return question->word & POLICY_AUDIT ? JUDGED_AUDITED : JUDGED_DENIED;
}

static __always_inline bool is_forgotten(const struct policy_flow *flow, __u8 protocol)
{
	__u64 keeps = protocol == IPPROTO_TCP || protocol == IPPROTO_SCTP ? POLICY_KEEPS_TCP : POLICY_KEEPS_OTHER;
	if (flow->flags & POLICY_FLOW_ENDED)
		keeps = POLICY_KEEPS_ENDED;
	else if (!(flow->flags & POLICY_FLOW_REPLIED))
		keeps = POLICY_KEEPS_UNREPLIED;
	return bpf_ktime_get_ns() - flow->last_seen_ns > keeps * SECOND;
}

static __always_inline void see_packet(struct policy_flow *flow, const struct packet *packet, bool reply)
{
	__u64 now = bpf_ktime_get_ns();
	if (now - flow->last_seen_ns > SECOND)
		flow->last_seen_ns = now;
	__u32 flags = flow->flags | (reply ? POLICY_FLOW_REPLIED : 0);
	if (packet->tcp_flags & TCP_FIN)
		flags |= reply ? POLICY_FLOW_REPLY_FIN : POLICY_FLOW_FIN;
	if ((packet->tcp_flags & TCP_RST) || ((flags & POLICY_FLOW_FIN) && (flags & POLICY_FLOW_REPLY_FIN)))
		flags |= POLICY_FLOW_ENDED;
	if (flags != flow->flags)
		flow->flags = flags;
}

// Whether an ICMP error is about a connection that was let through. What it quotes was sent by the one who now gets it.
static __noinline bool is_error_of_flow(struct __sk_buff *skb, struct scratch *scratch)
{
	if (!scratch)
		return false;
	struct quote *quote = &scratch->quote;
	__builtin_memset(quote, 0, sizeof(*quote));
	if (!read_quote(skb, &scratch->packet, quote))
		return false;
	// An error goes to whoever sent what it quotes (RFC 1122, 3.2.2): to others it is no answer.
	if (!same_address(&quote->tuple.source, &scratch->packet.tuple.destination))
		return false;
	scratch->question.tuple = reversed(&quote->tuple);
	return bpf_map_lookup_elem(&sh_policy_flows, &quote->tuple) ||
	       bpf_map_lookup_elem(&sh_policy_flows, &scratch->question.tuple);
}

// Lets the question's connection through, or not: 0, or the reason to drop. `flow` is what is known of it.
static __always_inline int ask_and_remember(struct __sk_buff *skb, struct scratch *scratch, struct policy_flow *flow,
					    bool reply)
{
	const struct question *question = &scratch->question;
	__u32 direction = question->direction & 1;
	int judged = ask_policy(scratch);
	if (judged == JUDGED_DENIED)
		return DROP_POLICY_DENIED;
	if (judged == JUDGED_AUDITED)
		count(skb, direction, FORWARD_AUDITED);
	if (flow) {
		flow->rule[direction] = question->rule;
		flow->word[direction] = question->word + 1;
		see_packet(flow, &scratch->packet, reply);
		return 0;
	}
	struct policy_flow *made = &scratch->flow;
	__builtin_memset(made, 0, sizeof(*made));
	made->last_seen_ns = bpf_ktime_get_ns();
	made->rule[direction] = question->rule;
	made->word[direction] = question->word + 1;
	bpf_map_update_elem(&sh_policy_flows, &question->tuple, made, BPF_ANY);
	return 0;
}

// The port that policies are about: the receiver's, or the type of an ICMP message.
static __always_inline __be16 judged_port(const struct packet *packet, bool reply)
{
	if (packet->tuple.protocol != IPPROTO_ICMP && packet->tuple.protocol != NEXT_ICMPV6)
		return reply ? packet->tuple.source_port : packet->tuple.destination_port;
	if (reply) // only an echo is answered
		return bpf_htons(packet_is_ipv4(packet) ? ICMP_ECHO : 128);
	return bpf_htons(packet->icmp_type);
}

// What hosts need to have addresses and reach each other at all: solicitations, advertisements, group membership (RFC 4861,
// RFC 3810), and the answers of DHCPv6, which is asked by multicast (RFC 8415, 7.2).
static __always_inline bool is_link_upkeep(const struct packet *packet)
{
	__u8 type = packet->icmp_type;
	if (packet->tuple.protocol == IPPROTO_UDP)
		return is_link_local6(&packet->tuple.source) && packet->tuple.source_port == bpf_htons(547) &&
		       packet->tuple.destination_port == bpf_htons(546);
	return packet->tuple.protocol == NEXT_ICMPV6 &&
	       ((type >= 130 && type <= 137) || type == 143);
}

// Judges the packet in scratch, whose addresses are those that pods know: from the pod or node that has its source (egress), or
// to the one that has its destination (ingress). Returns 0 or the reason to drop it. Not static: verified once, not for each
// caller.
__noinline int judge_packet(struct __sk_buff *skb, __u32 direction)
{
	struct scratch *scratch = scratch_of_cpu();
	if (!scratch)
		return DROP_POLICY_DENIED;
	struct packet *packet = &scratch->packet;
	struct question *question = &scratch->question;
	direction &= 1;
	bool out = direction == DIRECTION_EGRESS;
	const struct address *peer = out ? &packet->tuple.destination : &packet->tuple.source;
	struct endpoint *own = find_endpoint(out ? &packet->tuple.source : &packet->tuple.destination);
	if (!own || ((own->flags & ENDPOINT_HOST) && is_link_upkeep(packet)))
		return 0;
	question->endpoint = own->id;
	question->word = word_of(own);
	struct endpoint *other = find_endpoint(peer);
	if (other && other->id == question->endpoint)
		return 0; // a pod always reaches itself, and so does the node
	resolve_fragment(packet);
	if ((packet->flags & PACKET_ICMP_ERROR) && is_error_of_flow(skb, scratch))
		return 0;
	bool opens = starts_connection(packet);
	struct policy_flow *flow = bpf_map_lookup_elem(&sh_policy_flows, &packet->tuple);
	if (flow && (is_forgotten(flow, packet->tuple.protocol) || (opens && (flow->flags & POLICY_FLOW_ENDED))))
		flow = NULL;
	if (flow && flow->word[direction] == question->word + 1) {
		see_packet(flow, packet, false);
		return 0;
	}
	bool reply = false;
	if (!flow && !opens) {
		question->tuple = reversed(&packet->tuple);
		struct policy_flow *asked = bpf_map_lookup_elem(&sh_policy_flows, &question->tuple);
		if (asked && asked->word[direction ^ 1] && !is_forgotten(asked, packet->tuple.protocol)) {
			if (asked->word[direction ^ 1] == question->word + 1) {
				see_packet(asked, packet, true);
				return 0;
			}
			flow = asked;
			reply = true;
		}
	}
	if (!reply)
		question->tuple = packet->tuple;
	question->direction = reply ? direction ^ 1 : direction;
	question->port = judged_port(packet, reply);
	question->identity = !out && packet->identity ? packet->identity : identity_of(peer);
	return ask_and_remember(skb, scratch, flow, reply);
}

// In programs that are loaded without policy nothing is left of it.
static __always_inline int judge(struct __sk_buff *skb, const struct packet *packet, __u32 direction)
{
	if (!(config.flags & CONFIG_POLICY))
		return 0;
	struct scratch *scratch = scratch_of_cpu();
	if (!scratch)
		return DROP_POLICY_DENIED;
	scratch->packet = *packet;
	return judge_packet(skb, direction);
}

// The same, of what the node itself sends or gets.
static __always_inline int judge_host(struct __sk_buff *skb, const struct packet *packet, __u32 direction)
{
	if (!(config.flags & CONFIG_POLICY))
		return 0;
	bool out = direction == DIRECTION_EGRESS;
	struct endpoint *own = find_endpoint(out ? &packet->tuple.source : &packet->tuple.destination);
	return own && (own->flags & ENDPOINT_HOST) ? judge(skb, packet, direction) : 0;
}
