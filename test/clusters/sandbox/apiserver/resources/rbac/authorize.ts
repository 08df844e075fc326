// SPDX-License-Identifier: Apache-2.0
import { nodeOf } from "../admission/node-restriction.ts";
import type { KubeObject, ObjectReader, UserInfo } from "../resource.ts";
import type { AuthorizationAttributes, Decision } from "./attributes.ts";
import { authorizeNode } from "./node-authorizer.ts";
import { ruleAllowsPath, ruleAllowsResource, rulesFor } from "./rules.ts";

export type { AuthorizationAttributes, Decision };

/** Whether the user may do this: the Node authorizer first, then RBAC. */
export function authorize(
  user: UserInfo,
  attributes: AuthorizationAttributes,
  store: ObjectReader,
): Decision {
  if (user.groups.includes("system:masters")) return { allowed: true, reason: "" };
  const node = nodeOf(user);
  if (node !== undefined) {
    const decision = authorizeNode(node, attributes, store);
    if (decision.allowed) return decision;
  }
  return authorizeRbac(user, attributes, store);
}

function authorizeRbac(user: UserInfo, attributes: AuthorizationAttributes, store: ObjectReader): Decision {
  const { verb, path, group = "", resource, subresource = "", name = "", namespace } = attributes;
  for (const { rule, reason } of rulesFor(user, resource ? namespace : undefined, store)) {
    const allowed = resource
      ? ruleAllowsResource(rule, { verb, group, resource, subresource, name })
      : ruleAllowsPath(rule, verb, path ?? "");
    if (allowed) return { allowed: true, reason };
  }
  return { allowed: false, reason: "" };
}

/** The status of a SelfSubjectRulesReview. */
export function listRules(user: UserInfo, namespace: string, store: ObjectReader): KubeObject {
  const resourceRules: KubeObject[] = [];
  const nonResourceRules: KubeObject[] = [];
  const granted = user.groups.includes("system:masters")
    ? [
        { verbs: ["*"], apiGroups: ["*"], resources: ["*"] },
        { verbs: ["*"], nonResourceURLs: ["*"] },
      ]
    : [...rulesFor(user, namespace, store)].map(({ rule }) => rule);
  for (const rule of granted) {
    if (rule.nonResourceURLs?.length) {
      nonResourceRules.push({ verbs: rule.verbs, nonResourceURLs: rule.nonResourceURLs });
    } else {
      const { verbs, apiGroups, resources, resourceNames } = rule as KubeObject;
      resourceRules.push({ verbs, apiGroups, resources, ...(resourceNames ? { resourceNames } : {}) });
    }
  }
  return { resourceRules, nonResourceRules, incomplete: false };
}
