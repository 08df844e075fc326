// SPDX-License-Identifier: Apache-2.0
import type { Plan, PlannedNode, PlanPhase } from "../model/plan.ts";

/** Nodes at once where nothing is switched and no pod moves. */
const cleaningAtOnce = 4;

/** The plan with nodes that joined since it was made, at the end of each phase that is for them too. */
export function withNewNodes(plan: Plan, names: readonly string[]): Plan {
  const { maxUnavailable } = plan.options;
  let last = Math.max(0, ...plan.phases.flatMap(({ nodes = [] }) => nodes.map(({ wave }) => wave)));
  const extend = (phase: PlanPhase): PlanPhase => {
    if (phase.newNodes !== true) return phase;
    const planned = phase.nodes ?? [];
    const known = new Set(planned.map(({ name }) => name));
    const isCleaning = planned.length > 0 || phase.steps.some(({ kind }) => kind.startsWith("remove-"));
    const size = isCleaning ? Math.max(maxUnavailable, cleaningAtOnce) : maxUnavailable;
    let wave = planned.at(-1)?.wave;
    let inWave = planned.filter((node) => node.wave === wave).length;
    const added: PlannedNode[] = [];
    for (const name of new Set(names)) {
      if (known.has(name)) continue;
      if (wave === undefined || inWave >= size) {
        wave = ++last;
        inWave = 0;
      }
      inWave++;
      added.push({ name, wave, networkedPods: 0, pinnedPods: 0 });
    }
    return { ...phase, nodes: [...planned, ...added] };
  };
  return { ...plan, phases: plan.phases.map(extend) };
}
