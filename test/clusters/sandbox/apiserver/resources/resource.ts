// SPDX-License-Identifier: Apache-2.0
// The contract between the API server's machinery (HTTP, store, watch, patch) and the kinds it serves.

/** A Kubernetes object as decoded from JSON. */
export type KubeObject = Record<string, any>;

/** One cause of an Invalid status, printed by clients as `field: message`. */
export interface FieldError {
  field: string;
  /** FieldValueInvalid, FieldValueRequired, FieldValueDuplicate, FieldValueNotSupported, FieldValueForbidden, FieldValueTypeInvalid … */
  reason: string;
  message: string;
}

/** A request refused by a kind's own rules; core turns it into a Status with this code. */
export class Refusal extends Error {
  code: number;
  reason: string;
  causes: FieldError[];

  constructor(code: number, reason: string, message: string, causes: FieldError[] = []) {
    super(message);
    this.code = code;
    this.reason = reason;
    this.causes = causes;
  }
}

/** Who asks. */
export interface UserInfo {
  username: string;
  uid?: string;
  groups: string[];
  extra?: Record<string, string[]>;
}

/** Read access to the store, at the latest revision. Objects are shared: never change them. */
export interface ObjectReader {
  get(group: string, plural: string, namespace: string | undefined, name: string): KubeObject | undefined;
  list(group: string, plural: string, namespace?: string): KubeObject[];
}

/** What `prepare` may look at and change before an object is stored. */
export interface PrepareContext {
  operation: "create" | "update" | "status" | "delete";
  /** Changed in place. For a delete it is the object about to go. */
  object: KubeObject;
  previous?: KubeObject;
  user: UserInfo;
  store: ObjectReader;
  dryRun: boolean;
  /** Warnings to send back in the Warning header. */
  warnings: string[];
}

/** One column of the Table a list is printed as. Priority 0 is always shown, 1 with -o wide. */
export interface Column {
  name: string;
  type: string;
  format: string;
  description: string;
  priority: number;
}

/** How server-side apply and patches merge a list. */
export interface MergeKey {
  listType: "map" | "set" | "atomic";
  /** The keys of a `map` list, for server-side apply. */
  keys: string[];
  /** The single key a strategic merge patch uses, when it has one (`containerPort`, `port`, `type` …). */
  patchMergeKey?: string;
  /** The merge strategy `retainKeys`: a patched item keeps only the keys that the patch names. */
  retainKeys?: boolean;
}

/** JSON paths of the scale subresource, such as `.spec.replicas`. */
export interface ScalePaths {
  spec: string;
  status: string;
  selector?: string;
}

/** One kind in one version, as the server serves it. */
export interface Resource {
  group: string;
  version: string;
  kind: string;
  listKind: string;
  plural: string;
  singular: string;
  shortNames: string[];
  categories: string[];
  namespaced: boolean;
  verbs: string[];
  /** Such as `status`, `scale`, `log`, `exec`, `binding`, `eviction`, `token`, `approval`, `finalize`. */
  subresources: string[];
  /** True when no object is stored: reviews are answered by `answerReview`. */
  virtual?: boolean;
  /** The version and the group objects are stored as; two groups may share one store (events). */
  storage?: { group: string; plural: string };
  /** Between this kind and the form that is stored, for kinds that share a store. */
  fromStorage?(object: KubeObject): KubeObject;
  toStorage?(object: KubeObject): KubeObject;
  /** True for a kind defined by a CustomResourceDefinition. */
  custom?: boolean;
  /** The openAPIV3Schema of a custom kind. */
  schema?: KubeObject;
  /** False for kinds strategic merge patch does not know: custom resources. */
  strategicMerge: boolean;
  defaults?(object: KubeObject): void;
  /** Resets, generation, immutable status, allocation and admission. Throws a Refusal to refuse. */
  prepare?(ctx: PrepareContext): void;
  validate?(object: KubeObject, previous?: KubeObject): FieldError[];
  /** Unknown and mistyped fields. `unknown` are paths dropped (or refused with fieldValidation=Strict). */
  decode?(object: KubeObject): DecodeResult;
  selectableFields(object: KubeObject): Record<string, string>;
  columns: Column[];
  row(object: KubeObject, now: Date): (string | number | boolean | null)[];
  /** The path holds field names and map keys; list positions are left out (`spec.containers.ports`). */
  mergeKey(path: string[]): MergeKey | undefined;
  scale?: ScalePaths;
}

/** What decoding an object against its schema found. */
export interface DecodeResult {
  /** Messages such as `unknown field "spec.foo"`; the fields are already removed from the object. */
  unknown: string[];
  /** A type mismatch, which is a 400 BadRequest; undefined when there is none. */
  mismatch?: string;
}
