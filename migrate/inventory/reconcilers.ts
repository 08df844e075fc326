// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../lib/kube-object.ts";

const marks: { who: string; label?: string; annotation?: string }[] = [
  { who: "Argo CD", annotation: "argocd.argoproj.io/tracking-id" },
  { who: "Argo CD", label: "argocd.argoproj.io/instance" },
  { who: "Flux (Kustomization)", label: "kustomize.toolkit.fluxcd.io/name" },
  { who: "Flux (HelmRelease)", label: "helm.toolkit.fluxcd.io/name" },
  { who: "the add-on manager", label: "addonmanager.kubernetes.io/mode" },
  { who: "kops", label: "addon.kops.k8s.io/name" },
  { who: "k3s or rke2 (HelmChart)", annotation: "objectset.rio.cattle.io/id" },
];

/** Who would put an object back when it is changed, as its labels, annotations, owners and field managers say; or "". */
export function reconcilerOf(object: KubeObject | undefined): string {
  if (object === undefined) return "";
  const { labels = {}, annotations = {}, ownerReferences = [], managedFields = [] } = object.metadata;
  const mark = marks.find(
    ({ label, annotation }) =>
      (label !== undefined && labels[label] !== undefined && labels[label] !== "EnsureExists") ||
      (annotation !== undefined && annotations[annotation] !== undefined),
  );
  if (mark !== undefined) return mark.who;
  const owner = ownerReferences.find((reference) => reference.controller === true);
  if (owner !== undefined) return `${owner.kind} ${owner.name}`;
  return managedFields.some((entry: any) => entry?.manager === "eks") ? "EKS (managed add-on)" : "";
}
