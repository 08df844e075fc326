// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../lib/errors.ts";
import { check, errnoText, ffi } from "./libbpf-ffi.ts";
import { inNewNetns } from "./libbpf-netns.ts";

/** One thing that the datapath needs from the kernel, tried rather than read from a version. */
export interface FeatureProbe {
  name: string;
  available: boolean;
  /** The datapath cannot run without it; the others have a replacement. */
  required: boolean;
  /** Why it is not available, or what is used instead. */
  reason?: string;
}

const programTypes = { schedCls: 3, cgroupSockAddr: 18 } as const;
const mapTypes = { percpuArray: 6, lruHash: 9, lpmTrie: 11, ringbuf: 27 } as const;
const attachTypes = { connect4: 10, connect6: 11, sendmsg4: 14, sendmsg6: 15, recvmsg4: 19, recvmsg6: 20 };
const peerNameTypes = { getpeername4: 29, getpeername6: 30 };
const helpers = { redirectNeigh: 152, redirectPeer: 155, setRetval: 187, netnsCookie: 122 } as const;

type Instruction = readonly [code: number, register: number, immediate: number];
const setRegister = (register: number, immediate: number): Instruction => [0xb7, register, immediate];
const call = (helper: number): Instruction => [0x85, 0, helper];
const exit: Instruction = [0x95, 0, 0];

/** Loads a tiny program and returns its descriptor, or -errno. */
function tryProgram(type: number, attachType: number, instructions: readonly Instruction[]): number {
  const code = Buffer.alloc(instructions.length * 8);
  instructions.forEach(([operation, register, immediate], index) => {
    code[index * 8] = operation;
    code[index * 8 + 1] = register;
    code.writeInt32LE(immediate, index * 8 + 4);
  });
  const opts = Buffer.alloc(32); // struct bpf_prog_load_opts, its first fields
  opts.writeBigUInt64LE(BigInt(opts.length), 0);
  opts.writeUInt32LE(attachType, 12);
  return ffi().bpf_prog_load(type, "shunt_probe", "GPL", code, instructions.length, opts);
}

function closeOr(result: number, what: string): void {
  check(result, what);
  ffi().close(result);
}

function program(type: number, attachType: number, instructions: readonly Instruction[]): () => void {
  return () => closeOr(tryProgram(type, attachType, instructions), "program refused");
}

const accept = (value: number) => [setRegister(0, value), exit];
const zeroArguments = [1, 2, 3, 4].map((register) => setRegister(register, 0));

function map(type: number, keySize: number, valueSize: number, entries: number, flags = 0): () => void {
  return () => {
    const opts = Buffer.alloc(56); // struct bpf_map_create_opts
    opts.writeBigUInt64LE(BigInt(opts.length), 0);
    opts.writeUInt32LE(flags, 28);
    closeOr(ffi().bpf_map_create(type, "shunt_probe", keySize, valueSize, entries, opts), "map refused");
  };
}

/** Attaches an accepting program to the loopback device of a namespace made for it. */
function onOwnLoopback(attach: (programFd: number) => number): () => void {
  return () => {
    const fd = check(tryProgram(programTypes.schedCls, 0, accept(0)), "program refused");
    try {
      const result = inNewNetns(() => attach(fd));
      if (result > 0) ffi().close(result);
      if (result < 0) throw new Error(`attaching refused: ${errnoText(result)}`);
    } finally {
      ffi().close(fd);
    }
  };
}

const tcx = onOwnLoopback((fd) => ffi().bpf_link_create(fd, 1, 46, null));
const clsact = onOwnLoopback(() => {
  const hook = Buffer.alloc(24); // struct bpf_tc_hook
  hook.writeBigUInt64LE(24n, 0);
  hook.writeInt32LE(1, 8);
  hook.writeInt32LE(1, 12);
  return ffi().bpf_tc_hook_create(hook);
});

function probe(name: string, attempt: () => void, instead?: string): FeatureProbe {
  try {
    attempt();
    return { name, available: true, required: instead === undefined };
  } catch (error) {
    const reason = instead === undefined ? errorMessage(error) : `${errorMessage(error)}; ${instead}`;
    return { name, available: false, required: instead === undefined, reason };
  }
}

/** Tries everything that the datapath uses. Needs root; touches no device or cgroup of the machine. */
export function probeFeatures(): FeatureProbe[] {
  const tc = programTypes.schedCls;
  const sock = programTypes.cgroupSockAddr;
  const sockHooks = Object.entries(attachTypes).map(([name, type]) =>
    probe(`cgroup ${name}`, program(sock, type, accept(1))),
  );
  const nameHooks = Object.entries(peerNameTypes).map(([name, type]) =>
    probe(`cgroup ${name}`, program(sock, type, accept(1)), "getpeername shows the backend's address"),
  );
  return [
    probe("tc programs", program(tc, 0, accept(0))),
    probe("clsact", clsact),
    probe("tcx", tcx, "clsact is used"),
    probe("bpf_redirect_peer", program(tc, 0, [...zeroArguments, call(helpers.redirectPeer), exit])),
    probe("bpf_redirect_neigh", program(tc, 0, [...zeroArguments, call(helpers.redirectNeigh), exit])),
    ...sockHooks,
    ...nameHooks,
    probe(
      "bpf_get_netns_cookie",
      program(sock, attachTypes.connect4, [setRegister(1, 0), call(helpers.netnsCookie), ...accept(1)]),
    ),
    probe(
      "bpf_set_retval",
      program(sock, attachTypes.connect4, [setRegister(1, -111), call(helpers.setRetval), ...accept(0)]),
      "connecting to a service without backends fails with EPERM",
    ),
    probe("LRU hash maps", map(mapTypes.lruHash, 4, 4, 16)),
    probe("LPM maps", map(mapTypes.lpmTrie, 8, 4, 16, 1)),
    probe("per-CPU arrays", map(mapTypes.percpuArray, 4, 8, 16)),
    probe("ring buffer", map(mapTypes.ringbuf, 0, 0, 4096)),
  ];
}
