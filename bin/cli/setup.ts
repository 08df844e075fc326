// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../lib/errors.ts";
import type { CliEnv } from "./env.ts";

/** Refuses, in one line, what needs Linux and root; then brings whatever the machine lacks. */
export async function ensureSetup(env: CliEnv, what: string): Promise<void> {
  if (process.platform !== "linux")
    throw new ShuntError(`${what} needs Linux; this is ${process.platform}`, { code: "NeedsLinux" });
  if (process.getuid?.() !== 0)
    throw new ShuntError(`${what} needs root: run it with sudo`, { code: "NeedsRoot" });
  const { run } = await import("../../lib/run.ts");
  const root = new URL("../../", import.meta.url).pathname;
  await run("sh", [`${root}scripts/setup.sh`], {
    timeoutMs: 900_000,
    tee: env.stderr,
    signal: env.signal,
  });
}
