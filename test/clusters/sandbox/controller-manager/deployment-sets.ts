// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { rolloutBounds, wantedReplicas } from "./deployment-math.ts";
import { controllerReference } from "./ownership.ts";
import { shortHash, templateWithout } from "./pod-template.ts";
import { resources } from "./resources.ts";

/** The label that tells the pods of one ReplicaSet of a Deployment from those of another. */
export const hashLabel = "pod-template-hash";

const revisionKey = "deployment.kubernetes.io/revision";
const historyKey = "deployment.kubernetes.io/revision-history";
const notCopied = new Set([
  "kubectl.kubernetes.io/last-applied-configuration",
  revisionKey,
  historyKey,
  "deployment.kubernetes.io/desired-replicas",
  "deployment.kubernetes.io/max-replicas",
  "deprecated.deployment.rollback.to",
]);

export function revisionOf(set: KubeObject): number {
  return Number(set.metadata.annotations?.[revisionKey] ?? 0) || 0;
}

function copied(deployment: KubeObject): Record<string, string> {
  return Object.fromEntries(
    Object.entries(deployment.metadata.annotations ?? {}).filter(([key]) => !notCopied.has(key)),
  );
}

/** The ReplicaSet of a Deployment's current template, not yet created. */
export function newReplicaSet(deployment: KubeObject, revision: number, replicas: number): KubeObject {
  const template = templateWithout(deployment.spec.template, hashLabel);
  const hash = shortHash([template, deployment.status?.collisionCount ?? 0]);
  const labels = { ...template.metadata.labels, [hashLabel]: hash };
  const wanted = wantedReplicas(deployment);
  return {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: {
      name: `${deployment.metadata.name}-${hash}`,
      namespace: deployment.metadata.namespace!,
      labels,
      annotations: {
        ...copied(deployment),
        [revisionKey]: String(revision),
        "deployment.kubernetes.io/desired-replicas": String(wanted),
        "deployment.kubernetes.io/max-replicas": String(wanted + rolloutBounds(deployment).maxSurge),
      },
      ownerReferences: [controllerReference(deployment, resources.deployments)],
    },
    spec: {
      replicas,
      minReadySeconds: deployment.spec.minReadySeconds,
      selector: {
        ...deployment.spec.selector,
        matchLabels: { ...deployment.spec.selector.matchLabels, [hashLabel]: hash },
      },
      template: { ...template, metadata: { ...template.metadata, labels } },
    },
  };
}

/** The annotations that the new ReplicaSet should have, or undefined when it has them. */
export function setAnnotations(
  deployment: KubeObject,
  set: KubeObject,
  revision: number,
): Record<string, string> | undefined {
  const present = set.metadata.annotations ?? {};
  const wanted: Record<string, string> = { ...present, ...copied(deployment) };
  if (revisionOf(set) < revision) {
    const former = present[revisionKey];
    if (former !== undefined) wanted[historyKey] = [present[historyKey], former].filter(Boolean).join(",");
    wanted[revisionKey] = String(revision);
  }
  const isSame =
    Object.keys(wanted).length === Object.keys(present).length &&
    Object.entries(wanted).every(([key, value]) => present[key] === value);
  return isSame ? undefined : wanted;
}

/** The idle ReplicaSets beyond the history that a Deployment keeps, oldest first. */
export function surplusSets(deployment: KubeObject, old: KubeObject[]): KubeObject[] {
  const limit = deployment.spec.revisionHistoryLimit ?? 10;
  const idle = old
    .filter((set) => wantedReplicas(set) === 0 && (set.status?.replicas ?? 0) === 0)
    .filter((set) => set.metadata.deletionTimestamp === undefined)
    .sort((a, b) => revisionOf(a) - revisionOf(b));
  return idle.slice(0, Math.max(0, idle.length - limit));
}
