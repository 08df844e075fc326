// SPDX-License-Identifier: Apache-2.0
// Pods that bring nodes: one for each old node, as large as what runs there, and the first to give way.
import { createHash } from "node:crypto";
import { ShuntError } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { isAlreadyExists } from "../../lib/kube-errors.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { readQuantity } from "../../lib/quantity.ts";
import { groupLabel, groupValue } from "./group-label.ts";

const namespace = "kube-system";
const priorityClass = "shunt-placeholder";
const placeholderLabel = "shunt.dev/placeholder";
const pods = (name?: string): string => resourcePath("v1", "pods", namespace, name);
const classes = (name?: string): string =>
  resourcePath("scheduling.k8s.io/v1", "priorityclasses", undefined, name);

/** Adds a placeholder for each old node that has none. Returns how many there are now. */
export async function addPlaceholders(
  kube: KubeClient,
  group: string,
  old: readonly string[],
): Promise<number> {
  const agent = await kube.find(resourcePath("apps/v1", "daemonsets", namespace, "shunt-agent"));
  const container = agent?.spec?.template?.spec?.containers?.[0];
  if (container?.image === undefined)
    throw new ShuntError(`DaemonSet ${namespace}/shunt-agent is not there, whose image placeholders use`, {
      code: "NoImage",
    });
  await createOnce(kube, classes(), {
    apiVersion: "scheduling.k8s.io/v1",
    kind: "PriorityClass",
    metadata: { name: priorityClass, labels: { "app.kubernetes.io/managed-by": "shunt" } },
    value: -1_000_000,
    preemptionPolicy: "Never",
    description: "Placeholders of a migration with Shunt: every other pod may take their place.",
  });
  for (const node of old) {
    const requests = await requestsOn(kube, node);
    await createOnce(kube, pods(), placeholder(group, node, requests, agent!));
  }
  return old.length;
}

/** Removes the placeholders that are left. Returns how many. */
export async function removePlaceholders(kube: KubeClient, group: string): Promise<number> {
  const labelSelector = `${placeholderLabel}=${groupValue(group)}`;
  const { items } = await kube.list(pods(), { labelSelector });
  for (const { metadata } of items) await kube.deleteIfExists(pods(metadata.name), { gracePeriodSeconds: 0 });
  await kube.deleteIfExists(classes(priorityClass));
  return items.length;
}

async function createOnce(kube: KubeClient, path: string, object: KubeObject): Promise<void> {
  try {
    await kube.create(path, object);
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}

/** What the pods of a node ask for together, without those that every node has. */
async function requestsOn(kube: KubeClient, node: string): Promise<{ cpu: string; memory: string }> {
  const { items } = await kube.list(resourcePath("v1", "pods"), { fieldSelector: `spec.nodeName=${node}` });
  let cpuMillis = 0;
  let memoryBytes = 0;
  for (const { metadata, spec, status } of items) {
    if (["Succeeded", "Failed"].includes(status?.phase)) continue;
    const owner = metadata.ownerReferences?.find(({ controller }) => controller === true);
    if (owner?.kind === "DaemonSet" || owner?.kind === "Node") continue;
    for (const { resources } of spec?.containers ?? []) {
      cpuMillis += Math.ceil(1000 * amount(resources?.requests?.cpu));
      memoryBytes += amount(resources?.requests?.memory);
    }
  }
  return {
    cpu: `${Math.max(10, cpuMillis)}m`,
    memory: `${Math.max(16, Math.ceil(memoryBytes / 2 ** 20))}Mi`,
  };
}

const amount = (quantity: string | undefined): number =>
  quantity === undefined ? 0 : (readQuantity(quantity) ?? 0);

function placeholder(
  group: string,
  node: string,
  requests: { cpu: string; memory: string },
  agent: KubeObject,
): KubeObject {
  const { image, imagePullPolicy = "IfNotPresent" } = agent.spec.template.spec.containers[0];
  const { imagePullSecrets } = agent.spec.template.spec;
  const suffix = createHash("sha256").update(`${group} ${node}`).digest("hex").slice(0, 16);
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: `shunt-placeholder-${suffix}`,
      namespace,
      labels: { [placeholderLabel]: groupValue(group), "app.kubernetes.io/managed-by": "shunt" },
    },
    spec: {
      nodeSelector: { [groupLabel]: groupValue(group) },
      affinity: {
        podAntiAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: [
            {
              labelSelector: { matchLabels: { [placeholderLabel]: groupValue(group) } },
              topologyKey: "kubernetes.io/hostname",
            },
          ],
        },
      },
      priorityClassName: priorityClass,
      terminationGracePeriodSeconds: 0,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      ...(imagePullSecrets === undefined ? {} : { imagePullSecrets }),
      containers: [
        {
          name: "placeholder",
          image,
          imagePullPolicy,
          command: ["/bin/busybox", "sleep", "2147483647"],
          resources: { requests, limits: requests },
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
        },
      ],
    },
  };
}
