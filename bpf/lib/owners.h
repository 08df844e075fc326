// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Whose an address is.
#pragma once

#include "lib/packet.h"

#ifndef AF_INET
#define AF_INET 2
#define AF_INET6 10
#endif

static __always_inline struct endpoint *find_endpoint(const struct address *address)
{
	return bpf_map_lookup_elem(&sh_endpoints, address);
}

static __always_inline struct ipcache_entry *find_owner(const struct address *address)
{
	struct ipcache_key key = { .prefix_length = 128, .address = *address };
	return bpf_map_lookup_elem(&sh_ipcache, &key);
}

static __always_inline bool is_tunnelled(const struct ipcache_entry *owner)
{
	return owner && (owner->flags & IPCACHE_TUNNEL) && (config.flags & CONFIG_TUNNEL);
}

// A pod of this node that another pod network has (still) given its interface. Both directions go through the stack:
// connection tracking there, which saw half of a flow only, would call the other half invalid.
static __always_inline bool is_foreign_pod(const struct ipcache_entry *owner)
{
	return owner && (owner->flags & IPCACHE_LOCAL);
}
