// SPDX-License-Identifier: Apache-2.0

import { groupVersion } from "./api.ts";
import type { KubeObject, Registry, Resource } from "./resources/index.ts";

interface Subresource {
  kind: string;
  group?: string;
  version?: string;
  verbs: string[];
}

const STREAM = ["create", "get"];
const PROXY = ["create", "delete", "get", "patch", "update"];

const SUBRESOURCES: Record<string, Subresource> = {
  scale: { kind: "Scale", group: "autoscaling", version: "v1", verbs: ["get", "patch", "update"] },
  eviction: { kind: "Eviction", group: "policy", version: "v1", verbs: ["create"] },
  binding: { kind: "Binding", verbs: ["create"] },
  token: { kind: "TokenRequest", group: "authentication.k8s.io", version: "v1", verbs: ["create"] },
  finalize: { kind: "", verbs: ["update"] },
  log: { kind: "", verbs: ["get"] },
  exec: { kind: "PodExecOptions", verbs: STREAM },
  attach: { kind: "PodAttachOptions", verbs: STREAM },
  portforward: { kind: "PodPortForwardOptions", verbs: STREAM },
};

function subresource(resource: Resource, name: string): Subresource {
  if (name === "proxy") return { kind: `${resource.kind}ProxyOptions`, verbs: PROXY };
  const known = SUBRESOURCES[name] ?? { kind: "", verbs: ["get", "patch", "update"] };
  return { ...known, kind: known.kind || resource.kind };
}

function groupsOf(registry: Registry): Map<string, Map<string, Resource[]>> {
  const groups = new Map<string, Map<string, Resource[]>>();
  for (const resource of registry.all()) {
    const versions = groups.get(resource.group) ?? new Map<string, Resource[]>();
    groups.set(resource.group, versions);
    versions.set(resource.version, [...(versions.get(resource.version) ?? []), resource]);
  }
  for (const [group, versions] of groups)
    groups.set(group, new Map([...versions].sort(([a], [b]) => compareVersions(a, b))));
  return groups;
}

// Stable versions first, then beta, then alpha; newer before older.
function compareVersions(a: string, b: string): number {
  const rank = (version: string): number[] => {
    const match = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(version);
    if (match === null) return [0, 0, 0];
    const stability = match[2] === undefined ? 3 : match[2] === "beta" ? 2 : 1;
    return [stability, Number(match[1]), Number(match[3] ?? 0)];
  };
  const [left, right] = [rank(a), rank(b)];
  for (let index = 0; index < 3; index++)
    if (left[index] !== right[index]) return right[index]! - left[index]!;
  return a < b ? -1 : 1;
}

/** `/api`. */
export function coreVersions(address: string): KubeObject {
  return {
    kind: "APIVersions",
    versions: ["v1"],
    serverAddressByClientCIDRs: [{ clientCIDR: "0.0.0.0/0", serverAddress: address }],
  };
}

function apiGroup(name: string, versions: string[]): KubeObject {
  const entries = versions.map((version) => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions: entries, preferredVersion: entries[0] };
}

/** `/apis`. */
export function groupList(registry: Registry): KubeObject {
  const groups = [...groupsOf(registry)].filter(([name]) => name !== "");
  return {
    kind: "APIGroupList",
    apiVersion: "v1",
    groups: groups.map(([name, versions]) => apiGroup(name, [...versions.keys()])),
  };
}

/** `/apis/GROUP`; undefined when it is not served. */
export function oneGroup(registry: Registry, name: string): KubeObject | undefined {
  const versions = name === "" ? undefined : groupsOf(registry).get(name);
  if (versions === undefined) return undefined;
  return { kind: "APIGroup", apiVersion: "v1", ...apiGroup(name, [...versions.keys()]) };
}

/** `/api/v1` and `/apis/GROUP/VERSION`; undefined when it is not served. */
export function resourceList(registry: Registry, group: string, version: string): KubeObject | undefined {
  const resources = groupsOf(registry).get(group)?.get(version);
  if (resources === undefined) return undefined;
  return {
    kind: "APIResourceList",
    ...(group === "" ? {} : { apiVersion: "v1" }),
    groupVersion: groupVersion({ group, version }),
    resources: resources.flatMap((resource) => [
      {
        name: resource.plural,
        singularName: resource.singular,
        namespaced: resource.namespaced,
        kind: resource.kind,
        verbs: resource.verbs,
        ...(resource.shortNames.length === 0 ? {} : { shortNames: resource.shortNames }),
        ...(resource.categories.length === 0 ? {} : { categories: resource.categories }),
      },
      ...resource.subresources.map((name) => {
        const { kind, group: kindGroup, version: kindVersion, verbs } = subresource(resource, name);
        return {
          name: `${resource.plural}/${name}`,
          singularName: "",
          namespaced: resource.namespaced,
          ...(kindGroup === undefined ? {} : { group: kindGroup, version: kindVersion }),
          kind,
          verbs,
        };
      }),
    ]),
  };
}

function aggregatedResource(resource: Resource): KubeObject {
  const { group, version, kind } = resource;
  return {
    resource: resource.plural,
    responseKind: { group, version, kind },
    scope: resource.namespaced ? "Namespaced" : "Cluster",
    singularResource: resource.singular,
    verbs: resource.verbs,
    ...(resource.shortNames.length === 0 ? {} : { shortNames: resource.shortNames }),
    ...(resource.categories.length === 0 ? {} : { categories: resource.categories }),
    ...(resource.subresources.length === 0
      ? {}
      : {
          subresources: resource.subresources.map((name) => {
            const found = subresource(resource, name);
            return {
              subresource: name,
              responseKind: {
                group: found.group ?? group,
                version: found.version ?? version,
                kind: found.kind,
              },
              verbs: found.verbs,
            };
          }),
        }),
  };
}

/** Aggregated discovery of the core group or of all others, in version v2 or v2beta1. */
export function aggregatedDiscovery(registry: Registry, core: boolean, version: string): KubeObject {
  const groups = [...groupsOf(registry)].filter(([name]) => (name === "") === core);
  return {
    kind: "APIGroupDiscoveryList",
    apiVersion: `apidiscovery.k8s.io/${version}`,
    metadata: {},
    items: groups.map(([name, versions]) => ({
      metadata: name === "" ? { creationTimestamp: null } : { name, creationTimestamp: null },
      versions: [...versions].map(([versionName, resources]) => ({
        version: versionName,
        resources: resources.map(aggregatedResource),
        freshness: "Current",
      })),
    })),
  };
}

/** The version of aggregated discovery that an Accept header puts first, if it names one. */
export function aggregatedVersion(accept: string | undefined): string | undefined {
  for (const clause of (accept ?? "").split(",")) {
    if (!clause.includes("as=APIGroupDiscoveryList")) {
      if (clause.trim() === "application/json") return undefined;
      continue;
    }
    const version = /;\s*v=(v2|v2beta1)\b/.exec(clause)?.[1];
    if (version !== undefined) return version;
  }
  return undefined;
}
