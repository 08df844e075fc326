// SPDX-License-Identifier: Apache-2.0
import type { ReadResults } from "./merge.ts";
import { quantile } from "./results.ts";

/** Answers by the time that they took, as `latencyBounds` has them, by kind and path. */
export type Latencies = Map<string, number[]>;

const shown = ["http pod", "http cluster-ip", "http node-port", "http headless", "dns cluster-ip"];

/** What all probes have seen until now. */
export function latenciesOf(nodes: readonly ReadResults[]): Latencies {
  const all: Latencies = new Map();
  const series = nodes.flatMap(({ results }) => results.results.flatMap((one) => one.series));
  for (const { kind, path, latencies } of series) {
    const key = `${kind} ${path}`;
    const known = all.get(key) ?? [];
    all.set(
      key,
      latencies.map((count, index) => count + (known[index] ?? 0)),
    );
  }
  return all;
}

/** How long answers took between two readings: HTTP with a connection of its own for each, and names. */
export function latencyFigures(from: Latencies, to: Latencies): Record<string, number> {
  const figures: Record<string, number> = {};
  for (const key of shown) {
    const earlier = from.get(key) ?? [];
    const between = (to.get(key) ?? []).map((count, index) => Math.max(0, count - (earlier[index] ?? 0)));
    if (between.every((count) => count === 0)) continue;
    const name = key.replace(" ", " by ");
    figures[`${name}, median (ms)`] = quantile(between, 0.5);
    figures[`${name}, 99 % (ms)`] = quantile(between, 0.99);
  }
  return figures;
}
