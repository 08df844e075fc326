// SPDX-License-Identifier: Apache-2.0
import { refuse } from "../field-errors.ts";
import type { KubeObject, PrepareContext } from "../resource.ts";

const BUILT_IN: Record<string, number> = {
  "system-cluster-critical": 2000000000,
  "system-node-critical": 2000001000,
};

/** Resolves a new pod's priorityClassName into its priority. */
export function admitPriority({ object: pod, store }: PrepareContext): void {
  const { spec } = pod;
  const chosen = spec.priorityClassName ? named(pod, store) : globalDefault(store);
  if (!spec.priorityClassName && chosen?.metadata) spec.priorityClassName = chosen.metadata.name;
  const value = chosen?.value ?? 0;
  if (spec.priority !== undefined && spec.priority !== value) {
    throw refuse(
      "pods",
      "",
      pod.metadata.name ?? "",
      `the integer value of priority (${spec.priority}) must not be provided in pod spec; priority admission controller computed ${value} from the given PriorityClass name`,
    );
  }
  spec.priority = value;
  spec.preemptionPolicy ??= chosen?.preemptionPolicy ?? "PreemptLowerPriority";
}

function named(pod: KubeObject, store: PrepareContext["store"]): KubeObject {
  const name = pod.spec.priorityClassName;
  const found = store.get("scheduling.k8s.io", "priorityclasses", undefined, name);
  if (found) return found;
  if (BUILT_IN[name] !== undefined) return { value: BUILT_IN[name] };
  throw refuse("pods", "", pod.metadata.name ?? "", `no PriorityClass with name ${name} was found`);
}

function globalDefault(store: PrepareContext["store"]): KubeObject | undefined {
  const defaults = store.list("scheduling.k8s.io", "priorityclasses").filter((item) => item.globalDefault);
  return defaults.sort((a, b) => (a.value ?? 0) - (b.value ?? 0))[0];
}
