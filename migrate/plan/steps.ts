// SPDX-License-Identifier: Apache-2.0
import type { Plan, PlannedNode, PlanPhase, PlanStep, StepTemplate } from "../model/plan.ts";

const secondsPerPod: Partial<Record<StepTemplate["kind"], (node: PlannedNode) => number>> = {
  drain: ({ networkedPods, pinnedPods }) => 1.5 * Math.max(0, networkedPods - pinnedPods),
  recreate: ({ pinnedPods }) => 4 * pinnedPods,
};

/** A template at its place in the plan. */
export function stepAt(phase: PlanPhase, template: StepTemplate, node?: PlannedNode): PlanStep {
  const expectedSeconds =
    node === undefined
      ? template.expectedSeconds
      : template.expectedSeconds + (secondsPerPod[template.kind]?.(node) ?? 0);
  const place = node === undefined ? {} : { node: node.name };
  const name = node === undefined ? template.kind : `${template.kind}/${node.name}`;
  return { ...template, name, phase: phase.name, wave: node?.wave ?? 0, expectedSeconds, ...place };
}

/** Nodes that are worked on at the same time. */
export function wavesOf(phase: PlanPhase): PlannedNode[][] {
  const waves = new Map<number, PlannedNode[]>();
  for (const node of phase.nodes ?? []) {
    const wave = waves.get(node.wave);
    if (wave === undefined) waves.set(node.wave, [node]);
    else wave.push(node);
  }
  return [...waves.entries()].sort(([a], [b]) => a - b).map(([, nodes]) => nodes);
}

/** Every step of the plan, in the order in which one operator alone would run them. */
export function planSteps(plan: Plan): PlanStep[] {
  return plan.phases.flatMap((phase) =>
    phase.nodes === undefined
      ? phase.steps.map((template) => stepAt(phase, template))
      : phase.nodes.flatMap((node) => phase.steps.map((template) => stepAt(phase, template, node))),
  );
}

/** How long the plan takes when each step takes what is expected: waves one after another, nodes of one at once. */
export function expectedSeconds(phases: PlanPhase[]): number {
  let total = 0;
  for (const phase of phases) {
    const lengthOf = (node?: PlannedNode): number =>
      phase.steps.reduce((sum, template) => sum + stepAt(phase, template, node).expectedSeconds, 0);
    if (phase.nodes === undefined) total += lengthOf();
    else for (const wave of wavesOf(phase)) total += Math.max(...wave.map(lengthOf));
  }
  return Math.round(total);
}
