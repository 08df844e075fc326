// SPDX-License-Identifier: Apache-2.0
// What every kind of policy object becomes before it is judged or compiled.
import type { Cidr } from "../../lib/addresses.ts";

/** Labels of a workload or a reserved peer, by source and key: "k8s:app" is "backend", "reserved:world" is "". */
export type Labels = ReadonlyMap<string, string>;

/** One condition; a key of source "any" is met by a label of any source. */
export interface Requirement {
  key: string;
  operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
  values: readonly string[];
}

/** All requirements must be met; none are met by everything. */
export type Selector = readonly Requirement[];

/** Whom a rule is about. */
export type Peer =
  | { kind: "labels"; selector: Selector }
  /** `ofPods`: also addresses of pods, as in NetworkPolicy; those of Cilium's kinds are about the world alone. */
  | { kind: "cidr"; cidr: Cidr; except: readonly Cidr[]; ofPods: boolean }
  /** Addresses, whoever has them; only for egress, in the tiers admin and baseline. */
  | { kind: "network"; cidr: Cidr }
  /** What is behind Services: the named one, or those whose labels are selected. No namespace: any. */
  | { kind: "services"; namespace: string | undefined; name?: string; selector: Selector };

/** IP protocol numbers that policies name. */
export const protocols = { ICMP: 1, TCP: 6, UDP: 17, ICMPv6: 58, SCTP: 132 } as const;

/** What of a peer's packets a rule is about. */
export type PortMatch =
  /** Ports first to last of a protocol; of ICMP its types. */
  | { protocol: number; first: number; last: number }
  /** A port of the receiving pod by its name. */
  | { protocol: number; name: string };

export type Direction = "ingress" | "egress";
export type Action = "allow" | "deny" | "pass";

export interface Rule {
  direction: Direction;
  action: Action;
  /** undefined: everybody. An empty list is nobody. */
  peers: readonly Peer[] | undefined;
  /** undefined: everything, whatever its protocol. An empty list is nothing. */
  ports: readonly PortMatch[] | undefined;
  /** Where it stands in its object, e.g. spec.ingress[0]. */
  at: string;
}

/** Tiers are asked one after the other, until one decides. */
export type Tier = "admin" | "namespace" | "baseline";

/** One policy: what it is about, and its rules. An object of a kind with `specs` is several. */
export interface Policy {
  /** The object, e.g. NetworkPolicy production/default-deny. */
  name: string;
  tier: Tier;
  /** Of the tiers admin and baseline: the lowest goes first, of one priority by name. */
  priority: number;
  /** Whom it is about. */
  subject: Selector;
  /** It is about nodes, not pods. */
  ofNodes: boolean;
  /** No object says it: it holds for whom another policy is about. */
  isImplied?: true;
  /** Directions in which nothing but what is allowed may pass. */
  isolates: Readonly<Record<Direction, boolean>>;
  rules: readonly Rule[];
}

/** Where in an object something is wrong: keys and indexes from its root. */
export type Path = readonly (string | number)[];

export interface Problem {
  path: Path;
  message: string;
}

/** `spec.ingress[0].from`. */
export function pathText(path: Path): string {
  return path
    .map((part, index) => (typeof part === "number" ? `[${part}]` : index === 0 ? part : `.${part}`))
    .join("");
}

/** What an object says: its policies, or why it cannot be used. Never both: half a policy is none. */
export type Parsed =
  | { policies: readonly Policy[]; problems: readonly [] }
  | { policies: readonly []; problems: readonly Problem[] };
