// SPDX-License-Identifier: Apache-2.0
import type { Family } from "../../../../lib/addresses.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import type { EndpointPort, KubeEndpoint, Member } from "./endpoint-members.ts";
import { controllerReference } from "./ownership.ts";
import { canonicalJson } from "./pod-template.ts";
import { resources } from "./resources.ts";

/** The value of the managed-by label; slices of anybody else are left alone. */
export const manager = "endpointslice-controller.k8s.io";
export const serviceNameLabel = "kubernetes.io/service-name";
export const managedByLabel = "endpointslice.kubernetes.io/managed-by";
const headlessLabel = "service.kubernetes.io/headless";
const maxEndpoints = 100;

/** What to write so that the slices say what the members are. */
export interface SlicePlan {
  create: KubeObject[];
  update: KubeObject[];
  remove: KubeObject[];
}

const addressType = (family: Family): string => (family === "ipv4" ? "IPv4" : "IPv6");
const portKey = (ports: EndpointPort[] | null | undefined): string =>
  canonicalJson([...(ports ?? [])].sort((a, b) => (a.name < b.name ? -1 : 1)));

function sliceLabels(service: KubeObject): Record<string, string> {
  return {
    ...service.metadata.labels,
    ...(service.spec.clusterIP === "None" ? { [headlessLabel]: "" } : {}),
    [serviceNameLabel]: service.metadata.name!,
    [managedByLabel]: manager,
  };
}

function newSlice(
  service: KubeObject,
  family: Family,
  ports: EndpointPort[],
  endpoints: KubeEndpoint[],
): KubeObject {
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      generateName: `${service.metadata.name}-`,
      namespace: service.metadata.namespace!,
      labels: sliceLabels(service),
      ownerReferences: [controllerReference(service, resources.services)],
    },
    addressType: addressType(family),
    ports,
    endpoints,
  };
}

/**
 * Plans the slices of one address family. Endpoints stay in the slice that has them, new ones fill slices with
 * room, so that one changed pod rewrites one slice.
 */
export function planSlices(
  service: KubeObject,
  family: Family,
  members: Member[],
  existing: KubeObject[],
): SlicePlan {
  const plan: SlicePlan = { create: [], update: [], remove: [] };
  const mine = existing.filter((slice) => slice.addressType === addressType(family));
  const groups = Map.groupBy(members, ({ ports }) => portKey(ports));
  const slicesByPorts = Map.groupBy(mine, (slice) => portKey(slice.ports));
  for (const [key, slices] of slicesByPorts) if (!groups.has(key)) plan.remove.push(...slices);
  for (const [key, group] of groups) planGroup(service, family, group, slicesByPorts.get(key) ?? [], plan);
  keepPlaceholder(service, family, groups.size === 0, plan);
  return plan;
}

function planGroup(
  service: KubeObject,
  family: Family,
  group: Member[],
  slices: KubeObject[],
  plan: SlicePlan,
): void {
  const waiting = new Map(group.map(({ endpoint }) => [endpoint.targetRef.uid, endpoint]));
  const kept = slices.map((slice) => {
    const endpoints: KubeEndpoint[] = [];
    for (const present of slice.endpoints ?? []) {
      const wanted = waiting.get(present.targetRef?.uid);
      if (wanted === undefined) continue;
      endpoints.push(wanted);
      waiting.delete(present.targetRef.uid);
    }
    return { slice, endpoints };
  });
  const rest = [...waiting.values()];
  for (const { slice, endpoints } of kept) {
    endpoints.push(...rest.splice(0, Math.max(0, maxEndpoints - endpoints.length)));
    if (endpoints.length === 0) plan.remove.push(slice);
    else if (hasChanged(service, slice, endpoints)) plan.update.push(updated(service, slice, endpoints));
  }
  while (rest.length > 0)
    plan.create.push(newSlice(service, family, group[0]!.ports, rest.splice(0, maxEndpoints)));
}

function hasChanged(service: KubeObject, slice: KubeObject, endpoints: KubeEndpoint[]): boolean {
  return (
    canonicalJson(slice.endpoints ?? []) !== canonicalJson(endpoints) ||
    canonicalJson(slice.metadata.labels ?? {}) !== canonicalJson(sliceLabels(service))
  );
}

function updated(service: KubeObject, slice: KubeObject, endpoints: KubeEndpoint[]): KubeObject {
  return { ...slice, metadata: { ...slice.metadata, labels: sliceLabels(service) }, endpoints };
}

/** A Service without pods keeps one empty slice a family. */
function keepPlaceholder(service: KubeObject, family: Family, isEmpty: boolean, plan: SlicePlan): void {
  if (!isEmpty) return;
  const present = plan.remove.pop();
  if (present === undefined) plan.create.push(newSlice(service, family, [], []));
  else if ((present.endpoints ?? []).length > 0 || (present.ports ?? []).length > 0)
    plan.update.push({ ...updated(service, present, []), ports: [] });
}
