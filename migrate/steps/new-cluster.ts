// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../lib/errors.ts";
import { sleep } from "../../lib/wait.ts";
import type { NewCluster, NewClusterState } from "../model/tools.ts";
import type { StepContext, StepKind } from "../step-kind.ts";

function newClusterOf({ tools }: StepContext): NewCluster {
  if (tools.newCluster === undefined)
    throw new ShuntError("no new cluster was named", {
      code: "NoTarget",
      exitCode: 2,
      remedy: "Name its context: shunt migrate resume --target-context NEW (and --target-kubeconfig FILE)",
    });
  return tools.newCluster;
}

const blockersOf = ({ findings }: NewClusterState) => findings.filter(({ severity }) => severity === "block");

/** Things of the new cluster that come about by themselves. */
const isStarting = (id: string): boolean => /^target-/.test(id);

function refuse(cluster: NewCluster, state: NewClusterState): never {
  const blockers = blockersOf(state);
  const lines = blockers.slice(0, 5).map(({ object, problem }) => `\n  - ${object} ${problem}`);
  const more = blockers.length > 5 ? `\n  and ${blockers.length - 5} more` : "";
  throw new ShuntError(`the new cluster at ${cluster.server} is not ready:${lines.join("")}${more}`, {
    code: "NotReady",
    exitCode: 3,
    remedy: "All of it: shunt migrate compare --target-context NEW. Mend it, then: shunt migrate resume",
  });
}

/** Waits for what is still starting; whatever else blocks is for people to mend. */
async function waitUntilReady(context: StepContext): Promise<string> {
  const cluster = newClusterOf(context);
  const deadline = Date.now() + cluster.waitMs;
  for (;;) {
    const state = await cluster.compare(context.signal);
    if (state.ready) return state.summary;
    const blockers = blockersOf(state);
    if (Date.now() >= deadline || !blockers.every(({ id }) => isStarting(id))) refuse(cluster, state);
    context.report(
      `waits for ${blockers.length} things, first ${blockers[0]!.object}: ${blockers[0]!.problem}`,
    );
    await sleep(cluster.intervalMs, context.signal);
  }
}

/** Proves that the new cluster has what the old one has, and that it runs. */
export const compareClustersStep: StepKind = {
  kind: "compare-clusters",
  check: async () => undefined,
  apply: async () => undefined,
  verify: waitUntilReady,
  undo: async () => "nothing was changed",
};

/** The moment that belongs to the operator: Shunt waits for the word, and looks once more. */
export const cutOverStep: StepKind = {
  kind: "cut-over",
  check: async () => undefined,
  apply: async () => undefined,
  async verify(context) {
    const cluster = newClusterOf(context);
    if (!cluster.cutOverDone)
      throw new ShuntError(
        `the new cluster is ready: move the traffic (DNS, load balancers) to ${cluster.server} now, then: shunt migrate resume --cut-over-done with the same --target-context`,
        { code: "WaitsForOperator", exitCode: 1 },
      );
    return `the traffic was moved, says its operator; ${await waitUntilReady(context)}`;
  },
  undo: async () => "move the traffic back to the old cluster: Shunt has changed nothing there",
};
