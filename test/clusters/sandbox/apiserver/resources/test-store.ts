// SPDX-License-Identifier: Apache-2.0
// A store and a small API for the tests of this folder.
import { bootstrapObjects } from "./bootstrap.ts";
import { Registry } from "./registry.ts";
import type { FieldError, KubeObject, ObjectReader, PrepareContext, UserInfo } from "./resource.ts";

/** A user in system:masters. */
const ADMIN: UserInfo = {
  username: "kubernetes-admin",
  groups: ["system:masters", "system:authenticated"],
};

/** What creating an object ended with. */
export interface Outcome {
  object: KubeObject;
  unknown: string[];
  mismatch: string | undefined;
  errors: FieldError[];
  warnings: string[];
}

/** An in-memory store with the bootstrap objects and a default service account. */
export class TestStore implements ObjectReader {
  readonly registry: Registry;
  readonly #objects = new Map<string, KubeObject>();

  constructor(serviceCidrs?: string[]) {
    this.registry = new Registry({ serviceCidrs });
    for (const object of bootstrapObjects()) this.put(object);
    this.put({
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: { name: "default", namespace: "default" },
    });
  }

  get(group: string, plural: string, namespace: string | undefined, name: string): KubeObject | undefined {
    return this.#objects.get([group, plural, namespace ?? "", name].join("/"));
  }

  list(group: string, plural: string, namespace?: string): KubeObject[] {
    const prefix = `${group}/${plural}/`;
    return [...this.#objects.entries()]
      .filter(([key]) => key.startsWith(prefix))
      .map(([, object]) => object)
      .filter((object) => namespace === undefined || object.metadata.namespace === namespace);
  }

  /** Stores an object as it is. */
  put(object: KubeObject): void {
    const { group, plural } = this.#resource(object);
    const { namespace, name } = object.metadata;
    this.#objects.set([group, plural, namespace ?? "", name].join("/"), object);
  }

  /** What the server does with a new object, or with a changed one when there is a previous. */
  write(source: KubeObject, user = ADMIN, operation: PrepareContext["operation"] = "create"): Outcome {
    const object = structuredClone(source);
    const resource = this.#resource(object);
    if (resource.namespaced) object.metadata.namespace ??= "default";
    const previous =
      operation === "create"
        ? undefined
        : this.get(resource.group, resource.plural, object.metadata.namespace, object.metadata.name);
    const { unknown, mismatch } = resource.decode!(object);
    const warnings: string[] = [];
    if (mismatch) return { object, unknown, mismatch, errors: [], warnings };
    resource.defaults!(object);
    resource.prepare!({ operation, object, previous, user, store: this, dryRun: false, warnings });
    const errors = resource.validate!(object, previous);
    if (errors.length === 0) this.put(object);
    return { object, unknown, mismatch, errors, warnings };
  }

  #resource(object: KubeObject) {
    const [version = "", group = ""] = object.apiVersion.split("/").reverse();
    const found = this.registry.lookupKind(group, version, object.kind);
    if (!found) throw new Error(`no kind ${object.kind} in ${object.apiVersion}`);
    return found;
  }
}

/** A pod with one container. */
export function pod(name: string, spec: KubeObject = {}): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default" },
    spec: { containers: [{ name: "main", image: "nginx" }], ...spec },
  };
}
