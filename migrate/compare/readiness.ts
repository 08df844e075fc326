// SPDX-License-Identifier: Apache-2.0
import { resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import type { ClusterSource } from "../inventory/source.ts";
import type { Finding } from "../model/inventory.ts";
import { isOwn } from "./comparable.ts";

const block = (id: string, object: string, problem: string, remedy: string): Finding => ({
  severity: "block",
  ...{ id, object, problem, remedy },
});

const nameOf = (kind: string, { metadata }: KubeObject): string =>
  metadata.namespace === undefined
    ? `${kind} ${metadata.name}`
    : `${kind} ${metadata.namespace}/${metadata.name}`;

const conditionOf = ({ status }: KubeObject, type: string): any =>
  status?.conditions?.find((condition: any) => condition.type === type);

/** What of the new cluster is not ready to take the traffic yet. */
export async function readinessOf(source: ClusterSource, target: ClusterSource): Promise<Finding[]> {
  return [
    ...(await nodes(target)),
    ...(await agents(target)),
    ...(await workloads(target)),
    ...(await claims(target)),
    ...(await endpoints(source, target)),
    ...(await entrances(source, target)),
  ];
}

async function nodes(target: ClusterSource): Promise<Finding[]> {
  const found: Finding[] = [];
  let usable = 0;
  await target.each(resourcePath("v1", "nodes"), (node) => {
    const remedy = `See kubectl describe node ${node.metadata.name} in the new cluster.`;
    if (conditionOf(node, "Ready")?.status !== "True")
      found.push(block("target-node-not-ready", nameOf("Node", node), "is not Ready", remedy));
    else if (node.spec?.unschedulable !== true) usable += 1;
  });
  if (usable === 0)
    found.push(
      block(
        "target-without-nodes",
        "cluster",
        "no node of the new cluster takes pods",
        "Add or uncordon nodes.",
      ),
    );
  return found;
}

async function agents(target: ClusterSource): Promise<Finding[]> {
  const found: Finding[] = [];
  const count = await target.each(resourcePath("shunt.dev/v1alpha1", "nodes"), (node) => {
    const ready = conditionOf(node, "Ready");
    const { podNetwork, services } = node.status?.layers ?? {};
    const remedy = "See shunt status with the new cluster's --context.";
    if (ready?.status !== "True")
      found.push(
        block("target-agent-not-ready", nameOf("ShuntNode", node), ready?.message || "is not Ready", remedy),
      );
    else if (podNetwork?.mode !== "active" || services?.mode !== "on")
      found.push(
        block(
          "target-agent-not-active",
          nameOf("ShuntNode", node),
          `its pod network is ${podNetwork?.mode}, its services are ${services?.mode}`,
          remedy,
        ),
      );
  });
  if (count === 0)
    found.push(
      block(
        "target-without-agent",
        "cluster",
        "the agent does not run in the new cluster",
        "Install it there: shunt install --context NEW",
      ),
    );
  return found;
}

/** How many pods a workload wants, and how many are ready and of its newest revision. */
const wants: [plural: string, kind: string, numbers: (object: KubeObject) => [number, number]][] = [
  [
    "deployments",
    "Deployment",
    ({ spec, status }) => [
      spec?.replicas ?? 1,
      Math.min(status?.availableReplicas ?? 0, status?.updatedReplicas ?? 0),
    ],
  ],
  ["statefulsets", "StatefulSet", ({ spec, status }) => [spec?.replicas ?? 1, status?.readyReplicas ?? 0]],
  [
    "daemonsets",
    "DaemonSet",
    ({ status }) => [status?.desiredNumberScheduled ?? 0, status?.numberReady ?? 0],
  ],
];

async function workloads(target: ClusterSource): Promise<Finding[]> {
  const found: Finding[] = [];
  for (const [plural, kind, numbers] of wants)
    await target.each(resourcePath("apps/v1", plural), (object) => {
      const [wanted, ready] = numbers(object);
      const isSeen = (object.status?.observedGeneration ?? 0) >= (object.metadata.generation ?? 0);
      if (isSeen && ready >= wanted) return;
      const { namespace, name } = object.metadata;
      found.push(
        block(
          "target-workload-not-ready",
          nameOf(kind, object),
          isSeen ? `${ready} of ${wanted} pods are ready` : "its controller has not seen it yet",
          `See kubectl -n ${namespace} describe ${kind.toLowerCase()} ${name} in the new cluster.`,
        ),
      );
    });
  return found;
}

async function claims(target: ClusterSource): Promise<Finding[]> {
  const found: Finding[] = [];
  await target.each(resourcePath("v1", "persistentvolumeclaims"), (claim) => {
    const phase = claim.status?.phase ?? "Pending";
    if (phase === "Lost")
      found.push(
        block(
          "target-volume-lost",
          nameOf("PersistentVolumeClaim", claim),
          "has lost its volume",
          "Restore it.",
        ),
      );
    else if (phase !== "Bound")
      found.push({
        id: "target-volume-not-bound",
        severity: "warn",
        object: nameOf("PersistentVolumeClaim", claim),
        problem: `is ${phase}`,
        remedy: "It is bound when a pod first uses it, or a volume for it is missing.",
      });
  });
  return found;
}

async function readyServices(source: ClusterSource): Promise<Map<string, number>> {
  const ready = new Map<string, number>();
  await source.each(resourcePath("discovery.k8s.io/v1", "endpointslices"), ({ metadata, endpoints }) => {
    const service = metadata.labels?.["kubernetes.io/service-name"];
    if (service === undefined) return;
    const count = (endpoints ?? []).filter((entry: any) => entry.conditions?.ready !== false).length;
    const key = `${metadata.namespace}/${service}`;
    ready.set(key, (ready.get(key) ?? 0) + count);
  });
  return ready;
}

/** A Service that answers here and has nobody behind it there. */
async function endpoints(source: ClusterSource, target: ClusterSource): Promise<Finding[]> {
  const [here, there] = await Promise.all([readyServices(source), readyServices(target)]);
  const found: Finding[] = [];
  await target.each(resourcePath("v1", "services"), (service) => {
    if (isOwn("Service", service)) return;
    const key = `${service.metadata.namespace}/${service.metadata.name}`;
    if ((here.get(key) ?? 0) > 0 && (there.get(key) ?? 0) === 0)
      found.push(
        block(
          "target-service-without-endpoints",
          `Service ${key}`,
          `has no ready endpoint; in the old cluster it has ${here.get(key)}`,
          "See whether its pods are Ready and its selector finds them.",
        ),
      );
  });
  return found;
}

/** Entrances from outside that have an address here and none there. */
async function entrances(source: ClusterSource, target: ClusterSource): Promise<Finding[]> {
  const found: Finding[] = [];
  const kinds = [
    ["v1", "services", "Service"],
    ["networking.k8s.io/v1", "ingresses", "Ingress"],
  ] as const;
  const hasAddress = ({ status }: KubeObject): boolean => (status?.loadBalancer?.ingress ?? []).length > 0;
  for (const [apiVersion, plural, kind] of kinds) {
    const here = new Set<string>();
    await source.each(resourcePath(apiVersion, plural), (object) => {
      if (hasAddress(object)) here.add(nameOf(kind, object));
    });
    await target.each(resourcePath(apiVersion, plural), (object) => {
      if (isOwn(kind, object) || hasAddress(object) || !here.has(nameOf(kind, object))) return;
      found.push(
        block(
          "target-without-address",
          nameOf(kind, object),
          "has no address for clients yet",
          "See its controller's events: a load balancer or an ingress controller is missing or busy.",
        ),
      );
    });
  }
  return found;
}
