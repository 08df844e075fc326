// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { errorMessage, ShuntError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import { overlayDevice, sysctlFile } from "./paths.ts";

const forwarding: readonly [path: string, wanted: string][] = [
  ["net/ipv4/ip_forward", "1"],
  ["net/ipv6/conf/all/forwarding", "1"],
];

/** Where settings and the memory of them are; a test has folders of its own. */
export interface SysctlPlace {
  sysFolder: string;
  /** Values from before the agent: beside its other state, so that a reboot forgets them with the settings. */
  recordFile: string;
}

const onNode: SysctlPlace = { sysFolder: "/proc/sys", recordFile: sysctlFile };

type Records = Record<string, { before: string; set: string }>;

const dotted = (path: string): string => path.replaceAll("/", ".");

function readRecords({ recordFile }: SysctlPlace): Records {
  if (!existsSync(recordFile)) return {};
  try {
    return JSON.parse(readFileSync(recordFile, "utf8")) as Records;
  } catch (cause) {
    throw new ShuntError(`${recordFile} cannot be read: ${errorMessage(cause)}`, {
      remedy: "Remove it; the kernel's forwarding settings then stay as they are.",
      cause,
    });
  }
}

/** What an earlier agent found stays: it is what the node had before any agent. */
function remember(place: SysctlPlace, path: string, record: Records[string]): void {
  const records = readRecords(place);
  if (records[path] !== undefined) return;
  mkdirSync(dirname(place.recordFile), { recursive: true });
  const next = `${place.recordFile}.new`;
  writeFileSync(next, JSON.stringify({ ...records, [path]: record }));
  renameSync(next, place.recordFile);
}

/** Makes the kernel settings that forwarding needs, after noting what they were. Returns what could not be set. */
export function ensureSysctls(options: {
  six: boolean;
  overlay: boolean;
  log: Logger;
  place?: SysctlPlace;
}): string[] {
  const place = options.place ?? onNode;
  const problems: string[] = [];
  const ensure = (path: string, value: string, lasting: boolean) => {
    const file = join(place.sysFolder, path);
    try {
      const before = readFileSync(file, "utf8").trim();
      if (before === value) return;
      if (lasting) remember(place, path, { before, set: value });
      writeFileSync(file, value);
      options.log.info("kernel setting changed", { setting: dotted(path), value, before });
    } catch (error) {
      problems.push(`${dotted(path)} cannot be set to ${value}: ${errorMessage(error)}`);
    }
  };
  for (const [path, value] of forwarding)
    if (options.six || !path.includes("ipv6")) ensure(path, value, true);
  // It goes with its device.
  if (options.overlay) ensure(`net/ipv4/conf/${overlayDevice}/rp_filter`, "0", false);
  return problems;
}

/**
 * Puts back what `ensureSysctls` changed, unless someone has set it otherwise since, and forgets it. Returns what
 * was put back.
 */
export function restoreSysctls(place: SysctlPlace = onNode): string[] {
  const restored: string[] = [];
  for (const [path, { before, set }] of Object.entries(readRecords(place))) {
    const file = join(place.sysFolder, path);
    if (!existsSync(file) || readFileSync(file, "utf8").trim() !== set) continue;
    writeFileSync(file, before);
    restored.push(`${dotted(path)} = ${before}`);
  }
  rmSync(place.recordFile, { force: true });
  return restored;
}

/** The ports that the kernel gives to the node's own connections. */
export function ephemeralPorts({
  sysFolder,
}: Pick<SysctlPlace, "sysFolder"> = onNode): [first: number, last: number] {
  const text = readFileSync(join(sysFolder, "net/ipv4/ip_local_port_range"), "utf8");
  const [first, last] = text.trim().split(/\s+/).map(Number);
  return [first!, last!];
}
