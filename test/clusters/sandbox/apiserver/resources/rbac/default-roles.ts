// SPDX-License-Identifier: Apache-2.0
// The ClusterRoles a fresh cluster has.
import type { KubeObject } from "../resource.ts";
import { NODE_RULES } from "./node-rules.ts";
import { allow, allowPaths, EVENTS, READ, WRITE } from "./rule-text.ts";
import type { PolicyRule } from "./rules.ts";

const BOOTSTRAP = { "kubernetes.io/bootstrapping": "rbac-defaults" };
const AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-";
const RBAC = "rbac.authorization.k8s.io";

/** A ClusterRole made at start. */
export function clusterRole(
  name: string,
  rules: PolicyRule[],
  labels: Record<string, string> = {},
): KubeObject {
  return {
    apiVersion: `${RBAC}/v1`,
    kind: "ClusterRole",
    metadata: {
      name,
      annotations: { "rbac.authorization.kubernetes.io/autoupdate": "true" },
      labels: { ...BOOTSTRAP, ...labels },
    },
    rules,
  };
}

const VIEW: PolicyRule[] = [
  allow(
    READ,
    "",
    "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status",
  ),
  allow(
    READ,
    "",
    "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status",
  ),
  allow(READ, "", "namespaces"),
  allow(READ, "discovery.k8s.io", "endpointslices"),
  allow(
    READ,
    "apps",
    "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
  ),
  allow(READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
  allow(READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
  allow(READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
  allow(READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
];

const EDIT: PolicyRule[] = [
  allow(READ, "", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
  allow("impersonate", "", "serviceaccounts"),
  allow(WRITE, "", "pods pods/attach pods/exec pods/portforward pods/proxy"),
  allow("create", "", "pods/eviction"),
  allow(
    WRITE,
    "",
    "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy",
  ),
  allow("create", "", "serviceaccounts/token"),
  allow(
    WRITE,
    "apps",
    "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale",
  ),
  allow(WRITE, "autoscaling", "horizontalpodautoscalers"),
  allow(WRITE, "batch", "cronjobs jobs"),
  allow(WRITE, "policy", "poddisruptionbudgets"),
  allow(WRITE, "networking.k8s.io", "ingresses networkpolicies"),
  allow(`${WRITE} ${READ}`, "coordination.k8s.io", "leases"),
];

const ADMIN: PolicyRule[] = [
  allow("create", "authorization.k8s.io", "localsubjectaccessreviews"),
  allow(`${WRITE} ${READ}`, RBAC, "rolebindings roles"),
];

function aggregated(
  name: string,
  from: string,
  rules: PolicyRule[],
  labels: Record<string, string>,
): KubeObject {
  return {
    ...clusterRole(name, rules, labels),
    aggregationRule: { clusterRoleSelectors: [{ matchLabels: { [`${AGGREGATE}${from}`]: "true" } }] },
  };
}

const USER_ROLES: KubeObject[] = [
  clusterRole("cluster-admin", [allow("*", "*", "*"), allowPaths("*", "*")]),
  aggregated("admin", "admin", [...ADMIN, ...EDIT, ...VIEW], {}),
  aggregated("edit", "edit", [...EDIT, ...VIEW], { [`${AGGREGATE}admin`]: "true" }),
  aggregated("view", "view", VIEW, { [`${AGGREGATE}edit`]: "true" }),
  clusterRole("system:aggregate-to-admin", ADMIN, { [`${AGGREGATE}admin`]: "true" }),
  clusterRole("system:aggregate-to-edit", EDIT, { [`${AGGREGATE}edit`]: "true" }),
  clusterRole("system:aggregate-to-view", VIEW, { [`${AGGREGATE}view`]: "true" }),
];

const DISCOVERY_PATHS =
  "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/";
const LEASES: PolicyRule[] = [
  allow("create", "coordination.k8s.io", "leases"),
  allow("get list update watch", "coordination.k8s.io", "leases"),
];

const SYSTEM_ROLES: KubeObject[] = [
  clusterRole("system:discovery", [allowPaths("get", DISCOVERY_PATHS)]),
  clusterRole("system:public-info-viewer", [allowPaths("get", "/healthz /livez /readyz /version /version/")]),
  clusterRole("system:monitoring", [
    allowPaths("get", "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*"),
  ]),
  clusterRole("system:basic-user", [
    allow("create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
    allow("create", "authentication.k8s.io", "selfsubjectreviews"),
  ]),
  clusterRole("system:auth-delegator", [
    allow("create", "authentication.k8s.io", "tokenreviews"),
    allow("create", "authorization.k8s.io", "subjectaccessreviews"),
  ]),
  clusterRole("system:service-account-issuer-discovery", [
    allowPaths(
      "get",
      "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/",
    ),
  ]),
  clusterRole("system:kubelet-api-admin", [
    allow(`${READ} proxy`, "", "nodes"),
    allow("*", "", "nodes/log nodes/metrics nodes/proxy nodes/stats"),
  ]),
  clusterRole("system:node", [
    ...NODE_RULES,
    allow(READ, "", "configmaps secrets"),
    allow("get", "", "persistentvolumeclaims"),
  ]),
  clusterRole("system:node-proxier", [
    allow(READ, "", "endpoints services"),
    allow(READ, "", "nodes"),
    ...EVENTS,
    allow(READ, "discovery.k8s.io", "endpointslices"),
    allow(READ, "networking.k8s.io", "servicecidrs"),
  ]),
  clusterRole("system:node-bootstrapper", [
    allow("create get list watch", "certificates.k8s.io", "certificatesigningrequests"),
  ]),
  clusterRole("system:node-problem-detector", [
    allow("get", "", "nodes"),
    allow("patch", "", "nodes/status"),
    ...EVENTS,
  ]),
  clusterRole("system:kube-dns", [allow("list watch", "", "endpoints services")]),
  clusterRole("system:coredns", [
    allow("list watch", "", "endpoints services pods namespaces"),
    allow("list watch", "discovery.k8s.io", "endpointslices"),
  ]),
  clusterRole("system:persistent-volume-provisioner", [
    allow("create delete get list watch", "", "persistentvolumes"),
    allow("get list update watch", "", "persistentvolumeclaims"),
    allow(READ, "storage.k8s.io", "storageclasses"),
    allow("watch", "", "events"),
    ...EVENTS,
  ]),
  clusterRole("system:heapster", [
    allow(READ, "", "events namespaces nodes pods"),
    allow(READ, "apps", "deployments"),
  ]),
  clusterRole("system:kube-aggregator", [allow(READ, "", "endpoints services")]),
];

const COMPONENT_ROLES: KubeObject[] = [
  clusterRole("system:kube-scheduler", [
    ...EVENTS,
    ...LEASES,
    allow(READ, "", "nodes"),
    allow("delete get list watch", "", "pods"),
    allow("create", "", "bindings pods/binding"),
    allow("patch update", "", "pods/status"),
    allow(READ, "", "replicationcontrollers services namespaces"),
    allow(READ, "apps", "replicasets statefulsets"),
    allow(READ, "policy", "poddisruptionbudgets"),
    allow("get list patch update watch", "", "persistentvolumeclaims persistentvolumes"),
    allow("create", "authentication.k8s.io", "tokenreviews"),
    allow("create", "authorization.k8s.io", "subjectaccessreviews"),
    allow(
      READ,
      "storage.k8s.io",
      "csinodes csidrivers csistoragecapacities storageclasses volumeattachments",
    ),
  ]),
  clusterRole("system:kube-controller-manager", [
    ...EVENTS,
    ...LEASES,
    allow("create", "", "secrets serviceaccounts"),
    allow("delete", "", "secrets"),
    allow("get", "", "configmaps namespaces secrets serviceaccounts"),
    allow("update", "", "secrets serviceaccounts"),
    allow("create", "authentication.k8s.io", "tokenreviews"),
    allow("create", "authorization.k8s.io", "subjectaccessreviews"),
    allow("list watch", "*", "*"),
    allow("create", "", "serviceaccounts/token"),
  ]),
  clusterRole("system:volume-scheduler", [
    allow("get list patch update watch", "", "persistentvolumes persistentvolumeclaims"),
    allow(READ, "storage.k8s.io", "storageclasses"),
  ]),
];

/** Every default ClusterRole but the controllers'. */
export const DEFAULT_CLUSTER_ROLES: readonly KubeObject[] = [
  ...USER_ROLES,
  ...SYSTEM_ROLES,
  ...COMPONENT_ROLES,
];
