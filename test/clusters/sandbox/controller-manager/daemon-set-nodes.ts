// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { matchesNodeAffinity } from "../scheduler/node-affinity.ts";
import { findUntolerated, type Toleration } from "../scheduler/taints.ts";

const noExecute = (key: string) => ({ key, operator: "Exists", effect: "NoExecute" });
const noSchedule = (key: string) => ({ key, operator: "Exists", effect: "NoSchedule" });

/** The tolerations of a daemon pod: its template's, and those every daemon has. */
export function daemonTolerations(podSpec: any): Toleration[] {
  const added = [
    noExecute("node.kubernetes.io/not-ready"),
    noExecute("node.kubernetes.io/unreachable"),
    noSchedule("node.kubernetes.io/disk-pressure"),
    noSchedule("node.kubernetes.io/memory-pressure"),
    noSchedule("node.kubernetes.io/pid-pressure"),
    noSchedule("node.kubernetes.io/unschedulable"),
    ...(podSpec.hostNetwork ? [noSchedule("node.kubernetes.io/network-unavailable")] : []),
  ];
  const present: Toleration[] = podSpec.tolerations ?? [];
  const isPresent = (wanted: Toleration) =>
    present.some(
      (entry) =>
        entry.key === wanted.key && entry.operator === wanted.operator && entry.effect === wanted.effect,
    );
  return [...present, ...added.filter((entry) => !isPresent(entry))];
}

/** The pod's affinity with the node pinned by name: the scheduler binds it, and to no other node. */
export function daemonAffinity(podSpec: any, nodeName: string): any {
  const pin = { key: "metadata.name", operator: "In", values: [nodeName] };
  const nodeAffinity = podSpec.affinity?.nodeAffinity;
  return {
    ...podSpec.affinity,
    nodeAffinity: {
      ...nodeAffinity,
      requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchFields: [pin] }] },
    },
  };
}

/** The node that a daemon pod runs on or is meant for. */
export function daemonNodeName(pod: KubeObject): string | undefined {
  if (pod.spec.nodeName) return pod.spec.nodeName;
  const required = pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  for (const term of required?.nodeSelectorTerms ?? [])
    for (const field of term.matchFields ?? [])
      if (field.key === "metadata.name" && field.values?.length === 1) return field.values[0];
  return undefined;
}

/** Whether a DaemonSet wants a pod on a node, and whether one that is there may stay. */
export function daemonFit(set: KubeObject, node: KubeObject): { shouldRun: boolean; mayStay: boolean } {
  const podSpec = set.spec.template.spec;
  if (podSpec.nodeName && podSpec.nodeName !== node.metadata.name)
    return { shouldRun: false, mayStay: false };
  if (!matchesNodeAffinity(podSpec, node)) return { shouldRun: false, mayStay: false };
  const tolerations = daemonTolerations(podSpec);
  if (findUntolerated(node.spec?.taints, tolerations, ["NoExecute"]) !== undefined)
    return { shouldRun: false, mayStay: false };
  const isRefused = findUntolerated(node.spec?.taints, tolerations, ["NoSchedule"]) !== undefined;
  return { shouldRun: !isRefused, mayStay: true };
}
