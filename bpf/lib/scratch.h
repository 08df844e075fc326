// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What programs work with that would not fit on their stack.
#pragma once

#include "lib/packet.h"

#define QUOTED_L4 8 // bytes of the transport header that an ICMP error quotes at least (RFC 792)

// What an ICMP error quotes: the packet that it answers.
struct quote {
	struct tuple tuple;
	__u32 l3_offset;
	__u32 port_offset; // of the ports, or of an echo's identifier
	bool echo;
};

// An ICMP error being made, and what its checksum covers.
struct icmp4_answer {
	struct iphdr ip;
	struct icmphdr icmp;
	__be32 quote[(sizeof(struct iphdr) + QUOTED_L4) / 4];
};

struct icmp6_answer {
	struct ipv6hdr ip;
	struct icmphdr icmp;
	__be32 quote[(sizeof(struct ipv6hdr) + QUOTED_L4) / 4];
	struct {
		struct address source;
		struct address destination;
		__be32 length;
		__be32 next;
	} pseudo;
};

// A route found by find_route.
struct route {
	struct bpf_fib_lookup fib;
	int result;
};

// What is asked of the policy of an endpoint.
struct question {
	struct tuple tuple; // as the one that opened the connection sent it
	__u32 word;
	__u32 endpoint;
	__u32 identity; // of the peer
	__u32 direction; // of the connection, seen from the endpoint
	__u32 rule; // the answer's
	__be16 port; // of the receiver; for ICMP its type
	__u16 reserved;
};

// What would not fit on the stack, one a CPU. Programs at tc run without being interrupted by each other; callers
// and callees use different members.
struct scratch {
	struct nat_entry entry; // of a flow being made
	struct nat_entry back; // of its replies
	struct tuple seen;
	struct quote quote;
	struct tuple key;
	struct tuple inner;
	struct tuple outer;
	struct affinity_key client;
	struct chosen chosen;
	struct packet packet; // being judged
	struct question question;
	struct route route;
	struct policy_flow flow;
	struct policy_denial_key denial_key;
	struct policy_denial denial;
	struct icmp4_answer answer4;
	struct icmp6_answer answer6;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch_space SEC(".maps");

static __always_inline struct scratch *scratch_of_cpu(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&scratch_space, &zero);
}
