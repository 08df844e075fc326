// SPDX-License-Identifier: Apache-2.0
// What a migration is going to do.
import type {
  Finding,
  KubeProxy,
  KubeProxyForm,
  KubeProxyMode,
  NetworkKind,
  OldNetwork,
  Platform,
} from "./inventory.ts";

export type Strategy = "node-by-node" | "blue-green" | "new-cluster" | "kube-proxy-only";

export type StepKindName =
  | "install-standby"
  | "start-probes"
  | "compare-policies"
  | "add-group"
  | "join-node"
  | "cordon"
  | "drain"
  | "activate"
  | "recreate"
  | "verify-node"
  | "uncordon"
  | "remove-node"
  | "settle-group"
  | "services-handover"
  | "remove-kube-proxy-rules"
  | "disable-old-network"
  | "remove-old-network"
  | "verify-residue"
  | "compare-clusters"
  | "cut-over"
  | "enforce-policies"
  | "verify-policies"
  | "stop-probes"
  | "finish"
  | "release-connections";

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
  /** The steps run for the nodes of the new group too, whose names are known once they have joined. */
  newNodes?: true;
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
  /** How long audit must have seen nothing that policies deny before they are enforced, in seconds. */
  policyAuditSeconds: number;
  drainForce: boolean;
  drainDeleteEmptyDirData: boolean;
  /** Who makes and removes nodes, for blue-green. */
  provider: string;
  /** `key=value` of what the provider has to know, such as the cluster's name in its cloud. */
  providerOptions?: string[];
  /** Values of the agent's installation, as `shunt install --set` takes them. */
  agentValues: string[];
}

/** A value of the agent's installation that the planner chose for this cluster. */
export interface AgentSetting {
  /** `key=value`, as `shunt install --set` takes it. */
  value: string;
  reason: string;
}

/** What a person reviews before anything runs: small even for thousands of nodes. */
export interface Plan {
  apiVersion: "shunt.dev/v1alpha1";
  kind: "MigrationPlan";
  createdAt: string;
  cluster: { server: string; uid: string; platform: Platform; serverVersion: string };
  from: { network: NetworkKind; mode: string; kubeProxy: KubeProxyForm; kubeProxyMode: KubeProxyMode };
  options: PlanOptions;
  /** Why `options.agentValues` has more than was asked for. */
  agentSettings?: AgentSetting[];
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
  /** Node tasks looked inside the nodes; whoever compares has to look as well. */
  nodeFacts?: boolean;
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
