// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from "node:util";
import { forbidden, invalidValue, required } from "../field-errors.ts";
import type { FieldError, KubeObject } from "../resource.ts";
import { labelErrors, labelValueErrors, qualifiedNameErrors, subdomainErrors } from "./names.ts";

const ANNOTATIONS_LIMIT_BYTES = 256 * 1024;

/** How a kind's metadata is checked. */
export interface MetaRules {
  namespaced: boolean;
  nameErrors?(name: string): string[];
}

/** Everything wrong with an object's metadata. */
export function validateMeta(
  object: KubeObject,
  previous: KubeObject | undefined,
  rules: MetaRules,
): FieldError[] {
  const metadata: KubeObject = object.metadata ?? {};
  const errors = [
    ...nameErrors(metadata, rules),
    ...labelMapErrors(metadata.labels, "metadata.labels"),
    ...annotationErrors(metadata.annotations),
    ...ownerErrors(metadata.ownerReferences),
    ...finalizerErrors(metadata.finalizers),
  ];
  if (previous) errors.push(...immutableMeta(metadata, previous.metadata));
  return errors;
}

function nameErrors(metadata: KubeObject, rules: MetaRules): FieldError[] {
  const errors: FieldError[] = [];
  const check = rules.nameErrors ?? subdomainErrors;
  if (metadata.generateName) {
    const prefix = String(metadata.generateName).replace(/-$/, "a");
    for (const error of check(prefix))
      errors.push(invalidValue("metadata.generateName", metadata.generateName, error));
  }
  if (!metadata.name) errors.push(required("metadata.name", "name or generateName is required"));
  else
    for (const error of check(metadata.name))
      errors.push(invalidValue("metadata.name", metadata.name, error));
  if (rules.namespaced && !metadata.namespace) errors.push(required("metadata.namespace"));
  else if (rules.namespaced) {
    for (const error of labelErrors(metadata.namespace)) {
      errors.push(invalidValue("metadata.namespace", metadata.namespace, error));
    }
  } else if (metadata.namespace) errors.push(forbidden("metadata.namespace", "not allowed on this type"));
  return errors;
}

/** What is wrong with a map of labels. */
export function labelMapErrors(labels: KubeObject | undefined, field: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [key, value] of Object.entries(labels ?? {})) {
    for (const error of qualifiedNameErrors(key)) errors.push(invalidValue(field, key, error));
    for (const error of labelValueErrors(String(value))) errors.push(invalidValue(field, value, error));
  }
  return errors;
}

function annotationErrors(annotations: KubeObject | undefined): FieldError[] {
  const errors: FieldError[] = [];
  let size = 0;
  for (const [key, value] of Object.entries(annotations ?? {})) {
    size += Buffer.byteLength(key) + Buffer.byteLength(String(value));
    for (const error of qualifiedNameErrors(key.toLowerCase())) {
      errors.push(invalidValue("metadata.annotations", key, error));
    }
  }
  if (size > ANNOTATIONS_LIMIT_BYTES) {
    errors.push({
      field: "metadata.annotations",
      reason: "FieldValueTooLong",
      message: `Too long: may not be more than ${ANNOTATIONS_LIMIT_BYTES} bytes`,
    });
  }
  return errors;
}

function ownerErrors(owners: KubeObject[] | undefined): FieldError[] {
  const errors: FieldError[] = [];
  const controllers = (owners ?? []).filter((owner) => owner.controller);
  for (const [index, owner] of (owners ?? []).entries()) {
    const field = `metadata.ownerReferences[${index}]`;
    if (!owner.apiVersion)
      errors.push(invalidValue(`${field}.apiVersion`, owner.apiVersion ?? "", "version must not be empty"));
    for (const name of ["kind", "name", "uid"]) {
      if (!owner[name])
        errors.push(invalidValue(`${field}.${name}`, owner[name] ?? "", `${name} must not be empty`));
    }
  }
  if (controllers.length > 1) {
    const [first, second] = controllers as [KubeObject, KubeObject];
    errors.push(
      invalidValue(
        "metadata.ownerReferences",
        owners,
        `Only one reference can have Controller set to true. Found "true" in references for ${first.kind}/${first.name} and ${second.kind}/${second.name}`,
      ),
    );
  }
  return errors;
}

function finalizerErrors(finalizers: string[] | undefined): FieldError[] {
  return (finalizers ?? []).flatMap((finalizer) =>
    qualifiedNameErrors(finalizer).map((error) => invalidValue("metadata.finalizers", finalizer, error)),
  );
}

function immutableMeta(metadata: KubeObject, before: KubeObject): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of ["name", "namespace", "uid", "creationTimestamp"]) {
    const value = metadata[field];
    if (value !== undefined && before[field] !== undefined && value !== before[field]) {
      errors.push(invalidValue(`metadata.${field}`, value, "field is immutable"));
    }
  }
  const added = (metadata.finalizers ?? []).filter((item: string) => !before.finalizers?.includes(item));
  if (
    before.deletionTimestamp &&
    added.length &&
    !isDeepStrictEqual(metadata.finalizers, before.finalizers)
  ) {
    errors.push(
      forbidden(
        "metadata.finalizers",
        `no new finalizers can be added if the object is being deleted, found new finalizers []string{${added.map((item: string) => JSON.stringify(item)).join(", ")}}`,
      ),
    );
  }
  return errors;
}
