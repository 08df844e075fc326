// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// SCTP's checksum (RFC 9260, appendix A: CRC-32C over the whole packet) after a change of its first four bytes. A CRC
// is linear: the new one is the old one and the CRC of the change, followed by as many zero bytes as follow.
#pragma once

#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#define CRC32C_POLYNOMIAL 0x82f63b78 // bits reflected
#define CRC32C_ONE 0x80000000 // the polynomial 1

// Product of two polynomials modulo the CRC's. Not static, as all here: the kernel then checks it once for itself, not
// again at each call.
__noinline __u32 crc32c_multiply(__u32 a, __u32 b)
{
	__u32 product = 0;
	for (int bit = 31; bit >= 0; bit--) {
		product ^= b & -(a >> bit & 1);
		b = b >> 1 ^ (CRC32C_POLYNOMIAL & -(b & 1));
	}
	return product;
}

// The checksum, as it stands in the packet, of `length` bytes whose first four were changed by `change` (exclusive or):
// those are followed by length - 4 bytes, and a CRC itself is a remainder of its message times x^32. So the change is
// multiplied by x to the power of 8 * length, found by squaring.
__noinline __u32 crc32c_after(__u32 checksum, __u32 change, __u32 length)
{
	__u32 power = CRC32C_ONE >> 8; // x^8
	for (int bit = 0; bit < 16; bit++) {
		if (length >> bit & 1)
			change = crc32c_multiply(change, power);
		power = crc32c_multiply(power, power);
	}
	return checksum ^ change;
}
