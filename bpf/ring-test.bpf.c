// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// For the test of the ring buffer's reader: every run writes one numbered record.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} test_ring SEC(".maps");

__u64 next_number;

SEC("tc") int write_record(struct __sk_buff *skb)
{
	__u64 *record = bpf_ringbuf_reserve(&test_ring, 24, 0);
	if (!record)
		return 2;
	record[0] = next_number++;
	record[1] = skb->len;
	record[2] = 0;
	bpf_ringbuf_submit(record, 0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
