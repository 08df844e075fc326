// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../lib/kube-object.ts";
import type { NamedPort } from "./decide.ts";
import { protocols } from "./model.ts";
import { labelKeys } from "./selector.ts";

const clusterName = "default";

/** The labels by which policies know a pod. `namespace`: its Namespace object, of which the labels are read. */
export function podLabels(pod: KubeObject, namespace: KubeObject | undefined): Map<string, string> {
  const labels = new Map<string, string>();
  for (const [key, value] of Object.entries(pod.metadata.labels ?? {})) labels.set(`k8s:${key}`, value);
  labels.set(labelKeys.namespace, pod.metadata.namespace ?? "default");
  for (const [key, value] of Object.entries(namespace?.metadata.labels ?? {}))
    labels.set(labelKeys.ofNamespace + key, value);
  labels.set(labelKeys.serviceAccount, pod.spec?.serviceAccountName ?? "default");
  labels.set(labelKeys.cluster, clusterName);
  return labels;
}

/** The ports that a pod's containers give names to. */
export function namedPorts(pod: KubeObject): NamedPort[] {
  const containers: any[] = [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])];
  return containers.flatMap(({ ports = [] }) =>
    ports.flatMap(({ name, containerPort, protocol = "TCP" }: any) =>
      typeof name === "string"
        ? [{ name, port: containerPort, protocol: protocols[protocol as keyof typeof protocols] ?? 0 }]
        : [],
    ),
  );
}
