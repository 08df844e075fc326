// SPDX-License-Identifier: Apache-2.0
// One measurement of a path: short connections with the time to set them up and the kernel's share, and throughput.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { run } from "../../lib/run.ts";
import { withDeadline } from "../../lib/wait.ts";
import { serverPorts } from "./made-services.ts";

const binary = (name: string): string => path.join(import.meta.dirname, "../../build/bin", name);
export const steadyLoad = binary("steady-load");
const crr = binary("crr");
/** Short, so that what is compared is measured close together. */
const sampleMs = 300;
/** A tick of /proc/PID/stat. */
const tickUs = 10_000;

/** How a client reaches what it connects to. */
export interface ServiceClient {
  address: string;
  port: number;
  command(words: readonly string[]): [file: string, args: string[]];
}

/** A path to measure. */
export interface ServicePath {
  /** To what the short connections go, and to what the stream. */
  connections: ServiceClient;
  throughput: ServiceClient;
  servers: Servers;
}

export interface ServiceSample {
  connectionsPerSecond: number;
  setupP50Us: number;
  setupP99Us: number;
  setupP999Us: number;
  /** Kernel time of client and server for one connection. */
  kernelUs: number;
}

/** Ends stay on a processor each, so that the scheduler's choices are the same for every path. */
export const pinned = (cpu: 0 | 1, words: readonly string[]): string[] => [
  ...["taskset", "-c", String(cpu % os.availableParallelism())],
  ...words,
];

/** Ends a process that this one started, and waits for its end. */
export async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await withDeadline(`process ${child.pid} to end`, ended, 10_000);
}

/** The servers of a path in their namespace. */
export class Servers {
  readonly #netns: string;
  readonly #running: ChildProcess[];
  #crr: ChildProcess;

  constructor(netns: string) {
    this.#netns = netns;
    this.#crr = this.#start([crr, "server", "0.0.0.0", String(serverPorts.target)]);
    this.#running = [
      this.#start(["setpriv", "--pdeathsig", "KILL", "iperf3", "-s", "-p", String(serverPorts.throughput)]),
    ];
  }

  #start(words: readonly string[]): ChildProcess {
    const child = spawn("nsenter", [`--net=${this.#netns}`, ...pinned(1, words)], { stdio: "ignore" });
    // What cannot be started is missed by its clients, which tell.
    return child.on("error", () => undefined);
  }

  /** Time that the kernel worked for the server of short connections. */
  get kernelUs(): number {
    const stat = readFileSync(`/proc/${this.#crr.pid}/stat`, "utf8");
    // After the name in brackets, which may hold anything, come the fields from the third on; stime is the 15th.
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[12]) * tickUs;
  }

  /** From now on short connections are answered with the address that they came to. */
  async tellAddresses(): Promise<void> {
    await endProcess(this.#crr);
    this.#crr = this.#start([steadyLoad, "server", "0.0.0.0", String(serverPorts.target)]);
  }

  async close(): Promise<void> {
    for (const child of [this.#crr, ...this.#running]) await endProcess(child);
  }
}

async function runClient(
  { command }: ServiceClient,
  words: readonly string[],
  signal: AbortSignal,
): Promise<string> {
  const [file, args] = command(pinned(0, words));
  return (await run(file, args, { timeoutMs: 30_000, signal })).stdout;
}

/** Short connections, one after the other. */
export async function sampleConnections(
  { connections, servers }: ServicePath,
  signal: AbortSignal,
): Promise<ServiceSample> {
  const { address, port } = connections;
  const serverBefore = servers.kernelUs;
  const output = await runClient(
    connections,
    [crr, "client", address, String(port), String(sampleMs)],
    signal,
  );
  const [count = 0, p50 = 0, p99 = 0, p999 = 0, clientUs = 0] = output.trim().split(" ").map(Number);
  return {
    connectionsPerSecond: (count * 1000) / sampleMs,
    setupP50Us: p50,
    setupP99Us: p99,
    setupP999Us: p999,
    kernelUs: (clientUs + servers.kernelUs - serverBefore) / count,
  };
}

/** One stream; gigabits a second, as the receiver counts them. */
export async function sampleThroughput({ throughput }: ServicePath, signal: AbortSignal): Promise<number> {
  const { address, port } = throughput;
  const words = ["iperf3", "-J", "-c", address, "-p", String(port), "-t", "1"];
  return JSON.parse(await runClient(throughput, words, signal)).end.sum_received.bits_per_second / 1e9;
}
