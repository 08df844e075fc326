// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { isEmptySelector, matchesSelector } from "../../../../lib/label-selector.ts";
import type { NodeInfo, Snapshot } from "./snapshot.ts";

/** A term of pod affinity or anti-affinity. */
interface AffinityTerm {
  labelSelector?: any;
  namespaces?: string[];
  namespaceSelector?: any;
  topologyKey: string;
}

const required = "requiredDuringSchedulingIgnoredDuringExecution";
export const preferred = "preferredDuringSchedulingIgnoredDuringExecution";

/** Whether a term that `owner` states speaks of `other`. */
function termSelects(
  term: AffinityTerm,
  owner: KubeObject,
  other: KubeObject,
  namespaces: Map<string, KubeObject>,
): boolean {
  const namespace = other.metadata.namespace!;
  const listed = term.namespaces ?? [];
  const selector = term.namespaceSelector;
  const isNamed =
    listed.length === 0 && (selector === undefined || selector === null)
      ? namespace === owner.metadata.namespace
      : listed.includes(namespace) ||
        (selector !== undefined &&
          selector !== null &&
          (isEmptySelector(selector) ||
            matchesSelector(selector, namespaces.get(namespace)?.metadata.labels ?? {})));
  return isNamed && matchesSelector(term.labelSelector, other.metadata.labels);
}

const terms = (pod: KubeObject, kind: "podAffinity" | "podAntiAffinity"): AffinityTerm[] =>
  pod.spec.affinity?.[kind]?.[required] ?? [];

/** The values of the term's topology key on nodes with a pod that it selects. */
function domainsWith(term: AffinityTerm, pod: KubeObject, snapshot: Snapshot): Set<string> {
  const domains = new Set<string>();
  for (const info of snapshot.nodes.values()) {
    const domain = info.label(term.topologyKey);
    if (domain === undefined || domains.has(domain)) continue;
    for (const other of info.pods)
      if (termSelects(term, pod, other, snapshot.namespaces)) {
        domains.add(domain);
        break;
      }
  }
  return domains;
}

/** Prepares the check of required pod affinity and anti-affinity; it names why a node does not do. */
export function podAffinityFilter(
  pod: KubeObject,
  snapshot: Snapshot,
): (info: NodeInfo) => string | undefined {
  const wanted = terms(pod, "podAffinity").map((term) => ({
    term,
    domains: domainsWith(term, pod, snapshot),
  }));
  const refused = terms(pod, "podAntiAffinity").map((term) => ({
    term,
    domains: domainsWith(term, pod, snapshot),
  }));
  const refusedByOthers = new Set<string>();
  for (const info of snapshot.nodes.values())
    for (const other of info.pods)
      for (const term of terms(other, "podAntiAffinity")) {
        const domain = info.label(term.topologyKey);
        if (domain !== undefined && termSelects(term, other, pod, snapshot.namespaces))
          refusedByOthers.add(`${term.topologyKey}=${domain}`);
      }
  // The first pod of a group that wants to be together has nobody to join.
  const isFirst =
    wanted.every(({ domains }) => domains.size === 0) &&
    wanted.every(({ term }) => termSelects(term, pod, pod, snapshot.namespaces));
  return (info) => {
    for (const { term, domains } of wanted) {
      const domain = info.label(term.topologyKey);
      if (domain === undefined || (!isFirst && !domains.has(domain)))
        return "node(s) didn't match pod affinity rules";
    }
    for (const { term, domains } of refused) {
      const domain = info.label(term.topologyKey);
      if (domain !== undefined && domains.has(domain)) return "node(s) didn't match pod anti-affinity rules";
    }
    for (const pair of refusedByOthers) {
      const [key, value] = splitOnce(pair);
      if (info.label(key) === value) return "node(s) didn't satisfy existing pods anti-affinity rules";
    }
    return undefined;
  };
}

function splitOnce(pair: string): [string, string] {
  const at = pair.indexOf("=");
  return [pair.slice(0, at), pair.slice(at + 1)];
}

/** The sum of the weights of the preferred terms that a node would meet, anti-affinity negative. */
export function podAffinityScore(pod: KubeObject, snapshot: Snapshot): (info: NodeInfo) => number {
  const weighted: { term: AffinityTerm; weight: number; domains: Set<string> }[] = [];
  for (const [kind, sign] of [
    ["podAffinity", 1],
    ["podAntiAffinity", -1],
  ] as const)
    for (const { weight, podAffinityTerm } of pod.spec.affinity?.[kind]?.[preferred] ?? [])
      weighted.push({
        term: podAffinityTerm,
        weight: weight * sign,
        domains: domainsWith(podAffinityTerm, pod, snapshot),
      });
  return (info) =>
    weighted.reduce((sum, { term, weight, domains }) => {
      const domain = info.label(term.topologyKey);
      return domain !== undefined && domains.has(domain) ? sum + weight : sum;
    }, 0);
}
