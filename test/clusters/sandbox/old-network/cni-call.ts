// SPDX-License-Identifier: Apache-2.0
// A container runtime starts plugins for every pod, so they import next to nothing and start programs themselves.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
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
