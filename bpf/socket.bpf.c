// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Services at the socket: a connect or sendmsg to a service address goes to a backend from the start, so that no
// packet needs translation. recvmsg and getpeername show the service's address again.
#include "lib/maps.h"
#include "lib/addresses.h"
#include "lib/services.h"

#define ECONNREFUSED 111

enum { REFUSE = 0, PROCEED = 1 };

static __always_inline int refuse(void)
{
	if (config.flags & CONFIG_SET_RETVAL)
		bpf_set_retval(-ECONNREFUSED);
	return REFUSE;
}

// Node ports answer on the node's own and other nodes' addresses and, for the node's own processes, on loopback.
// A host port is its node's own: the same port of another node is another pod's, or a server's there.
static __always_inline bool has_node_ports(struct bpf_sock_addr *ctx, const struct address *address,
					   const struct service *service)
{
	if (is_loopback(address)) // of the node, see find_service
		return true;
	bool host_port = service->flags & SERVICE_HOST_PORT;
	struct endpoint *endpoint = bpf_map_lookup_elem(&sh_endpoints, address);
	if (endpoint && (endpoint->flags & ENDPOINT_HOST))
		return host_port || (endpoint->flags & ENDPOINT_NODE_PORTS);
	if (host_port)
		return false;
	struct ipcache_key key = { .prefix_length = 128, .address = *address };
	struct ipcache_entry *entry = bpf_map_lookup_elem(&sh_ipcache, &key);
	return entry && (entry->flags & IPCACHE_NODE);
}

static __always_inline struct service *find_service(struct bpf_sock_addr *ctx, struct service_key *key)
{
	// A pod's loopback is its own, also where a host port has the node's.
	if (is_loopback(&key->address) && bpf_get_netns_cookie(ctx) != config.host_netns_cookie)
		return NULL;
	struct service *service = service_of(key);
	if (service)
		return service;
	struct address address = key->address;
	key->address = unspecified_like(&address);
	service = service_of(key);
	if (!service || !has_node_ports(ctx, &address, service))
		return NULL;
	return service;
}

static __always_inline bool node_may_use(const struct service *service, const struct address *address)
{
	struct address own = is_ipv4(address) ? config.node_address4 : config.node_address6;
	return may_use(service, &own);
}

// Chooses a backend for a connect or a datagram; on success *address and *port become the backend's.
static __always_inline int translate(struct bpf_sock_addr *ctx, struct address *address, __be16 *port)
{
	if (ctx->protocol != IPPROTO_TCP && ctx->protocol != IPPROTO_UDP)
		return PROCEED;
	struct service_key key = { .address = *address, .port = *port, .protocol = ctx->protocol };
	struct service *service = find_service(ctx, &key);
	if (!service)
		return PROCEED;
	__u64 netns = bpf_get_netns_cookie(ctx);
	__u64 cookie = bpf_get_socket_cookie(ctx);
	// One socket's datagrams stay with one backend; connections are spread.
	__u32 hash = ctx->protocol == IPPROTO_UDP ? hash_word((__u32)cookie, (__u32)(cookie >> 32))
						  : bpf_get_prandom_u32();
	struct affinity_key client = { .client.word = { (__u32)netns, (__u32)(netns >> 32) }, .is_socket = 1 };
	struct chosen chosen = { .service = *service };
	bool found = choose_backend(&key, &chosen, SERVICE_INTERNAL_LOCAL, hash, &client);
	if (chosen.service.flags & SERVICE_SOURCE_RANGES) {
		// A pod's address is known where its packets are: they are translated there.
		if (netns != config.host_netns_cookie && (config.flags & CONFIG_POD_SERVICES))
			return PROCEED;
		if (netns == config.host_netns_cookie && !node_may_use(&chosen.service, address))
			return refuse();
	}
	const struct backend *backend = &chosen.backend;
	count_choice(chosen.service.id, found ? backend->id : 0);
	if (!found)
		return refuse();
	struct socket_nat_key nat_key = {
		.cookie = cookie, .address = backend->address, .port = backend->port, .protocol = ctx->protocol,
	};
	struct socket_nat nat = { .address = *address, .port = *port, .service_id = chosen.service.id };
	bpf_map_update_elem(&sh_socket_nat, &nat_key, &nat, BPF_ANY);
	*address = backend->address;
	*port = backend->port;
	return PROCEED;
}

// The reverse: shows the service that this socket believes to talk to.
static __always_inline void untranslate(struct bpf_sock_addr *ctx, struct address *address, __be16 *port)
{
	struct socket_nat_key key = {
		.cookie = bpf_get_socket_cookie(ctx), .address = *address, .port = *port, .protocol = ctx->protocol,
	};
	struct socket_nat *nat = bpf_map_lookup_elem(&sh_socket_nat, &key);
	if (!nat)
		return;
	*address = nat->address;
	*port = nat->port;
}

static __always_inline struct address read4(struct bpf_sock_addr *ctx)
{
	return mapped_address(ctx->user_ip4);
}

static __always_inline void write4(struct bpf_sock_addr *ctx, const struct address *address, __be16 port)
{
	ctx->user_ip4 = address->word[3];
	ctx->user_port = port;
}

static __always_inline struct address read6(struct bpf_sock_addr *ctx)
{
	struct address address;
	address.word[0] = ctx->user_ip6[0];
	address.word[1] = ctx->user_ip6[1];
	address.word[2] = ctx->user_ip6[2];
	address.word[3] = ctx->user_ip6[3];
	return address;
}

static __always_inline void write6(struct bpf_sock_addr *ctx, const struct address *address, __be16 port)
{
	ctx->user_ip6[0] = address->word[0];
	ctx->user_ip6[1] = address->word[1];
	ctx->user_ip6[2] = address->word[2];
	ctx->user_ip6[3] = address->word[3];
	ctx->user_port = port;
}

// A program that sends: translates, and refuses when the service has no backend.
#define SENDING(hook, family)                                                   \
	SEC("cgroup/" #hook) int sock_##hook(struct bpf_sock_addr *ctx)         \
	{                                                                       \
		struct address address = read##family(ctx);                     \
		__be16 port = ctx->user_port;                                   \
		int verdict = translate(ctx, &address, &port);                  \
		if (verdict == PROCEED)                                         \
			write##family(ctx, &address, port);                     \
		return verdict;                                                 \
	}

// A program that shows an address to the process.
#define SHOWING(hook, family)                                                   \
	SEC("cgroup/" #hook) int sock_##hook(struct bpf_sock_addr *ctx)         \
	{                                                                       \
		struct address address = read##family(ctx);                     \
		__be16 port = ctx->user_port;                                   \
		untranslate(ctx, &address, &port);                              \
		write##family(ctx, &address, port);                             \
		return PROCEED;                                                 \
	}

SENDING(connect4, 4)
SENDING(connect6, 6)
SENDING(sendmsg4, 4)
SENDING(sendmsg6, 6)
SHOWING(recvmsg4, 4)
SHOWING(recvmsg6, 6)
SHOWING(getpeername4, 4)
SHOWING(getpeername6, 6)

char LICENSE[] SEC("license") = "Dual BSD/GPL";
