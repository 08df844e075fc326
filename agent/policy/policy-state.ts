// SPDX-License-Identifier: Apache-2.0
// What is known of policies and endpoints once they were judged.
import type { KubeObject } from "../../lib/kube-object.ts";
import type { Labels, Policy } from "./model.ts";

/** A policy that is not in force, and why. */
export interface PolicyProblem {
  /** E.g. NetworkPolicy shop/web. */
  policy: string;
  message: string;
}

/** A policy object, and what of it packets are judged by. */
export interface PolicyState {
  object: KubeObject;
  /** Why it cannot be used, the same on every node; undefined when it can. */
  problem: string | undefined;
  /** What packets are judged by: what it says, or said when it could last be used. undefined: nothing of it. */
  judgedBy: readonly Policy[] | undefined;
  /** `judgedBy` is what the object says now. */
  inForce: boolean;
}

/** What policies know of an endpoint. */
export interface EndpointJudgement {
  labels: Labels;
  identity: number | undefined;
  /** The endpoint's entry in the map sh_policy_of. */
  word: number;
}
