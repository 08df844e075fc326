// SPDX-License-Identifier: Apache-2.0
import type { Inventory } from "../model/inventory.ts";
import type { AgentSetting, Plan, PlanOptions, PlanPhase } from "../model/plan.ts";
import { makePlan } from "./make-plan.ts";
import { formatSeconds } from "./plan-file.ts";
import { planSteps, stepAt, wavesOf } from "./steps.ts";

/** When a phase runs, counted from the start of the migration. */
export interface SimulatedPhase {
  name: string;
  title: string;
  startSeconds: number;
  seconds: number;
  waves: number;
}

/** A run of a plan in which every step takes what is expected of it. */
export interface Simulation {
  maxUnavailable: number;
  expectedSeconds: number;
  nodes: number;
  steps: number;
  waves: number;
  phases: SimulatedPhase[];
}

/** Runs a plan by a clock of its own: steps one after another, the nodes of a wave at once, as the engine does. */
export function simulateRun(plan: Plan): Simulation {
  let clock = 0;
  const phases: SimulatedPhase[] = [];
  for (const phase of plan.phases) {
    const start = clock;
    const waves = phase.nodes === undefined ? [] : wavesOf(phase);
    if (phase.nodes === undefined) clock = runNode(phase, clock);
    for (const wave of waves) clock = Math.max(...wave.map((node) => runNode(phase, clock, node)));
    phases.push({
      ...{ name: phase.name, title: phase.title, waves: waves.length },
      ...{ startSeconds: Math.round(start), seconds: Math.round(clock - start) },
    });
  }
  return {
    maxUnavailable: plan.options.maxUnavailable,
    expectedSeconds: Math.round(clock),
    nodes: plan.basis.nodes.length,
    steps: planSteps(plan).length,
    waves: phases.reduce((sum, { waves }) => sum + waves, 0),
    phases,
  };
}

const runNode = (phase: PlanPhase, from: number, node?: Parameters<typeof stepAt>[2]): number =>
  phase.steps.reduce((clock, template) => clock + stepAt(phase, template, node).expectedSeconds, from);

const usual = [1, 2, 5, 10, 20, 50, 100, 200];

/** The same migration with different numbers of nodes at once; the one that was asked for is among them. */
export function simulateConcurrencies(
  inventory: Inventory,
  options: Partial<PlanOptions>,
  settings: AgentSetting[] = [],
): Simulation[] {
  const workers = inventory.nodes.filter(({ roles }) => !roles.includes("control-plane")).length;
  const asked = options.maxUnavailable ?? 1;
  const counts = new Set([asked, ...usual.filter((count) => count <= Math.max(1, workers / 2))]);
  return [...counts]
    .sort((a, b) => a - b)
    .map((maxUnavailable) =>
      simulateRun(makePlan(inventory, { ...options, maxUnavailable }, [], new Date(), settings)),
    );
}

/** One line for each number of nodes at once, and the phases of the one that was asked for. */
export function formatSimulations(simulations: Simulation[], asked: number): string {
  const row = (cells: string[]): string => cells.map((cell) => cell.padStart(14)).join("");
  const lines = [row(["nodes at once", "waves", "duration"])];
  for (const { maxUnavailable, waves, expectedSeconds } of simulations)
    lines.push(
      `${row([String(maxUnavailable), String(waves), formatSeconds(expectedSeconds)])}${maxUnavailable === asked ? "  as asked for" : ""}`,
    );
  const chosen = simulations.find(({ maxUnavailable }) => maxUnavailable === asked);
  if (chosen === undefined) return `${lines.join("\n")}\n`;
  lines.push("", `${chosen.nodes} nodes, ${chosen.steps} steps, ${asked} at once`);
  for (const { title, startSeconds, seconds } of chosen.phases)
    lines.push(
      `  after ${formatSeconds(startSeconds).padEnd(8)} ${title.padEnd(24)} ${formatSeconds(seconds)}`,
    );
  return `${lines.join("\n")}\n`;
}
