// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../../lib/kube-object.ts";
import type { ClusterPlan } from "../../plan.ts";
import { account, daemonCommand, daemonContainer, daemonEnv, hostPath } from "../manifest-parts.ts";

const namespace = "kube-system";
const labels = { tier: "node", app: "kindnet", "k8s-app": "kindnet" };

/** kindnet as kind deploys it. */
export function kindnetManifests(plan: ClusterPlan): KubeObject[] {
  return [
    ...account("kindnet", namespace, [
      { apiGroups: [""], resources: ["nodes"], verbs: ["list", "watch", "patch"] },
      { apiGroups: [""], resources: ["configmaps"], verbs: ["get"] },
      { apiGroups: [""], resources: ["pods", "namespaces"], verbs: ["list", "watch"] },
      { apiGroups: ["networking.k8s.io"], resources: ["networkpolicies"], verbs: ["list", "watch"] },
    ]),
    {
      apiVersion: "apps/v1",
      kind: "DaemonSet",
      metadata: { name: "kindnet", namespace, labels },
      spec: {
        selector: { matchLabels: { app: "kindnet" } },
        template: { metadata: { labels }, spec: podSpec(plan) },
      },
    },
  ];
}

function podSpec(plan: ClusterPlan): object {
  const fromField = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } });
  return {
    hostNetwork: true,
    nodeSelector: { "kubernetes.io/os": "linux" },
    tolerations: [{ operator: "Exists" }],
    serviceAccountName: "kindnet",
    containers: [
      {
        name: "kindnet-cni",
        ...daemonContainer,
        command: daemonCommand("kindnet"),
        env: [
          fromField("HOST_IP", "status.hostIP"),
          fromField("POD_IP", "status.podIP"),
          { name: "POD_SUBNET", value: plan.podCidrs.join(",") },
          { name: "CONTROL_PLANE_ENDPOINT", value: `${plan.nodes[0]!.name}:6443` },
          ...daemonEnv(plan),
        ],
        resources: { requests: { cpu: "100m", memory: "50Mi" } },
        securityContext: { privileged: false, capabilities: { add: ["NET_RAW", "NET_ADMIN"] } },
        volumeMounts: [
          { name: "cni-cfg", mountPath: "/etc/cni/net.d" },
          { name: "xtables-lock", mountPath: "/run/xtables.lock" },
        ],
      },
    ],
    volumes: [
      hostPath("cni-cfg", "/etc/cni/net.d"),
      hostPath("xtables-lock", "/run/xtables.lock", "FileOrCreate"),
    ],
  };
}
