// SPDX-License-Identifier: Apache-2.0
import { RunError, run } from "../lib/run.ts";

export interface IpOptions {
  /** Path of the network namespace to run in; this process's when left out. */
  netns?: string;
  /** For objects that both families have, such as rules: which one. */
  family?: "ipv4" | "ipv6";
  /** Go on after a failing line; the errors come back instead of being thrown. */
  force?: boolean;
}

/**
 * Runs lines of iproute2 (`link set x up`) in one process. Returns what queries printed (JSON), or with `force`
 * the errors of failing lines; else it throws RunError at the first of them.
 */
export async function ipBatch(lines: readonly string[], options: IpOptions = {}): Promise<string> {
  if (lines.length === 0) return "";
  const family = options.family === undefined ? [] : [options.family === "ipv4" ? "-4" : "-6"];
  const words = ["ip", "-json", ...family, ...(options.force === true ? ["-force"] : []), "-batch", "-"];
  const [file, ...args] = inNetns(words, options.netns);
  const result = await run(file!, args, {
    input: `${lines.join("\n")}\n`,
    timeoutMs: 20_000,
    allowFailure: options.force === true,
  });
  return options.force === true ? result.stderr : result.stdout;
}

/** Runs one `ip -json` query; [] when the object it asks for does not exist. */
export async function ipJson(args: readonly string[], netns?: string): Promise<any[]> {
  const [file, ...words] = inNetns(["ip", "-json", "-details", ...args], netns);
  const result = await run(file!, words, { timeoutMs: 20_000, allowFailure: true });
  if (result.exitCode !== 0) {
    if (/does not exist|Cannot find device|No such device|not found/i.test(result.stderr)) return [];
    throw new RunError(result, `exit code ${result.exitCode}`);
  }
  const text = result.stdout.trim();
  const parsed = text === "" ? [] : JSON.parse(text);
  return (Array.isArray(parsed) ? parsed : [parsed]).filter(
    (entry) => entry !== null && Object.keys(entry).length > 0,
  );
}

function inNetns(words: string[], netns: string | undefined): string[] {
  // Not `ip netns exec`: that mounts /sys anew and hides bpffs and cgroups.
  return netns === undefined ? words : ["nsenter", `--net=${netns}`, "--", ...words];
}
