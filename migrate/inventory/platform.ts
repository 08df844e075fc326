// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../lib/kube-object.ts";
import type { Platform } from "../model/inventory.ts";

interface Sign {
  platform: Platform;
  /** What on this node says so; undefined when nothing does. */
  seen(node: KubeObject): string | undefined;
}

const provider = (node: KubeObject): string => String(node.spec?.providerID ?? "");
const kubelet = (node: KubeObject): string => String(node.status?.nodeInfo?.kubeletVersion ?? "");
const image = (node: KubeObject): string => String(node.status?.nodeInfo?.osImage ?? "");

function label(...keys: string[]) {
  return (node: KubeObject) => {
    const labels = node.metadata.labels ?? {};
    const key = Object.keys(labels).find((name) => keys.some((start) => name.startsWith(start)));
    return key === undefined ? undefined : `label ${key}`;
  };
}

const providerID = (start: string) => (node: KubeObject) =>
  provider(node).startsWith(start) ? `providerID ${start}…` : undefined;
const version = (part: string) => (node: KubeObject) =>
  kubelet(node).includes(part) ? `kubelet ${kubelet(node)}` : undefined;
const system = (pattern: RegExp) => (node: KubeObject) =>
  pattern.test(image(node)) ? `OS image ${image(node)}` : undefined;

/** Either of them; a provider's own label first, as its machines may carry any cluster. */
const any =
  (...signs: Sign["seen"][]): Sign["seen"] =>
  (node) => {
    for (const sign of signs) {
      const evidence = sign(node);
      if (evidence !== undefined) return evidence;
    }
    return undefined;
  };

// The narrower first: kind, k3s and the clouds' own clusters carry kubeadm's or plain marks as well.
const signs: Sign[] = [
  { platform: "sandbox", seen: any(providerID("sandbox://"), version("+shunt.")) },
  { platform: "kind", seen: providerID("kind://") },
  {
    platform: "openshift",
    seen: any(label("node.openshift.io/"), system(/CoreOS \d+\.\d+.*Ootpa|Red Hat Enterprise Linux CoreOS/)),
  },
  { platform: "eks", seen: any(label("eks.amazonaws.com/"), version("-eks-")) },
  { platform: "gke", seen: any(label("cloud.google.com/gke-"), version("-gke.")) },
  { platform: "aks", seen: label("kubernetes.azure.com/") },
  { platform: "rke2", seen: any(version("+rke2"), providerID("rke2://")) },
  { platform: "k3s", seen: any(version("+k3s"), providerID("k3s://")) },
  { platform: "microk8s", seen: label("microk8s.io/cluster") },
  { platform: "talos", seen: system(/^Talos/) },
  {
    platform: "kubeadm",
    seen: (node) =>
      node.metadata.annotations?.["kubeadm.alpha.kubernetes.io/cri-socket"] === undefined
        ? undefined
        : "annotation kubeadm.alpha.kubernetes.io/cri-socket",
  },
];

/** Counts, node by node, which platform made it; names and contexts are not looked at. */
export class PlatformTally {
  readonly #votes = new Map<Platform, { nodes: number; evidence: string }>();
  #nodes = 0;

  add(node: KubeObject): void {
    this.#nodes += 1;
    for (const { platform, seen } of signs) {
      const evidence = seen(node);
      if (evidence === undefined) continue;
      const vote = this.#votes.get(platform) ?? { nodes: 0, evidence };
      vote.nodes += 1;
      this.#votes.set(platform, vote);
      return;
    }
  }

  /** The platform of most nodes, and what said so. */
  result(): { platform: Platform; evidence: string } {
    const [best] = [...this.#votes].sort((a, b) => b[1].nodes - a[1].nodes);
    if (best === undefined) return { platform: "unknown", evidence: "no node carries a platform's mark" };
    const [platform, { nodes, evidence }] = best;
    return { platform, evidence: `${evidence} on ${nodes} of ${this.#nodes} nodes` };
  }
}
