// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { shuntImage } from "../images/shunt-image.ts";
import { apiAddress } from "../parts.ts";
import type { ClusterPlan } from "../plan.ts";

const namespace = "kube-system";
const name = "kube-dns";
const labels = { "k8s-app": "kube-dns" };

/** Cluster DNS: a Deployment, its Service, and rights to read no more than it serves. */
export function dnsManifests(plan: ClusterPlan): KubeObject[] {
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace } },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRole",
      metadata: { name: "sandbox:kube-dns" },
      rules: [
        { apiGroups: [""], resources: ["services"], verbs: ["get", "list", "watch"] },
        { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["get", "list", "watch"] },
      ],
    },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: "sandbox:kube-dns" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "sandbox:kube-dns" },
      subjects: [{ kind: "ServiceAccount", name, namespace }],
    },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name, namespace, labels: { ...labels, "kubernetes.io/name": "CoreDNS" } },
      spec: {
        selector: labels,
        clusterIP: plan.dnsServiceIp,
        ports: [
          { name: "dns", port: 53, protocol: "UDP", targetPort: 53 },
          { name: "dns-tcp", port: 53, protocol: "TCP", targetPort: 53 },
        ],
      },
    },
    deployment(plan),
  ];
}

/** As kubeadm deploys it: two replicas, on control planes too, so that one is there while a node is drained. */
function deployment(plan: ClusterPlan): KubeObject {
  const probe = { httpGet: { path: "/health", port: 8080 }, periodSeconds: 2, failureThreshold: 5 };
  const container = {
    name: "dns",
    image: shuntImage,
    imagePullPolicy: "IfNotPresent",
    command: ["/usr/local/bin/node", "/opt/shunt/bin/sandbox-part.ts", "dns"],
    args: [`--server=https://${apiAddress(plan)}`, "--cluster-domain=cluster.local", "--health-port=8080"],
    ports: [
      { name: "dns", containerPort: 53, protocol: "UDP" },
      { name: "dns-tcp", containerPort: 53, protocol: "TCP" },
    ],
    readinessProbe: { ...probe, httpGet: { path: "/ready", port: 8080 }, periodSeconds: 1 },
    livenessProbe: { ...probe, initialDelaySeconds: 10, periodSeconds: 10 },
    resources: { requests: { cpu: "50m", memory: "64Mi" } },
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ["ALL"], add: ["NET_BIND_SERVICE"] },
    },
  };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, namespace, labels },
    spec: {
      replicas: Math.min(2, plan.nodes.length),
      selector: { matchLabels: labels },
      strategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 1 } },
      template: {
        metadata: { labels },
        spec: {
          serviceAccountName: name,
          priorityClassName: "system-cluster-critical",
          dnsPolicy: "Default",
          tolerations: [
            { key: "CriticalAddonsOnly", operator: "Exists" },
            { key: "node-role.kubernetes.io/control-plane", effect: "NoSchedule" },
          ],
          topologySpreadConstraints: [
            {
              maxSkew: 1,
              topologyKey: "kubernetes.io/hostname",
              whenUnsatisfiable: "ScheduleAnyway",
              labelSelector: { matchLabels: labels },
            },
          ],
          containers: [container],
        },
      },
    },
  };
}
