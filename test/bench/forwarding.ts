// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from "node:child_process";
import os from "node:os";
import path from "node:path";
import { run } from "../../lib/run.ts";
import { sleep } from "../../lib/wait.ts";
import { Baselines, type MeasuredPath } from "./baselines.ts";
import { type BenchContext, type BenchResult, median, pairedRatio } from "./bench.ts";

const crr = path.join(import.meta.dirname, "../../build/bin/crr");
const sampleMs = 1000;

/** Ends stay on a processor each, so that the scheduler's choices are the same for every path. */
const pinned = (netns: string, cpu: number, words: readonly string[]): string[] => [
  `--net=${netns}`,
  "taskset",
  "-c",
  String(cpu % os.availableParallelism()),
  ...words,
];

/** Comparison -> the path of ours, and the one that it is measured against. */
const comparisons: Record<string, readonly [ours: string, theirs: string]> = {
  same_node_vs_veth: ["sameNode", "veth"],
  across_nodes_routed_vs_veth: ["routed", "veth"],
  across_nodes_routed_vs_bridge_routes: ["routed", "bridgeRoutes"],
  across_nodes_routed_vs_bridge_masquerade: ["routed", "bridgeMasquerade"],
  across_nodes_vxlan_vs_plain_vxlan: ["vxlan", "plainVxlan"],
  across_nodes_vxlan_vs_flannel_vxlan: ["vxlan", "flannelVxlan"],
};

/** Throughput (iperf3) and short connections a second of every path, interleaved, as ratios of a round. */
export async function forwarding(context: BenchContext): Promise<BenchResult> {
  const finalizers: (() => Promise<void> | void)[] = [];
  try {
    const paths = await openPaths(context, finalizers);
    for (const one of Object.values(paths)) startServers(one, finalizers);
    await sleep(500);
    const empty = () => Object.fromEntries(Object.keys(paths).map((name) => [name, [] as number[]]));
    const throughput = empty();
    const connections = empty();
    for (let round = 1; round <= context.rounds; round++) {
      context.progress(`forwarding: round ${round} of ${context.rounds}`);
      for (const [name, one] of Object.entries(paths)) {
        throughput[name]!.push(await measureThroughput(one));
        connections[name]!.push(await measureConnections(one));
      }
    }
    return summarise(throughput, connections);
  } finally {
    for (const undo of finalizers.reverse()) await undo();
  }
}

async function openPaths(
  { parts }: BenchContext,
  finalizers: (() => Promise<void> | void)[],
): Promise<Record<string, MeasuredPath>> {
  const suffix = process.pid % 10000;
  const baselines = new Baselines(`sb${suffix}`);
  finalizers.push(() => baselines.close());
  const veth = await baselines.veth();
  const bridgeRoutes = await baselines.bridges("plain");
  const bridgeMasquerade = await baselines.bridges("masquerade");
  const plainVxlan = await baselines.bridges("vxlan");
  const flannelVxlan = await baselines.bridges("flannel");
  const direct = await parts.openLab({ name: `sd${suffix}`, routing: "direct" });
  finalizers.push(() => direct.close());
  const tunnel = await parts.openLab({ name: `sv${suffix}`, routing: "vxlan" });
  finalizers.push(() => tunnel.close());
  return {
    veth,
    sameNode: { client: direct.netns("n1p1"), server: direct.netns("n1p2"), address: "10.244.1.12" },
    bridgeRoutes,
    bridgeMasquerade,
    routed: { client: direct.netns("n1p1"), server: direct.netns("n2p1"), address: "10.244.2.11" },
    plainVxlan,
    flannelVxlan,
    vxlan: { client: tunnel.netns("n1p1"), server: tunnel.netns("n2p1"), address: "10.244.2.11" },
  };
}

function startServers(one: MeasuredPath, finalizers: (() => Promise<void> | void)[]): void {
  const start = (words: string[]): ChildProcess =>
    spawn("nsenter", pinned(one.server, 1, words), { stdio: "ignore" });
  const servers = [start(["iperf3", "-s"]), start([crr, "server", "0.0.0.0", "9000"])];
  finalizers.push(() => {
    for (const server of servers) server.kill("SIGKILL");
  });
}

/** Bits a second, as the receiver counts them. */
async function measureThroughput(one: MeasuredPath): Promise<number> {
  const words = ["iperf3", "-J", "-c", one.address, "-t", String(sampleMs / 1000), "-O", "0"];
  const result = await run("nsenter", pinned(one.client, 0, words), { timeoutMs: 30_000 });
  return JSON.parse(result.stdout).end.sum_received.bits_per_second;
}

/** Connect-request-close cycles a second. */
async function measureConnections(one: MeasuredPath): Promise<number> {
  const words = [crr, "client", one.address, "9000", String(sampleMs)];
  const result = await run("nsenter", pinned(one.client, 0, words), { timeoutMs: 30_000 });
  return (Number(result.stdout.split(" ")[0]) * 1000) / sampleMs;
}

function summarise(throughput: Record<string, number[]>, connections: Record<string, number[]>): BenchResult {
  const result: BenchResult = { ratios: {}, medians: {} };
  for (const [name, [ours, theirs]] of Object.entries(comparisons)) {
    result.ratios[`throughput_${name}`] = pairedRatio(throughput[ours]!, throughput[theirs]!);
    result.ratios[`connections_${name}`] = pairedRatio(connections[ours]!, connections[theirs]!);
  }
  for (const name of Object.keys(throughput)) {
    result.medians[`${name}_gbit_per_second`] = Math.round(median(throughput[name]!) / 1e7) / 100;
    result.medians[`${name}_connections_per_second`] = Math.round(median(connections[name]!));
  }
  return result;
}
