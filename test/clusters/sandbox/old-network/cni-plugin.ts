// SPDX-License-Identifier: Apache-2.0
// A container runtime starts this for every pod, so it imports next to nothing and starts programs itself.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

/** A network configuration as a plugin gets it; the fields beyond are its own. */
export interface CniConfig {
  name: string;
  type: string;
  cniVersion: string;
  prevResult?: any;
  [field: string]: any;
}

/** A refusal in CNI's words; codes below 100 are the specification's. */
export class CniError extends Error {
  readonly code: number;
  constructor(message: string, code = 999) {
    super(message);
    this.code = code;
  }
}

/** How a runtime calls a plugin. */
export interface CniCall {
  command: "ADD" | "DEL" | "CHECK";
  containerId: string;
  netns: string;
  ifName: string;
  /** Pod of the container, from CNI_ARGS. */
  podNamespace: string;
  podName: string;
  config: CniConfig;
}

export type CniPlugin = (call: CniCall) => Promise<string>;

const plugins: Record<string, () => Promise<{ plugin: CniPlugin }>> = {
  flannel: () => import("./flannel/plugin.ts"),
};

const supportedVersions = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"];

/** `cni-plugin NAME`: the plugin NAME, called as CNI says: environment, standard input and output. */
export async function main(argv: string[]): Promise<number> {
  const load = plugins[argv[0] ?? ""];
  let cniVersion = "1.0.0";
  try {
    if (load === undefined) throw new CniError(`there is no plugin "${argv[0]}"`, 4);
    const { env } = process;
    const text = readFileSync(0, "utf8");
    if (env.CNI_COMMAND === "VERSION") {
      process.stdout.write(JSON.stringify({ cniVersion: "1.0.0", supportedVersions }));
      return 0;
    }
    const config = JSON.parse(text) as CniConfig;
    cniVersion = config.cniVersion ?? cniVersion;
    process.stdout.write(await (await load()).plugin(readCall(config, env)));
    return 0;
  } catch (error) {
    const { message, code = 999 } = error as CniError;
    const known = typeof code === "number" ? code : 999;
    process.stdout.write(JSON.stringify({ cniVersion, code: known, msg: `${argv[0]}: ${message}` }));
    return 1;
  }
}

function readCall(config: CniConfig, env: Record<string, string | undefined>): CniCall {
  const args = new Map((env.CNI_ARGS ?? "").split(";").map((pair) => pair.split("=", 2) as [string, string]));
  const command = env.CNI_COMMAND ?? "";
  if (command !== "ADD" && command !== "DEL" && command !== "CHECK")
    throw new CniError(`unknown CNI_COMMAND "${command}"`, 4);
  return {
    command,
    containerId: env.CNI_CONTAINERID ?? "",
    netns: env.CNI_NETNS ?? "",
    ifName: env.CNI_IFNAME ?? "eth0",
    podNamespace: args.get("K8S_POD_NAMESPACE") ?? "",
    podName: args.get("K8S_POD_NAME") ?? "",
    config,
  };
}

/** Calls another plugin in this one's place; returns what it prints, throws what it refuses with. */
export function delegate(type: string, config: CniConfig, command?: string): string {
  const program = (process.env.CNI_PATH ?? "")
    .split(":")
    .map((folder) => path.join(folder, type))
    .find((file) => existsSync(file));
  if (program === undefined) throw new CniError(`no plugin ${type} in ${process.env.CNI_PATH}`, 4);
  const done = spawnSync(program, [], {
    input: JSON.stringify(config),
    encoding: "utf8",
    timeout: 30_000,
    env: { ...process.env, ...(command === undefined ? {} : { CNI_COMMAND: command }) },
  });
  if (done.status === 0) return done.stdout;
  let refusal: { msg?: string; code?: number } = {};
  try {
    refusal = JSON.parse(done.stdout);
  } catch {
    // It ended without a word.
  }
  throw new CniError(`${type}: ${refusal.msg ?? done.error?.message ?? done.stderr}`, refusal.code ?? 999);
}

/** Runs a program of the node; throws with what it printed. */
export function runProgram(file: string, args: readonly string[], input?: string): string {
  const done = spawnSync(file, args, { input: input ?? "", encoding: "utf8", timeout: 30_000 });
  if (done.status !== 0)
    throw new CniError(`${file} ${args.join(" ")}: ${done.error?.message ?? done.stderr.trim()}`);
  return done.stdout;
}
