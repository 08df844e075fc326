// SPDX-License-Identifier: Apache-2.0
// The words that the parts of a migration share: what is there, what is found, planned, done and reported.

import type { InventoryDetails } from "./inventory/details.ts";

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

export type Strategy = "node-by-node" | "blue-green" | "new-cluster" | "kube-proxy-only";

export type StepKindName =
  | "install-standby"
  | "start-probes"
  | "add-group"
  | "cordon"
  | "drain"
  | "activate"
  | "recreate"
  | "verify-node"
  | "uncordon"
  | "remove-node"
  | "services-handover"
  | "remove-kube-proxy-rules"
  | "disable-old-network"
  | "remove-old-network"
  | "verify-residue"
  | "compare-clusters"
  | "stop-probes"
  | "finish";

/** What a step does, the same for every node of its phase. */
export interface StepTemplate {
  kind: StepKindName;
  title: string;
  /** What it changes, one sentence each; empty for a step that only looks. */
  changes: string[];
  /** Fixed part of the expected duration; the pods of a node are added by the planner. */
  expectedSeconds: number;
  /** What stays at risk while it runs. */
  risk: string;
}

/** A node's place in a phase. */
export interface PlannedNode {
  name: string;
  /** Counted from 1 over the whole plan; the nodes of a wave are switched at the same time. */
  wave: number;
  networkedPods: number;
  pinnedPods: number;
  /** Things about this node that a reviewer should know. */
  notes?: string[];
}

/** Steps that belong together: once for the cluster, or once for each of the nodes. */
export interface PlanPhase {
  name: string;
  title: string;
  steps: StepTemplate[];
  /** Absent: the steps run once, for the cluster. */
  nodes?: PlannedNode[];
}

export interface PlanOptions {
  strategy: Strategy;
  /** Nodes switched at the same time. */
  maxUnavailable: number;
  /** Nodes in the first wave. */
  canary: number;
  /** Remove the old network, or leave it disabled beside. */
  removeOldNetwork: boolean;
  /** Longest that connections translated by kube-proxy may go on, in seconds. */
  connectionDeadlineSeconds: number;
  /** Longest that one node's drain may take, in seconds. */
  drainTimeoutSeconds: number;
  drainForce: boolean;
  drainDeleteEmptyDirData: boolean;
  /** Who makes and removes nodes, for blue-green. */
  provider: string;
  /** Values of the agent's installation, as `shunt install --set` takes them. */
  agentValues: string[];
}

/** What a person reviews before anything runs: small even for thousands of nodes. */
export interface Plan {
  apiVersion: "shunt.dev/v1alpha1";
  kind: "MigrationPlan";
  createdAt: string;
  cluster: { server: string; uid: string; platform: Platform; serverVersion: string };
  from: { network: NetworkKind; mode: string; kubeProxy: KubeProxyForm; kubeProxyMode: KubeProxyMode };
  options: PlanOptions;
  expectedSeconds: number;
  /** What stays at risk in all, and what this plan leaves to people. */
  risks: string[];
  warnings: Finding[];
  /** What the plan was made for; a cluster that differs refuses it. */
  basis: PlanBasis;
  phases: PlanPhase[];
}

/** The facts on which a plan rests. */
export interface PlanBasis {
  network: OldNetwork;
  kubeProxy: KubeProxy;
  serviceCIDRs: string[];
  nodes: { name: string; roles: string[]; podCIDRs: string[] }[];
}

/** One step to run: a template at its place. */
export interface PlanStep extends StepTemplate {
  /** Unique in the plan: `drain/worker-1`, or `finish`. */
  name: string;
  phase: string;
  node?: string;
  /** 0 for the steps of the cluster. */
  wave: number;
}

/** JSON that fits into the journal. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json | undefined };

export type StepState = "pending" | "running" | "done" | "skipped" | "failed" | "undoing" | "undone";

/** What the journal holds of one step; written before and after it. */
export interface JournalEntry {
  state: StepState;
  startedAt?: string;
  endedAt?: string;
  /** How often it was begun. */
  attempts: number;
  /** One line about what came of it, or why it failed. */
  message?: string;
  /** What was there before, for undo; written before the first change and never again. */
  before?: Json;
  /** What it keeps for its own next attempt. */
  notes?: { [key: string]: Json | undefined };
}

export type MigrationPhase =
  | "Pending"
  | "Running"
  | "Paused"
  | "RollingBack"
  | "RolledBack"
  | "Completed"
  | "Failed";

/** How far a migration is, as `shunt migrate status` says it. */
export interface MigrationStatus {
  name: string;
  phase: MigrationPhase;
  /** Why it is paused or failed. */
  reason: string;
  strategy: Strategy;
  startedAt?: string;
  endedAt?: string;
  steps: { total: number; done: number; failed: number };
  nodes: { total: number; switched: number };
  /** Steps under way now, or the ones at which it stopped. */
  current: string[];
  /** Nodes that are cordoned by the migration at the moment. */
  cordoned: string[];
  /** Who runs it, as in the Lease; empty when nobody does. */
  holder: string;
}

export interface ReportStep {
  name: string;
  kind: StepKindName;
  node?: string;
  wave: number;
  title: string;
  state: StepState;
  startedAt?: string;
  endedAt?: string;
  attempts: number;
  message: string;
  changes: string[];
}

export interface ReportNode {
  name: string;
  roles: string[];
  wave: number;
  state: "old" | "switching" | "switched";
  startedAt?: string;
  endedAt?: string;
  podsMoved: number;
}

export interface ProbeLoss {
  time: string;
  probe: string;
  from: string;
  to: string;
  sequence: number;
  /** The step that ran then. */
  step: string;
  /** How it goes: pod, cluster-ip, node-port, headless; absent when the probe's name says it. */
  path?: string;
}

/** One kind of probe between one pair of places. */
export interface ProbeSeries {
  probe: string;
  from: string;
  to: string;
  sent: number;
  lost: number;
  maxGapMs: number;
  p50Ms: number;
  p99Ms: number;
}

export interface ReportProbes {
  sent: number;
  lost: number;
  /** Longest time between two answers of one series. */
  maxGapMs: number;
  slow: number;
  series: ProbeSeries[];
  losses: ProbeLoss[];
  /** All probes together over time, for the picture. */
  timeline?: ProbeBucket[];
}

/** What all probes did in a stretch of time. */
export interface ProbeBucket {
  startedAt: string;
  seconds: number;
  sent: number;
  lost: number;
  slow: number;
  /** Longest gap that ended in it. */
  maxGapMs: number;
}

export interface LongConnection {
  id: string;
  from: string;
  to: string;
  via: "pod" | "cluster-ip" | "node-port" | "headless";
  openedAt: string;
  /** Absent while it stands. */
  brokenAt?: string;
  /** True when one of its ends was on a node that was drained: it had to end. */
  endMoved: boolean;
}

/** Something of the old network that is left on a node. */
export interface ResidueItem {
  node: string;
  kind: "device" | "route" | "rule" | "chain" | "table" | "sysctl" | "file" | "ipset" | "object" | "process";
  name: string;
  owner: string;
}

/** The evidence at the end; `report.json` is this. */
export interface Report {
  version: 1;
  name: string;
  result: "succeeded" | "failed" | "rolled-back" | "paused" | "running";
  reason: string;
  strategy: Strategy;
  cluster: Plan["cluster"];
  from: Plan["from"];
  startedAt?: string;
  endedAt?: string;
  expectedSeconds: number;
  steps: ReportStep[];
  nodes: ReportNode[];
  probes: ReportProbes;
  longConnections: { opened: number; broken: number; ended: number; list: LongConnection[] };
  residue: ResidueItem[];
  /** Every object that the migration changed, and how. */
  changes: { object: string; change: string; step: string }[];
  warnings: Finding[];
  before: Record<string, number>;
  after: Record<string, number>;
}

export type NodeTaskKind =
  /** → NodeFacts */
  | "facts"
  /** {network, kubeProxy} → {items: ResidueItem[]}: what of them is on the node, now. */
  | "residue"
  /** {network} → {saved: Json}: all that `restore-network` needs to put it back, files with their bytes. */
  | "save-network"
  /** {network} → {removed: string[]} */
  | "remove-network"
  /** {saved} → {restored: string[]} */
  | "restore-network"
  /** {mode} → {removed: string[]}; kube-proxy writes them anew when it comes back. */
  | "remove-kube-proxy-rules"
  /** {serviceCIDRs, nodePortRange} → {connections: number}: connections that kube-proxy's NAT still translates. */
  | "translated-connections"
  /** {uids: string[]} → {recreated: string[]}: ends the sandboxes of static pods, so that the kubelet makes new ones. */
  | "recreate-sandboxes";

/** Runs short work inside a node, in a privileged pod that is gone afterwards. Safe to run again. */
export interface NodeTask {
  run(kind: NodeTaskKind, node: string, args: Json, options: { signal: AbortSignal }): Promise<Json>;
}

/** Proves that a node's pods reach others and are reached, old and new nodes mixed; throws when not. */
export type VerifyConnectivity = (
  request: { node: string; old: string | undefined; switched: string | undefined },
  options: { signal: AbortSignal; report: (progress: string) => void },
) => Promise<string>;

/** Watches the run from outside, such as the probes do. */
export interface Monitor {
  /** Why the run must pause, if it must; asked between steps and while they run. */
  problem(): Promise<string | undefined>;
  /** Told what runs, so that a loss can be laid to a step. */
  stepChanged?(step: PlanStep, state: StepState): void;
}

/** Makes and removes nodes, for blue-green groups. */
export interface NodeGroupProvider {
  readonly name: string;
  /** Why it cannot be used here; undefined when it can. */
  check(): Promise<string | undefined>;
  /** Starts a group of `count` nodes like `like`; safe to ask for again. Returns when they are asked for. */
  addNodes(request: { group: string; count: number; like: string; signal: AbortSignal }): Promise<string>;
  /** Takes a drained node away; safe to ask for again. */
  removeNode(request: { node: string; signal: AbortSignal }): Promise<string>;
  /** Takes the group away again. */
  removeGroup(request: { group: string; signal: AbortSignal }): Promise<string>;
}
