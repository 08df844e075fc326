// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../lib/kube-object.ts";
import type { InventoryNode, NodeFacts } from "../model/inventory.ts";
import { emptySample, type NodeDetails } from "./details.ts";
import { PlatformTally } from "./platform.ts";
import { quantity } from "./quantity.ts";
import { NodeRanges } from "./ranges.ts";

/** A node, as a plan sees it and as preflight does. */
export interface NodeEntry {
  node: InventoryNode;
  details: NodeDetails;
}

/** Collects nodes, one after the other. */
export class NodeTally {
  readonly entries = new Map<string, NodeEntry>();
  readonly platform = new PlatformTally();
  readonly ranges = new NodeRanges();
  /** The distinct marks that nodes carry. */
  readonly flannelBackends = new Set<string>();
  readonly flannelData = new Set<string>();
  calicoVxlanNodes = 0;
  calicoIpipNodes = 0;
  /** Arguments of k3s or rke2 servers. */
  distributionArgs: string[] = [];
  /** Labels by which clouds say what network a node has. */
  readonly networkLabels = new Map<string, string>();

  add(object: KubeObject, facts?: NodeFacts): void {
    this.platform.add(object);
    const node = inventoryNode(object);
    if (facts !== undefined) node.facts = facts;
    this.entries.set(node.name, { node, details: nodeDetails(object, node.name) });
    this.ranges.add(node.name, node.podCIDRs);
    this.#mark(object);
  }

  #mark(object: KubeObject): void {
    const annotations = object.metadata.annotations ?? {};
    const backend = annotations["flannel.alpha.coreos.com/backend-type"];
    if (backend !== undefined) {
      this.flannelBackends.add(backend);
      const data = annotations["flannel.alpha.coreos.com/backend-data"] ?? "";
      const vni = /"VNI":(\d+)/.exec(data)?.[1];
      if (vni !== undefined) this.flannelData.add(vni);
    }
    if (annotations["projectcalico.org/IPv4VXLANTunnelAddr"] !== undefined) this.calicoVxlanNodes += 1;
    if (annotations["projectcalico.org/IPv4IPIPTunnelAddr"] !== undefined) this.calicoIpipNodes += 1;
    const args = annotations["k3s.io/node-args"] ?? annotations["rke2.io/node-args"];
    if (args !== undefined && this.distributionArgs.length === 0) this.distributionArgs = serverArgs(args);
    for (const [key, value] of Object.entries(object.metadata.labels ?? {}))
      if (/^kubernetes\.azure\.com\/|^cloud\.google\.com\/gke-|^eks\.amazonaws\.com\/compute/.test(key))
        this.networkLabels.set(key, value);
  }
}

function serverArgs(text: string): string[] {
  try {
    const args = JSON.parse(text);
    return Array.isArray(args) && args[0] === "server" ? args.map(String) : [];
  } catch {
    return [];
  }
}

const controlPlaneLabels = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];

function inventoryNode(object: KubeObject): InventoryNode {
  const { metadata, spec = {}, status = {} } = object;
  const info = status.nodeInfo ?? {};
  const isControlPlane = controlPlaneLabels.some((key) => metadata.labels?.[key] !== undefined);
  const text = (value: unknown): string => (typeof value === "string" ? value : "");
  return {
    name: metadata.name ?? "",
    roles: [isControlPlane ? "control-plane" : "worker"],
    ready: condition(status, "Ready") === "True",
    unschedulable: spec.unschedulable === true,
    kernel: text(info.kernelVersion),
    osImage: text(info.osImage),
    runtime: text(info.containerRuntimeVersion),
    kubelet: text(info.kubeletVersion),
    architecture: text(info.architecture),
    ...(spec.providerID ? { providerID: text(spec.providerID) } : {}),
    podCIDRs: spec.podCIDRs ?? (spec.podCIDR ? [spec.podCIDR] : []),
    addresses: (status.addresses ?? [])
      .filter((entry: any) => entry.type === "InternalIP")
      .map((entry: any) => text(entry.address)),
    taints: (spec.taints ?? []).map(({ key, value, effect }: any) => ({
      key,
      ...(value === undefined ? {} : { value }),
      effect,
    })),
    pods: 0,
    networkedPods: 0,
    pinnedPods: 0,
  };
}

const condition = (status: any, type: string): string | undefined =>
  (status.conditions ?? []).find((entry: any) => entry.type === type)?.status;

function nodeDetails(object: KubeObject, name: string): NodeDetails {
  const { spec = {}, status = {}, metadata } = object;
  const labels = metadata.labels ?? {};
  const allocatable = status.allocatable ?? {};
  return {
    name,
    operatingSystem: status.nodeInfo?.operatingSystem ?? labels["kubernetes.io/os"] ?? "linux",
    zone: labels["topology.kubernetes.io/zone"] ?? "",
    problems: (status.conditions ?? [])
      .filter(
        (entry: any) =>
          entry.type !== "Ready" && entry.status === "True" && problemConditions.test(entry.type),
      )
      .map((entry: any) => `${entry.type}=${entry.status}`),
    scaledBy: scaledBy(labels, metadata.annotations ?? {}),
    virtual: virtualKind(labels, String(spec.providerID ?? "")),
    allocatable: {
      cpuMillis: quantity(allocatable.cpu) * 1000,
      memoryBytes: quantity(allocatable.memory),
      pods: quantity(allocatable.pods),
    },
    requested: { cpuMillis: 0, memoryBytes: 0, pods: 0 },
    foreignAddresses: emptySample(),
    addressesOutside: emptySample(),
    longestGraceSeconds: 0,
  };
}

const problemConditions = /Pressure$|^NetworkUnavailable$|Problem$|Deadlock$|ReadonlyFilesystem$/;

function scaledBy(labels: Record<string, string>, annotations: Record<string, string>): string {
  if (labels["karpenter.sh/nodepool"] ?? labels["karpenter.sh/provisioner-name"]) return "karpenter";
  if (labels["eks.amazonaws.com/compute-type"] === "auto") return "eks-auto-mode";
  const keys = Object.keys(annotations);
  if (keys.some((key) => key.startsWith("cluster-autoscaler.kubernetes.io/"))) return "cluster-autoscaler";
  if (keys.some((key) => key.startsWith("cluster.x-k8s.io/"))) return "cluster-api";
  return "";
}

function virtualKind(labels: Record<string, string>, providerID: string): string {
  if (labels["eks.amazonaws.com/compute-type"] === "fargate" || providerID.includes("fargate"))
    return "fargate";
  return labels.type === "virtual-kubelet" ? "virtual-kubelet" : "";
}
