// SPDX-License-Identifier: Apache-2.0
// What steps are given from outside: work inside nodes, connectivity, probes, groups of nodes.
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
