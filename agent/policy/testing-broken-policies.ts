// SPDX-License-Identifier: Apache-2.0
// Policy objects as nobody would write them.
import fc from "fast-check";

export const wholePolicies = {
  NetworkPolicy: {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "p", namespace: "x" },
    spec: {
      podSelector: { matchExpressions: [{ key: "a", operator: "In", values: ["b"] }] },
      policyTypes: ["Ingress", "Egress"],
      ingress: [
        {
          from: [
            { podSelector: { matchLabels: { a: "b" } }, namespaceSelector: {} },
            { ipBlock: { cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] } },
          ],
          ports: [{ port: 80, endPort: 90, protocol: "TCP" }, { port: "web" }],
        },
      ],
      egress: [{ to: [{ namespaceSelector: { matchLabels: { c: "d" } } }] }],
    },
  },
  CiliumNetworkPolicy: {
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name: "p", namespace: "x" },
    specs: [
      {
        endpointSelector: { matchLabels: { "k8s:a": "b" } },
        enableDefaultDeny: { ingress: true },
        ingress: [
          { fromEndpoints: [{}], toPorts: [{ ports: [{ port: "80", endPort: 81, protocol: "TCP" }] }] },
          { fromEntities: ["world"], icmps: [{ fields: [{ type: 8, family: "IPv4" }] }] },
        ],
        ingressDeny: [{ fromCIDRSet: [{ cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] }] }],
        egress: [{ toServices: [{ k8sService: { serviceName: "s", namespace: "n" } }] }],
        egressDeny: [{ toCIDR: ["192.0.2.1"] }],
      },
    ],
  },
  ClusterNetworkPolicy: {
    apiVersion: "policy.networking.k8s.io/v1alpha2",
    kind: "ClusterNetworkPolicy",
    metadata: { name: "p" },
    spec: {
      ...{ tier: "Admin", priority: 1000 },
      subject: { pods: { namespaceSelector: {}, podSelector: { matchLabels: { a: "b" } } } },
      ingress: [
        {
          ...{ name: "one", action: "Accept", from: [{ namespaces: { matchLabels: { c: "d" } } }] },
          protocols: [
            { tcp: { destinationPort: { number: 80 } } },
            { udp: { destinationPort: { range: { start: 80, end: 90 } } } },
            { destinationNamedPort: "web" },
          ],
        },
      ],
      egress: [
        {
          ...{ action: "Pass", to: [{ nodes: { matchLabels: { e: "f" } } }, { namespaces: {} }] },
          protocols: [{ sctp: { destinationPort: { number: 9 } } }],
        },
      ],
    },
  },
  AdminNetworkPolicy: {
    apiVersion: "policy.networking.k8s.io/v1alpha1",
    kind: "AdminNetworkPolicy",
    metadata: { name: "p" },
    spec: {
      priority: 5,
      subject: { pods: { namespaceSelector: {}, podSelector: { matchLabels: { a: "b" } } } },
      ingress: [{ action: "Pass", from: [{ namespaces: {} }], ports: [{ namedPort: "web" }] }],
      egress: [
        { action: "Deny", to: [{ networks: ["10.0.0.0/8", "::/0"] }], ports: [{ portNumber: { port: 80 } }] },
        { action: "Allow", to: [{ nodes: {} }], ports: [{ portRange: { start: 1, end: 9 } }] },
      ],
    },
  },
};

/** Every place of an object. */
function placesOf(value: unknown, path: (string | number)[] = []): (string | number)[][] {
  const parts = typeof value === "object" && value !== null ? Object.entries(value) : [];
  return [
    path,
    ...parts.flatMap(([key, one]) => placesOf(one, [...path, Array.isArray(value) ? Number(key) : key])),
  ];
}
function replaced(value: any, [first, ...rest]: (string | number)[], next: unknown): any {
  if (first === undefined) return next;
  const copy = Array.isArray(value) ? [...value] : { ...value };
  copy[first] = replaced(value[first], rest, next);
  return copy;
}

const odd = fc.oneof(
  fc.anything({ maxDepth: 2 }),
  fc.constantFrom<unknown>(
    null,
    undefined,
    "",
    -1,
    2 ** 53,
    "10.0.0.0/8",
    "::/0",
    "__proto__",
    [],
    {},
    [null],
    [[]],
    { __proto__: null },
  ),
  fc.constantFrom("80", "65536", "0x50", "01", " 80", "web", "WEB", "1e3", "TCP\u0000", "все"),
);
/** A whole object with some parts replaced. */
export const brokenPolicy = fc
  .constantFrom(...(Object.keys(wholePolicies) as (keyof typeof wholePolicies)[]))
  .chain((kind) =>
    fc
      .array(
        fc.tuple(fc.constantFrom(...placesOf(wholePolicies[kind]).filter((path) => path.length > 1)), odd),
        {
          minLength: 1,
          maxLength: 3,
        },
      )
      .map((changes) =>
        changes.reduce((object, [path, next]) => {
          try {
            return replaced(object, path, next);
          } catch {
            return object; // an earlier change took the place away
          }
        }, wholePolicies[kind] as any),
      ),
  );
