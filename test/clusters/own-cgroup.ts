// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdtempSync, rmdirSync } from "node:fs";
import { waitFor } from "../../lib/wait.ts";

/** Where cgroup version 2 is mounted on this machine: beside version 1, or alone. */
function cgroupTree(): string {
  const unified = "/sys/fs/cgroup/unified";
  return existsSync(unified) ? unified : "/sys/fs/cgroup";
}

/** Hands `work` a cgroup of its own, and removes it when the processes in it have ended. */
export async function withOwnCgroup<T>(prefix: string, work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(`${cgroupTree()}/${prefix}`);
  try {
    return await work(folder);
  } finally {
    await waitFor(
      "the cgroup to be empty",
      () => {
        rmdirSync(folder);
        return true;
      },
      { timeoutMs: 10_000 },
    );
  }
}
