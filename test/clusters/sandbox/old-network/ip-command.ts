// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../../../lib/errors.ts";
import { run } from "../../../../lib/run.ts";

/** Runs lines of iproute2 (`link set x up`) in one process. */
export async function ipBatch(lines: readonly string[]): Promise<void> {
  if (lines.length > 0) await run("ip", ["-batch", "-"], { input: `${lines.join("\n")}\n` });
}

/** Runs lines of `bridge` (`fdb replace …`) in one process. */
export async function bridgeBatch(lines: readonly string[]): Promise<void> {
  if (lines.length > 0) await run("bridge", ["-batch", "-"], { input: `${lines.join("\n")}\n` });
}

/** Runs one `ip -json` query; [] when the device that it asks for does not exist. */
export async function ipJson(args: readonly string[]): Promise<any[]> {
  const result = await run("ip", ["-json", "-details", ...args], { allowFailure: true });
  if (result.exitCode !== 0) {
    if (/does not exist|Cannot find device/.test(result.stderr)) return [];
    throw new ShuntError(`${result.command}: ${result.stderr.trim()}`);
  }
  const text = result.stdout.trim();
  const entries = (text === "" ? [] : JSON.parse(text)) as object[];
  return entries.filter((entry) => Object.keys(entry).length > 0);
}

/** Name and MTU of the device that has an address. */
export async function deviceOf(address: string): Promise<{ name: string; mtu: number }> {
  const links = await ipJson(["address", "show"]);
  const link = links.find(({ addr_info }) =>
    (addr_info ?? []).some(({ local }: { local: string }) => local === address),
  );
  if (link === undefined) throw new ShuntError(`No device of this node has the address ${address}`);
  return { name: link.ifname, mtu: link.mtu };
}
