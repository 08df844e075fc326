// SPDX-License-Identifier: Apache-2.0
import { type BenchResult, type Goal, median, pairedRatio } from "./bench.ts";
import type { RuleKind } from "./kube-proxy-side.ts";
import { type ChangeResult, spread } from "./service-changes.ts";
import type { MemoryResult } from "./service-memory.ts";
import type { ServiceSample } from "./service-samples.ts";

const goals: Record<string, Goal> = {
  crrManyVsFewServices: { atLeast: 0.97 },
  setupP50VsIptables: { atMost: 0.07 },
  setupP99VsIptables: { atMost: 0.2 },
  setupP50VsNftables: { atMost: 0.65 },
  setupP99VsNftables: { atMost: 0.75 },
  crrVsNoService: { atLeast: 0.95 },
  programVsIptables: { atMost: 0.1 },
  changeToEffectP99Ms: { below: 100 },
  changeToEffectBusyP99Ms: { below: 250 },
  agentMemoryMiB: { below: 250 },
  droppedOrDead: { atMost: 0 },
};

/** The number of services that the goals are for. */
const goalServices = 10_000;

export type PathName = "noService" | "shunt" | "shuntFewest" | RuleKind;

/** What was measured with one number of services: as many samples of each path, and times to program. */
export interface SizeResult {
  size: number;
  samples: Map<PathName, ServiceSample[]>;
  /** Gigabits a second. */
  throughput: Map<PathName, number[]>;
  programMs: Map<"shunt" | RuleKind, number[]>;
}

const titles: Record<PathName, string> = {
  noService: "no service",
  shunt: "Shunt",
  shuntFewest: "Shunt, fewest services",
  iptablesNft: "iptables (nft backend)",
  iptablesLegacy: "iptables (legacy)",
  nftables: "nftables",
};
const iptablesKinds = ["iptablesNft", "iptablesLegacy"] as const;

type ColumnKey = keyof ServiceSample | "gbitPerSecond";
const columns: { key: ColumnKey; title: string; unit: string; digits: number }[] = [
  { key: "connectionsPerSecond", title: "conn/s", unit: "connections_per_second", digits: 0 },
  { key: "setupP50Us", title: "set-up p50 µs", unit: "setup_p50_us", digits: 1 },
  { key: "setupP99Us", title: "p99 µs", unit: "setup_p99_us", digits: 1 },
  { key: "setupP999Us", title: "p99.9 µs", unit: "setup_p999_us", digits: 1 },
  { key: "kernelUs", title: "kernel µs/conn", unit: "kernel_us_per_connection", digits: 1 },
  { key: "gbitPerSecond", title: "Gbit/s", unit: "gbit_per_second", digits: 2 },
];

/** Ratios by the largest number of services; the table and the medians have all. */
export function summarise(
  results: readonly SizeResult[],
  changes: ChangeResult,
  memory: MemoryResult,
): BenchResult {
  const largest = results.at(-1)!;
  return {
    ratios: {
      ...(results.length > 1 ? { crrManyVsFewServices: compare(largest, "shunt", "shuntFewest") } : {}),
      ...setupRatios(largest),
      crrVsNoService: compare(largest, "shunt", "noService"),
      ...programRatio(largest),
      changeToEffectP99Ms: spread(changes.restMs).p99,
      changeToEffectBusyP99Ms: spread(changes.busyMs).p99,
      agentMemoryMiB: memory.rssMiB,
      droppedOrDead: changes.fates.dropped + changes.fates.dead,
    },
    medians: medians(results, changes, memory),
    goals,
    table: [
      ...results.flatMap(sizeTable),
      ...otherLines(changes, memory),
      ...(largest.size < goalServices ? [`The goals are for ${goalServices} services.`] : []),
    ],
  };
}

const valuesOf = ({ samples, throughput }: SizeResult, path: PathName, key: ColumnKey): number[] =>
  key === "gbitPerSecond"
    ? (throughput.get(path) ?? [])
    : (samples.get(path) ?? []).map((sample) => sample[key]);

function compare(result: SizeResult, ours: PathName, theirs: PathName): number {
  return pairedRatio(
    valuesOf(result, ours, "connectionsPerSecond"),
    valuesOf(result, theirs, "connectionsPerSecond"),
  );
}

/** Of several lists of one value a round, the smallest of each round. */
export function fastest(lists: readonly number[][]): number[] {
  const some = lists.filter((list) => list.length > 0);
  return (some[0] ?? []).map((_, round) => Math.min(...some.map((list) => list[round]!)));
}

function setupRatios(result: SizeResult): Record<string, number> {
  const ratios: Record<string, number> = {};
  for (const [name, key] of [
    ["P50", "setupP50Us"],
    ["P99", "setupP99Us"],
  ] as const) {
    const ours = valuesOf(result, "shunt", key);
    const iptables = fastest(iptablesKinds.map((kind) => valuesOf(result, kind, key)));
    const nftables = valuesOf(result, "nftables", key);
    if (iptables.length > 0) ratios[`setup${name}VsIptables`] = pairedRatio(ours, iptables);
    if (nftables.length > 0) ratios[`setup${name}VsNftables`] = pairedRatio(ours, nftables);
  }
  return ratios;
}

function programRatio({ programMs }: SizeResult): Record<string, number> {
  const iptables = fastest(iptablesKinds.map((kind) => programMs.get(kind) ?? []));
  return iptables.length === 0 ? {} : { programVsIptables: pairedRatio(programMs.get("shunt")!, iptables) };
}

function medians(
  results: readonly SizeResult[],
  changes: ChangeResult,
  memory: MemoryResult,
): Record<string, number> {
  const all: Record<string, number> = {};
  for (const result of results) {
    for (const path of result.samples.keys())
      for (const { key, unit, digits } of columns)
        all[`${path}_${result.size}_${unit}`] = Number(median(valuesOf(result, path, key)).toFixed(digits));
    for (const [kind, timesMs] of result.programMs)
      all[`${kind}_${result.size}_program_ms`] = Math.round(median(timesMs) * 10) / 10;
  }
  return {
    ...all,
    change_to_effect_p50_ms: spread(changes.restMs).p50,
    change_to_effect_busy_p50_ms: spread(changes.busyMs).p50,
    changes: changes.changes,
    connections_served: changes.fates.served,
    connections_late: changes.fates.late,
    slowest_connect_ms: Math.round(changes.slowestConnectMs * 10) / 10,
    agent_peak_memory_mib: memory.peakRssMiB,
    maps_memory_mib: memory.mapsMiB,
  };
}

function sizeTable(result: SizeResult): string[] {
  const header = [
    `${result.size} services`.padEnd(24),
    ...columns.map(({ title }) => title.padStart(16)),
    "program ms".padStart(12),
  ];
  const paths = (Object.keys(titles) as PathName[]).filter((path) => result.samples.has(path));
  const rows = paths.map((path) => {
    const timesMs = result.programMs.get(path as RuleKind);
    return [
      titles[path].padEnd(24),
      ...columns.map(({ key, digits }) =>
        median(valuesOf(result, path, key))
          .toFixed(digits)
          .padStart(16),
      ),
      (timesMs === undefined ? "" : median(timesMs).toFixed(1)).padStart(12),
    ];
  });
  return [...[header, ...rows].map((cells) => cells.join("").trimEnd()), ""];
}

function otherLines(
  { restMs, busyMs, changes, fates, slowestConnectMs, losses }: ChangeResult,
  memory: MemoryResult,
) {
  const [rest, busy] = [spread(restMs), spread(busyMs)];
  return [
    `change to effect: p50 ${rest.p50} ms, p99 ${rest.p99} ms (${restMs.length} changes); among 100 others a second p50 ${busy.p50} ms, p99 ${busy.p99} ms`,
    `${changes} changes under load: ${fates.served + fates.late} connections served, ${fates.dead} to a backend that had gone, ${fates.dropped} dropped; ${fates.late} were on their way at a change; slowest connect ${slowestConnectMs.toFixed(1)} ms`,
    ...losses,
    `memory with ${memory.services} services and ${memory.endpoints} endpoints: ${memory.rssMiB} MiB resident, ${memory.peakRssMiB} MiB at most, ${memory.mapsMiB} MiB of kernel maps`,
    "",
  ];
}
