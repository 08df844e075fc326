// SPDX-License-Identifier: Apache-2.0
// Objects a fresh server has before anyone creates any.
import { localApiServices } from "./api-services.ts";
import { defaultRbac } from "./rbac/default-bindings.ts";
import type { KubeObject } from "./resource.ts";

const NAMESPACES = ["default", "kube-node-lease", "kube-public", "kube-system"];

function priorityClass(name: string, value: number, description: string): KubeObject {
  return {
    apiVersion: "scheduling.k8s.io/v1",
    kind: "PriorityClass",
    metadata: { name },
    value,
    preemptionPolicy: "PreemptLowerPriority",
    description,
  };
}

/** What to create, when missing, each time the server starts; in this order. */
export function bootstrapObjects(): KubeObject[] {
  return [
    ...NAMESPACES.map((name) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name } })),
    priorityClass(
      "system-node-critical",
      2000001000,
      "Used for system critical pods that must not be moved from their current node.",
    ),
    priorityClass(
      "system-cluster-critical",
      2000000000,
      "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    ...defaultRbac(),
    ...localApiServices(),
  ];
}
