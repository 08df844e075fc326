// SPDX-License-Identifier: Apache-2.0
import type { KubeObject, ObjectReader, UserInfo } from "../resource.ts";

/** One rule of a Role or ClusterRole. */
export interface PolicyRule {
  verbs: string[];
  apiGroups?: string[];
  resources?: string[];
  resourceNames?: string[];
  nonResourceURLs?: string[];
}

/** A rule a user has, and the binding that gives it. */
export interface GrantedRule {
  rule: PolicyRule;
  reason: string;
}

const RBAC = "rbac.authorization.k8s.io";
const MAX_AGGREGATION_DEPTH = 5;

/** The rules of a ClusterRole, with those it aggregates. */
export function clusterRoleRules(role: KubeObject, store: ObjectReader, depth = 0): PolicyRule[] {
  const selectors: KubeObject[] = role.aggregationRule?.clusterRoleSelectors ?? [];
  if (selectors.length === 0 || depth > MAX_AGGREGATION_DEPTH) return role.rules ?? [];
  const selected = store
    .list(RBAC, "clusterroles")
    .filter((other) => other.metadata.name !== role.metadata.name)
    .filter((other) => selectors.some((selector) => matches(selector, other.metadata.labels ?? {})));
  return selected.flatMap((other) => clusterRoleRules(other, store, depth + 1));
}

/** Whether a label selector selects these labels. */
export function matches(selector: KubeObject, labels: Record<string, string>): boolean {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {}))
    if (labels[key] !== value) return false;
  for (const { key, operator, values = [] } of selector.matchExpressions ?? []) {
    const has = labels[key] !== undefined;
    if (operator === "Exists" && !has) return false;
    if (operator === "DoesNotExist" && has) return false;
    if (operator === "In" && !(has && values.includes(labels[key]))) return false;
    if (operator === "NotIn" && has && values.includes(labels[key])) return false;
  }
  return true;
}

function subjectOf(subject: KubeObject, user: UserInfo, bindingNamespace: string | undefined): boolean {
  if (subject.kind === "User") return subject.name === user.username;
  if (subject.kind === "Group") return user.groups.includes(subject.name);
  if (subject.kind !== "ServiceAccount") return false;
  const namespace = subject.namespace || bindingNamespace;
  return user.username === `system:serviceaccount:${namespace}:${subject.name}`;
}

function describe(subject: KubeObject): string {
  const name = subject.kind === "ServiceAccount" ? `${subject.name}/${subject.namespace}` : subject.name;
  return `${subject.kind} "${name}"`;
}

/** The rules of the role a binding refers to. */
export function rulesOfRef(
  ref: KubeObject,
  namespace: string | undefined,
  store: ObjectReader,
): PolicyRule[] | undefined {
  if (ref.kind === "ClusterRole") {
    const role = store.get(RBAC, "clusterroles", undefined, ref.name);
    return role && clusterRoleRules(role, store);
  }
  return store.get(RBAC, "roles", namespace, ref.name)?.rules;
}

function* fromBindings(
  bindings: KubeObject[],
  user: UserInfo,
  namespace: string | undefined,
  store: ObjectReader,
): Generator<GrantedRule> {
  for (const binding of bindings) {
    const subject = binding.subjects?.find((item: KubeObject) =>
      subjectOf(item, user, binding.metadata.namespace),
    );
    if (!subject) continue;
    const where = namespace
      ? `RoleBinding "${binding.metadata.name}/${namespace}"`
      : `ClusterRoleBinding "${binding.metadata.name}"`;
    const reason = `RBAC: allowed by ${where} of ${binding.roleRef.kind} "${binding.roleRef.name}" to ${describe(subject)}`;
    for (const rule of rulesOfRef(binding.roleRef, namespace, store) ?? []) yield { rule, reason };
  }
}

/** Every rule the user has in a namespace, or in the whole cluster without one. */
export function* rulesFor(
  user: UserInfo,
  namespace: string | undefined,
  store: ObjectReader,
): Generator<GrantedRule> {
  yield* fromBindings(store.list(RBAC, "clusterrolebindings"), user, undefined, store);
  if (namespace) yield* fromBindings(store.list(RBAC, "rolebindings", namespace), user, namespace, store);
}

function includes(list: string[] | undefined, value: string): boolean {
  return list !== undefined && (list.includes("*") || list.includes(value));
}

function resourceMatches(resources: string[] | undefined, resource: string, subresource: string): boolean {
  if (!resources) return false;
  const combined = subresource ? `${resource}/${subresource}` : resource;
  return resources.some(
    (item) => item === "*" || item === combined || (subresource !== "" && item === `*/${subresource}`),
  );
}

/** What a resource rule is asked. */
export interface ResourceQuestion {
  verb: string;
  group: string;
  resource: string;
  subresource: string;
  name: string;
}

/** Whether a rule allows this request on a resource. */
export function ruleAllowsResource(rule: PolicyRule, question: ResourceQuestion): boolean {
  return (
    includes(rule.verbs, question.verb) &&
    includes(rule.apiGroups, question.group) &&
    resourceMatches(rule.resources, question.resource, question.subresource) &&
    (!rule.resourceNames?.length || rule.resourceNames.includes(question.name))
  );
}

/** Whether a rule allows this verb on a path such as `/healthz`. */
export function ruleAllowsPath(rule: PolicyRule, verb: string, path: string): boolean {
  if (!rule.nonResourceURLs || !includes(rule.verbs, verb)) return false;
  return rule.nonResourceURLs.some(
    (item) => item === "*" || item === path || (item.endsWith("*") && path.startsWith(item.slice(0, -1))),
  );
}
