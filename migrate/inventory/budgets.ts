// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../lib/kube-object.ts";
import { matchesSelector } from "../../lib/label-selector.ts";
import type { BudgetConcern } from "./details.ts";

interface Budget {
  name: string;
  selector: any;
  spec: any;
  status: any;
  /** Pods found that it selects, finished ones aside. */
  pods: number;
}

/** The cluster's PodDisruptionBudgets, by namespace, and the pods that each of them covers. */
export class BudgetIndex {
  readonly #byNamespace = new Map<string, Budget[]>();
  count = 0;

  add({ metadata, spec = {}, status = {} }: KubeObject): void {
    this.count += 1;
    const namespace = metadata.namespace ?? "";
    const budgets = this.#byNamespace.get(namespace) ?? [];
    budgets.push({ name: `${namespace}/${metadata.name}`, selector: spec.selector, spec, status, pods: 0 });
    this.#byNamespace.set(namespace, budgets);
  }

  /** The budgets that cover a pod, and counts it with them. */
  cover(namespace: string, labels: Record<string, string> | undefined): string[] {
    const budgets = this.#byNamespace.get(namespace);
    if (budgets === undefined) return [];
    const found: string[] = [];
    for (const budget of budgets) {
      if (!matchesSelector(budget.selector, labels)) continue;
      budget.pods += 1;
      found.push(budget.name);
    }
    return found;
  }

  /** Those that let no pod go; ask once all pods are counted. */
  concerns(): Map<string, BudgetConcern> {
    const found = new Map<string, BudgetConcern>();
    for (const budgets of this.#byNamespace.values())
      for (const budget of budgets) {
        const concern = judge(budget);
        if (concern !== undefined) found.set(budget.name, concern);
      }
    return found;
  }
}

/** Number that an int-or-percentage of `total` means; percentages are rounded up, as the API server does. */
function portion(value: unknown, total: number): number | undefined {
  if (typeof value === "number") return value;
  const percent = typeof value === "string" ? /^(\d+)%$/.exec(value)?.[1] : undefined;
  if (percent !== undefined) return Math.ceil((Number(percent) * total) / 100);
  return typeof value === "string" && /^\d+$/.test(value) ? Number(value) : undefined;
}

function judge(budget: Budget): BudgetConcern | undefined {
  const { spec, status, pods, name } = budget;
  const expected = status.expectedPods ?? pods;
  if (pods === 0) return undefined;
  const concern = (allows: BudgetConcern["allows"], reason: string): BudgetConcern => ({
    name,
    allows,
    reason,
    pods,
  });
  const failed = (status.conditions ?? []).find(
    (entry: any) => entry.type === "DisruptionAllowed" && entry.reason === "SyncFailed",
  );
  if (failed !== undefined) return concern("failed", String(failed.message ?? "its controller failed"));
  if (spec.maxUnavailable !== undefined && portion(spec.maxUnavailable, expected) === 0)
    return concern("never", `maxUnavailable is ${spec.maxUnavailable}`);
  const needed = portion(spec.minAvailable, expected);
  if (spec.minAvailable !== undefined && needed !== undefined && expected > 0 && needed >= expected)
    return concern("never", `minAvailable ${spec.minAvailable} of ${expected} pods`);
  if (status.disruptionsAllowed === 0 && expected > 0)
    return concern(
      "now",
      `${status.currentHealthy ?? 0} of ${expected} pods are healthy, ${status.desiredHealthy ?? "?"} must be`,
    );
  return undefined;
}
