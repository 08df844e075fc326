// SPDX-License-Identifier: Apache-2.0
import type { KubeClient } from "../../../lib/kube.ts";
import type { KubeObject } from "../../../lib/kube-object.ts";
import { applyObject } from "./apply.ts";
import { dnsManifests } from "./dns/manifests.ts";
import { kubeProxyManifests, kubeProxyMode } from "./kube-proxy-manifests.ts";
import { controlPlaneTaint } from "./parts.ts";
import type { ClusterPlan } from "./plan.ts";

/** Gives nodes the labels and the taint that a kubelet may not give itself. */
export async function labelNodes(kube: KubeClient, plan: Pick<ClusterPlan, "nodes">): Promise<void> {
  for (const node of plan.nodes) {
    const path = `/api/v1/nodes/${node.name}`;
    const roles = { [`node-role.kubernetes.io/${node.role}`]: "" };
    const labels = {
      ...(node.role === "control-plane" ? roles : {}),
      "topology.kubernetes.io/region": "sandbox",
      "topology.kubernetes.io/zone": node.zone,
    };
    await kube.patch(path, "merge", { metadata: { labels } });
    if (node.role === "control-plane") await taint(kube, path);
  }
}

async function taint(kube: KubeClient, path: string): Promise<void> {
  const node = await kube.get(path);
  const taints = (node.spec?.taints ?? []) as { key: string }[];
  if (taints.some(({ key }) => key === controlPlaneTaint.key)) return;
  await kube.patch(path, "strategic", { spec: { taints: [controlPlaneTaint] } });
}

/** Applies what belongs to every cluster: cluster DNS and, where it is wanted, kube-proxy. */
export async function applyClusterObjects(kube: KubeClient, plan: ClusterPlan): Promise<string> {
  const withProxy = kubeProxyMode(plan) !== "none";
  const objects: KubeObject[] = [...dnsManifests(plan), ...(withProxy ? kubeProxyManifests(plan) : [])];
  for (const object of objects) await applyObject(kube, object);
  return withProxy ? "kube-dns, kube-proxy" : "kube-dns; Services work once something implements them";
}
