// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Addresses in their 16-byte form, and the hash that spreads flows.
#pragma once

#include <linux/bpf.h>
#include <linux/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "shunt.h"

#define MAPPED_WORD bpf_htonl(0xffff)

static __always_inline struct address mapped_address(__be32 ipv4)
{
	struct address address = { .word = { 0, 0, MAPPED_WORD, ipv4 } };
	return address;
}

static __always_inline bool is_ipv4(const struct address *address)
{
	return address->word[0] == 0 && address->word[1] == 0 && address->word[2] == MAPPED_WORD;
}

static __always_inline bool same_address(const struct address *a, const struct address *b)
{
	// Without branches: each would double what the verifier follows.
	return ((a->word[0] ^ b->word[0]) | (a->word[1] ^ b->word[1]) | (a->word[2] ^ b->word[2]) |
		(a->word[3] ^ b->word[3])) == 0;
}

// The unspecified address of the same family: the key of node ports.
static __always_inline struct address unspecified_like(const struct address *address)
{
	struct address any = { .word = { 0, 0, is_ipv4(address) ? MAPPED_WORD : 0, 0 } };
	return any;
}

static __always_inline bool is_loopback(const struct address *address)
{
	if (is_ipv4(address))
		return (address->word[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return address->word[0] == 0 && address->word[1] == 0 && address->word[2] == 0 &&
	       address->word[3] == bpf_htonl(1);
}

static __always_inline bool is_link_local6(const struct address *address)
{
	return (address->word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

static __always_inline bool is_unspecified6(const struct address *address)
{
	return !address->word[0] && !address->word[1] && !address->word[2] && !address->word[3];
}

// Multicast of either family, and IPv4 broadcast.
static __always_inline bool is_multicast(const struct address *address)
{
	if (is_ipv4(address))
		return (address->word[3] & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) ||
		       address->word[3] == 0xffffffff;
	return (address->word[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
}

// A finalizer in the manner of MurmurHash3: cheap, and good enough to spread flows.
static __always_inline __u32 hash_word(__u32 hash, __u32 word)
{
	hash ^= word;
	hash ^= hash >> 16;
	hash *= 0x85ebca6b;
	hash ^= hash >> 13;
	hash *= 0xc2b2ae35;
	return hash ^ (hash >> 16);
}

static __always_inline __u32 hash_tuple(const struct tuple *tuple)
{
	__u32 ports = ((__u32)tuple->source_port << 16) | tuple->destination_port;
	__u32 hash = hash_word(ports, tuple->source.word[3] ^ tuple->source.word[1]);
	hash = hash_word(hash, tuple->destination.word[3] ^ tuple->destination.word[1]);
	return hash_word(hash, tuple->source.word[2] ^ tuple->destination.word[0] ^ tuple->protocol);
}
