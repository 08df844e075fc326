// SPDX-License-Identifier: Apache-2.0
export { type Comparison, type ComparisonOptions, compareClusters } from "./compare-clusters.ts";
export { formatComparison, summarizeComparison } from "./format.ts";
