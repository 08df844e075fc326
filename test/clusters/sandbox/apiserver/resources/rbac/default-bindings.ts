// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../resource.ts";
import { CONTROLLER_RULES } from "./controller-roles.ts";
import { clusterRole, DEFAULT_CLUSTER_ROLES } from "./default-roles.ts";
import { allow } from "./rule-text.ts";

const API_GROUP = "rbac.authorization.k8s.io";
const LABELS = { "kubernetes.io/bootstrapping": "rbac-defaults" };
const ANNOTATIONS = { "rbac.authorization.kubernetes.io/autoupdate": "true" };

function user(name: string): KubeObject {
  return { apiGroup: API_GROUP, kind: "User", name };
}

function group(name: string): KubeObject {
  return { apiGroup: API_GROUP, kind: "Group", name };
}

function account(name: string): KubeObject {
  return { kind: "ServiceAccount", name, namespace: "kube-system" };
}

function bind(role: string, subjects: KubeObject[], name = role): KubeObject {
  return {
    apiVersion: `${API_GROUP}/v1`,
    kind: "ClusterRoleBinding",
    metadata: { name, annotations: ANNOTATIONS, labels: LABELS },
    roleRef: { apiGroup: API_GROUP, kind: "ClusterRole", name: role },
    subjects,
  };
}

const AUTHENTICATED = group("system:authenticated");
const UNAUTHENTICATED = group("system:unauthenticated");

const BINDINGS: KubeObject[] = [
  bind("cluster-admin", [group("system:masters")]),
  bind("system:discovery", [AUTHENTICATED]),
  bind("system:basic-user", [AUTHENTICATED]),
  bind("system:public-info-viewer", [AUTHENTICATED, UNAUTHENTICATED]),
  bind("system:monitoring", [group("system:monitoring")]),
  bind("system:node-proxier", [user("system:kube-proxy")]),
  bind("system:kube-controller-manager", [user("system:kube-controller-manager")]),
  bind("system:kube-scheduler", [user("system:kube-scheduler")]),
  bind("system:volume-scheduler", [user("system:kube-scheduler")]),
  bind("system:kube-dns", [account("kube-dns")]),
  bind("system:service-account-issuer-discovery", [group("system:serviceaccounts")]),
  // Kubelets are the Node authorizer's; the role stays for those who look for it.
  bind("system:node", []),
];

// The controllers act as accounts of their own, or all as the manager when it runs without them.
function controllers(): KubeObject[] {
  return Object.entries(CONTROLLER_RULES).flatMap(([name, rules]) => [
    clusterRole(`system:controller:${name}`, rules),
    bind(`system:controller:${name}`, [account(name), user("system:kube-controller-manager")]),
  ]);
}

function namespacedRole(
  namespace: string,
  name: string,
  rules: object[],
  subjects: KubeObject[],
): KubeObject[] {
  const metadata = { name, namespace, annotations: ANNOTATIONS, labels: LABELS };
  return [
    { apiVersion: `${API_GROUP}/v1`, kind: "Role", metadata, rules },
    {
      apiVersion: `${API_GROUP}/v1`,
      kind: "RoleBinding",
      metadata,
      roleRef: { apiGroup: API_GROUP, kind: "Role", name },
      subjects,
    },
  ];
}

const NAMESPACED: KubeObject[] = [
  ...namespacedRole(
    "kube-system",
    "extension-apiserver-authentication-reader",
    [allow("get list watch", "", "configmaps", "extension-apiserver-authentication")],
    [user("system:kube-controller-manager"), user("system:kube-scheduler")],
  ),
  ...namespacedRole(
    "kube-system",
    "system::leader-locking-kube-controller-manager",
    [allow("watch", "", "configmaps"), allow("get update", "", "configmaps", "kube-controller-manager")],
    [user("system:kube-controller-manager"), account("kube-controller-manager")],
  ),
  ...namespacedRole(
    "kube-system",
    "system::leader-locking-kube-scheduler",
    [allow("watch", "", "configmaps"), allow("get update", "", "configmaps", "kube-scheduler")],
    [user("system:kube-scheduler"), account("kube-scheduler")],
  ),
];

/** The roles and bindings of a fresh cluster. */
export function defaultRbac(): KubeObject[] {
  return structuredClone([...DEFAULT_CLUSTER_ROLES, ...BINDINGS, ...controllers(), ...NAMESPACED]);
}
