// SPDX-License-Identifier: Apache-2.0
// What is there before a migration, and what preflight finds in it.
import type { InventoryDetails } from "../inventory/details.ts";

export type Severity = "block" | "warn" | "info";

/** One thing that preflight has to say about the cluster. */
export interface Finding {
  /** Stable name of the check, kebab-case. */
  id: string;
  severity: Severity;
  /** `Kind namespace/name`, `Kind name` or `cluster`. */
  object: string;
  problem: string;
  remedy: string;
}

export type Platform =
  | "kubeadm"
  | "kind"
  | "k3s"
  | "rke2"
  | "microk8s"
  | "eks"
  | "gke"
  | "aks"
  | "openshift"
  | "talos"
  | "sandbox"
  | "unknown";

export type NetworkKind =
  | "flannel"
  | "calico"
  | "canal"
  | "kindnet"
  | "bridge"
  | "cilium"
  | "weave"
  | "aws-vpc"
  | "azure"
  | "gke"
  | "antrea"
  | "kube-router"
  | "ovn-kubernetes"
  | "kube-ovn"
  | "kubenet"
  | "shunt"
  | "unknown"
  | "none";

/** An object in the cluster, by what one needs to find it again. */
export interface ObjectRef {
  kind: string;
  namespace?: string;
  name: string;
}

export interface Taint {
  key: string;
  value?: string;
  effect: "NoSchedule" | "PreferNoSchedule" | "NoExecute";
}

export interface InventoryNode {
  name: string;
  roles: ("control-plane" | "worker")[];
  ready: boolean;
  unschedulable: boolean;
  kernel: string;
  osImage: string;
  runtime: string;
  kubelet: string;
  architecture: string;
  providerID?: string;
  /** Spec.podCIDRs, one a family. */
  podCIDRs: string[];
  /** Internal addresses, one a family. */
  addresses: string[];
  taints: Taint[];
  /** Pods on it, and how many of them have a network of their own (no hostNetwork, not finished). */
  pods: number;
  networkedPods: number;
  /** How many of the networked ones belong to a DaemonSet or are static: a drain leaves them. */
  pinnedPods: number;
  /** What a node task found inside, when one was allowed to look. */
  facts?: NodeFacts;
}

/** What only a look inside a node tells. */
export interface NodeFacts {
  /** CNI configuration files in the order in which the runtime takes them. */
  cniFiles: string[];
  devices: { name: string; mtu: number; kind: string; addresses: string[] }[];
  /** Kernel features by name; false when the agent has to do without. */
  kernelFeatures: Record<string, boolean>;
  kubeProxy?: { form: KubeProxyForm; mode: KubeProxyMode };
  conntrackEntries?: number;
  /** The strictest net.ipv4.conf.*.rp_filter in force on its uplink and on all: 0 off, 1 strict, 2 loose. */
  rpFilter?: number;
  /** Bytes; of the device with the node's address. */
  uplinkMtu?: number;
}

/** The pod network that is there before. */
export interface OldNetwork {
  kind: NetworkKind;
  /** vxlan, host-gw, ipip, bgp, ptp, cloud …: in the words of that project. */
  mode: string;
  /** The objects that run it; several for Calico with Typha or for Canal. */
  daemonSet?: ObjectRef;
  others: ObjectRef[];
  /** ConfigMaps and CRDs that configure it. */
  configuration: ObjectRef[];
  podCIDRs: string[];
  mtu?: number;
  encapsulation: "vxlan" | "ipip" | "geneve" | "wireguard" | "none" | "unknown";
  /** UDP port of its encapsulation. */
  port?: number;
  /** Its device on the nodes (flannel.1, vxlan.calico, cni0 …). */
  device?: string;
  /** How it finds a node's own address (Calico's IP_AUTODETECTION_METHOD). */
  addressDetection?: string;
  /** True when it enforces NetworkPolicies. */
  enforcesPolicy: boolean;
}

export type KubeProxyForm = "daemonset" | "static-pod" | "systemd" | "k3s" | "none" | "unknown";

export type KubeProxyMode = "iptables" | "nftables" | "ipvs" | "userspace" | "kernelspace" | "unknown";

export interface KubeProxy {
  form: KubeProxyForm;
  mode: KubeProxyMode;
  /** The DaemonSet; one of the static pods when it has that form. */
  object?: ObjectRef;
  configMap?: ObjectRef;
  nodePortRange?: string;
  clusterCIDR?: string;
  /** True when it already runs on no node. */
  disabled: boolean;
}

/** Why a workload makes a drain slow, lossy or impossible. */
export type DrainConcern =
  | "several-budgets"
  | "budget-zero"
  | "budget-spent"
  | "single-replica"
  | "unmanaged"
  | "empty-dir"
  | "host-path"
  | "node-bound-volume"
  | "tolerates-everything"
  | "long-grace"
  | "static-pod"
  | "host-port";

/** A workload, or a pod without one, that a drain has to reckon with. */
export interface DrainWorkload {
  /** Controller, or the Pod itself. */
  object: ObjectRef;
  concerns: DrainConcern[];
  /** One line a concern that says more, such as the budget's name. */
  details: string[];
  pods: number;
  nodes: string[];
}

export interface Webhook {
  object: ObjectRef;
  /** What it intercepts of what a migration does: pods, pods/eviction, nodes, daemonsets … */
  resources: string[];
  failurePolicy: "Fail" | "Ignore";
  timeoutSeconds: number;
  /** The Service that answers, when it is one in the cluster. */
  service?: ObjectRef;
}

export interface Counts {
  nodes: number;
  pods: number;
  services: number;
  headlessServices: number;
  nodePortServices: number;
  loadBalancerServices: number;
  externalIPServices: number;
  endpointSlices: number;
  endpoints: number;
  networkPolicies: number;
  /** Policies of other groups (crd.projectcalico.org, cilium.io …), by kind. */
  otherPolicies: Record<string, number>;
  podDisruptionBudgets: number;
}

/** All that a migration has to know of a cluster; reading it changes nothing. */
export interface Inventory {
  version: 1;
  takenAt: string;
  server: string;
  /** UID of namespace kube-system: the cluster's own identity. */
  clusterUid: string;
  platform: Platform;
  serverVersion: string;
  nodes: InventoryNode[];
  network: OldNetwork;
  kubeProxy: KubeProxy;
  serviceCIDRs: string[];
  counts: Counts;
  drain: DrainWorkload[];
  webhooks: Webhook[];
  /** Version and modes of an agent of ours that is already there. */
  agent?: { version: string; podNetwork: string; services: string };
  /** What preflight judges beyond this; absent from an inventory that was not read from a cluster. */
  details?: InventoryDetails;
}
