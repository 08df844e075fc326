// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from "node:util";
import { ShuntError } from "../../lib/errors.ts";
import type { Inventory } from "../model/inventory.ts";
import type { Plan, PlanBasis } from "../model/plan.ts";
import { basisOf } from "./make-plan.ts";

/** One thing in which the cluster is not what the plan was made for. */
export interface PlanDifference {
  what: string;
  planned: string;
  now: string;
}

const show = (value: unknown): string =>
  value === undefined ? "nothing" : typeof value === "string" ? value : JSON.stringify(value);

/** What has changed since the plan was made, as far as the plan rests on it. Empty: the plan still fits. */
export function comparePlan(plan: Plan, inventory: Inventory): PlanDifference[] {
  const differences: PlanDifference[] = [];
  const compare = (what: string, planned: unknown, now: unknown): void => {
    if (!isDeepStrictEqual(normal(planned), normal(now)))
      differences.push({ what, planned: show(planned), now: show(now) });
  };
  if (plan.cluster.uid !== inventory.clusterUid) {
    compare("cluster", plan.cluster.uid, inventory.clusterUid);
    return differences;
  }
  const now = basisOf(inventory);
  for (const part of ["network", "kubeProxy"] as const)
    compareFields(part, plan.basis[part], now[part], compare);
  compare("serviceCIDRs", [...plan.basis.serviceCIDRs].sort(), [...now.serviceCIDRs].sort());
  compareNodes(plan.basis.nodes, now.nodes, compare);
  return differences;
}

type Compare = (what: string, planned: unknown, now: unknown) => void;

function compareFields(part: string, planned: object, now: object, compare: Compare): void {
  // Known to one of them only, the one that looked into nodes: no difference in the cluster.
  for (const field of new Set([...Object.keys(planned), ...Object.keys(now)]))
    if (field !== "mtu" || (field in planned && field in now))
      compare(`${part}.${field}`, (planned as any)[field], (now as any)[field]);
}

function compareNodes(planned: PlanBasis["nodes"], now: PlanBasis["nodes"], compare: Compare): void {
  const there = new Map(now.map((node) => [node.name, node]));
  for (const node of planned) {
    const current = there.get(node.name);
    there.delete(node.name);
    if (current === undefined) compare(`Node ${node.name}`, "there", undefined);
    else {
      compare(`Node ${node.name} roles`, [...node.roles].sort(), [...current.roles].sort());
      compare(`Node ${node.name} podCIDRs`, node.podCIDRs, current.podCIDRs);
    }
  }
  for (const name of there.keys()) compare(`Node ${name}`, undefined, "there");
}

/** Undefined fields and their absence are the same; a YAML file has no undefined. */
const normal = (value: unknown): unknown =>
  value === undefined ? undefined : JSON.parse(JSON.stringify(value));

/** Throws with the difference when the plan does not fit any more; exit code 3, nothing was changed. */
export function requireFreshPlan(plan: Plan, inventory: Inventory): void {
  const differences = comparePlan(plan, inventory);
  if (differences.length === 0) return;
  const lines = differences
    .slice(0, 20)
    .map(({ what, planned, now }) => `\n  - ${what}: planned for ${planned}, now ${now}`);
  const more = differences.length > 20 ? `\n  and ${differences.length - 20} more` : "";
  throw new ShuntError(`The plan does not fit the cluster any more:${lines.join("")}${more}`, {
    code: "StalePlan",
    exitCode: 3,
    remedy: "Nothing was changed. Make a new plan with: shunt migrate plan",
  });
}
