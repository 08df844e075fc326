// SPDX-License-Identifier: Apache-2.0
import { Action } from "../action.ts";
import type { ScenarioRun } from "../scenario-run.ts";
import type { World } from "../world.ts";
import type { Connection } from "./connections.ts";

/** Milliseconds after which a connection counts as denied: answers within a cluster come within one. */
const deadlineMs = 800;

/** Tries connections, all at once. Returns for each why it failed, or nothing. */
export async function look(
  t: ScenarioRun<World>,
  connections: readonly Connection[],
): Promise<Map<Connection, string>> {
  const found = new Map<Connection, string>();
  const action = new Action(t.signal, (line) => t.log(`  [.] ${line}`));
  const bySource = Map.groupBy(connections, ({ source }) => source);
  await Promise.all(
    [...bySource].map(async ([source, own]) => {
      const query = {
        requests: JSON.stringify(own.map(({ request }) => request)),
        timeoutMs: deadlineMs,
      };
      const answer = await t.world.probes.control<{ failures: string[] }>(action, source, "/reach", query);
      for (const [index, connection] of own.entries()) found.set(connection, answer.failures[index] ?? "");
    }),
  );
  return found;
}
