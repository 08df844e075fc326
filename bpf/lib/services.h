// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Choosing a backend: two hash look-ups, whatever the number of services.
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

static __always_inline struct backend *backend_at(const struct service *service, bool local_only, __u32 hash)
{
	__u32 count = local_only ? service->local_count : service->backend_count;
	if (count == 0)
		return NULL;
	struct backend_key key = {
		.service_id = service->id, .generation = service->generation, .slot = hash % count,
	};
	return bpf_map_lookup_elem(&sh_backends, &key);
}

// Chooses by hash. The slots of a generation may have gone between reading the service and the slot: then the
// service has a newer one, and a second reading finds it.
static __always_inline struct backend *choose_backend(const struct service_key *key, const struct service *service,
						      bool local_only, __u32 hash)
{
	__u32 id = service->id;
	struct backend *backend = backend_at(service, local_only, hash);
	if (!backend) {
		service = bpf_map_lookup_elem(&sh_services, key);
		if (service)
			backend = backend_at(service, local_only, hash);
	}
	count_choice(id, backend ? backend->id : 0);
	return backend;
}
