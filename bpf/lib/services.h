// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Choosing a backend: a few hash look-ups, whatever the number of services.
#pragma once

#include "lib/addresses.h"
#include "lib/maps.h"

static __always_inline void count_choice(__u32 service_id, __u32 backend_id)
{
	struct lb_stats_key key = { .service_id = service_id, .backend_id = backend_id };
	struct lb_stats *stats = bpf_map_lookup_elem(&sh_lb_stats, &key);
	if (stats) {
		stats->connections++;
		return;
	}
	struct lb_stats first = { .connections = 1 };
	bpf_map_update_elem(&sh_lb_stats, &key, &first, BPF_NOEXIST);
}

// The entry of a key. While it is replaced a look-up may miss it: the memory of the old one, at which the program just looks, may
// already be another key's and not yet be in its list, and then the list seems to end there. The second one does not.
static __always_inline struct service *service_of(const struct service_key *key)
{
	struct service *service = bpf_map_lookup_elem(&sh_services, key);
	return service ? service : bpf_map_lookup_elem(&sh_services, key);
}

enum choice {
	CHOOSE_LOCAL = 1, // among those of the policy Local
	CHOOSE_BY_TABLE = 2, // the same on every node, and weighted
};

static __always_inline struct backend *backend_in_slot(const struct service *service, __u32 slot)
{
	struct backend_key key = { .service_id = service->id, .generation = service->generation, .slot = slot };
	return bpf_map_lookup_elem(&sh_backends, &key);
}

static __always_inline struct backend *backend_by_hash(const struct service *service, __u32 choice, __u32 hash)
{
	if (choice & CHOOSE_LOCAL)
		return service->local_count
			       ? backend_in_slot(service, service->backend_count + hash % service->local_count)
			       : NULL;
	if (service->backend_count == 0)
		return NULL;
	if (!(choice & CHOOSE_BY_TABLE) || service->table_size == 0)
		return backend_in_slot(service, hash % service->backend_count);
	__u32 entry = hash % service->table_size;
	struct maglev_key key = {
		.service_id = service->id, .generation = service->generation, .chunk = entry / MAGLEV_CHUNK,
	};
	struct maglev_chunk *chunk = bpf_map_lookup_elem(&sh_maglev, &key);
	return chunk ? backend_in_slot(service, chunk->slot[entry % MAGLEV_CHUNK]) : NULL;
}

// The backend that this client had last, when it may have it again.
static __noinline struct backend *backend_of_client(const struct service *service, __u32 choice,
						    const struct affinity_key *client)
{
	struct affinity *last = bpf_map_lookup_elem(&sh_affinity, client);
	__u64 now = bpf_ktime_get_ns();
	if (!last || now - last->last_used_ns > service->affinity_seconds * SECOND)
		return NULL;
	struct member_key key = {
		.service_id = service->id, .generation = service->generation, .backend_id = last->backend_id,
	};
	struct member *member = bpf_map_lookup_elem(&sh_members, &key);
	if (!member)
		return NULL;
	__u32 slot = choice & CHOOSE_LOCAL ? member->local : member->cluster;
	if (slot == 0)
		return NULL;
	if (choice & CHOOSE_LOCAL)
		slot += service->backend_count;
	struct backend *backend = backend_in_slot(service, slot - 1);
	if (backend)
		last->last_used_ns = now;
	return backend;
}

static __noinline void stay_with(const struct affinity_key *client, __u32 backend_id)
{
	struct affinity affinity = { .last_used_ns = bpf_ktime_get_ns(), .backend_id = backend_id };
	bpf_map_update_elem(&sh_affinity, client, &affinity, BPF_ANY);
}

static __always_inline struct backend *choose_once(const struct service *service, __u32 choice, __u32 hash,
						   const struct affinity_key *client)
{
	struct backend *backend = NULL;
	if (service->affinity_seconds)
		backend = backend_of_client(service, choice, client);
	if (backend)
		return backend;
	backend = backend_by_hash(service, choice, hash);
	if (backend && service->affinity_seconds)
		stay_with(client, backend->id);
	return backend;
}

enum { CHOOSE_TRIES = 3 };

// Chooses a backend for `client` (its service_id is filled in here) of chosen->service, which the caller read. With one of
// the flags `local` it is one of the policy Local. What was read of the maps counts when the service is afterwards still
// that of `key` and of the same generation: until then nothing of it is removed. False: it has no such backend.
static __noinline bool choose_backend(const struct service_key *key, struct chosen *chosen, __u32 local, __u32 hash,
				      struct affinity_key *client)
{
	if (!key || !chosen || !client)
		return false;
	for (__u32 try = 0; try < CHOOSE_TRIES; try++) {
		__u32 flags = chosen->service.flags;
		__u32 choice = (flags & local ? CHOOSE_LOCAL : 0) |
			       (!client->is_socket || (flags & SERVICE_WEIGHTED) ? CHOOSE_BY_TABLE : 0);
		client->service_id = chosen->service.id;
		struct backend *backend = choose_once(&chosen->service, choice, hash, client);
		if (backend)
			chosen->backend = *backend;
		struct service *now = service_of(key);
		if (!now)
			return false;
		if (now->id == chosen->service.id && now->generation == chosen->service.generation)
			return backend;
		chosen->service = *now;
	}
	return false;
}

// Whether the service, when it has loadBalancerSourceRanges, serves this client.
static __noinline bool may_use(const struct service *service, const struct address *client)
{
	if (!service || !client)
		return false;
	if (!(service->flags & SERVICE_SOURCE_RANGES))
		return true;
	struct source_range_key key = { .prefix_length = 160, .service_id = service->id, .address = *client };
	return bpf_map_lookup_elem(&sh_source_ranges, &key);
}
