// SPDX-License-Identifier: Apache-2.0
import type { Plan, PlannedNode, PlanPhase } from "../model/plan.ts";

/** The plan with nodes that joined since it was made, at the end of each phase that is for them too. */
export function withNewNodes(plan: Plan, names: readonly string[]): Plan {
  let wave = Math.max(0, ...plan.phases.flatMap(({ nodes = [] }) => nodes.map((node) => node.wave)));
  const extend = (phase: PlanPhase): PlanPhase => {
    if (phase.newNodes !== true) return phase;
    const known = new Set((phase.nodes ?? []).map(({ name }) => name));
    const fresh = [...new Set(names)].filter((name) => !known.has(name));
    const size = Math.max(1, plan.options.maxUnavailable);
    const added = fresh.map(
      (name, index): PlannedNode => ({
        ...{ name, networkedPods: 0, pinnedPods: 0 },
        wave: wave + 1 + Math.floor(index / size),
      }),
    );
    wave += Math.ceil(fresh.length / size);
    return { ...phase, nodes: [...(phase.nodes ?? []), ...added] };
  };
  return { ...plan, phases: plan.phases.map(extend) };
}
