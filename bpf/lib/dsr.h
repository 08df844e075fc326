// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Direct server return: a packet for a backend on another node keeps its client's address, and says in an IPv4 option or
// an IPv6 extension header which service it was for. The backend's node takes that off, remembers it, and lets answers
// come from the service, straight to the client.
#pragma once

#include "lib/nat.h"

#define CONFIG_DSR (CONFIG_DSR_TCP | CONFIG_DSR_UDP)

// Copied into fragments, class control, number 26, which nobody else has (RFC 791, 3.1; IANA's IP option numbers).
#define DSR_OPTION4 0x9a
// "Skip when unknown" and unchanged on the way (RFC 8200, 4.2); from the range for experiments (RFC 4727).
#define DSR_OPTION6 0x1e

struct dsr_option4 {
	__u8 type;
	__u8 length;
	__be16 port;
	__be32 address;
};
_Static_assert(sizeof(struct dsr_option4) == 8, "dsr_option4");

// A whole destination options header.
struct dsr_option6 {
	__u8 next;
	__u8 length; // in units of 8 bytes, without the first
	__u8 type;
	__u8 option_length;
	__be16 port;
	__u16 reserved;
	struct address address;
};
_Static_assert(sizeof(struct dsr_option6) == 24, "dsr_option6");

static __always_inline bool has_options(const struct packet *packet)
{
	return packet->l4_offset !=
	       ETH_HLEN + (packet_is_ipv4(packet) ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
}

// IPv4's header is 8 bytes longer or shorter: its length fields, and its checksum with what the option adds to it.
static __always_inline int resize4(struct __sk_buff *skb, struct packet *packet, int change, __s64 sum)
{
	__u8 before[4], after[4];
	if (bpf_skb_load_bytes(skb, ETH_HLEN, before, sizeof(before)))
		return -1;
	__be16 length = bpf_htons(packet->l3_length + change);
	after[0] = before[0] + change / 4;
	after[1] = before[1];
	__builtin_memcpy(after + 2, &length, 2);
	sum = bpf_csum_diff((__be32 *)before, sizeof(before), (__be32 *)after, sizeof(after), sum);
	packet->l3_length += change;
	packet->l4_offset += change;
	if (bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), 0, sum, 0))
		return -1;
	return bpf_skb_store_bytes(skb, ETH_HLEN, after, sizeof(after), 0);
}

static __always_inline int resize6(struct __sk_buff *skb, struct packet *packet, int change, __u8 next)
{
	packet->l3_length += change;
	packet->l4_offset += change;
	__be16 length = bpf_htons(packet->l3_length - sizeof(struct ipv6hdr));
	if (bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, payload_len), &length, 2,
				BPF_F_RECOMPUTE_CSUM))
		return -1;
	return bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, nexthdr), &next, 1, BPF_F_RECOMPUTE_CSUM);
}
