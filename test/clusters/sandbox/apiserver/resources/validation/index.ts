// SPDX-License-Identifier: Apache-2.0
import type { BuiltinKind } from "../builtin-table.ts";
import type { FieldError, KubeObject } from "../resource.ts";
import { crdErrors } from "./crd.ts";
import { labelErrors, pathSegmentErrors, serviceNameErrors } from "./names.ts";
import { NETWORK_CHECKS } from "./network.ts";
import { validateMeta } from "./object-meta.ts";
import { OTHER_CHECKS } from "./others.ts";
import { podErrors } from "./pod.ts";
import { WORKLOAD_CHECKS } from "./workloads.ts";

type Check = (object: KubeObject, previous?: KubeObject) => FieldError[];

const CHECKS: Record<string, Check> = {
  ...WORKLOAD_CHECKS,
  ...NETWORK_CHECKS,
  ...OTHER_CHECKS,
  "/Pod": podErrors,
  "apiextensions.k8s.io/CustomResourceDefinition": crdErrors,
};

const NAME_RULES: Record<string, (name: string) => string[]> = {
  "/Service": serviceNameErrors,
  "/Namespace": labelErrors,
  "rbac.authorization.k8s.io/Role": pathSegmentErrors,
  "rbac.authorization.k8s.io/RoleBinding": pathSegmentErrors,
  "rbac.authorization.k8s.io/ClusterRole": pathSegmentErrors,
  "rbac.authorization.k8s.io/ClusterRoleBinding": pathSegmentErrors,
  "apiregistration.k8s.io/APIService": pathSegmentErrors,
};

/** Everything wrong with an object of this kind, in the words of the API server. */
export function validateBuiltin(row: BuiltinKind, object: KubeObject, previous?: KubeObject): FieldError[] {
  if (row.virtual) return [];
  const key = `${row.group}/${row.kind}`;
  const rules = { namespaced: row.namespaced, nameErrors: NAME_RULES[key] };
  return [...validateMeta(object, previous, rules), ...(CHECKS[key]?.(object, previous) ?? [])];
}
