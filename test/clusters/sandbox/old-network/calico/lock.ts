// SPDX-License-Identifier: Apache-2.0
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";

const lockFile = "/var/run/calico/rules.lock";

/**
 * Holds the lock by which the plugin and calico-node change rules one after the other. `flock` keeps it until its
 * input ends, so that it is free when this process dies.
 */
export async function withRulesLock<T>(work: () => T | Promise<T>): Promise<T> {
  mkdirSync("/var/run/calico", { recursive: true });
  const holder = spawn("flock", ["-x", lockFile, "sh", "-c", "echo; exec cat"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const failed = once(holder, "exit").then(() => {
    throw new Error(`flock did not take ${lockFile}`);
  });
  failed.catch(() => undefined);
  await Promise.race([once(holder.stdout, "data"), failed]);
  try {
    return await work();
  } finally {
    holder.stdin.end();
    await once(holder, "close");
  }
}
