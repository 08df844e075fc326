// SPDX-License-Identifier: Apache-2.0
// Pods of three namespaces, and random policies about them.
import assert from "node:assert/strict";
import fc from "fast-check";
import { addressBytes } from "../../lib/addresses.ts";
import type { Connection, End } from "./decide.ts";
import type { Labels, Policy } from "./model.ts";
import { parsePolicy } from "./validate.ts";

export const namespaces: Record<string, Record<string, string>> = {
  x: { ns: "x" },
  y: { ns: "y", team: "a" },
  z: {},
};
export interface Pod {
  namespace: string;
  labels: Record<string, string>;
  address: string;
  ports: { name: string; port: number; protocol: number }[];
}
const single: Pod[] = Object.keys(namespaces).flatMap((namespace, group) =>
  ["a", "b", "c"].map((pod, index) => ({
    namespace,
    labels: { pod, ...(index === 2 ? {} : { role: "web" }) } as Record<string, string>,
    address: `10.244.${group}.${index + 1}`,
    ports: [{ name: "serve", port: index === 0 ? 80 : 81, protocol: 6 }],
  })),
);
/** The last one has the labels of another: policies know both by one number. */
export const pods: readonly Pod[] = [...single, { ...single[3]!, address: "10.244.1.70" }];
const outside = ["192.0.2.1", "192.0.2.130", "198.51.100.7", "2001:db8::1"];
/** The node of the pods whose policies are asked, and another one. */
export const nodes = { own: "172.31.0.2", other: "172.31.0.3" } as const;
export const protocolNumbers: Record<string, number> = { TCP: 6, UDP: 17, SCTP: 132 };

export type Who = Pod | string;
export const isPod = (who: Who): who is Pod => typeof who !== "string";

// What the product knows of the same pods.
export function labelsOf({ namespace, labels }: Pod): Labels {
  return new Map([
    ["k8s:io.kubernetes.pod.namespace", namespace],
    ...Object.entries(labels).map(([key, value]): [string, string] => [`k8s:${key}`, value]),
    ...Object.entries(namespaces[namespace]!).map(([key, value]): [string, string] => [
      `k8s:io.cilium.k8s.namespace.labels.${key}`,
      value,
    ]),
  ]);
}
export const worldLabels = (family: "ipv4" | "ipv6"): Labels =>
  new Map([
    ["reserved:world", ""],
    [`reserved:world-${family}`, ""],
  ]);
export const nodeLabels = {
  own: new Map([["reserved:host", ""]]),
  other: new Map([["reserved:remote-node", ""]]),
} as const satisfies Record<keyof typeof nodes, Labels>;
const labelsAt = (address: string): Labels => {
  if (address === nodes.own) return nodeLabels.own;
  if (address === nodes.other) return nodeLabels.other;
  return worldLabels(address.includes(":") ? "ipv6" : "ipv4");
};
export const endOf = (who: Who): End =>
  isPod(who)
    ? { labels: labelsOf(who), address: addressBytes(who.address), ports: who.ports }
    : { labels: labelsAt(who), address: addressBytes(who), ports: [] };

// Random objects.
const label = fc.constantFrom(["pod", "a"], ["pod", "b"], ["pod", "c"], ["role", "web"]);
const requirement = fc.oneof(
  fc.record({
    key: fc.constantFrom("pod", "role"),
    operator: fc.constantFrom("In", "NotIn"),
    values: fc.constantFrom(["a"], ["b", "c"], ["web"]),
  }),
  fc.record({ key: fc.constantFrom("pod", "role"), operator: fc.constantFrom("Exists", "DoesNotExist") }),
);
const podSelector = fc.oneof(
  fc.constant({}),
  label.map(([key, value]) => ({ matchLabels: { [key!]: value } })),
  fc.array(requirement, { minLength: 1, maxLength: 2 }).map((matchExpressions) => ({ matchExpressions })),
);
const namespaceSelector = fc.oneof(
  fc.constant({}),
  fc.constantFrom(
    { matchLabels: { ns: "x" } },
    { matchLabels: { team: "a" } },
    { matchExpressions: [{ key: "ns", operator: "DoesNotExist" }] },
  ),
);
const ipBlock = fc.constantFrom(
  { cidr: "0.0.0.0/0" },
  { cidr: "::/0" },
  { cidr: "10.244.0.0/16", except: ["10.244.1.0/24"] },
  { cidr: "10.244.1.2/32" },
  { cidr: "192.0.2.0/24", except: ["192.0.2.128/25"] },
  { cidr: "192.0.2.128/25" },
  { cidr: "0.0.0.0/0", except: ["10.0.0.0/8", "192.0.2.0/24"] },
  { cidr: "2001:db8::/32", except: ["2001:db8::1/128"] },
);
const npPeer = fc.oneof(
  podSelector.map((one) => ({ podSelector: one })),
  namespaceSelector.map((one) => ({ namespaceSelector: one })),
  fc.record({ podSelector, namespaceSelector }),
  ipBlock.map((one) => ({ ipBlock: one })),
);
const npPort = fc.constantFrom<any>(
  { port: 80 },
  { port: 81, protocol: "TCP" },
  { port: 80, protocol: "UDP" },
  { port: 80, endPort: 81 },
  { port: "serve" },
  { protocol: "SCTP" },
  { protocol: "UDP" },
);
const npRule = (key: "from" | "to") =>
  fc.record(
    { [key]: fc.array(npPeer, { maxLength: 2 }), ports: fc.array(npPort, { maxLength: 2 }) },
    { requiredKeys: [] },
  );
export const networkPolicy = fc
  .record({
    namespace: fc.constantFrom(...Object.keys(namespaces)),
    spec: fc.record(
      {
        podSelector,
        policyTypes: fc.constantFrom(["Ingress"], ["Egress"], ["Ingress", "Egress"]),
        ingress: fc.array(npRule("from"), { maxLength: 2 }),
        egress: fc.array(npRule("to"), { maxLength: 2 }),
      },
      { requiredKeys: ["podSelector"] },
    ),
  })
  .map(({ namespace, spec }) => ({
    ...{
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: { name: "one", namespace },
      spec,
    },
  }));

const ciliumSelector = fc.oneof(
  podSelector,
  fc.constantFrom<any>(
    { matchLabels: { "k8s:io.kubernetes.pod.namespace": "y" } },
    { matchLabels: { "io.cilium.k8s.namespace.labels.ns": "x", "k8s:pod": "a" } },
    { matchExpressions: [{ key: "k8s:io.kubernetes.pod.namespace", operator: "In", values: ["x", "z"] }] },
  ),
);
const ciliumPeers = (way: "from" | "to") =>
  fc.oneof(
    fc.constant({}),
    fc.array(ciliumSelector, { maxLength: 2 }).map((one) => ({ [`${way}Endpoints`]: one })),
    fc
      .constantFrom(["all"], ["world"], ["cluster"], ["world-ipv6", "host"])
      .map((one) => ({ [`${way}Entities`]: one })),
    ipBlock.map((one) => ({ [`${way}CIDRSet`]: [one] })),
  );
const ciliumPorts = fc.constantFrom<any>(
  {},
  { toPorts: [{ ports: [{ port: "80", protocol: "TCP" }] }] },
  { toPorts: [{ ports: [{ port: "80" }, { port: "81", protocol: "UDP" }] }] },
  { toPorts: [{ ports: [{ port: "70", endPort: 80, protocol: "TCP" }] }] },
  { toPorts: [{ ports: [{ port: "serve", protocol: "TCP" }] }] },
  { toPorts: [{ ports: [{ port: "0", protocol: "ANY" }] }] },
);
const ciliumRules = (way: "from" | "to") =>
  fc.array(
    fc.tuple(ciliumPeers(way), ciliumPorts).map(([peers, ports]) => ({ ...peers, ...ports })),
    { maxLength: 2 },
  );
export const ciliumPolicy = fc
  .record({
    namespace: fc.constantFrom(...Object.keys(namespaces)),
    isClusterwide: fc.boolean(),
    spec: fc.record(
      {
        endpointSelector: podSelector,
        ingress: ciliumRules("from"),
        ingressDeny: ciliumRules("from"),
        egress: ciliumRules("to"),
        egressDeny: ciliumRules("to"),
        enableDefaultDeny: fc.record({ ingress: fc.boolean(), egress: fc.boolean() }, { requiredKeys: [] }),
      },
      { requiredKeys: ["endpointSelector"] },
    ),
  })
  .map(({ namespace, isClusterwide, spec }) => ({
    apiVersion: "cilium.io/v2",
    kind: isClusterwide ? "CiliumClusterwideNetworkPolicy" : "CiliumNetworkPolicy",
    metadata: isClusterwide ? { name: "wide" } : { name: "one", namespace },
    spec,
  }));

const adminPods = fc.oneof(
  namespaceSelector.map((namespaces) => ({ namespaces })),
  fc.record({ namespaceSelector, podSelector }).map((one) => ({ pods: one })),
);
const adminPort = fc.constantFrom<any>(
  { portNumber: { protocol: "TCP", port: 80 } },
  { portNumber: { protocol: "UDP", port: 80 } },
  { portRange: { protocol: "TCP", start: 70, end: 80 } },
  { namedPort: "serve" },
);
const adminNetworks = fc
  .uniqueArray(
    fc.constantFrom(
      ...["0.0.0.0/0", "::/0", "0.0.0.0/1", "10.244.0.0/16", "10.244.1.0/24", "10.244.1.64/26"],
      ...["10.244.1.1/32", "10.244.0.2/32", "172.31.0.0/24", "172.31.0.2/32"],
      ...["192.0.2.0/24", "192.0.2.128/25", "2001:db8::/32"],
    ),
    { minLength: 1, maxLength: 3 },
  )
  .map((networks) => ({ networks }));
const adminPeers = {
  from: adminPods,
  to: fc.oneof(adminPods, adminNetworks, fc.constant<any>({ nodes: {} })),
};
const adminRules = (way: "from" | "to", actions: string[]): fc.Arbitrary<any[]> =>
  fc.array(
    fc
      .record(
        {
          action: fc.constantFrom(...actions),
          [way]: fc.array<any>(adminPeers[way], { minLength: 1, maxLength: 2 }),
          ports: fc.array(adminPort, { maxLength: 2 }),
        },
        { requiredKeys: ["action", way] },
      )
      .map(({ ports, ...rule }: any) => {
        // Ports of networks have no names.
        const hasNetworks = rule[way].some(({ networks }: any) => networks !== undefined);
        const used = ports?.filter((port: any) => !(hasNetworks && "namedPort" in port));
        return used === undefined ? rule : { ...rule, ports: used };
      }),
    { maxLength: 3 },
  );
const adminSpec = (actions: string[]) => ({
  subject: adminPods,
  ingress: adminRules("from", actions),
  egress: adminRules("to", actions),
});
const adminHead = { apiVersion: "policy.networking.k8s.io/v1alpha1" };
/** Of one priority there is one: which of two goes first is not said. */
export const adminPolicies = fc
  .tuple(
    fc.uniqueArray(
      fc.record({ priority: fc.integer({ min: 0, max: 5 }), ...adminSpec(["Allow", "Deny", "Pass"]) }),
      { maxLength: 2, selector: ({ priority }) => priority },
    ),
    fc.option(fc.record(adminSpec(["Allow", "Deny"])), { nil: undefined }),
  )
  .map(([admin, baseline]) => [
    ...admin.map((spec) => ({
      ...{ ...adminHead, kind: "AdminNetworkPolicy", metadata: { name: `admin-${spec.priority}` }, spec },
    })),
    ...(baseline === undefined
      ? []
      : [
          {
            ...{ ...adminHead, kind: "BaselineAdminNetworkPolicy", metadata: { name: "default" } },
            spec: baseline,
          },
        ]),
  ]);

const clusterPods = fc.oneof(
  namespaceSelector.map((namespaces) => ({ namespaces })),
  fc
    .record({ namespaceSelector, podSelector }, { requiredKeys: ["podSelector"] })
    .map((one) => ({ pods: one })),
);
const clusterPort = fc.constantFrom<any>(
  { tcp: { destinationPort: { number: 80 } } },
  { udp: { destinationPort: { number: 80 } } },
  { sctp: { destinationPort: { range: { start: 1, end: 65_535 } } } },
  { tcp: { destinationPort: { range: { start: 70, end: 80 } } } },
  { destinationNamedPort: "serve" },
);
const clusterPeers = { from: clusterPods, to: fc.oneof(clusterPods, adminNetworks) };
const clusterRules = (way: "from" | "to"): fc.Arbitrary<any[]> =>
  fc.array(
    fc
      .record(
        {
          action: fc.constantFrom("Accept", "Deny", "Pass"),
          [way]: fc.array<any>(clusterPeers[way], { minLength: 1, maxLength: 2 }),
          protocols: fc.array(clusterPort, { minLength: 1, maxLength: 2 }),
        },
        { requiredKeys: ["action", way] },
      )
      .map(({ protocols, ...rule }: any) => {
        // Ports of networks have no names, and an empty list is none.
        const hasNetworks = rule[way].some(({ networks }: any) => networks !== undefined);
        const used = protocols?.filter((one: any) => !(hasNetworks && "destinationNamedPort" in one)) ?? [];
        return used.length === 0 ? rule : { ...rule, protocols: used };
      }),
    { maxLength: 3 },
  );
/** Of one tier and priority there is one. */
export const clusterPolicies = fc
  .uniqueArray(
    fc.record(
      {
        ...{ tier: fc.constantFrom("Admin", "Baseline"), priority: fc.integer({ min: 0, max: 5 }) },
        ...{ subject: clusterPods, ingress: clusterRules("from"), egress: clusterRules("to") },
      },
      { requiredKeys: ["tier", "priority", "subject"] },
    ),
    { maxLength: 4, selector: ({ tier, priority }) => `${tier}-${priority}` },
  )
  .map((specs) =>
    specs.map((spec) => ({
      ...{ apiVersion: "policy.networking.k8s.io/v1alpha2", kind: "ClusterNetworkPolicy" },
      ...{ metadata: { name: `${spec.tier}-${spec.priority}`.toLowerCase() }, spec },
    })),
  );

/** Policies of every kind. */
export const anyPolicies = fc
  .tuple(
    fc.array(fc.oneof(networkPolicy, ciliumPolicy), { maxLength: 4 }),
    ...([adminPolicies, clusterPolicies] as const),
  )
  .map(([some, admin, cluster]): any[] => [...some, ...admin, ...cluster]);

export function parsed(objects: readonly any[]): Policy[] {
  return objects.flatMap((object) => {
    const { policies, problems } = parsePolicy(object);
    assert.deepEqual(problems, []);
    return policies;
  });
}

export function* connections({ withNodes = false } = {}): Generator<[Connection, Pod, Who]> {
  for (const subject of pods)
    for (const peer of [...pods, ...outside, ...(withNodes ? Object.values(nodes) : [])])
      for (const direction of ["ingress", "egress"] as const)
        for (const [protocol, port] of [
          [6, 80],
          [6, 81],
          [17, 80],
          [132, 80],
          [6, 75],
          [1, 8],
        ] as const)
          yield [{ direction, subject: endOf(subject), peer: endOf(peer), protocol, port }, subject, peer];
}
export const words = ({ direction, protocol, port }: Connection, subject: Pod, peer: Who): string =>
  `${direction} of ${subject.namespace}/${subject.labels.pod}, ${isPod(peer) ? `${peer.namespace}/${peer.labels.pod} ${peer.address}` : peer}, protocol ${protocol} port ${port}`;
