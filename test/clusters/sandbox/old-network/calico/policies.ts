// SPDX-License-Identifier: Apache-2.0
// Standard NetworkPolicies in Felix's chains, for the pods of one node; IPv4, as all of this network.
import { createHash } from "node:crypto";
import type { KubeObject } from "../../../../../lib/kube-object.ts";
import { matchesSelector } from "../../../../../lib/label-selector.ts";
import { interfaceOf } from "./names.ts";

/** Chains of one policy for one endpoint and direction; the first is called by the endpoint's own chain. */
export interface PolicyChains {
  name: string;
  chains: Record<string, string[]>;
}

/** By interface: policies that isolate the pod, or none. A pod that is not named is not known yet. */
export type EndpointPolicies = Record<string, { ingress?: PolicyChains[]; egress?: PolicyChains[] }>;

interface Cluster {
  policies: readonly KubeObject[];
  pods: readonly KubeObject[];
  namespaces: readonly KubeObject[];
}

const accept = "% -j MARK --set-xmark 0x10000/0x10000";
const isAccepted = "% -m mark --mark 0x10000/0x10000 -j RETURN";

/** What the pods of a node are isolated by. */
export function policiesOf(cluster: Cluster, nodeName: string): EndpointPolicies {
  const found: EndpointPolicies = {};
  for (const pod of cluster.pods) {
    if (pod.spec?.nodeName !== nodeName || pod.spec.hostNetwork === true) continue;
    const { namespace = "default", name = "" } = pod.metadata;
    const endpoint: EndpointPolicies[string] = {};
    for (const policy of cluster.policies) {
      const { podSelector, policyTypes, egress } = policy.spec;
      if (policy.metadata.namespace !== namespace || !matchesSelector(podSelector, pod.metadata.labels))
        continue;
      const types: string[] = policyTypes ?? ["Ingress", ...(egress === undefined ? [] : ["Egress"])];
      for (const [type, key] of [
        ["Ingress", "ingress"],
        ["Egress", "egress"],
      ] as const)
        if (types.includes(type))
          endpoint[key] = [...(endpoint[key] ?? []), chainsOf(policy, key, pod, cluster)];
    }
    found[interfaceOf(namespace, name)] = endpoint;
  }
  return found;
}

function chainsOf(
  policy: KubeObject,
  key: "ingress" | "egress",
  pod: KubeObject,
  cluster: Cluster,
): PolicyChains {
  const { namespace, name, uid } = policy.metadata;
  const hash = createHash("sha256")
    .update(`${uid ?? `${namespace}/${name}`} ${pod.metadata.uid}`)
    .digest("base64url");
  const chain = `cali-${key === "ingress" ? "pi" : "po"}-_${hash.replaceAll(/[^\w]/g, "").slice(0, 14)}`;
  const chains: Record<string, string[]> = {};
  const rules: string[] = [];
  const flag = key === "ingress" ? "-s" : "-d";
  for (const rule of policy.spec[key] ?? []) {
    const peers: any[] = rule[key === "ingress" ? "from" : "to"] ?? [];
    const add = (match: string, portsOf: KubeObject | undefined): void => {
      for (const ports of portMatches(rule.ports, portsOf))
        rules.push(`${match}${ports.before}${accept.replace("%", `%${ports.after}`)}`);
    };
    if (peers.length === 0) add("", key === "ingress" ? pod : undefined);
    for (const peer of peers) {
      if (peer.ipBlock === undefined) {
        for (const other of podsOf(peer, namespace ?? "default", cluster))
          for (const address of addressesOf(other))
            add(`${flag} ${address}/32 `, key === "ingress" ? pod : other);
        continue;
      }
      const { cidr, except = [] } = peer.ipBlock;
      if (cidr.includes(":")) continue;
      if (except.length === 0) {
        add(`${flag} ${cidr} `, key === "ingress" ? pod : undefined);
        continue;
      }
      // A chain of its own, which what is excepted leaves.
      const own = `${chain}${Object.keys(chains).length}`;
      chains[own] = [
        ...except.map((one: string) => `${flag} ${one} % -j RETURN`),
        ...portMatches(rule.ports, key === "ingress" ? pod : undefined).map(
          ({ before, after }) => `${before}${accept.replace("%", `%${after}`)}`,
        ),
      ];
      rules.push(`${flag} ${cidr} % -j ${own}`);
    }
  }
  return { name: chain, chains: { [chain]: [...rules, isAccepted], ...chains } };
}

const addressesOf = (pod: KubeObject): string[] =>
  (pod.status?.podIPs ?? []).map(({ ip }: any) => ip).filter((ip: string) => !ip.includes(":"));

function podsOf(peer: any, namespace: string, { pods, namespaces }: Cluster): KubeObject[] {
  const inNamespace = (pod: KubeObject): boolean => {
    if (peer.namespaceSelector === undefined) return pod.metadata.namespace === namespace;
    const found = namespaces.find(({ metadata }) => metadata.name === pod.metadata.namespace);
    return matchesSelector(peer.namespaceSelector, found?.metadata.labels);
  };
  return pods.filter(
    (pod) =>
      pod.spec?.hostNetwork !== true &&
      !["Succeeded", "Failed"].includes(pod.status?.phase) &&
      inNamespace(pod) &&
      matchesSelector(peer.podSelector ?? {}, pod.metadata.labels),
  );
}

/** In the order of iptables-save: the protocol stands before the comment, the ports behind it. */
function portMatches(
  ports: any[] | undefined,
  receiver: KubeObject | undefined,
): { before: string; after: string }[] {
  if (ports === undefined || ports.length === 0) return [{ before: "", after: "" }];
  return ports.flatMap(({ protocol = "TCP", port, endPort }) => {
    const name = protocol.toLowerCase();
    if (port === undefined) return [{ before: `-p ${name} `, after: "" }];
    const numbers: number[] = typeof port === "number" ? [port] : namedPorts(receiver, port, protocol);
    return numbers.map((number) => ({
      before: `-p ${name} `,
      after: ` -m ${name} --dport ${number}${endPort === undefined ? "" : `:${endPort}`}`,
    }));
  });
}

const namedPorts = (pod: KubeObject | undefined, name: string, wanted: string): number[] =>
  (pod?.spec?.containers ?? []).flatMap(({ ports = [] }: any) =>
    ports
      .filter((one: any) => one.name === name && (one.protocol ?? "TCP") === wanted)
      .map(({ containerPort }: any) => containerPort),
  );
