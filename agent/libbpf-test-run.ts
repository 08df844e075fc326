// SPDX-License-Identifier: Apache-2.0
import { bufferAddress, check, ffi } from "./libbpf-ffi.ts";

/** What a program did with one packet in BPF_PROG_TEST_RUN. */
export interface TestRunResult {
  /** The program's return value (tc: -1 next, 0 pass, 2 drop, 7 redirect). */
  verdict: number;
  /** The packet as it left the program. */
  packet: Uint8Array;
  /** Nanoseconds a run, averaged over `repeat`. */
  durationNs: number;
}

/**
 * Runs a loaded tc program over a packet without a device (BPF_PROG_TEST_RUN).
 * @param ifindex the device it seems to come from; it must exist in the current namespace; default loopback
 */
export function testRun(
  programFd: number,
  packet: Uint8Array,
  options: { repeat?: number; ifindex?: number; mark?: number } = {},
): TestRunResult {
  const input = Buffer.from(packet);
  const output = Buffer.alloc(packet.length + 256);
  const context = Buffer.alloc(192); // struct __sk_buff
  context.writeUInt32LE(options.mark ?? 0, 8);
  context.writeUInt32LE(options.ifindex ?? 1, 40);
  const opts = Buffer.alloc(88); // struct bpf_test_run_opts
  opts.writeBigUInt64LE(BigInt(opts.length), 0);
  opts.writeBigUInt64LE(bufferAddress(input), 8);
  opts.writeBigUInt64LE(bufferAddress(output), 16);
  opts.writeUInt32LE(input.length, 24);
  opts.writeUInt32LE(output.length, 28);
  opts.writeBigUInt64LE(bufferAddress(context), 32);
  opts.writeUInt32LE(context.length, 48);
  opts.writeInt32LE(options.repeat ?? 1, 60);
  check(ffi().bpf_prog_test_run_opts(programFd, opts), "BPF_PROG_TEST_RUN failed");
  return {
    verdict: opts.readInt32LE(56),
    packet: Uint8Array.from(output.subarray(0, opts.readUInt32LE(28))),
    durationNs: opts.readUInt32LE(64),
  };
}
