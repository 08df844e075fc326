// SPDX-License-Identifier: Apache-2.0
// The APIServices of what the server serves itself; a real server registers them when it starts.
import { BUILTIN_KINDS } from "./builtin-table.ts";
import type { KubeObject } from "./resource.ts";

const CORE_PRIORITY = 18000;
const FIRST_PRIORITY = 17800;
const STEP = 50;

/** One APIService for each built-in group and version. */
export function localApiServices(): KubeObject[] {
  const versions = new Map(
    BUILTIN_KINDS.map(({ group, version }) => [`${version}.${group}`, { group, version }]),
  );
  return [...versions].map(([name, { group, version }], index) => ({
    apiVersion: "apiregistration.k8s.io/v1",
    kind: "APIService",
    metadata: { name, labels: { "kube-aggregator.kubernetes.io/automanaged": "onstart" } },
    spec: {
      ...(group ? { group } : {}),
      groupPriorityMinimum: group ? FIRST_PRIORITY - index * STEP : CORE_PRIORITY,
      version,
      versionPriority: group ? 15 : 1,
    },
  }));
}

/** The status of an APIService that no other server stands behind. */
export function localStatus(): KubeObject {
  return {
    conditions: [
      {
        lastTransitionTime: `${new Date().toISOString().slice(0, 19)}Z`,
        message: "Local APIServices are always available",
        reason: "Local",
        status: "True",
        type: "Available",
      },
    ],
  };
}
