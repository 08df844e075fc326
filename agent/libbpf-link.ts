// SPDX-License-Identifier: Apache-2.0
import fs from "node:fs";
import path from "node:path";
import type { CgroupHook } from "./datapath-layout.ts";
import { BpfError, check, ffi } from "./libbpf-ffi.ts";

const invalid = 22;
const fileExists = 17;
const noDevice = 19;
const noEntry = 2;
const busy = 16;
const notSupported = 95;
const tcxAttachTypes = { ingress: 46, egress: 47 } as const;
const clsactPoints = { ingress: 1, egress: 2 } as const;
const cgroupAttachTypes: Record<CgroupHook, number> = {
  connect4: 10,
  connect6: 11,
  sendmsg4: 14,
  sendmsg6: 15,
  recvmsg4: 19,
  recvmsg6: 20,
  getpeername4: 29,
  getpeername6: 30,
};
const linkTypes = { cgroup: 3, xdp: 6, tcx: 11 } as const;
const xdpAttachType = 37;
/** XDP_FLAGS_DRV_MODE: by the driver, never by the stack in its stead, which would be slower than none. */
const xdpByDriver = 4;
/** Our filter's place on a clsact hook: fixed, so that the next agent replaces it. */
const clsactHandle = 0x5348;
const clsactPriority = 1;

export type TcDirection = keyof typeof tcxAttachTypes;

export interface Attached {
  /** How it hangs there: a tcx link, a clsact filter, a link of the driver's or a cgroup link. */
  kind: "tcx" | "clsact" | "xdp" | "cgroup";
  /** True when a pinned link was found and now runs the new program. */
  adopted: boolean;
}

/**
 * Runs a program on a device's ingress or egress, by a pinned tcx link, else (kernels before 6.6) a clsact filter.
 * What an earlier agent left there is updated in place, without losing a packet. Call it in the device's namespace.
 */
export function attachTc(options: {
  ifindex: number;
  direction: TcDirection;
  programFd: number;
  /** Where the tcx link is pinned, e.g. …/links/tc-<device>-ingress. */
  pinPath: string;
  /** Use clsact even where tcx is there. */
  clsact?: boolean;
}): Attached {
  const { ifindex, direction, programFd, pinPath } = options;
  if (options.clsact === true) return attachClsact(ifindex, direction, programFd);
  const matches = (info: Buffer) =>
    info.readUInt32LE(0) === linkTypes.tcx && info.readUInt32LE(16) === ifindex;
  if (updatePinned(pinPath, programFd, matches)) return { kind: "tcx", adopted: true };
  const link = ffi().bpf_link_create(programFd, ifindex, tcxAttachTypes[direction], null);
  if (link === -invalid) return attachClsact(ifindex, direction, programFd);
  check(link, `Cannot attach to the ${direction} of device ${ifindex}`);
  pinAndClose(link, pinPath);
  return { kind: "tcx", adopted: false };
}

/** Takes our program off a device and removes the pin; harmless when nothing is there. */
export function detachTc(options: { ifindex: number; direction: TcDirection; pinPath: string }): void {
  if (detachPinned(options.pinPath)) return;
  const [hook, filter] = clsactBuffers(options.ifindex, options.direction, 0);
  const result = ffi().bpf_tc_detach(hook, filter);
  if (![0, -noEntry, -invalid, -noDevice].includes(result))
    check(result, `Cannot detach from the ${options.direction} of device ${options.ifindex}`);
}

/**
 * Runs a program in a device's driver, by a pinned link; throws BpfError when the driver cannot, or runs another's.
 * Call it in the device's namespace.
 */
export function attachXdp(options: { ifindex: number; programFd: number; pinPath: string }): Attached {
  const { ifindex, programFd, pinPath } = options;
  const matches = (info: Buffer) =>
    info.readUInt32LE(0) === linkTypes.xdp && info.readUInt32LE(16) === ifindex;
  if (updatePinned(pinPath, programFd, matches)) return { kind: "xdp", adopted: true };
  const opts = Buffer.alloc(64); // struct bpf_link_create_opts
  opts.writeBigUInt64LE(BigInt(opts.length), 0);
  opts.writeUInt32LE(xdpByDriver, 8);
  const link = ffi().bpf_link_create(programFd, ifindex, xdpAttachType, opts);
  const reason =
    link === -busy
      ? "another XDP program is there; remove it first"
      : link === -notSupported
        ? "its driver has no XDP"
        : "drivers refuse XDP with a large MTU, or with offloads such as LRO";
  check(link, `Cannot attach XDP to device ${ifindex} (${reason})`);
  pinAndClose(link, pinPath);
  return { kind: "xdp", adopted: false };
}

/** Runs a socket program for all processes of a cgroup (v2) and those below it, by a pinned link. */
export function attachCgroup(options: {
  cgroupPath: string;
  hook: CgroupHook;
  programFd: number;
  pinPath: string;
}): Attached {
  const { cgroupPath, hook, programFd, pinPath } = options;
  const cgroupId = fs.statSync(cgroupPath, { bigint: true }).ino;
  const matches = (info: Buffer) =>
    info.readUInt32LE(0) === linkTypes.cgroup && info.readBigUInt64LE(16) === cgroupId;
  if (updatePinned(pinPath, programFd, matches)) return { kind: "cgroup", adopted: true };
  const cgroup = fs.openSync(cgroupPath, "r");
  try {
    const link = ffi().bpf_link_create(programFd, cgroup, cgroupAttachTypes[hook], null);
    check(link, `Cannot attach ${hook} to cgroup ${cgroupPath}`, "It must be a cgroup version 2 folder");
    pinAndClose(link, pinPath);
  } finally {
    fs.closeSync(cgroup);
  }
  return { kind: "cgroup", adopted: false };
}

/** Detaches a pinned link (tcx or cgroup) and removes its pin; false when there is none. */
export function detachPinned(pinPath: string): boolean {
  const link = ffi().bpf_obj_get(pinPath);
  if (link === -noEntry) return false;
  check(link, `Cannot open the link ${pinPath}`);
  ffi().bpf_link_detach(link); // its device or cgroup may be gone already
  ffi().close(link);
  fs.rmSync(pinPath, { force: true });
  return true;
}

/** Updates a pinned link; false (and no pin left) when it is missing, dead or on another device or cgroup. */
function updatePinned(pinPath: string, programFd: number, matches: (info: Buffer) => boolean): boolean {
  const link = ffi().bpf_obj_get(pinPath);
  if (link === -noEntry) return false;
  check(link, `Cannot open the link ${pinPath}`);
  try {
    if (matches(linkInfo(link)) && ffi().bpf_link_update(link, programFd, null) === 0) return true;
    ffi().bpf_link_detach(link);
    fs.rmSync(pinPath, { force: true });
    return false;
  } finally {
    ffi().close(link);
  }
}

function linkInfo(link: number): Buffer {
  const info = Buffer.alloc(64);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(info.length);
  check(ffi().bpf_obj_get_info_by_fd(link, info, length), "Cannot read a link's description");
  return info;
}

function pinAndClose(link: number, pinPath: string): void {
  try {
    fs.mkdirSync(path.dirname(pinPath), { recursive: true, mode: 0o700 });
    check(
      ffi().bpf_obj_pin(link, pinPath),
      `Cannot pin the link ${pinPath}`,
      "Is /sys/fs/bpf a bpffs mount?",
    );
  } finally {
    ffi().close(link);
  }
}

function clsactBuffers(ifindex: number, direction: TcDirection, programFd: number): [Buffer, Buffer] {
  const hook = Buffer.alloc(24); // struct bpf_tc_hook
  hook.writeBigUInt64LE(BigInt(hook.length), 0);
  hook.writeInt32LE(ifindex, 8);
  hook.writeInt32LE(clsactPoints[direction], 12);
  const filter = Buffer.alloc(32); // struct bpf_tc_opts
  filter.writeBigUInt64LE(BigInt(filter.length), 0);
  filter.writeInt32LE(programFd, 8);
  filter.writeUInt32LE(programFd === 0 ? 0 : 1, 12); // BPF_TC_F_REPLACE
  filter.writeUInt32LE(clsactHandle, 20);
  filter.writeUInt32LE(clsactPriority, 24);
  return [hook, filter];
}

function attachClsact(ifindex: number, direction: TcDirection, programFd: number): Attached {
  const [hook, filter] = clsactBuffers(ifindex, direction, programFd);
  const created = ffi().bpf_tc_hook_create(hook);
  if (created < 0 && created !== -fileExists)
    throw new BpfError(`Cannot add clsact to device ${ifindex}`, -created);
  const result = ffi().bpf_tc_attach(hook, filter);
  check(result, `Cannot attach to the ${direction} of device ${ifindex} by clsact`);
  return { kind: "clsact", adopted: created === -fileExists };
}
