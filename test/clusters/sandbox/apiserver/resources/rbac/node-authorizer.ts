// SPDX-License-Identifier: Apache-2.0
// What a kubelet may do: a fixed list, and of secrets, config maps, claims and service accounts only those
// that the pods bound to its node refer to.
import type { KubeObject, ObjectReader } from "../resource.ts";
import type { AuthorizationAttributes, Decision } from "./attributes.ts";
import { NODE_RULES } from "./node-rules.ts";
import { ruleAllowsResource } from "./rules.ts";

const ALLOWED: Decision = { allowed: true, reason: "" };
const READ = ["get", "list", "watch"];

/** The Node authorizer's answer for the kubelet of this node. */
export function authorizeNode(
  node: string,
  attributes: AuthorizationAttributes,
  store: ObjectReader,
): Decision {
  const { verb, group = "", resource, subresource = "", name = "", namespace } = attributes;
  if (!resource) return deny("");
  if (group === "" && subresource === "" && isPodOwned(resource)) {
    if (!READ.includes(verb)) return deny(`can only read resources of this type`);
    return referenced(node, resource, namespace, name, store)
      ? ALLOWED
      : deny(`no relationship found between node '${node}' and this object`);
  }
  if (group === "" && resource === "serviceaccounts" && subresource === "token") {
    const own = podsOf(node, store).some(
      (pod) => pod.metadata.namespace === namespace && pod.spec.serviceAccountName === name,
    );
    return verb === "create" && own
      ? ALLOWED
      : deny(`no relationship found between node '${node}' and this object`);
  }
  if (group === "coordination.k8s.io" && resource === "leases") return authorizeLease(node, attributes);
  const question = { verb, group, resource, subresource, name };
  return NODE_RULES.some((rule) => ruleAllowsResource(rule, question)) ? ALLOWED : deny("");
}

function deny(reason: string): Decision {
  return { allowed: false, reason };
}

function isPodOwned(resource: string): boolean {
  return ["secrets", "configmaps", "persistentvolumeclaims"].includes(resource);
}

function authorizeLease(node: string, { verb, namespace, name }: AuthorizationAttributes): Decision {
  const allowed = ["get", "create", "update", "patch", "delete"].includes(verb);
  if (allowed && namespace === "kube-node-lease" && (verb === "create" || name === node)) return ALLOWED;
  return deny(`can only access node lease with the same name as the requesting node`);
}

function podsOf(node: string, store: ObjectReader): KubeObject[] {
  return store.list("", "pods").filter((pod) => pod.spec?.nodeName === node);
}

function referenced(
  node: string,
  resource: string,
  namespace: string | undefined,
  name: string,
  store: ObjectReader,
): boolean {
  if (!name) return false;
  return podsOf(node, store).some(
    (pod) => pod.metadata.namespace === namespace && references(pod.spec, resource).includes(name),
  );
}

function references(spec: KubeObject, resource: string): string[] {
  if (resource === "persistentvolumeclaims") {
    return (spec.volumes ?? []).map((volume: KubeObject) => volume.persistentVolumeClaim?.claimName);
  }
  return resource === "secrets" ? secretNames(spec) : configMapNames(spec);
}

function containersOf(spec: KubeObject): KubeObject[] {
  return [...(spec.containers ?? []), ...(spec.initContainers ?? []), ...(spec.ephemeralContainers ?? [])];
}

function sourcesOf(spec: KubeObject): KubeObject[] {
  const volumes: KubeObject[] = spec.volumes ?? [];
  return volumes.flatMap((volume) => [volume, ...(volume.projected?.sources ?? [])]);
}

function secretNames(spec: KubeObject): string[] {
  const environment = containersOf(spec).flatMap((container) => [
    ...(container.env ?? []).map((item: KubeObject) => item.valueFrom?.secretKeyRef?.name),
    ...(container.envFrom ?? []).map((item: KubeObject) => item.secretRef?.name),
  ]);
  const volumes = sourcesOf(spec).map((source) => source.secret?.secretName ?? source.secret?.name);
  const pull = (spec.imagePullSecrets ?? []).map((item: KubeObject) => item.name);
  return [...environment, ...volumes, ...pull];
}

function configMapNames(spec: KubeObject): string[] {
  const environment = containersOf(spec).flatMap((container) => [
    ...(container.env ?? []).map((item: KubeObject) => item.valueFrom?.configMapKeyRef?.name),
    ...(container.envFrom ?? []).map((item: KubeObject) => item.configMapRef?.name),
  ]);
  return [...environment, ...sourcesOf(spec).map((source) => source.configMap?.name)];
}
