// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Translated flows. Node ports and masquerading share one table of tuple -> tuple with an entry a direction.
#pragma once

#include "lib/packet.h"

static __always_inline struct tuple reversed(const struct tuple *tuple)
{
	struct tuple back = {
		.source = tuple->destination, .destination = tuple->source,
		.source_port = tuple->destination_port, .destination_port = tuple->source_port,
		.protocol = tuple->protocol,
	};
	return back;
}

static __always_inline bool same_tuple(const struct tuple *a, const struct tuple *b)
{
	return ((__u32)!same_address(&a->source, &b->source) | (__u32)!same_address(&a->destination, &b->destination) |
		(a->source_port ^ b->source_port) | (a->destination_port ^ b->destination_port) |
		(a->protocol ^ b->protocol)) == 0;
}

// Seconds after which a flow is given up. Not static: the verifier then follows its branches once.
__noinline __u32 flow_timeout(__u32 flags, __u32 protocol)
{
	if (flags & NAT_ENDED)
		return FLOW_TIMEOUT_ENDED;
	if ((flags & NAT_REVERSE) && !(flags & NAT_REPLIED))
		return FLOW_TIMEOUT_UNREPLIED;
	if (protocol != IPPROTO_TCP)
		return FLOW_TIMEOUT_OTHER;
	return flags & NAT_CLOSING ? FLOW_TIMEOUT_TCP_CLOSING : FLOW_TIMEOUT_TCP;
}

// True when the flow is over or was given up, so that its port may serve another.
static __always_inline bool is_stale(const struct nat_entry *entry, __u64 now)
{
	return now - entry->last_seen_ns > flow_timeout(entry->flags, entry->to.protocol) * SECOND;
}

static __always_inline void count_flows(__u32 which, __u64 number)
{
	__u64 *counter = bpf_map_lookup_elem(&sh_flow_stats, &which);
	if (counter)
		*counter += number;
}

static __always_inline long put_flow(const struct tuple *key, const struct nat_entry *entry)
{
	if (bpf_map_update_elem(&sh_nat, key, entry, BPF_NOEXIST))
		return bpf_map_update_elem(&sh_nat, key, entry, BPF_ANY);
	count_flows(FLOW_MADE, 1);
	return 0;
}

static __always_inline void remove_flow(const struct tuple *key)
{
	if (!bpf_map_delete_elem(&sh_nat, key))
		count_flows(FLOW_REMOVED, 1);
}

// A connection ends: with a reset at once, else when both ends have said so.
static __noinline void see_end(struct nat_entry *entry, bool reset)
{
	if (!entry)
		return;
	struct tuple key = reversed(&entry->to);
	struct nat_entry *other = bpf_map_lookup_elem(&sh_nat, &key);
	__u32 flags = NAT_CLOSING | (reset || (other && (other->flags & NAT_CLOSING)) ? NAT_ENDED : 0);
	entry->flags |= flags;
	if (other && (flags & NAT_ENDED))
		other->flags |= NAT_ENDED;
}

static __always_inline void refresh(struct nat_entry *entry, const struct packet *packet)
{
	__u64 now = bpf_ktime_get_ns();
	if (now - entry->last_seen_ns > SECOND)
		entry->last_seen_ns = now;
	if ((entry->flags & (NAT_REVERSE | NAT_REPLIED)) == NAT_REVERSE)
		entry->flags |= NAT_REPLIED;
	if (packet->tcp_flags & (TCP_FIN | TCP_RST))
		see_end(entry, packet->tcp_flags & TCP_RST);
	else if ((packet->tcp_flags & TCP_SYN) && (entry->flags & (NAT_CLOSING | NAT_ENDED)))
		entry->flags &= ~(NAT_CLOSING | NAT_ENDED);
}

static __always_inline bool starts_connection(const struct packet *packet)
{
	return (packet->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

// Whether a new connection attempt may choose its backend anew.
static __always_inline bool starts_anew(const struct nat_entry *entry, const struct packet *packet)
{
	__u64 now = bpf_ktime_get_ns();
	if (starts_connection(packet) && ((entry->flags & NAT_CLOSING) || now - entry->last_seen_ns > 5 * SECOND))
		return true;
	return is_stale(entry, now);
}

static __always_inline __u64 *translated_slot(__u32 ifindex)
{
	__u32 slot = ifindex % TRANSLATED_SLOTS;
	return bpf_map_lookup_elem(&sh_translated, &slot);
}

// Whether packets that come in by this device may belong to a translated flow.
static __always_inline bool may_be_translated(__u32 ifindex)
{
	__u64 *translated = translated_slot(ifindex);
	return translated && *translated;
}

static __always_inline void set_translated(__u32 ifindex)
{
	__u64 *translated = translated_slot(ifindex);
	if (translated && !*translated)
		*translated = 1;
}

// The entry of an established translated flow, refreshed; NULL when it is to be made (anew).
static __always_inline struct nat_entry *find_flow(const struct packet *packet)
{
	if (!(packet->flags & PACKET_PORTS))
		return NULL;
	struct nat_entry *entry = bpf_map_lookup_elem(&sh_nat, &packet->tuple);
	if (!entry || (!(entry->flags & NAT_REVERSE) && starts_anew(entry, packet)))
		return NULL;
	refresh(entry, packet);
	return entry;
}
