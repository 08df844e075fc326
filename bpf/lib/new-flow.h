// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Making a translated flow: a source port of the node's own, and an entry for each direction.
#pragma once

#include "lib/nat.h"

enum { PORT_TRIES = 16 };

// Writes both directions of the flow in scratch: packets that look like `seen` become `entry.to`, replies go back.
static __always_inline int remember(struct scratch *scratch)
{
	struct nat_entry *entry = &scratch->entry, *back = &scratch->back;
	scratch->key = reversed(&entry->to);
	*back = *entry;
	back->to = reversed(&scratch->seen);
	back->flags |= NAT_REVERSE;
	if (entry->flags & NAT_DSR)
		return put_flow(&scratch->seen, entry) ? DROP_TRANSLATE_FAILED : 0;
	return put_flow(&scratch->key, back) || put_flow(&scratch->seen, entry) ? DROP_TRANSLATE_FAILED : 0;
}

// Finds a source port for entry->to such that replies are told apart from those of every other flow. The first
// choice depends on the flow alone: a flow whose entry was evicted finds its old port again.
static __noinline int choose_port(const struct tuple *seen, struct nat_entry *entry)
{
	if (!seen || !entry)
		return DROP_TRANSLATE_FAILED;
	__u32 range = config.masquerade_port_max - config.masquerade_port_min + 1;
	__u32 start = hash_tuple(seen);
	struct tuple wanted = reversed(seen);
	for (__u32 try = 0; try < PORT_TRIES; try++) {
		__be16 port = bpf_htons(config.masquerade_port_min + (start + try) % range);
		entry->to.source_port = port;
		struct tuple reply = reversed(&entry->to);
		struct nat_entry *taken = bpf_map_lookup_elem(&sh_nat, &reply);
		if (!taken || same_tuple(&taken->to, &wanted) || is_stale(taken, entry->last_seen_ns))
			return 0;
	}
	return DROP_NAT_NO_PORT;
}

static __always_inline const struct address *own_address(bool v4, bool towards_tunnel)
{
	if (towards_tunnel)
		return v4 ? (const struct address *)&config.gateway4 : (const struct address *)&config.gateway6;
	return v4 ? (const struct address *)&config.node_address4 : (const struct address *)&config.node_address6;
}
