// SPDX-License-Identifier: Apache-2.0
export { type AgentChoice, chooseAgentValues } from "./agent-values.ts";
export { comparePlan, requireFreshPlan } from "./compare-plan.ts";
export { defaultPlanOptions, makePlan } from "./make-plan.ts";
export { withNewNodes } from "./new-nodes.ts";
export { formatPlan, formatPlanFile, formatSeconds, parsePlanFile, planHash } from "./plan-file.ts";
export {
  formatSimulations,
  type Simulation,
  simulateConcurrencies,
  simulateRun,
} from "./simulate.ts";
export { expectedSeconds, planSteps, stepAt, wavesOf } from "./steps.ts";
