// SPDX-License-Identifier: Apache-2.0
// The names OpenAPI gives the API's types: io.k8s.api.core.v1.Pod for the model V1Pod.
import { BUILTIN_KINDS } from "../builtin-table.ts";
import { loadModel, type TypeRef } from "../schema/models.ts";

const META = "io.k8s.apimachinery.pkg.apis.meta.v1";
const META_MODELS = [
  "V1ObjectMeta",
  "V1ListMeta",
  "V1LabelSelector",
  "V1LabelSelectorRequirement",
  "V1OwnerReference",
  "V1ManagedFieldsEntry",
  "V1Status",
  "V1StatusDetails",
  "V1StatusCause",
  "V1Condition",
  "V1DeleteOptions",
  "V1Preconditions",
  "V1ShardInfo",
  "V1FieldSelectorRequirement",
];

const PACKAGES: Record<string, string> = {
  "": "io.k8s.api.core",
  "apiextensions.k8s.io": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
  "apiregistration.k8s.io": "io.k8s.kube-aggregator.pkg.apis.apiregistration",
};

// Answers and subresources: served under other kinds' paths.
const EXTRA_ROOTS: [group: string, version: string, model: string][] = [
  ["autoscaling", "v1", "V1Scale"],
  ["policy", "v1", "V1Eviction"],
  ["authentication.k8s.io", "v1", "AuthenticationV1TokenRequest"],
];

/** Every model the server serves, with the group and version of the kind that brings it in. */
export interface RootModel {
  group: string;
  version: string;
  model: string;
  kind: string;
  isList: boolean;
}

function bareName(model: string): string {
  return model.replace(/^(?:[A-Z][a-z]+)?V\d+(?:(?:alpha|beta)\d+)?(?=[A-Z])/, "");
}

/** The kinds and their lists, as models. */
export function rootModels(): RootModel[] {
  const roots: RootModel[] = [];
  for (const { group, version, model, kind, virtual } of BUILTIN_KINDS) {
    roots.push({ group, version, model, kind, isList: false });
    if (!virtual) roots.push({ group, version, model: `${model}List`, kind: `${kind}List`, isList: true });
  }
  for (const [group, version, model] of EXTRA_ROOTS) {
    roots.push({ group, version, model, kind: bareName(model), isList: false });
  }
  return roots;
}

function packageOf(group: string, version: string): string {
  const known = PACKAGES[group];
  return `${known ?? `io.k8s.api.${group.replace(/(\.authorization)?\.k8s\.io$/, "")}`}.${version}`;
}

/** The models a type refers to. */
function referredModels(type: TypeRef): string[] {
  if (type.kind === "array") return referredModels(type.items);
  if (type.kind === "map") return referredModels(type.values);
  return type.kind === "model" ? [type.name] : [];
}

let names: Map<string, string> | undefined;

/** Model name to OpenAPI definition name, for every type that is served. */
export function definitionNames(): Map<string, string> {
  if (names) return names;
  names = new Map(META_MODELS.map((model) => [model, `${META}.${bareName(model)}`]));
  // Roots first: a kind that another group embeds keeps its own group.
  const roots = rootModels();
  for (const { group, version, model } of roots) {
    names.set(model, `${packageOf(group, version)}.${bareName(model)}`);
  }
  for (const { group, version, model } of roots) claim(model, packageOf(group, version), names, new Set());
  for (const model of META_MODELS) claim(model, META, names, new Set());
  return names;
}

function claim(model: string, packageName: string, known: Map<string, string>, seen: Set<string>): void {
  if (seen.has(model)) return;
  seen.add(model);
  if (!known.has(model)) known.set(model, `${packageName}.${bareName(model)}`);
  for (const property of loadModel(model).properties.values()) {
    for (const referred of referredModels(property.type)) claim(referred, packageName, known, seen);
  }
}
