// SPDX-License-Identifier: Apache-2.0
// What a node tells of its policies, and of its pods as policies see them. Also agents without policies read this file.
import { objectKey } from "../../lib/kube-informer.ts";
import type { Modes } from "../config.ts";
import { policyFlags } from "../datapath-layout.ts";
import type { Endpoint } from "../endpoint-store.ts";
import { isNode } from "./decide.ts";
import type { Direction, Labels, Policy, Tier } from "./model.ts";
import type { EndpointJudgement, PolicyProblem, PolicyState } from "./policy-state.ts";
import { selects } from "./selector.ts";

/** A policy object on one node. */
export interface PolicyView {
  kind: string;
  /** Empty when it is about the whole cluster. */
  namespace: string;
  name: string;
  /** Packets of this node are judged by what the object says now; in mode audit they pass all the same. */
  inForce: boolean;
  /** Why it is not; empty when it is. */
  message: string;
  /** Of what is in force, here and below: that may be an earlier version of the object. */
  tier: Tier | undefined;
  isolates: Record<Direction, boolean>;
  rules: number;
  /** Pods of this node that it is about, as namespace/name; the node itself is "host". */
  pods: string[];
}

/** The policies of one node. */
export interface NodePolicies {
  mode: Modes["policy"];
  /** Why no policy is as it should be; left out when nothing is wrong. */
  problem?: string;
  policies: PolicyView[];
}

/** What happens to a pod's packets in one direction. */
export type JudgementMode = "none" | "audited" | "enforced";

/** A pod of a node, or the node itself. */
export interface NamedEndpoint {
  /** namespace/name; "host" is the node itself. */
  pod: string;
  addresses: readonly string[];
}

/** A pod of a node, or the node itself, as policies see it. */
export interface EndpointView {
  /** namespace/name; "host" is the node itself. */
  pod: string;
  addresses: string[];
  /** 0 while it has none. */
  identity: number;
  labels: Record<string, string>;
  ingress: JudgementMode;
  egress: JudgementMode;
  /** Policies in force that are about it, e.g. NetworkPolicy shop/web. */
  policies: string[];
}

/** Which versions of policies with a status a node has read, and by which of them it does not judge packets. */
export interface PolicyAccount {
  /** The same on nodes that have read the same versions of the same objects. */
  read: string;
  notInForce: { uid: string; message: string }[];
  /** How many more there are. */
  more: number;
}

/** What is in force on a node. */
export interface PolicyReport {
  mode: Modes["policy"];
  /** Policies that are about any pod, and pods of this node that one is about. */
  policies: number;
  pods: number;
  /** What would be denied if policies were enforced; undefined unless they are audited, for all pods or some. */
  audited: { count: number; examples: readonly string[] } | undefined;
  /** Policies that are not in force, as they cannot be used. */
  invalid: readonly PolicyProblem[];
  /** What the node tells for the status of policies; undefined while nothing is known. */
  account: PolicyAccount | undefined;
  /** Why not all is as it should be. */
  problem: string | undefined;
}

/** That of a node without policies. */
export const policiesOff: PolicyReport = {
  ...{ mode: "off", policies: 0, pods: 0, audited: undefined, invalid: [], account: undefined },
  problem: undefined,
};

/** What a node tells that has no policies: they are off, or not read yet. */
export function noPolicies(mode: Modes["policy"]): NodePolicies {
  return { mode, ...(mode === "off" ? {} : { problem: "policies are not read yet" }), policies: [] };
}

/** A pod as a named endpoint. */
export const namedPod = ({ podNamespace, podName, addresses }: Endpoint): NamedEndpoint => ({
  pod: `${podNamespace}/${podName}`,
  addresses,
});

const isAbout = (policies: readonly Policy[], labels: Labels): boolean =>
  policies.some(({ ofNodes, subject }) => ofNodes === isNode(labels) && selects(subject, labels));

/** Why packets are not judged by what an object says now. */
export function whyNotInForce(problem: string | undefined, judgedBy: readonly Policy[] | undefined): string {
  const why = problem ?? "it is not in the maps yet";
  return judgedBy === undefined ? why : `${why} (the version before it stays in force)`;
}

/** One policy object. `judged`: the node's pods and the node itself, with their labels. */
export function viewPolicy(
  { object, problem, judgedBy, inForce }: PolicyState,
  judged: readonly { pod: string; labels: Labels }[],
): PolicyView {
  const policies = judgedBy ?? [];
  const isolates = (direction: Direction): boolean => policies.some((one) => one.isolates[direction]);
  return {
    kind: object.kind ?? "",
    namespace: object.metadata.namespace ?? "",
    name: object.metadata.name ?? "",
    inForce,
    message: inForce ? "" : whyNotInForce(problem, judgedBy),
    tier: policies[0]?.tier,
    isolates: { ingress: isolates("ingress"), egress: isolates("egress") },
    rules: policies.reduce((sum, { rules }) => sum + rules.length, 0),
    pods: judged.filter(({ labels }) => isAbout(policies, labels)).map(({ pod }) => pod),
  };
}

/** One pod, or the node itself. `judgement` is undefined while policies do not know it, or are off. */
export function viewEndpoint(
  { pod, addresses }: NamedEndpoint,
  judgement?: EndpointJudgement,
  states: readonly PolicyState[] = [],
): EndpointView {
  const { labels = new Map(), identity = 0, word = 0 } = judgement ?? {};
  const modeOf = (flag: number): JudgementMode =>
    (word & flag) === 0 ? "none" : (word & policyFlags.POLICY_AUDIT) === 0 ? "enforced" : "audited";
  return {
    pod,
    addresses: [...addresses],
    identity,
    labels: Object.fromEntries(labels),
    ingress: modeOf(policyFlags.POLICY_INGRESS),
    egress: modeOf(policyFlags.POLICY_EGRESS),
    policies: states
      .filter(({ judgedBy = [] }) => isAbout(judgedBy, labels))
      .map(({ object }) => `${object.kind} ${objectKey(object)}`),
  };
}
