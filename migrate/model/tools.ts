// SPDX-License-Identifier: Apache-2.0
// What steps are given from outside: work inside nodes, connectivity, probes, groups of nodes.
import type { Finding } from "./inventory.ts";
import type { Json, StepState } from "./journal.ts";
import type { PlanStep } from "./plan.ts";

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
  /** {healthPort} → {uids: string[]}: pods that have an interface of the agent's. */
  | "agent-endpoints"
  /**
   * {mode, force?} → {connections}: what was removed may have left connections translated; lets go of them when none
   * is open, or in any case, and then of the sysctl that kube-proxy sets in mode "iptables".
   */
  | "release-connections"
  /** {connections: TriedConnection[]} → {outcomes: Outcome[]}: what becomes of TCP connections of pods of this node. */
  | "try-connections"
  /** {uids: string[]} → {recreated: string[]}: ends the sandboxes of static pods, so that the kubelet makes new ones. */
  | "recreate-sandboxes";

/** A TCP connection between the addresses of two pods. */
export interface TriedConnection {
  from: string;
  to: string;
  port: number;
}

/**
 * `silent`: no answer within some seconds. `absent`: no pod of the node has the address that it was to come from. `intercepted`: a
 * proxy of the pod's own takes whatever it opens, as those of service meshes do, and nothing is known.
 */
export type Outcome = "open" | "refused" | "unreachable" | "silent" | "absent" | "intercepted";

/** Runs short work inside a node, in a privileged pod that is gone afterwards. Safe to run again. */
export interface NodeTask {
  run(kind: NodeTaskKind, node: string, args: Json, options: { signal: AbortSignal }): Promise<Json>;
  /** Removes pods that an operator left that was killed; to be called by whoever holds the lease. */
  sweep?(): Promise<string[]>;
}

/** Proves that a node's pods reach others and are reached, old and new nodes mixed; throws when not. */
export type VerifyConnectivity = (
  request: { node: string; old: string | undefined; switched: string | undefined },
  options: { signal: AbortSignal; report: (progress: string) => void },
) => Promise<string>;

/** A connection where the network does something else than policies say. */
export interface PolicyDifference {
  /** namespace/name of pods, with their addresses. */
  from: string;
  to: string;
  port: number;
  policies: "allowed" | "denied";
  /** Why, in words. */
  reason: string;
  network: Outcome;
}

/** What came of trying connections about which policies say something. */
export interface PolicyComparison {
  /** How many policies there are about pods, and of how many connections were tried. */
  policies: number;
  tried: number;
  /** Connections of which it is known what the network does, and how many of them policies deny. */
  connections: number;
  denied: number;
  /** Connections that a proxy of the pod's own took. */
  intercepted: number;
  differences: PolicyDifference[];
  /** Nodes that could not be asked, and why. */
  errors: { node: string; message: string }[];
}

/** Compares what policies say with what the network does now. */
export interface PolicyComparer {
  compare(options: { signal: AbortSignal; report: (progress: string) => void }): Promise<PolicyComparison>;
  /** The operator has said that differences do not stop the migration. */
  acceptDifferences: boolean;
}

/** Watches the run from outside, such as the probes do. */
export interface Monitor {
  /** Why the run must pause, if it must; asked between steps and while they run. */
  problem(): Promise<string | undefined>;
  /** Told what runs, so that a loss can be laid to a step. */
  stepChanged?(step: PlanStep, state: StepState): void;
}

/** Keeps pods off a new node until its agent runs and takes it away; every provider's new nodes come with it. */
export const readinessTaint = { key: "node.shunt.dev/agent-not-ready", effect: "NoSchedule" } as const;

/** Makes and removes nodes, for blue-green groups. Every function is safe to call again, also after a crash. */
export interface NodeGroupProvider {
  readonly name: string;
  /** Why it cannot be used here; undefined when it can. Changes nothing. */
  check(old: readonly string[]): Promise<string | undefined>;
  /** Asks for a group of as many nodes as the old ones, like these and with the readiness taint. */
  addNodes(request: { group: string; old: readonly string[]; signal: AbortSignal }): Promise<string>;
  /** Takes a drained node away, and sees to it that no other comes in its place. */
  removeNode(request: { group: string; node: string; signal: AbortSignal }): Promise<string>;
  /** The old nodes are gone: takes away what only held the new group's place. */
  settleGroup?(request: { group: string; signal: AbortSignal }): Promise<string>;
  /** Takes the group away again, and lets the old one have nodes as before. */
  removeGroup(request: { group: string; signal: AbortSignal }): Promise<string>;
}

/** The provider of this name, set up for the operator's cluster and machine. */
export type FindProvider = (name: string, options: readonly string[]) => Promise<NodeGroupProvider>;

/** What is asked of a parallel cluster that is to take this one's place. */
export interface NewCluster {
  server: string;
  /** Compares it with the old cluster; changes nothing. */
  compare(signal: AbortSignal): Promise<NewClusterState>;
  /** The operator has said that the traffic goes there. */
  cutOverDone: boolean;
  /** Milliseconds for which its workloads may still be starting, and between two looks at them. */
  waitMs: number;
  intervalMs: number;
}

export interface NewClusterState {
  ready: boolean;
  findings: Finding[];
  /** One line for the journal. */
  summary: string;
}
