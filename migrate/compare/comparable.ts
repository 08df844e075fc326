// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../lib/kube-object.ts";
import { isOwnGroup } from "./kinds.ts";

const ownNamespaces =
  /^(kube-(system|public|node-lease|flannel)|calico-(system|apiserver)|tigera-operator|shunt-.*)$/;
const ownName = /^(system:|kubeadm:|shunt-|flannel$|calico-|tigera-|kindnet$|canal)/;
const ownAnnotation =
  /^(kubectl\.kubernetes\.io\/(last-applied-configuration|restartedAt)|deployment\.kubernetes\.io\/|deprecated\.daemonset\.template\.generation|(pv|volume(\.beta)?)\.kubernetes\.io\/|shunt\.dev\/|endpoints\.kubernetes\.io\/|control-plane\.alpha\.kubernetes\.io\/|autoscaling\.alpha\.kubernetes\.io\/)/;

/** What each cluster has of its own accord: not for the other one to have. */
export function isOwn(kind: string, { metadata, type, spec, status }: KubeObject): boolean {
  const { namespace, name = "", labels, ownerReferences } = metadata;
  if (ownNamespaces.test(namespace ?? "")) return true;
  // Whoever made it makes it in the other cluster too.
  if (ownerReferences?.some(({ controller }) => controller === true)) return true;
  if (labels?.["kubernetes.io/bootstrapping"] !== undefined) return true;
  switch (kind) {
    case "Namespace":
      return ownNamespaces.test(name);
    case "ClusterRole":
    case "ClusterRoleBinding":
    case "PriorityClass":
      return ownName.test(name) || /^system-(node|cluster)-critical$/.test(name);
    case "CustomResourceDefinition":
      return isOwnGroup(String(spec?.group ?? ""));
    case "ConfigMap":
      return name === "kube-root-ca.crt";
    case "Secret":
      return type === "kubernetes.io/service-account-token" || type === "bootstrap.kubernetes.io/token";
    case "Service":
      return namespace === "default" && name === "kubernetes";
    case "Pod":
      return (
        metadata.annotations?.["kubernetes.io/config.mirror"] !== undefined ||
        ["Succeeded", "Failed"].includes(status?.phase)
      );
    case "Job":
      return status?.completionTime !== undefined;
    default:
      return false;
  }
}

type Tree = Record<string, any>;

function without(tree: Tree | undefined, ...keys: string[]): Tree {
  const copy = { ...tree };
  for (const key of keys) delete copy[key];
  return copy;
}

const kept = (annotations: Tree | undefined): Tree =>
  Object.fromEntries(Object.entries(annotations ?? {}).filter(([key]) => !ownAnnotation.test(key)));

const templateOf = (template: Tree | undefined): Tree => ({
  ...template,
  metadata: {
    labels: without(
      template?.metadata?.labels,
      "controller-uid",
      "batch.kubernetes.io/controller-uid",
      "job-name",
      "batch.kubernetes.io/job-name",
    ),
    annotations: kept(template?.metadata?.annotations),
  },
});

const specs: Record<string, (spec: Tree) => Tree> = {
  Namespace: () => ({}),
  Service: (spec) => ({
    ...without(spec, "clusterIP", "clusterIPs", "healthCheckNodePort", "ipFamilies", "ipFamilyPolicy"),
    headless: spec.clusterIP === "None",
    ports: (spec.ports ?? []).map((port: Tree) => without(port, "nodePort")),
  }),
  PersistentVolumeClaim: (spec) => without(spec, "volumeName"),
  Pod: (spec) => ({
    containers: (spec.containers ?? []).map(({ name, image, command, args }: Tree) => ({
      ...{ name, image, command, args },
    })),
  }),
  Job: (spec) => ({ ...without(spec, "selector"), template: templateOf(spec.template) }),
  CustomResourceDefinition: (spec) => ({ ...spec, conversion: without(spec.conversion, "webhook") }),
};

/** An object as far as two clusters should agree about it; what servers and controllers fill in is left out. */
export function comparable(kind: string, object: KubeObject, isScaled: boolean): Tree {
  const { metadata, spec, status: _, apiVersion: __, kind: ___, ...rest } = object as Tree;
  const fields: Tree = {
    ...rest,
    labels: without(metadata.labels, "kubernetes.io/metadata.name"),
    annotations: kept(metadata.annotations),
  };
  if (spec !== undefined) fields.spec = specs[kind]?.(spec) ?? spec;
  if (["Deployment", "StatefulSet", "DaemonSet"].includes(kind)) {
    fields.spec = { ...without(spec, "revisionHistoryLimit"), template: templateOf(spec?.template) };
    // An autoscaler decides for itself in each cluster.
    if (isScaled) delete fields.spec.replicas;
  }
  // Older servers wrote the names of token Secrets here.
  if (kind === "ServiceAccount") delete fields.secrets;
  if (kind.endsWith("WebhookConfiguration"))
    fields.webhooks = (fields.webhooks ?? []).map((webhook: Tree) => ({
      ...webhook,
      clientConfig: without(webhook.clientConfig, "caBundle"),
    }));
  return JSON.parse(JSON.stringify(fields));
}

const shownLength = 60;

/** A value in a report. Of a Secret, and of what is long, nothing is shown. */
function show(kind: string, value: unknown): string {
  if (value === undefined) return "nothing";
  if (kind === "Secret") return "another value (not shown)";
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length > shownLength ? `${text.slice(0, shownLength)}…` : text;
}

const isTree = (value: unknown): value is Tree => typeof value === "object" && value !== null;

/** The fields in which two objects differ: `spec.replicas: 3, there 2`. At most `most`. */
export function differingFields(kind: string, source: Tree, target: Tree, most = 5): string[] {
  const found: string[] = [];
  const walk = (path: string, a: unknown, b: unknown): void => {
    if (found.length >= most || JSON.stringify(sorted(a)) === JSON.stringify(sorted(b))) return;
    if (!isTree(a) || !isTree(b) || Array.isArray(a) !== Array.isArray(b)) {
      found.push(`${path}: ${show(kind, a)}, there ${show(kind, b)}`);
      return;
    }
    for (const key of new Set([...Object.keys(a), ...Object.keys(b)]))
      walk(path === "" ? key : `${path}.${key}`, a[key], b[key]);
  };
  walk("", source, target);
  return found;
}

/** The same text for the same content, whatever the order of its keys. */
export const canonical = (tree: Tree): string => JSON.stringify(sorted(tree));

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isTree(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, below]) => [key, sorted(below)]),
  );
}
