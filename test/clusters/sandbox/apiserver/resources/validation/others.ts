// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from "node:util";
import { forbidden, invalidValue, notSupported, required } from "../field-errors.ts";
import type { FieldError, KubeObject } from "../resource.ts";
import { subdomainErrors } from "./names.ts";
import { selectorErrors } from "./selector.ts";

type Check = (object: KubeObject, previous?: KubeObject) => FieldError[];

const DATA_KEY = /^[-._a-zA-Z0-9]+$/;
const TOTAL_LIMIT_BYTES = 1024 * 1024;

function keyErrors(map: KubeObject | undefined, field: string): FieldError[] {
  return Object.keys(map ?? {})
    .filter((key) => !DATA_KEY.test(key))
    .map((key) =>
      invalidValue(
        `${field}[${key}]`,
        key,
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
      ),
    );
}

function sizeOf(map: KubeObject | undefined): number {
  return Object.values(map ?? {}).reduce((sum, value) => sum + Buffer.byteLength(String(value)), 0);
}

function frozenErrors(object: KubeObject, previous: KubeObject | undefined, fields: string[]): FieldError[] {
  if (!previous?.immutable) return [];
  const errors: FieldError[] = [];
  if (!object.immutable) errors.push(forbidden("immutable", "field is immutable when `immutable` is set"));
  for (const field of fields) {
    if (!isDeepStrictEqual(object[field] ?? {}, previous[field] ?? {})) {
      errors.push(forbidden(field, "field is immutable when `immutable` is set"));
    }
  }
  return errors;
}

const configMap: Check = (object, previous) => {
  const errors = [
    ...keyErrors(object.data, "data"),
    ...keyErrors(object.binaryData, "binaryData"),
    ...frozenErrors(object, previous, ["data", "binaryData"]),
  ];
  for (const key of Object.keys(object.binaryData ?? {})) {
    if (object.data?.[key] !== undefined)
      errors.push(invalidValue(`data[${key}]`, key, "duplicate of key present in binaryData"));
  }
  if (sizeOf(object.data) + sizeOf(object.binaryData) > TOTAL_LIMIT_BYTES) {
    errors.push({
      field: "",
      reason: "FieldValueTooLong",
      message: `Too long: may not be more than ${TOTAL_LIMIT_BYTES} bytes`,
    });
  }
  return errors;
};

const REQUIRED_KEYS: Record<string, string[]> = {
  "kubernetes.io/dockerconfigjson": [".dockerconfigjson"],
  "kubernetes.io/dockercfg": [".dockercfg"],
  "kubernetes.io/tls": ["tls.crt", "tls.key"],
  "kubernetes.io/ssh-auth": ["ssh-privatekey"],
};

const secret: Check = (object, previous) => {
  const errors = [...keyErrors(object.data, "data"), ...frozenErrors(object, previous, ["data"])];
  for (const key of REQUIRED_KEYS[object.type] ?? []) {
    if (object.data?.[key] === undefined) errors.push(required(`data[${key}]`));
  }
  if (previous && previous.type !== object.type)
    errors.push(invalidValue("type", object.type, "field is immutable"));
  if (object.type === "kubernetes.io/service-account-token") {
    const name = "kubernetes.io/service-account.name";
    if (!object.metadata.annotations?.[name]) errors.push(required(`metadata.annotations[${name}]`));
  }
  return errors;
};

const disruptionBudget: Check = ({ spec = {} }) => {
  const errors: FieldError[] = selectorErrors(spec.selector, "spec.selector");
  if (spec.minAvailable !== undefined && spec.maxUnavailable !== undefined) {
    errors.push(invalidValue("spec", spec, "minAvailable and maxUnavailable cannot be both set"));
  }
  for (const field of ["minAvailable", "maxUnavailable"]) {
    const value = spec[field];
    if (typeof value === "number" && value < 0)
      errors.push(invalidValue(`spec.${field}`, value, "must be greater than or equal to 0"));
    if (typeof value === "string" && !/^\d+%$/.test(value)) {
      errors.push(
        invalidValue(
          `spec.${field}`,
          value,
          "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
        ),
      );
    }
  }
  return errors;
};

function rules(object: KubeObject): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, rule] of (object.rules ?? []).entries()) {
    const at = `rules[${index}]`;
    if (!rule.verbs?.length) errors.push(required(`${at}.verbs`, "verbs must contain at least one value"));
    if (rule.nonResourceURLs?.length) {
      if (object.kind === "Role") {
        errors.push(
          invalidValue(
            `${at}.nonResourceURLs`,
            rule.nonResourceURLs,
            "namespaced rules cannot apply to non-resource URLs",
          ),
        );
      }
      if (rule.resources?.length || rule.apiGroups?.length || rule.resourceNames?.length) {
        errors.push(
          invalidValue(
            `${at}.nonResourceURLs`,
            rule.nonResourceURLs,
            "rules cannot apply to both regular resources and non-resource URLs",
          ),
        );
      }
      continue;
    }
    if (!rule.apiGroups?.length)
      errors.push(required(`${at}.apiGroups`, "resource rules must supply at least one api group"));
    if (!rule.resources?.length)
      errors.push(required(`${at}.resources`, "resource rules must supply at least one resource"));
  }
  return errors;
}

const binding: Check = (object, previous) => {
  const errors: FieldError[] = [];
  const kinds = object.kind === "ClusterRoleBinding" ? ["ClusterRole"] : ["Role", "ClusterRole"];
  const ref = object.roleRef ?? {};
  if (!kinds.includes(ref.kind)) errors.push(notSupported("roleRef.kind", ref.kind ?? "", kinds));
  if (!ref.name) errors.push(required("roleRef.name"));
  if (previous && !isDeepStrictEqual(ref, previous.roleRef)) {
    errors.push(invalidValue("roleRef", ref, "cannot change roleRef"));
  }
  for (const [index, subject] of (object.subjects ?? []).entries()) {
    const at = `subjects[${index}]`;
    if (!subject.name) errors.push(required(`${at}.name`));
    if (subject.kind === "ServiceAccount" && !subject.namespace) errors.push(required(`${at}.namespace`));
    const supported = ["ServiceAccount", "User", "Group"];
    if (!supported.includes(subject.kind))
      errors.push(notSupported(`${at}.kind`, subject.kind ?? "", supported));
  }
  return errors;
};

const node: Check = ({ spec = {} }, previous) => {
  const errors: FieldError[] = [];
  const before = previous?.spec ?? {};
  if (before.podCIDRs?.length && !isDeepStrictEqual(spec.podCIDRs, before.podCIDRs)) {
    errors.push(forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid'));
  }
  if (before.providerID && spec.providerID !== before.providerID) {
    errors.push(
      forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid'),
    );
  }
  for (const [index, taint] of (spec.taints ?? []).entries()) {
    const effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    if (!effects.includes(taint.effect))
      errors.push(notSupported(`spec.taints[${index}].effect`, taint.effect ?? "", effects));
  }
  return errors;
};

const claim: Check = ({ spec = {} }, previous) => {
  const errors: FieldError[] = [];
  if (!spec.accessModes?.length)
    errors.push(required("spec.accessModes", "at least 1 access mode is required"));
  if (!spec.resources?.requests?.storage) errors.push(required("spec.resources[storage]"));
  if (!previous) return errors;
  const fixed = ({
    resources: _resources,
    volumeName: _volumeName,
    volumeAttributesClassName: _class,
    ...rest
  }: KubeObject) => rest;
  if (!isDeepStrictEqual(fixed(spec), fixed(previous.spec ?? {}))) {
    errors.push(
      forbidden(
        "spec",
        "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
      ),
    );
  }
  return errors;
};

const priorityClass: Check = (object, previous) => {
  const errors: FieldError[] = [];
  const limit = 1000000000;
  if (object.value > limit && !object.metadata.name.startsWith("system-")) {
    errors.push(forbidden("value", `maximum allowed value of a user defined priority is ${limit}`));
  }
  for (const field of ["value", "preemptionPolicy"]) {
    if (previous && previous[field] !== object[field]) {
      errors.push(forbidden(field, `may not be changed in an update.`));
    }
  }
  return errors;
};

const lease: Check = ({ spec = {} }) => {
  const errors: FieldError[] = [];
  if (spec.leaseDurationSeconds !== undefined && spec.leaseDurationSeconds <= 0) {
    errors.push(
      invalidValue("spec.leaseDurationSeconds", spec.leaseDurationSeconds, "must be greater than 0"),
    );
  }
  if (spec.leaseTransitions < 0) {
    errors.push(
      invalidValue("spec.leaseTransitions", spec.leaseTransitions, "must be greater than or equal to 0"),
    );
  }
  return errors;
};

const serviceAccount: Check = (object) =>
  (object.imagePullSecrets ?? []).flatMap((item: KubeObject, index: number) =>
    item.name ? [] : [required(`imagePullSecrets[${index}].name`)],
  );

const storageClass: Check = (object, previous) => {
  const errors: FieldError[] = [];
  if (!object.provisioner) errors.push(required("provisioner"));
  for (const field of ["provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"]) {
    if (previous && !isDeepStrictEqual(object[field], previous[field])) {
      errors.push(forbidden(field, `updates to ${field} are forbidden.`));
    }
  }
  return errors;
};

const runtimeClass: Check = (object) =>
  object.handler
    ? subdomainErrors(object.handler).map((error) => invalidValue("handler", object.handler, error))
    : [required("handler")];

/** The rules of the remaining built-in kinds, by group and kind. */
export const OTHER_CHECKS: Record<string, Check> = {
  "/ConfigMap": configMap,
  "/Secret": secret,
  "/Node": node,
  "/PersistentVolumeClaim": claim,
  "/ServiceAccount": serviceAccount,
  "policy/PodDisruptionBudget": disruptionBudget,
  "rbac.authorization.k8s.io/Role": rules,
  "rbac.authorization.k8s.io/ClusterRole": rules,
  "rbac.authorization.k8s.io/RoleBinding": binding,
  "rbac.authorization.k8s.io/ClusterRoleBinding": binding,
  "scheduling.k8s.io/PriorityClass": priorityClass,
  "coordination.k8s.io/Lease": lease,
  "storage.k8s.io/StorageClass": storageClass,
  "node.k8s.io/RuntimeClass": runtimeClass,
};
