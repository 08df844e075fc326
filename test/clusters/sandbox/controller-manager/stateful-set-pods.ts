// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { revisionHashLabel } from "./controller-revisions.ts";
import { controllerReference } from "./ownership.ts";
import { podFromTemplate } from "./pod-template.ts";
import { resources } from "./resources.ts";

/** The number at the end of a pod's name, if the pod is named as this set's are; otherwise -1. */
export function ordinalOf(set: KubeObject, pod: KubeObject): number {
  const name = pod.metadata.name ?? "";
  const prefix = `${set.metadata.name}-`;
  const rest = name.startsWith(prefix) ? name.slice(prefix.length) : "";
  return /^\d+$/.test(rest) ? Number(rest) : -1;
}

/** The ordinals that a set should have, in order. */
export function wantedOrdinals(set: KubeObject): number[] {
  const start = set.spec.ordinals?.start ?? 0;
  return Array.from({ length: set.spec.replicas ?? 1 }, (_, index) => start + index);
}

/**
 * The pod of an ordinal, made from a revision. Claims have no storage behind them here: each becomes an
 * emptyDir of its name.
 */
export function statefulPod(set: KubeObject, ordinal: number, revision: KubeObject): KubeObject {
  const { $patch: _, ...template } = revision.data.spec.template;
  const name = `${set.metadata.name}-${ordinal}`;
  const pod = podFromTemplate(template, {
    name,
    labels: {
      "statefulset.kubernetes.io/pod-name": name,
      "apps.kubernetes.io/pod-index": String(ordinal),
      [revisionHashLabel]: revision.metadata.name!,
    },
    ownerReferences: [controllerReference(set, resources.statefulSets)],
  });
  pod.spec.hostname = name;
  if (set.spec.serviceName) pod.spec.subdomain = set.spec.serviceName;
  const claims: string[] = (set.spec.volumeClaimTemplates ?? []).map(
    (claim: KubeObject) => claim.metadata.name,
  );
  if (claims.length > 0)
    pod.spec.volumes = [
      ...(pod.spec.volumes ?? []).filter((volume: { name: string }) => !claims.includes(volume.name)),
      ...claims.map((claim) => ({ name: claim, emptyDir: {} })),
    ];
  return pod;
}

export const podRevision = (pod: KubeObject): string | undefined => pod.metadata.labels?.[revisionHashLabel];
