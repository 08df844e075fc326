// SPDX-License-Identifier: Apache-2.0
import fs from "node:fs";
import { BpfError, check, ffi, lastErrno } from "./libbpf-ffi.ts";

const cloneNewNet = 0x40000000;

/**
 * Runs a synchronous function with this thread in another network namespace (a path such as
 * /var/run/netns/cni-…) and comes back. The function must not be async: what runs after an await would run
 * outside, and other work inside. Throws when the namespace does not exist.
 */
export function inNetns<T>(netnsPath: string, fn: () => T extends Promise<unknown> ? never : T): T {
  return inOther(fn, () => {
    const target = fs.openSync(netnsPath, "r");
    try {
      check(ffi().setns(target, cloneNewNet), `Cannot enter network namespace ${netnsPath}`);
    } finally {
      fs.closeSync(target);
    }
  });
}

/** Runs a synchronous function in a new network namespace that ends with it. */
export function inNewNetns<T>(fn: () => T extends Promise<unknown> ? never : T): T {
  return inOther(fn, () =>
    check(ffi().unshare(cloneNewNet), "Cannot make a network namespace", "This needs root (CAP_SYS_ADMIN)"),
  );
}

function inOther<T>(fn: () => T extends Promise<unknown> ? never : T, enter: () => void): T {
  const home = fs.openSync("/proc/thread-self/ns/net", "r");
  try {
    enter();
    try {
      return fn() as T;
    } finally {
      check(ffi().setns(home, cloneNewNet), "Cannot return to the agent's network namespace");
    }
  } finally {
    fs.closeSync(home);
  }
}

/** The index of a device of the current network namespace (see `inNetns`). Throws when there is none. */
export function deviceIndex(name: string): number {
  const index: number = ffi().if_nametoindex(name);
  if (index === 0) throw new BpfError(`No network device ${name}`, lastErrno());
  return index;
}

/** The kernel's number of the current network namespace (SO_NETNS_COOKIE, Linux 5.14); 0 when unknown. */
export function netnsCookie(): bigint {
  const [afInet, sockDgram, solSocket, soNetnsCookie] = [2, 2, 1, 71];
  const socket = check(ffi().socket(afInet, sockDgram, 0), "Cannot open a socket");
  try {
    const value = Buffer.alloc(8);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(value.length);
    const result = ffi().getsockopt(socket, solSocket, soNetnsCookie, value, length);
    return result === 0 ? value.readBigUInt64LE() : 0n;
  } finally {
    ffi().close(socket);
  }
}
