// SPDX-License-Identifier: Apache-2.0

/** Two nodes with pods joined by the product's own datapath: `n1p1` and `n1p2` on one node, `n2p1` on another. */
export interface OpenLab {
  /** Path of a part's network namespace. */
  netns(part: "n1p1" | "n1p2" | "n2p1"): string;
  close(): Promise<void>;
}

/** What a bench needs of the product; handed in by bin/bench.ts, as test/ knows only lib/. */
export interface DatapathParts {
  openLab(options: { name: string; routing: "vxlan" | "direct" }): Promise<OpenLab>;
  /** Command line, without the number of rounds, of the `cni` bench's part on its node. */
  cniNode: readonly string[];
}

export interface BenchContext {
  parts: DatapathParts;
  /** How often each path is measured, interleaved with the others. */
  rounds: number;
  progress(line: string): void;
}

export interface BenchResult {
  /** Flat: name of the comparison -> ratio of medians, pairwise within this run. */
  ratios: Record<string, number>;
  /** The medians behind them, with their units in the name. */
  medians: Record<string, number>;
}

export type Bench = (context: BenchContext) => Promise<BenchResult>;

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The median of the rounds' own ratios: the machine's drift touches both sides of a round alike. */
export function pairedRatio(ours: readonly number[], theirs: readonly number[]): number {
  return Math.round(median(ours.map((value, round) => value / theirs[round]!)) * 1000) / 1000;
}
