// SPDX-License-Identifier: Apache-2.0
import { randomInt } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import type { BenchContext, BenchResult } from "./bench.ts";

const reportMs = 10_000;

/** Random policies for so long, each time from another seed; ends with the first finding. */
export async function policyFuzz(context: BenchContext): Promise<BenchResult> {
  const { fuzzNames, fuzz } = context.parts.policies;
  const { fuzzMs } = context.policies;
  const cases = new Map(fuzzNames.map((name) => [name, 0]));
  const startedAt = performance.now();
  const seconds = (): number => (performance.now() - startedAt) / 1000;
  let reportedAt = startedAt;
  let failure: string | undefined;
  for (let turn = 0; failure === undefined && seconds() * 1000 < fuzzMs; turn++) {
    const name = fuzzNames[turn % fuzzNames.length]!;
    const { cases: tried, finding } = fuzz(name, randomInt(2 ** 31));
    cases.set(name, cases.get(name)! + tried);
    failure = finding;
    if (performance.now() - reportedAt > reportMs) {
      reportedAt = performance.now();
      const counts = [...cases].map(([one, count]) => `${one}: ${count}`);
      context.progress(`policy-fuzz: ${Math.round(seconds())} s, ${counts.join(", ")}`);
    }
    await setImmediate(); // for Ctrl-C
    context.signal.throwIfAborted();
  }
  const all = [...cases.values()].reduce((sum, one) => sum + one, 0);
  const perSecond = Math.round(all / seconds());
  return {
    ratios: {},
    medians: { policyFuzz_cases: all, policyFuzz_casesPerSecond: perSecond },
    table: [...cases].map(([name, count]) => `${name}: ${count} cases`).concat(`${perSecond} cases a second`),
    ...(failure === undefined ? {} : { failure }),
  };
}
