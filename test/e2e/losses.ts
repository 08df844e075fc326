// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import type { TestContext } from "node:test";

/** What is looked at of a migration's report. */
interface SeenByProbes {
  probes: { sent: number; lost: number; losses: object[] };
  longConnections: { broken: number; list: { brokenAt?: string; endMoved?: boolean }[] };
}

/** No request was lost, and no connection broke but those of pods that moved; each that was is printed. */
export function requireNoLoss({ probes, longConnections }: SeenByProbes, t: TestContext): void {
  for (const loss of probes.losses) t.diagnostic(`lost: ${JSON.stringify(loss)}`);
  const broken = longConnections.list.filter(({ brokenAt, endMoved }) => brokenAt !== undefined && !endMoved);
  assert.deepEqual([longConnections.broken, broken], [0, []]);
  assert.equal(probes.lost, 0, `${probes.lost} of ${probes.sent} requests were lost`);
}
