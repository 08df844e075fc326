// SPDX-License-Identifier: Apache-2.0
// What NetworkPolicies mean for nine pods, from their documentation alone: nothing of the product is used here.
import { BlockList } from "node:net";

export interface NetworkPolicy {
  apiVersion: "networking.k8s.io/v1";
  kind: "NetworkPolicy";
  metadata: { name: string; namespace: string };
  spec: {
    podSelector: Selector;
    policyTypes?: string[];
    ingress?: Rule[];
    egress?: Rule[];
  };
}

export interface Selector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}

export interface Peer {
  podSelector?: Selector;
  namespaceSelector?: Selector;
  ipBlock?: { cidr: string; except?: string[] };
}

export interface Port {
  protocol?: string;
  port?: number | string;
  endPort?: number;
}

export interface Rule {
  from?: Peer[];
  to?: Peer[];
  ports?: Port[];
}

/** A pod as it is while a case is tried. */
export interface TruthPod {
  namespace: string;
  name: string;
  labels: Record<string, string>;
  /** IPv4 and IPv6; undefined where the cluster has no such family. */
  addresses: (string | undefined)[];
}

export interface TruthWorld {
  pods: readonly TruthPod[];
  namespaceLabels: Record<string, Record<string, string>>;
  policies: readonly NetworkPolicy[];
}

export const protocols = ["TCP", "UDP", "SCTP"];
export const ports = [80, 81];
/** Every pod names its ports so. */
export const portName = (port: number, protocol: string): string => `serve-${port}-${protocol.toLowerCase()}`;

/** One thing to try, and what has to come of it. */
export interface Cell {
  family: 0 | 1;
  from: TruthPod;
  to: TruthPod;
  protocol: string;
  port: number;
  allowed: boolean;
}

/** Every cell, in the order in which the prober prints them. */
export function truthTable(world: TruthWorld): Cell[] {
  const cells: Cell[] = [];
  for (const family of [0, 1] as const)
    for (const from of world.pods)
      for (const to of world.pods)
        for (const protocol of protocols)
          for (const port of ports) {
            const try_ = { family, from, to, protocol, port };
            const isThere = from.addresses[family] !== undefined && to.addresses[family] !== undefined;
            cells.push({ ...try_, allowed: isThere && isAllowed(world, try_) });
          }
  return cells;
}

type Try = Omit<Cell, "allowed">;

/** A pod always reaches itself; otherwise both ends have to allow it. */
function isAllowed(world: TruthWorld, one: Try): boolean {
  if (one.from === one.to) return true;
  return isAllowedBy(world, one, "Egress") && isAllowedBy(world, one, "Ingress");
}

/** Allowed by default, until a policy is about the pod; then by any rule of any of them. */
function isAllowedBy(world: TruthWorld, one: Try, direction: "Ingress" | "Egress"): boolean {
  const subject = direction === "Ingress" ? one.to : one.from;
  const about = world.policies.filter(
    ({ metadata, spec }) =>
      metadata.namespace === subject.namespace &&
      isSelected(spec.podSelector, subject.labels) &&
      typesOf(spec).includes(direction),
  );
  if (about.length === 0) return true;
  return about.some((policy) => {
    const rules = (direction === "Ingress" ? policy.spec.ingress : policy.spec.egress) ?? [];
    return rules.some((rule) => isPeer(world, policy, rule, one, direction) && isPort(rule, one));
  });
}

/** Without policyTypes: Ingress always, and Egress when there are egress rules. */
function typesOf(spec: NetworkPolicy["spec"]): string[] {
  if (spec.policyTypes !== undefined && spec.policyTypes.length > 0) return spec.policyTypes;
  return (spec.egress ?? []).length > 0 ? ["Ingress", "Egress"] : ["Ingress"];
}

function isPeer(
  world: TruthWorld,
  policy: NetworkPolicy,
  rule: Rule,
  one: Try,
  direction: "Ingress" | "Egress",
): boolean {
  const peers = (direction === "Ingress" ? rule.from : rule.to) ?? [];
  if (peers.length === 0) return true;
  const other = direction === "Ingress" ? one.from : one.to;
  return peers.some(({ podSelector, namespaceSelector, ipBlock }) => {
    if (ipBlock !== undefined) return isInBlock(ipBlock, other.addresses[one.family]!, one.family);
    const isNamespace =
      namespaceSelector === undefined
        ? other.namespace === policy.metadata.namespace
        : isSelected(namespaceSelector, {
            "kubernetes.io/metadata.name": other.namespace,
            ...world.namespaceLabels[other.namespace],
          });
    return isNamespace && (podSelector === undefined || isSelected(podSelector, other.labels));
  });
}

function isPort({ ports: wanted = [] }: Rule, { protocol, port }: Try): boolean {
  if (wanted.length === 0) return true;
  return wanted.some((one) => {
    if ((one.protocol ?? "TCP") !== protocol) return false;
    if (one.port === undefined) return true;
    if (typeof one.port === "string") return one.port === portName(port, protocol);
    return port >= one.port && port <= (one.endPort ?? one.port);
  });
}

function isInBlock(
  { cidr, except = [] }: NonNullable<Peer["ipBlock"]>,
  address: string,
  family: 0 | 1,
): boolean {
  const isIn = (block: string): boolean => {
    const [network, bits] = block.split("/") as [string, string];
    if (network.includes(":") !== (family === 1)) return false;
    const list = new BlockList();
    list.addSubnet(network, Number(bits), family === 1 ? "ipv6" : "ipv4");
    return list.check(address, family === 1 ? "ipv6" : "ipv4");
  };
  return isIn(cidr) && !except.some(isIn);
}

function isSelected(selector: Selector, labels: Record<string, string>): boolean {
  const isEqual = Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels[key] === value);
  return (
    isEqual &&
    (selector.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
      const value = labels[key];
      if (operator === "In") return value !== undefined && values.includes(value);
      if (operator === "NotIn") return value === undefined || !values.includes(value);
      return operator === "Exists" ? value !== undefined : value === undefined;
    })
  );
}
