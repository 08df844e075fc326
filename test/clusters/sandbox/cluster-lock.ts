// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { ShuntError } from "../../../lib/errors.ts";
import { waitFor } from "../../../lib/wait.ts";
import { clusterDir } from "./state.ts";

/** Changes a cluster's nodes while nobody else does. The lock of a process that has ended counts for nothing. */
export async function withClusterLock<T>(
  cluster: string,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  const dir = clusterDir(cluster);
  if (!existsSync(dir))
    throw new ShuntError(`There is no sandbox cluster named "${cluster}"`, {
      code: "NotFound",
      remedy: "See them with: shunt cluster list",
    });
  const file = path.join(dir, "changing.pid");
  await waitFor(`others to end their change of cluster ${cluster}`, () => tryLock(file), {
    timeoutMs: 600_000,
    intervalMs: 100,
    signal,
    remedy: `Should none be at work, remove ${file}.`,
  });
  try {
    return await work();
  } finally {
    rmSync(file, { force: true });
  }
}

function tryLock(file: string): boolean {
  try {
    writeFileSync(file, String(process.pid), { flag: "wx" });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  try {
    process.kill(Number(readFileSync(file, "utf8")), 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") rmSync(file, { force: true });
  }
  return false;
}
