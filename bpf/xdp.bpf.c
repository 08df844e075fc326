// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The uplink's driver: packets of flows that from_netdev began and that leave by the uplink again (a service whose backend
// is on another node, and its answers) turn round before the stack has them. All others go on to from_netdev, which
// decides; here nothing is decided.
#include <linux/tcp.h>
#include <linux/udp.h>
#include "lib/flow.h"
#include "lib/owners.h"

// The bytes of a frame that are rewritten: of the packets that turn round none has options or extension headers.
struct frame {
	struct ethhdr *ethernet;
	void *l3;
	__be16 *ports;
	__sum16 *l4_checksum;
};

static __always_inline __sum16 changed_checksum(__sum16 sum, __s64 change)
{
	// RFC 1624, equation 3.
	__u64 all = (__u16)~sum + (__u64)(__u32)change;
	all = (all & 0xffff) + (all >> 16);
	all = (all & 0xffff) + (all >> 16);
	all = (all & 0xffff) + (all >> 16);
	return ~all;
}

// Finds the ports of what follows the IP header; `frame` and `packet` then say all of it. False: not for this program.
static __always_inline bool read_l4(struct packet *packet, struct frame *frame, void *l4, const void *end)
{
	packet->l4_offset = l4 - (void *)frame->ethernet;
	frame->ports = l4;
	if (packet->tuple.protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = l4;
		if ((void *)(tcp + 1) > end)
			return false;
		packet->tcp_flags = ((__u8 *)tcp)[13];
		frame->l4_checksum = &tcp->check;
	} else if (packet->tuple.protocol == IPPROTO_UDP) {
		struct udphdr *udp = l4;
		if ((void *)(udp + 1) > end)
			return false;
		frame->l4_checksum = &udp->check;
	} else {
		return false;
	}
	__builtin_memcpy(&packet->tuple.source_port, l4, 4);
	packet->flags = PACKET_PORTS;
	return true;
}

static __always_inline bool read4(struct packet *packet, struct frame *frame, const void *end)
{
	struct iphdr *ip = frame->l3;
	if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl != 5 || (ip->frag_off & bpf_htons(0x3fff)))
		return false;
	packet->l3_length = bpf_ntohs(ip->tot_len);
	if (packet->l3_length < sizeof(*ip) || (void *)ip + packet->l3_length > end)
		return false;
	packet->tuple.source = mapped_address(ip->saddr);
	packet->tuple.destination = mapped_address(ip->daddr);
	packet->tuple.protocol = ip->protocol;
	packet->ttl = ip->ttl;
	return read_l4(packet, frame, ip + 1, end);
}

static __always_inline bool read6(struct packet *packet, struct frame *frame, const void *end)
{
	struct ipv6hdr *ip = frame->l3;
	if ((void *)(ip + 1) > end || ip->version != 6)
		return false;
	packet->l3_length = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	if ((void *)ip + packet->l3_length > end)
		return false;
	__builtin_memcpy(&packet->tuple.source, &ip->saddr, 16);
	__builtin_memcpy(&packet->tuple.destination, &ip->daddr, 16);
	if (is_ipv4(&packet->tuple.source) || is_ipv4(&packet->tuple.destination))
		return false;
	packet->tuple.protocol = ip->nexthdr;
	packet->ttl = ip->hop_limit;
	return read_l4(packet, frame, ip + 1, end);
}

// Whether the packet's flow leaves by this device again without more than new addresses.
static __always_inline bool turns_round(const struct packet *packet, const struct nat_entry *flow)
{
	if ((flow->flags & NAT_FOREIGN) || packet->ttl <= 1)
		return false;
	// What tells the backend's node of the service is longer than before: from_netdev makes it.
	if ((flow->flags & NAT_DSR) && (packet->tuple.protocol == IPPROTO_UDP || starts_connection(packet)))
		return false;
	if (find_endpoint(&flow->to.destination))
		return false;
	struct ipcache_entry *owner = find_owner(&flow->to.destination);
	return !is_foreign_pod(owner) && !is_tunnelled(owner);
}

static __always_inline bool find_next_hop(struct xdp_md *ctx, const struct packet *packet, const struct tuple *to,
					  struct bpf_fib_lookup *fib)
{
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->ifindex = ctx->ingress_ifindex;
	fib->l4_protocol = to->protocol;
	fib->tot_len = packet->l3_length;
	if (packet_is_ipv4(packet)) {
		fib->family = AF_INET;
		fib->ipv4_src = to->source.word[3];
		fib->ipv4_dst = to->destination.word[3];
	} else {
		fib->family = AF_INET6;
		__builtin_memcpy(fib->ipv6_src, to->source.word, 16);
		__builtin_memcpy(fib->ipv6_dst, to->destination.word, 16);
	}
	return bpf_fib_lookup(ctx, fib, sizeof(*fib), 0) == BPF_FIB_LKUP_RET_SUCCESS &&
	       fib->ifindex == ctx->ingress_ifindex;
}

// False, and nothing written, never happens: the verifier does not know that the address says how long the header is.
static __always_inline bool rewrite_frame(struct frame *frame, const void *end, const struct packet *packet,
					  const struct tuple *to)
{
	const struct tuple *seen = &packet->tuple;
	// Of IPv4 addresses the part before them is the same on both sides.
	__s64 change = bpf_csum_diff((__be32 *)&seen->source, 32, (__be32 *)&to->source, 32, 0);
	if (packet_is_ipv4(packet)) {
		struct iphdr *ip = frame->l3;
		if ((void *)(ip + 1) > end)
			return false;
		ip->saddr = to->source.word[3];
		ip->daddr = to->destination.word[3];
		ip->ttl--;
		// The TTL is the high byte of its word: one less of it is 0xfeff more (RFC 1624).
		ip->check = changed_checksum(ip->check, change);
		ip->check = changed_checksum(ip->check, bpf_htons(0xfeff));
	} else {
		struct ipv6hdr *ip = frame->l3;
		if ((void *)(ip + 1) > end)
			return false;
		__builtin_memcpy(&ip->saddr, &to->source, 16);
		__builtin_memcpy(&ip->daddr, &to->destination, 16);
		ip->hop_limit--;
	}
	change = bpf_csum_diff((__be32 *)&seen->source_port, 4, (__be32 *)&to->source_port, 4, change);
	frame->ports[0] = to->source_port;
	frame->ports[1] = to->destination_port;
	bool is_udp = seen->protocol == IPPROTO_UDP;
	if (is_udp && *frame->l4_checksum == 0) // none, which only IPv4 allows (RFC 768)
		return true;
	__sum16 sum = changed_checksum(*frame->l4_checksum, change);
	*frame->l4_checksum = is_udp && sum == 0 ? 0xffff : sum;
	return true;
}

SEC("xdp") int from_wire(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct frame frame = { .ethernet = (void *)(long)ctx->data };
	frame.l3 = frame.ethernet + 1;
	if (frame.l3 > end)
		return XDP_PASS;
	struct packet packet = {};
	__be16 type = frame.ethernet->h_proto;
	if (type == bpf_htons(ETH_P_IP) ? !read4(&packet, &frame, end)
					: type != bpf_htons(ETH_P_IPV6) || !read6(&packet, &frame, end))
		return XDP_PASS;
	struct nat_entry *flow = bpf_map_lookup_elem(&sh_nat, &packet.tuple);
	if (!flow || (!(flow->flags & NAT_REVERSE) && starts_anew(flow, &packet)) || !turns_round(&packet, flow))
		return XDP_PASS;
	struct tuple to = flow->to;
	struct bpf_fib_lookup fib;
	if (!find_next_hop(ctx, &packet, &to, &fib))
		return XDP_PASS;
	refresh(flow, &packet);
	if (!rewrite_frame(&frame, end, &packet, &to))
		return XDP_PASS;
	__builtin_memcpy(frame.ethernet->h_dest, fib.dmac, 6);
	__builtin_memcpy(frame.ethernet->h_source, fib.smac, 6);
	count_bytes(DIRECTION_INGRESS, FORWARD_TURNED, ctx->data_end - ctx->data);
	return XDP_TX;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
