// SPDX-License-Identifier: Apache-2.0
// Nobody may grant more than they have, unless they hold the verbs `escalate` or `bind`.
import type { BuiltinKind } from "../builtin-table.ts";
import { refuse } from "../field-errors.ts";
import type { KubeObject, ObjectReader, PrepareContext, UserInfo } from "../resource.ts";
import { authorize } from "./authorize.ts";
import {
  clusterRoleRules,
  type PolicyRule,
  ruleAllowsPath,
  ruleAllowsResource,
  rulesFor,
  rulesOfRef,
} from "./rules.ts";

const RBAC = "rbac.authorization.k8s.io";

/** Refuses roles and bindings that would grant more than their author has. */
export function checkEscalation(row: BuiltinKind, { object, user, store }: PrepareContext): void {
  if (user.groups.includes("system:masters")) return;
  const { namespace, name = "" } = object.metadata;
  const isBinding = row.kind.endsWith("Binding");
  const verb = isBinding ? "bind" : "escalate";
  const target = isBinding ? object.roleRef : { kind: row.kind, name };
  const resource = target?.kind === "ClusterRole" ? "clusterroles" : "roles";
  const attributes = { verb, group: RBAC, resource, namespace, name: target?.name ?? "" };
  if (authorize(user, attributes, store).allowed) return;
  const granted = isBinding ? boundRules(object, namespace, store) : roleRules(row, object, store);
  const missing = granted.filter((rule) => !covers(user, namespace, rule, store));
  if (missing.length === 0) return;
  throw refuse(
    row.plural,
    row.group,
    name,
    `user "${user.username}" (groups=[${user.groups.map((group) => JSON.stringify(group)).join(" ")}]) is attempting to grant RBAC permissions not currently held:\n${missing.map(printRule).join("\n")}`,
  );
}

function boundRules(binding: KubeObject, namespace: string | undefined, store: ObjectReader): PolicyRule[] {
  return binding.roleRef ? (rulesOfRef(binding.roleRef, namespace, store) ?? []) : [];
}

function roleRules(row: BuiltinKind, role: KubeObject, store: ObjectReader): PolicyRule[] {
  return row.kind === "ClusterRole" ? clusterRoleRules(role, store) : (role.rules ?? []);
}

function covers(
  user: UserInfo,
  namespace: string | undefined,
  wanted: PolicyRule,
  store: ObjectReader,
): boolean {
  const own = [...rulesFor(user, namespace, store)].map(({ rule }) => rule);
  return wanted.verbs.every((verb) => coversPaths(own, wanted, verb) && coversResources(own, wanted, verb));
}

function coversPaths(own: PolicyRule[], wanted: PolicyRule, verb: string): boolean {
  return (wanted.nonResourceURLs ?? []).every((path) => own.some((rule) => ruleAllowsPath(rule, verb, path)));
}

function coversResources(own: PolicyRule[], wanted: PolicyRule, verb: string): boolean {
  const names = wanted.resourceNames?.length ? wanted.resourceNames : [""];
  return (wanted.apiGroups ?? []).every((group) =>
    (wanted.resources ?? []).every((combined) =>
      names.every((name) => own.some((rule) => allows(rule, verb, group, combined, name))),
    ),
  );
}

function allows(rule: PolicyRule, verb: string, group: string, combined: string, name: string): boolean {
  const [resource = "", subresource = ""] = combined.split("/");
  // A rule for named objects never covers one for all of them.
  if (name === "" && rule.resourceNames?.length) return false;
  return ruleAllowsResource(rule, { verb, group, resource, subresource, name });
}

function printRule(rule: PolicyRule): string {
  const list = (items: string[]) => `[${items.map((item) => JSON.stringify(item)).join(" ")}]`;
  const parts: string[] = [];
  if (rule.nonResourceURLs?.length) parts.push(`NonResourceURLs:${list(rule.nonResourceURLs)}`);
  if (rule.apiGroups?.length) parts.push(`APIGroups:${list(rule.apiGroups)}`);
  if (rule.resources?.length) parts.push(`Resources:${list(rule.resources)}`);
  if (rule.resourceNames?.length) parts.push(`ResourceNames:${list(rule.resourceNames)}`);
  parts.push(`Verbs:${list(rule.verbs)}`);
  return `{${parts.join(", ")}}`;
}
