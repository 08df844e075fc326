// SPDX-License-Identifier: Apache-2.0
// A cluster's namespaces, pods and policies as an API server gives them to an agent; the same for the same numbers.
import type { KubeObject } from "../../lib/kube-object.ts";

const appsPerNamespace = 25;
const replicas = 2;
const podsPerNode = 100;
const teams = 20;
const clusterwideShare = 500;
const tiers = ["frontend", "backend", "store"] as const;

export interface MadePolicies {
  namespaces: KubeObject[];
  /** Two for each set of labels. The first is on the first node, and policies are about it from the first on. */
  pods: KubeObject[];
  policies: KubeObject[];
  services: KubeObject[];
  slices: KubeObject[];
  /** Names of nodes with their pod CIDRs. */
  nodes: ReadonlyMap<string, string>;
}

/** A cluster with so many sets of labels; the first `count` of the policies that it may have. */
export function makePolicies(count: number, identities: number): MadePolicies {
  const apps = Math.ceil(identities / appsPerNamespace) * appsPerNamespace;
  const namespaces = Array.from({ length: apps / appsPerNamespace }, (_, index) => makeNamespace(index));
  const places = shuffled(apps * replicas);
  const pods = places.slice(0, identities * replicas).map((place, index) => makePod(index, place));
  const nodes = new Map(
    Array.from({ length: Math.ceil(places.length / podsPerNode) }, (_, node) => [
      nodeName(node),
      `${podPrefix(node)}.0/24`,
    ]),
  );
  const services = namespaces.map(({ metadata }) => makeService(metadata.name!));
  const slices = services.map((service, index) =>
    makeSlice(service, pods[index * appsPerNamespace * replicas]),
  );
  const policies = Array.from({ length: count }, (_, index) => makePolicy(index, count, namespaces.length));
  return { namespaces, pods, policies, services, slices, nodes };
}

/** The same pod in another tier. */
export function inTier(pod: KubeObject, turn: number): KubeObject {
  const tier =
    tiers[(tiers.indexOf(pod.metadata.labels!.tier as (typeof tiers)[number]) + turn) % tiers.length]!;
  const labels = { ...pod.metadata.labels, tier };
  return { ...pod, metadata: { ...pod.metadata, labels, resourceVersion: nextVersion() } };
}

export const isOn = (pod: KubeObject, node: string): boolean => pod.spec.nodeName === node;
export const addressOf = (pod: KubeObject): string => pod.status.podIPs[0].ip;
export const nodeName = (index: number): string => `node-${index}`;

let version = 1000;
const nextVersion = (): string => String(version++);
const namespaceName = (index: number): string => `ns-${index}`;
const podPrefix = (node: number): string => `10.${128 + (node >> 8)}.${node & 255}`;
const uid = (kind: number, number: number): string =>
  `${kind.toString(16).padStart(8, "0")}-0000-4000-8000-${number.toString(16).padStart(12, "0")}`;

/** Numbers below `count` in an order of no pattern, the first one first (xorshift32 with a fixed seed). */
function shuffled(count: number): number[] {
  const all = Array.from({ length: count }, (_, index) => index);
  let state = 0x2545f491;
  for (let index = count - 1; index > 1; index--) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const other = 1 + ((state >>> 0) % index);
    [all[index], all[other]] = [all[other]!, all[index]!];
  }
  return all;
}

function makeNamespace(index: number): KubeObject {
  const name = namespaceName(index);
  const labels = {
    "kubernetes.io/metadata.name": name,
    team: `team-${index % teams}`,
    purpose: index === 1 ? "system" : "work",
  };
  return {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name, uid: uid(1, index), resourceVersion: nextVersion(), labels },
  };
}

/** `place` among all that the nodes have. */
function makePod(index: number, place: number): KubeObject {
  const app = Math.floor(index / replicas);
  const node = Math.floor(place / podsPerNode);
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: `app-${app % appsPerNamespace}-${index % replicas}`,
      namespace: namespaceName(Math.floor(app / appsPerNamespace)),
      uid: uid(2, index),
      resourceVersion: nextVersion(),
      labels: {
        app: `app-${app % appsPerNamespace}`,
        tier: tiers[app % tiers.length]!,
        "pod-template-hash": app.toString(16).padStart(10, "0"),
      },
    },
    spec: {
      nodeName: nodeName(node),
      serviceAccountName: "default",
      containers: [
        { ports: [{ name: "http", containerPort: app % 4 === 3 ? 8081 : 8080, protocol: "TCP" }] },
      ],
    },
    status: { phase: "Running", podIPs: [{ ip: `${podPrefix(node)}.${(place % podsPerNode) + 10}` }] },
  };
}

function makeService(namespace: string): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "front", namespace, resourceVersion: nextVersion(), labels: { app: "front" } },
    spec: {},
  };
}

function makeSlice({ metadata }: KubeObject, pod: KubeObject | undefined): KubeObject {
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: `${metadata.name}-abcde`,
      namespace: metadata.namespace!,
      resourceVersion: nextVersion(),
      labels: { "kubernetes.io/service-name": metadata.name! },
    },
    endpoints: pod === undefined ? [] : [{ addresses: [addressOf(pod)] }],
  };
}

/**
 * Namespace by namespace: what denies everything else, name resolution, a rule for each app, and then what teams add.
 * The first ten are those of any cluster: the first pod is judged by the same rules, however many others there are.
 */
function makePolicy(index: number, count: number, namespaces: number): KubeObject {
  const perNamespace = Math.max(10, Math.ceil(count / namespaces));
  const [namespace, turn] = [Math.floor(index / perNamespace), index % perNamespace];
  const metadata = {
    name: `policy-${index}`,
    namespace: namespaceName(namespace),
    uid: uid(3, index),
    resourceVersion: nextVersion(),
  };
  const network = (spec: object): KubeObject => ({
    ...{ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata, spec },
  });
  const cilium = (spec: object): KubeObject => ({
    ...{ apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata, spec },
  });
  const app = (offset: number) => ({ matchLabels: { app: `app-${(turn + offset) % appsPerNamespace}` } });
  if (index % clusterwideShare === clusterwideShare - 1) {
    const { namespace: _, ...wide } = metadata;
    const tier = { matchLabels: { tier: tiers[namespace % tiers.length] } };
    return {
      apiVersion: "cilium.io/v2",
      kind: "CiliumClusterwideNetworkPolicy",
      metadata: wide,
      spec: {
        endpointSelector: tier,
        enableDefaultDeny: { ingress: false, egress: false },
        ingressDeny: [{ fromCIDRSet: [{ cidr: `203.0.${namespace % 256}.0/24` }] }],
        ingress: [{ fromEndpoints: [{ matchLabels: { "k8s:io.kubernetes.pod.namespace": "ns-1" } }] }],
      },
    };
  }
  if (turn === 0) return network({ podSelector: {}, policyTypes: ["Ingress", "Egress"] });
  if (turn === 1)
    return network({
      podSelector: {},
      policyTypes: ["Egress"],
      egress: [
        {
          to: [{ namespaceSelector: { matchLabels: { purpose: "system" } } }],
          ports: [
            { port: 53, protocol: "UDP" },
            { port: 53, protocol: "TCP" },
          ],
        },
      ],
    });
  const team = { matchLabels: { team: `team-${(namespace + turn) % teams}` } };
  const frontends = { matchLabels: { tier: tiers[turn % tiers.length] } };
  if (turn < appsPerNamespace + 2)
    return network({
      podSelector: app(-2 + appsPerNamespace),
      ingress: [
        {
          from: [{ podSelector: app(-1 + appsPerNamespace) }, { podSelector: app(5) }],
          ports: [{ port: 8080 }],
        },
      ],
    });
  const block = { cidr: `198.${18 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}/32` };
  switch (turn % 8) {
    case 0:
      return network({
        podSelector: app(0),
        ingress: [{ from: [{ namespaceSelector: team, podSelector: frontends }], ports: [{ port: "http" }] }],
      });
    case 1:
      return network({
        podSelector: app(3),
        policyTypes: ["Egress"],
        egress: [{ to: [{ ipBlock: block }], ports: [{ port: 443 }] }],
      });
    case 2:
      return network({
        podSelector: frontends,
        policyTypes: ["Egress"],
        egress: [{ to: [{ namespaceSelector: team }], ports: [{ port: 9000, endPort: 9100 }] }],
      });
    case 3:
      return cilium({
        endpointSelector: app(1),
        egress: [
          { toEndpoints: [app(2)], toPorts: [{ ports: [{ port: "http", protocol: "TCP" }] }] },
          { toCIDRSet: [{ cidr: "192.0.2.0/24", except: ["192.0.2.128/25"] }] },
        ],
      });
    case 4:
      return cilium({ endpointSelector: app(6), ingressDeny: [{ fromEndpoints: [app(9)] }] });
    case 5:
      return cilium({
        endpointSelector: app(2),
        egress: [{ toServices: [{ k8sService: { serviceName: "front", namespace: metadata.namespace } }] }],
      });
    case 6:
      return network({
        podSelector: { matchExpressions: [{ key: "tier", operator: "NotIn", values: ["store"] }] },
        ingress: [
          {
            from: [{ ipBlock: { cidr: "172.16.0.0/12", except: [`172.16.${namespace % 256}.0/24`] } }],
            ports: [{ port: 8000, endPort: 8999 }],
          },
        ],
      });
    default:
      return cilium({
        endpointSelector: app(4),
        ingress: [{ fromEntities: ["world"], toPorts: [{ ports: [{ port: "443", protocol: "TCP" }] }] }],
      });
  }
}
