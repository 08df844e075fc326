// SPDX-License-Identifier: Apache-2.0
import { matchesSelector } from "../../../../lib/label-selector.ts";
import type { Controller } from "./controllers.ts";
import { canonicalJson } from "./pod-template.ts";
import { pathOf, resources } from "./resources.ts";

/** Fills ClusterRoles that are made of others, such as `admin`, `edit` and `view`. */
export function clusterRoleAggregation(controller: Controller): void {
  const roles = controller.informer(resources.clusterRoles);
  const queue = controller.queue(async (name) => {
    const role = roles.get(name);
    if (role?.aggregationRule === undefined) return undefined;
    const selectors: any[] = role.aggregationRule.clusterRoleSelectors ?? [];
    const rules = new Map<string, unknown>();
    for (const other of roles.list().sort((a, b) => (a.metadata.name! < b.metadata.name! ? -1 : 1)))
      if (
        other.metadata.name !== name &&
        selectors.some((selector) => matchesSelector(selector, other.metadata.labels ?? {}))
      )
        for (const rule of other.rules ?? []) rules.set(canonicalJson(rule), rule);
    const wanted = [...rules.values()];
    if (canonicalJson(role.rules ?? []) !== canonicalJson(wanted))
      await controller.client.replace(pathOf(resources.clusterRoles, undefined, name), {
        ...role,
        rules: wanted,
      });
    return undefined;
  });
  roles.onChange(() => {
    for (const role of roles.items.values())
      if (role.aggregationRule !== undefined) queue.add(role.metadata.name!);
  });
}
