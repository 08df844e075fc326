// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readlinkSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { errorMessage, ShuntError } from "../../lib/errors.ts";
import { withDeadline } from "../../lib/wait.ts";

const program = path.join(import.meta.dirname, "../../build/bin/policy-prober");

/** Where a pod is: a process in its network namespace, and its addresses of both families. */
export interface ProbedPod {
  pid: number;
  addresses: readonly (string | undefined)[];
}

/** What became of a flood to one port. */
export interface Flood {
  /** Datagrams. */
  sent: number;
  arrived: number;
  /** Connections. */
  opened: number;
  connected: number;
}

/** The program that asks every pod from every pod, from inside their network namespaces. */
export class PolicyProber {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(pods: readonly ProbedPod[]) {
    const words = pods.map(({ pid, addresses }) =>
      [pid, ...[0, 1].map((family) => addresses[family] ?? "-")].join(","),
    );
    this.#child = spawn(program, words, { stdio: ["pipe", "pipe", "inherit"] });
    this.#child.on("error", () => {});
    this.#child.stdin!.on("error", () => {});
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  /** Listens in every pod. */
  static async start(pods: readonly ProbedPod[]): Promise<PolicyProber> {
    const prober = new PolicyProber(pods);
    const said = await prober.#next(10_000);
    if (said !== "ready") throw new Error(`the prober said ${said}`);
    return prober;
  }

  /** Asks everything once, and waits so long for what does not answer. One boolean a cell. */
  async ask(patienceMs: number): Promise<boolean[]> {
    this.#child.stdin!.write(`${patienceMs}\n`);
    return [...(await this.#next(30_000 + patienceMs))].map((sign) => sign === "1");
  }

  /** Sends datagrams and opens connections from one pod to both ports of another for so long. */
  async flood(milliseconds: number, from: number, to: number): Promise<Record<"80" | "81", Flood>> {
    this.#child.stdin!.write(`flood ${Math.ceil(milliseconds)} ${from} ${to}\n`);
    return JSON.parse(await this.#next(milliseconds + 30_000));
  }

  async #next(timeoutMs: number): Promise<string> {
    const line = await withDeadline("the prober to answer", this.#lines.next(), timeoutMs);
    if (line.done) throw new Error("the prober ended");
    return line.value;
  }

  stop(): void {
    this.#child.kill("SIGKILL");
  }
}

/** A process of this machine in the network namespace whose link is `net:[…]`. */
export function processIn(netns: string): number {
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (readlinkSync(`/proc/${name}/ns/net`) === netns) return Number(name);
    } catch (error) {
      // It has ended meanwhile.
      if (!/ENOENT|ESRCH|EACCES/.test(errorMessage(error))) throw error;
    }
  }
  throw new ShuntError(`no process of this machine is in ${netns}`, {
    remedy: "The suite needs a cluster whose nodes are on this machine.",
  });
}
