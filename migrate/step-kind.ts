// SPDX-License-Identifier: Apache-2.0
import type { KubeClient } from "../lib/kube.ts";
import type { Json } from "./model/journal.ts";
import type { Plan, PlanStep, StepKindName } from "./model/plan.ts";
import type {
  FindProvider,
  NewCluster,
  NodeTask,
  PolicyComparer,
  VerifyConnectivity,
} from "./model/tools.ts";

/** Starts and stops the probes; what they see reaches the run through a Monitor. */
export interface ProbeControl {
  start(signal: AbortSignal): Promise<string>;
  stop(signal: AbortSignal): Promise<string>;
  /** A node is about to be removed: nothing of the probes is to depend on it any more. */
  leaveNode(node: string, signal: AbortSignal): Promise<void>;
}

/** What steps need and others bring. */
export interface StepTools {
  nodeTask: NodeTask;
  /** Absent: a node is verified by its agent's word alone. */
  verifyConnectivity?: VerifyConnectivity;
  /** Absent: nothing is tried. */
  policies?: PolicyComparer;
  /** Absent: no parallel cluster was named. */
  newCluster?: NewCluster;
  /** Absent: no probes run. */
  probes?: ProbeControl;
  /** Absent: no strategy with groups of nodes. */
  provider?: FindProvider;
}

/** What a step is given to work with. */
export interface StepContext {
  /** Tries again while the API server is away. */
  kube: KubeClient;
  plan: Plan;
  /** Name of the Migration. */
  migration: string;
  step: PlanStep;
  /** Aborts when the step has to stop where it is. */
  signal: AbortSignal;
  /** What `record` returned at the first attempt. */
  before: Json;
  /** What the step kept by `remember`, in this attempt or an earlier one. */
  notes: Readonly<{ [key: string]: Json | undefined }>;
  /** Keeps something for later attempts and for undo; written to the journal before it returns. */
  remember(notes: { [key: string]: Json | undefined }): Promise<void>;
  /** Nodes that run on the old network, and those that are switched and verified, in the plan's order. */
  nodes(): { old: string[]; switched: string[] };
  /** When the step of this kind that is the plan's, not a node's, was done. */
  endedAt(kind: StepKindName): string | undefined;
  tools: StepTools;
  report(progress: string): void;
}

/**
 * One kind of step. Every function is safe to run again, after success and after having been killed anywhere. The
 * journal is written before `apply` with what `record` returned, and after `verify`.
 */
export interface StepKind {
  kind: StepKindName;
  /** Why there is nothing to do; undefined when there is. Asked only before the first attempt; changes nothing. */
  check(context: StepContext): Promise<string | undefined>;
  /** What is there before, for undo; changes nothing. */
  record?(context: StepContext): Promise<Json>;
  /** Does it. Returns one line about what came of it. */
  apply(context: StepContext): Promise<string | undefined>;
  /** Throws unless what apply did is there and works. */
  verify(context: StepContext): Promise<string | undefined>;
  /** Puts back what was there before, from whatever state. */
  undo(context: StepContext): Promise<string | undefined>;
}

export type StepKinds = Partial<Record<StepKindName, StepKind>>;
