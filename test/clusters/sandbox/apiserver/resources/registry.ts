// SPDX-License-Identifier: Apache-2.0
import { BUILTIN_KINDS, type BuiltinKind } from "./builtin-table.ts";
import type { ClusterOptions } from "./cluster-options.ts";
import { crdResources } from "./crd/crd-resource.ts";
import { decodeBuiltin } from "./decode.ts";
import { applyDefaults } from "./defaults/index.ts";
import { eventFromStorage, eventToStorage } from "./event-conversion.ts";
import { builtinMergeKey } from "./merge-keys.ts";
import { prepareBuiltin } from "./prepare.ts";
import type { KubeObject, Resource, ScalePaths } from "./resource.ts";
import { selectableFields } from "./selectable-fields.ts";
import { columnsOf, rowOf } from "./tables/index.ts";
import { validateBuiltin } from "./validation/index.ts";

const ALL_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

function scaleOf(row: BuiltinKind): ScalePaths | undefined {
  if (!row.subresources.includes("scale")) return undefined;
  return { spec: ".spec.replicas", status: ".status.replicas", selector: ".spec.selector" };
}

/** Makes the Resource of one row of the built-in table. */
function builtinResource(row: BuiltinKind, options: ClusterOptions): Resource {
  return {
    group: row.group,
    version: row.version,
    kind: row.kind,
    listKind: `${row.kind}List`,
    plural: row.plural,
    singular: row.singular,
    shortNames: row.shortNames,
    categories: row.categories,
    namespaced: row.namespaced,
    verbs: row.verbs ?? ALL_VERBS,
    subresources: row.subresources,
    virtual: row.virtual,
    storage: row.storage,
    ...(row.group === "events.k8s.io" ? { fromStorage: eventFromStorage, toStorage: eventToStorage } : {}),
    strategicMerge: true,
    defaults: (object) => applyDefaults(row, object),
    prepare: (ctx) => prepareBuiltin(row, ctx, options),
    validate: (object, previous) => validateBuiltin(row, object, previous),
    decode: (object) => decodeBuiltin(row.model, object),
    selectableFields: (object) => selectableFields(row, object),
    columns: columnsOf(row),
    row: (object, now) => rowOf(row, object, now),
    mergeKey: (path) => builtinMergeKey(row.model, path),
    scale: scaleOf(row),
  };
}

/** Every kind the server serves: the built-in ones and those of CustomResourceDefinitions. */
export class Registry {
  readonly #resources = new Map<string, Resource>();
  readonly #crdKeys = new Map<string, string[]>();
  readonly #listeners = new Set<() => void>();

  constructor(options: ClusterOptions = {}) {
    for (const row of BUILTIN_KINDS) this.#add(builtinResource(row, options));
  }

  /** The kind served at this path, if any. */
  lookup(group: string, version: string, plural: string): Resource | undefined {
    return this.#resources.get(keyOf(group, version, plural));
  }

  /** The kind named by an object's apiVersion and kind, if any. */
  lookupKind(group: string, version: string, kind: string): Resource | undefined {
    return this.all().find((r) => r.group === group && r.version === version && r.kind === kind);
  }

  /** The first kind with this group and plural, whatever its version. */
  lookupAnyVersion(group: string, plural: string): Resource | undefined {
    return this.all().find((r) => r.group === group && r.plural === plural);
  }

  /** Everything served, built-in kinds first. */
  all(): Resource[] {
    return [...this.#resources.values()];
  }

  /** Serves the kinds of a CustomResourceDefinition, replacing what it served before. */
  addCrd(crd: KubeObject): void {
    this.#forget(crd.metadata.name);
    const added = crdResources(crd);
    for (const resource of added) this.#add(resource);
    this.#crdKeys.set(
      crd.metadata.name,
      added.map((r) => keyOf(r.group, r.version, r.plural)),
    );
    this.#notify();
  }

  /** Stops serving the kinds of a CustomResourceDefinition. */
  removeCrd(name: string): void {
    this.#forget(name);
    this.#notify();
  }

  /** Calls `listener` whenever custom kinds come or go; returns how to stop that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #add(resource: Resource): void {
    this.#resources.set(keyOf(resource.group, resource.version, resource.plural), resource);
  }

  #forget(name: string): void {
    for (const key of this.#crdKeys.get(name) ?? []) this.#resources.delete(key);
    this.#crdKeys.delete(name);
  }

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }
}

function keyOf(group: string, version: string, plural: string): string {
  return `${group}/${version}/${plural}`;
}
