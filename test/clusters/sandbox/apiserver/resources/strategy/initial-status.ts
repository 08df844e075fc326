// SPDX-License-Identifier: Apache-2.0
import type { BuiltinKind } from "../builtin-table.ts";
import type { KubeObject } from "../resource.ts";

const INITIAL: Record<string, KubeObject> = {
  "/Service": { loadBalancer: {} },
  "/Namespace": { phase: "Active" },
  "/PersistentVolume": { phase: "Pending" },
  "/PersistentVolumeClaim": { phase: "Pending" },
  "/ReplicationController": { replicas: 0 },
  "apps/ReplicaSet": { replicas: 0 },
  "apps/StatefulSet": { availableReplicas: 0, replicas: 0 },
  "apps/DaemonSet": {
    currentNumberScheduled: 0,
    desiredNumberScheduled: 0,
    numberMisscheduled: 0,
    numberReady: 0,
  },
  "policy/PodDisruptionBudget": {
    currentHealthy: 0,
    desiredHealthy: 0,
    disruptionsAllowed: 0,
    expectedPods: 0,
  },
  "autoscaling/HorizontalPodAutoscaler": { currentMetrics: null, desiredReplicas: 0 },
  "networking.k8s.io/Ingress": { loadBalancer: {} },
  "storage.k8s.io/VolumeAttachment": { attached: false },
};

// Creators may bring the status of these along.
const KEEPS_STATUS = new Set(["/Node", "/Pod", "storage.k8s.io/VolumeAttachment"]);

/** Replaces whatever status a creator sent by the one a new object has. */
export function resetStatus(row: BuiltinKind, object: KubeObject): void {
  const key = `${row.group}/${row.kind}`;
  if (!row.subresources.includes("status")) return;
  if (KEEPS_STATUS.has(key) && object.status) return;
  object.status = structuredClone(INITIAL[key] ?? {});
}
