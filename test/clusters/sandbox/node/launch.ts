// SPDX-License-Identifier: Apache-2.0
import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { ShuntError } from "../../../../lib/errors.ts";
import { waitFor } from "../../../../lib/wait.ts";
import { createCgroups, readHierarchies } from "../cgroups.ts";
import { clusterDir, initPid, nodeDir, writeAtomically } from "../state.ts";

/** The repository's root: nodes see it at /opt/shunt. */
export const repoDir = path.resolve(import.meta.dirname, "../../../..");

/** Where nodes see the repository. */
export const repoInNode = "/opt/shunt";

/** Folders that a node's root is built from. */
const nodeFolders = [
  "root",
  "etc",
  "etc.upper",
  "etc.work",
  "usr.upper",
  "usr.work",
  "var",
  "opt",
  "services",
];

interface LaunchOptions {
  /** Flags of unshare: which namespaces are its own. */
  namespaces: string[];
  script: string;
  args: string[];
  /** Becomes descriptor 3 of the process and of its services. */
  inheritFd?: number;
  signal?: AbortSignal;
}

/** Makes the node's folders, so that its configuration can be written before it boots. */
export async function prepareNode(cluster: string, node: string): Promise<string> {
  const dir = nodeDir(cluster, node);
  for (const folder of nodeFolders) await mkdir(path.join(dir, folder), { recursive: true });
  await mkdir(path.join(clusterDir(cluster), "logs"), { recursive: true });
  await mkdir(compileCache, { recursive: true });
  return dir;
}

/** Where nodes share what Node.js has compiled, so that the parts start faster the next time. */
const compileCache = path.join(repoDir, "build/node-cache");

const enoughBytes = 8 * 1024 ** 3;

/** Unpacked images lie in memory where there is plenty: importing and deleting is several times faster. */
function imagesIn(): "memory" | "disk" {
  const available = /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1];
  return Number(available ?? 0) * 1024 > enoughBytes ? "memory" : "disk";
}

/** Boots a node whose folders are prepared. Returns the number of its first process. */
export function bootNode(
  cluster: string,
  node: string,
  assets: string | undefined,
  signal?: AbortSignal,
): Promise<number> {
  return launch(cluster, node, {
    namespaces: ["--net", "--mount", "--pid", "--uts", "--ipc", "--cgroup"],
    script: "boot.sh",
    args: [
      ...[nodeDir(cluster, node), node, repoDir, process.execPath, compileCache, imagesIn()],
      ...(assets === undefined ? [] : [assets]),
    ],
    signal,
  });
}

/** Starts the switch with the internet behind it; `listenFd` is the API server's port on the machine. */
export function bootSwitch(cluster: string, listenFd: number, signal?: AbortSignal): Promise<number> {
  const logs = path.join(clusterDir(cluster), "logs");
  return launch(cluster, "switch", {
    namespaces: ["--net", "--mount", "--pid", "--uts"],
    script: "switch.sh",
    args: [nodeDir(cluster, "switch"), path.join(repoDir, "build/bin/sandbox-init"), logs],
    inheritFd: listenFd,
    signal,
  });
}

/** Starts a script in its cgroups and namespaces and waits until it has become sandbox-init. */
async function launch(cluster: string, node: string, options: LaunchOptions): Promise<number> {
  const dirs = await createCgroups(readHierarchies(), `${cluster}/${node}`);
  const logFile = path.join(clusterDir(cluster), "logs", `${node}-boot.log`);
  const log = openSync(logFile, "a");
  const join = 'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs"; shift; done; shift; exec "$@"';
  const script = path.join(import.meta.dirname, options.script);
  const command = ["unshare", ...options.namespaces, "--fork", "sh", script, ...options.args];
  const child = spawn("sh", ["-euc", join, "sh", ...dirs, "--", ...command], {
    detached: true,
    stdio: ["ignore", log, log, options.inheritFd ?? "ignore"],
  });
  closeSync(log);
  let ended: string | undefined;
  child.on("error", (error) => (ended = error.message));
  child.on("exit", (code, signal) => (ended = `it ended with ${signal ?? code}`));
  child.unref();
  const pid = await waitFor(
    `node ${node} to boot`,
    () => {
      const first = initPid(cluster, node);
      if (first !== undefined && processName(first) === "sandbox-init") return first;
      return ended === undefined ? undefined : -1;
    },
    { timeoutMs: 60_000, intervalMs: 10, signal: options.signal },
  );
  if (pid > 0) return pid;
  const tail = readFileSync(logFile, "utf8").trim().split("\n").slice(-10).join("\n");
  throw new ShuntError(`Node ${node} did not boot: ${ended}\n${tail}`, { code: "BootFailed" });
}

function processName(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return "";
  }
}

/** Adds a service to a running node: `command` is run, and run again when it ends; its log is in /var/log. */
export async function addService(cluster: string, node: string, name: string, script: string): Promise<void> {
  await writeAtomically(path.join(nodeDir(cluster, node), "services", name), script, 0o755);
}

/** The shell script of a service. */
export function serviceScript(command: readonly string[], env: Record<string, string> = {}): string {
  const quote = (word: string) =>
    /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
  const exports = Object.entries(env).map(([key, value]) => `export ${key}=${quote(value)}\n`);
  return `#!/bin/sh\n${exports.join("")}exec ${command.map(quote).join(" ")}\n`;
}
