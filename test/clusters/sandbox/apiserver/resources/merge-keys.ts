// SPDX-License-Identifier: Apache-2.0
// How lists and maps of built-in kinds merge. The API declares it in tags that the generated models lost.
import type { MergeKey } from "./resource.ts";
import { loadModel, type TypeRef } from "./schema/models.ts";

type Rule = MergeKey;

function map(keys: string, patchMergeKey?: string): Rule {
  const list = keys.split(" ");
  return { listType: "map", keys: list, patchMergeKey: patchMergeKey ?? list[0] };
}

const set: Rule = { listType: "set", keys: [] };
const atomic: Rule = { listType: "atomic", keys: [] };
const byType = map("type");
const byName = map("name");
const volumes: Rule = { ...byName, retainKeys: true };

const RULES: Record<string, Rule> = {
  "V1ObjectMeta.finalizers": set,
  "V1ObjectMeta.ownerReferences": map("uid"),
  "V1PodSpec.volumes": volumes,
  "V1PodSpec.initContainers": byName,
  "V1PodSpec.containers": byName,
  "V1PodSpec.ephemeralContainers": byName,
  "V1PodSpec.imagePullSecrets": byName,
  "V1PodSpec.hostAliases": map("ip"),
  "V1PodSpec.topologySpreadConstraints": map("topologyKey whenUnsatisfiable"),
  "V1PodSpec.resourceClaims": volumes,
  "V1PodSpec.schedulingGates": byName,
  "V1PodStatus.conditions": byType,
  "V1PodStatus.podIPs": map("ip"),
  "V1PodStatus.hostIPs": { ...atomic, patchMergeKey: "ip" },
  "V1PodStatus.resourceClaimStatuses": volumes,
  "V1ResourceRequirements.claims": { listType: "map", keys: ["name"] },
  "V1ServiceSpec.ports": map("port protocol"),
  "V1ServiceSpec.selector": atomic,
  "V1ServiceStatus.conditions": byType,
  "V1NodeSpec.podCIDRs": set,
  "V1NodeStatus.conditions": byType,
  "V1NodeStatus.addresses": byType,
  "V1ServiceAccount.secrets": byName,
  "V1NamespaceStatus.conditions": byType,
  "V1PersistentVolumeClaimStatus.conditions": byType,
  "V1ReplicationControllerStatus.conditions": byType,
  "V1ReplicationControllerSpec.selector": atomic,
  "V1ReplicaSetStatus.conditions": byType,
  "V1DeploymentStatus.conditions": byType,
  "V1StatefulSetStatus.conditions": byType,
  "V1DaemonSetStatus.conditions": byType,
  "V1JobStatus.conditions": { ...atomic, patchMergeKey: "type" },
  "V1PodDisruptionBudgetStatus.conditions": byType,
  "V2HorizontalPodAutoscalerStatus.conditions": byType,
  "V1CertificateSigningRequestStatus.conditions": { listType: "map", keys: ["type"] },
  "V1MutatingWebhookConfiguration.webhooks": byName,
  "V1ValidatingWebhookConfiguration.webhooks": byName,
  "V1MutatingWebhook.matchConditions": byName,
  "V1ValidatingWebhook.matchConditions": byName,
  "V1ValidatingAdmissionPolicySpec.matchConditions": byName,
  "V1ValidatingAdmissionPolicySpec.variables": byName,
  "V1ValidatingAdmissionPolicyStatus.conditions": { listType: "map", keys: ["type"] },
  "V1CSINodeSpec.drivers": byName,
  "V1CustomResourceDefinitionStatus.conditions": { listType: "map", keys: ["type"] },
  "V1APIServiceStatus.conditions": byType,
  "V1PodSpec.nodeSelector": atomic,
  "V1Scheduling.nodeSelector": atomic,
  "V1ResourceQuotaSpec.scopes": atomic,
};

for (const container of ["V1Container", "V1EphemeralContainer"]) {
  RULES[`${container}.ports`] = map("containerPort protocol");
  RULES[`${container}.env`] = byName;
  RULES[`${container}.volumeMounts`] = map("mountPath");
  RULES[`${container}.volumeDevices`] = map("devicePath");
}

// Types that server-side apply replaces as a whole.
const ATOMIC_MODELS = new Set([
  "V1LabelSelector",
  "V1NodeSelector",
  "V1NodeSelectorTerm",
  "V1ConfigMapKeySelector",
  "V1SecretKeySelector",
  "V1LocalObjectReference",
  "V1ObjectReference",
  "V1SecretReference",
  "V1TypedLocalObjectReference",
  "V1ObjectFieldSelector",
  "V1ResourceFieldSelector",
  "V1ScopeSelector",
  "V1ScopedResourceSelectorRequirement",
  "V1TopologySelectorTerm",
  "V1OwnerReference",
  "V1RoleRef",
  "RbacV1Subject",
]);

/** How one property of a model merges; undefined for granular maps, structs and scalars. */
export function propertyMergeRule(model: string, property: string, type: TypeRef): Rule | undefined {
  const rule = RULES[`${model}.${property}`];
  if (rule) return rule;
  if (type.kind === "array") return atomic;
  if (type.kind === "model" && ATOMIC_MODELS.has(type.name)) return atomic;
  return undefined;
}

/** Whether server-side apply treats values of this model as one. */
export function isAtomicModel(model: string): boolean {
  return ATOMIC_MODELS.has(model);
}

/**
 * How the list or map at this path merges. The path holds field names and map keys; list positions are
 * left out, so that a container's ports are `spec.containers.ports`.
 */
export function builtinMergeKey(model: string, path: string[]): MergeKey | undefined {
  let type: TypeRef = { kind: "model", name: model };
  let rule: Rule | undefined;
  for (const part of path) {
    while (type.kind === "array") type = type.items;
    if (type.kind === "map") {
      type = type.values;
      rule = undefined;
      continue;
    }
    if (type.kind !== "model") return undefined;
    const property = loadModel(type.name).properties.get(part);
    if (!property) return undefined;
    rule = propertyMergeRule(type.name, part, property.type);
    type = property.type;
  }
  return rule;
}
