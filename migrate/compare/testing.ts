// SPDX-License-Identifier: Apache-2.0
// A small application, and all that a cluster has of its own, for tests that compare clusters.
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";

const plurals: Record<string, string> = {
  Endpoints: "endpoints",
  Ingress: "ingresses",
  NetworkPolicy: "networkpolicies",
  StorageClass: "storageclasses",
  PriorityClass: "priorityclasses",
};

const pluralOf = (kind: string): string => plurals[kind] ?? `${kind.toLowerCase()}s`;

/** Path of an object, or of its kind's list. */
export const pathOf = ({ apiVersion, kind, metadata }: KubeObject, name?: string): string =>
  resourcePath(apiVersion!, kind === "ShuntNode" ? "nodes" : pluralOf(kind!), metadata.namespace, name);

/** Makes an object with its status, as whoever writes that would. */
export async function make(kube: KubeClient, object: KubeObject): Promise<void> {
  const { status, ...rest } = object;
  await kube.create(pathOf(object), rest as KubeObject);
  if (status === undefined) return;
  const isCustom = object.kind === "ShuntNode";
  const path = pathOf(object, object.metadata.name) + (isCustom ? "" : "/status");
  // Tests change objects, and no controller is there that would see it.
  await kube.patch(path, "merge", { status: { ...status, observedGeneration: 99 } });
}

const container = { name: "web", image: "web:1", ports: [{ containerPort: 80 }] };
const template = { metadata: { labels: { app: "web" } }, spec: { containers: [container] } };

const object = (apiVersion: string, kind: string, name: string, rest: object = {}): KubeObject => ({
  apiVersion,
  kind,
  metadata: { name, namespace: "shop" },
  ...rest,
});

const global = (apiVersion: string, kind: string, name: string, rest: object = {}): KubeObject => ({
  apiVersion,
  kind,
  metadata: { name },
  ...rest,
});

const crd = (group: string, kind: string): KubeObject =>
  global("apiextensions.k8s.io/v1", "CustomResourceDefinition", `${kind.toLowerCase()}s.${group}`, {
    spec: {
      group,
      scope: "Namespaced",
      names: {
        kind,
        listKind: `${kind}List`,
        plural: `${kind.toLowerCase()}s`,
        singular: kind.toLowerCase(),
      },
      versions: [
        {
          ...{ name: "v1", served: true, storage: true },
          schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
        },
      ],
    },
  });

const base64 = (text: string): string => Buffer.from(text).toString("base64");

/** What both clusters should have. */
export function application(): KubeObject[] {
  return [
    global("v1", "Namespace", "shop"),
    crd("acme.example", "Widget"),
    crd("projectcalico.org", "Pool"),
    global("rbac.authorization.k8s.io/v1", "ClusterRole", "reader", {
      rules: [{ apiGroups: [""], resources: ["pods"], verbs: ["get"] }],
    }),
    object("rbac.authorization.k8s.io/v1", "RoleBinding", "readers", {
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "reader" },
      subjects: [{ kind: "ServiceAccount", name: "default", namespace: "shop" }],
    }),
    object("v1", "ConfigMap", "settings", { data: { colour: "blue" } }),
    object("v1", "Secret", "password", { data: { password: base64("correct horse") } }),
    object("v1", "PersistentVolumeClaim", "data", {
      spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
      status: { phase: "Bound" },
    }),
    object("apps/v1", "Deployment", "web", {
      spec: { replicas: 2, selector: { matchLabels: { app: "web" } }, template },
      status: { replicas: 2, readyReplicas: 2, availableReplicas: 2, updatedReplicas: 2 },
    }),
    object("v1", "Service", "web", {
      spec: { type: "NodePort", selector: { app: "web" }, ports: [{ port: 80 }] },
    }),
    object("discovery.k8s.io/v1", "EndpointSlice", "web-1", {
      metadata: { name: "web-1", namespace: "shop", labels: { "kubernetes.io/service-name": "web" } },
      addressType: "IPv4",
      ports: [{ port: 80 }],
      endpoints: [{ addresses: ["10.244.1.7"], conditions: { ready: true } }],
    }),
    object("networking.k8s.io/v1", "NetworkPolicy", "web", {
      spec: { podSelector: { matchLabels: { app: "web" } }, policyTypes: ["Ingress"], ingress: [] },
    }),
    object("networking.k8s.io/v1", "Ingress", "web", {
      spec: { defaultBackend: { service: { name: "web", port: { number: 80 } } } },
      status: { loadBalancer: { ingress: [{ ip: "192.0.2.80" }] } },
    }),
  ];
}

/** A custom object of the application, for when its definition is served. */
export const widget = (size: number): KubeObject =>
  object("acme.example/v1", "Widget", "one", { spec: { size } });

/** A node that is well, and the agent's word on it. */
export function nodeWithAgent(name: string): KubeObject[] {
  const ready = [{ type: "Ready", status: "True" }];
  return [
    global("v1", "Node", name, { status: { conditions: ready } }),
    global("shunt.dev/v1alpha1", "ShuntNode", name, {
      status: { conditions: ready, layers: { podNetwork: { mode: "active" }, services: { mode: "on" } } },
    }),
  ];
}

/** The agent's definition, as far as a comparison reads it. */
export const agentDefinition = (): KubeObject =>
  global("apiextensions.k8s.io/v1", "CustomResourceDefinition", "nodes.shunt.dev", {
    spec: {
      group: "shunt.dev",
      scope: "Cluster",
      names: { kind: "ShuntNode", listKind: "ShuntNodeList", plural: "nodes", singular: "shuntnode" },
      versions: [
        {
          ...{ name: "v1alpha1", served: true, storage: true },
          schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
        },
      ],
    },
  });
