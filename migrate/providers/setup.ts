// SPDX-License-Identifier: Apache-2.0
import { UsageError } from "../../lib/errors.ts";
import type { KubeClient } from "../../lib/kube.ts";
import type { RunResult } from "../../lib/run.ts";

/** Runs a cloud's program to its end and returns what it printed; throws when it fails. */
export type RunProgram = (
  file: string,
  args: readonly string[],
  options: { timeoutMs: number; signal?: AbortSignal },
) => Promise<RunResult>;

/** Makes and removes nodes of a sandbox cluster of this machine. */
export interface SandboxNodes {
  /** The cluster whose API server this is; undefined when it is none of this machine's. */
  clusterAt(server: string): string | undefined;
  add(request: {
    cluster: string;
    group: string;
    count: number;
    taint: string;
    signal: AbortSignal;
  }): Promise<string[]>;
  remove(request: { cluster: string; node: string; signal: AbortSignal }): Promise<void>;
  /** Nodes of the group, those that are half made included. */
  members(cluster: string, group: string): string[];
}

/** What providers are given by the program around them. */
export interface ProviderSetup {
  /** The cluster that is migrated. */
  kube: KubeClient;
  /** Where Cluster API's objects are, when that is another cluster. */
  management?: KubeClient;
  /** `--provider-set`: what a provider cannot find out. */
  options: Readonly<Record<string, string>>;
  /** Tells people what they have to do. */
  say(message: string): void;
  run: RunProgram;
  /** Absent: this machine has no sandbox. */
  sandbox?: SandboxNodes;
}

/** Reads `key=value` words. Throws UsageError. */
export function parseProviderOptions(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    words.map((word) => {
      const match = /^([a-z][a-z-]{0,40})=(.{1,512})$/.exec(word);
      if (match === null)
        throw new UsageError(`--provider-set "${word}" is not key=value`, "Write it like cluster=prod.");
      // What begins with a hyphen would become a flag of the program that it is handed to.
      if (match[2]!.startsWith("-"))
        throw new UsageError(`--provider-set "${word}": the value must not begin with a hyphen`);
      return [match[1]!, match[2]!];
    }),
  );
}
