// SPDX-License-Identifier: Apache-2.0
import { invalidValue, notSupported, required } from "../field-errors.ts";
import type { FieldError, KubeObject } from "../resource.ts";
import { labelErrors, serviceNameErrors, subdomainErrors } from "./names.ts";

const SCOPES = ["Cluster", "Namespaced"];
const SCHEMA = "schema.openAPIV3Schema";

/** Everything wrong with a CustomResourceDefinition. */
export function crdErrors(crd: KubeObject, previous?: KubeObject): FieldError[] {
  const { spec = {} } = crd;
  const { names = {}, versions = [], group = "", scope } = spec;
  const errors: FieldError[] = [];
  const expected = `${names.plural}.${group}`;
  if (crd.metadata.name !== expected) {
    errors.push(invalidValue("metadata.name", crd.metadata.name, `must be spec.names.plural+"."+spec.group`));
  }
  if (!group) errors.push(required("spec.group"));
  else if (!group.includes("."))
    errors.push(invalidValue("spec.group", group, "should be a domain with at least one dot"));
  else for (const error of subdomainErrors(group)) errors.push(invalidValue("spec.group", group, error));
  if (!SCOPES.includes(scope))
    errors.push(scope ? notSupported("spec.scope", scope, SCOPES) : required("spec.scope"));
  errors.push(...nameErrors(names), ...versionErrors(versions));
  if (previous) {
    for (const field of ["group", "scope"]) {
      if (previous.spec[field] !== spec[field])
        errors.push(invalidValue(`spec.${field}`, spec[field], "field is immutable"));
    }
    for (const field of ["kind", "plural"]) {
      if (previous.spec.names[field] !== names[field]) {
        errors.push(invalidValue(`spec.names.${field}`, names[field], "field is immutable"));
      }
    }
  }
  return errors;
}

function nameErrors(names: KubeObject): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of ["plural", "singular", "kind", "listKind"]) {
    const value = names[field];
    if (!value) {
      errors.push(required(`spec.names.${field}`));
      continue;
    }
    for (const error of serviceNameErrors(String(value).toLowerCase())) {
      errors.push(invalidValue(`spec.names.${field}`, value, error));
    }
  }
  for (const [index, name] of (names.shortNames ?? []).entries()) {
    for (const error of labelErrors(name))
      errors.push(invalidValue(`spec.names.shortNames[${index}]`, name, error));
  }
  return errors;
}

function versionErrors(versions: KubeObject[]): FieldError[] {
  const errors: FieldError[] = [];
  if (versions.length === 0)
    errors.push(required("spec.versions", "must have exactly one version marked as storage version"));
  else if (versions.filter((version) => version.storage).length !== 1) {
    errors.push(
      invalidValue("spec.versions", versions, "must have exactly one version marked as storage version"),
    );
  }
  for (const [index, version] of versions.entries()) {
    const at = `spec.versions[${index}]`;
    for (const error of serviceNameErrors(version.name ?? ""))
      errors.push(invalidValue(`${at}.name`, version.name ?? "", error));
    const schema = version.schema?.openAPIV3Schema;
    if (!schema) errors.push(required(`${at}.${SCHEMA}`, "schemas are required"));
    else {
      if (schema.type !== "object") {
        errors.push(invalidValue(`${at}.${SCHEMA}.type`, schema.type ?? "", "must be object"));
      }
      errors.push(...structuralErrors(schema, `${at}.${SCHEMA}`));
    }
    for (const [place, column] of (version.additionalPrinterColumns ?? []).entries()) {
      const path = `${at}.additionalPrinterColumns[${place}]`;
      if (!column.name) errors.push(required(`${path}.name`));
      const types = ["boolean", "date", "integer", "number", "string"];
      if (!types.includes(column.type))
        errors.push(
          column.type ? notSupported(`${path}.type`, column.type, types) : required(`${path}.type`),
        );
      if (!column.jsonPath) errors.push(required(`${path}.jsonPath`));
    }
  }
  return errors;
}

// Every node of a structural schema has a type, but those that hold anything.
function structuralErrors(schema: KubeObject, field: string): FieldError[] {
  const errors: FieldError[] = [];
  const free = schema["x-kubernetes-int-or-string"] || schema["x-kubernetes-preserve-unknown-fields"];
  if (!schema.type && !free)
    errors.push(required(`${field}.type`, "must not be empty for specified object fields"));
  if (schema.type === "array" && !schema.items) errors.push(required(`${field}.items`, "must be specified"));
  for (const [name, child] of Object.entries<KubeObject>(schema.properties ?? {})) {
    errors.push(...structuralErrors(child, `${field}.properties[${name}]`));
  }
  if (schema.items) errors.push(...structuralErrors(schema.items, `${field}.items`));
  if (schema.properties && schema.additionalProperties) {
    errors.push({
      field: `${field}.additionalProperties`,
      reason: "FieldValueForbidden",
      message: "Forbidden: additionalProperties and properties are mutual exclusive",
    });
  } else if (typeof schema.additionalProperties === "object") {
    errors.push(...structuralErrors(schema.additionalProperties, `${field}.additionalProperties`));
  }
  return errors;
}
