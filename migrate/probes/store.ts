// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { ProbeResults } from "./results.ts";

/** Results of a node's probe pods in a folder of the node: a pod that was moved or killed leaves its own there. */
export class ResultStore {
  readonly #dir: string;
  readonly #file: string;
  readonly #earlier: ProbeResults[];

  /** @param run name of this run of the probes: results of others are forgotten */
  constructor(dir: string, run: string, id: string) {
    this.#dir = path.join(dir, run);
    this.#file = path.join(this.#dir, `${id}.json`);
    mkdirSync(this.#dir, { recursive: true });
    for (const name of readdirSync(dir)) if (name !== run) rmSync(path.join(dir, name), { recursive: true });
    this.#earlier = readdirSync(this.#dir).flatMap((name) => readResults(path.join(this.#dir, name)));
  }

  /** What earlier incarnations left. */
  get earlier(): ProbeResults[] {
    return this.#earlier;
  }

  /** Replaces this incarnation's document; whoever reads sees the old one or the new one. */
  save(results: ProbeResults): void {
    writeFileSync(`${this.#file}.tmp`, JSON.stringify(results));
    renameSync(`${this.#file}.tmp`, this.#file);
  }

  /** Leaves nothing on the node. */
  clear(): void {
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

function readResults(file: string): ProbeResults[] {
  if (!file.endsWith(".json")) return [];
  try {
    return [JSON.parse(readFileSync(file, "utf8")) as ProbeResults];
  } catch {
    // Half a document is what a crash of the node left; there is nothing to be had from it.
    return [];
  }
}
