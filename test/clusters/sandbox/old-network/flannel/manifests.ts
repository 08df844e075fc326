// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../../lib/kube-object.ts";
import type { ClusterPlan } from "../../plan.ts";
import {
  account,
  daemonCommand,
  daemonContainer,
  daemonEnv,
  hostPath,
  installPlugin,
} from "../manifest-parts.ts";

const namespace = "kube-flannel";
const labels = { tier: "node", app: "flannel" };

/** Flannel as its kube-flannel.yml deploys it. */
export function flannelManifests(plan: ClusterPlan): KubeObject[] {
  const privileged = { "k8s-app": "flannel", "pod-security.kubernetes.io/enforce": "privileged" };
  return [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace, labels: privileged } },
    ...account("flannel", namespace, [
      { apiGroups: [""], resources: ["pods"], verbs: ["get"] },
      { apiGroups: [""], resources: ["nodes"], verbs: ["get", "list", "watch"] },
      { apiGroups: [""], resources: ["nodes/status"], verbs: ["patch"] },
    ]),
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "kube-flannel-cfg", namespace, labels: { ...labels, "k8s-app": "flannel" } },
      data: {
        "cni-conf.json": `${JSON.stringify(cniConfiguration, null, 2)}\n`,
        "net-conf.json": `${JSON.stringify(networkConfiguration(plan), null, 2)}\n`,
      },
    },
    {
      apiVersion: "apps/v1",
      kind: "DaemonSet",
      metadata: { name: "kube-flannel-ds", namespace, labels: { ...labels, "k8s-app": "flannel" } },
      spec: {
        selector: { matchLabels: { app: "flannel" } },
        updateStrategy: { type: "RollingUpdate" },
        template: { metadata: { labels }, spec: podSpec(plan) },
      },
    },
  ];
}

const cniConfiguration = {
  name: "cbr0",
  cniVersion: "0.3.1",
  plugins: [
    { type: "flannel", delegate: { hairpinMode: true, isDefaultGateway: true } },
    { type: "portmap", capabilities: { portMappings: true } },
  ],
};

function networkConfiguration(plan: ClusterPlan): object {
  const ipv4 = plan.podCidrs.find((cidr) => !cidr.includes(":"));
  const ipv6 = plan.podCidrs.find((cidr) => cidr.includes(":"));
  return {
    ...(ipv4 === undefined ? { EnableIPv4: false } : { Network: ipv4 }),
    ...(ipv6 === undefined ? {} : { EnableIPv6: true, IPv6Network: ipv6 }),
    EnableNFTables: false,
    Backend: { Type: "vxlan" },
  };
}

function podSpec(plan: ClusterPlan): object {
  const configuration = { name: "flannel-cfg", mountPath: "/etc/kube-flannel/" };
  return {
    affinity: {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [
            { matchExpressions: [{ key: "kubernetes.io/os", operator: "In", values: ["linux"] }] },
          ],
        },
      },
    },
    hostNetwork: true,
    priorityClassName: "system-node-critical",
    tolerations: [{ operator: "Exists", effect: "NoSchedule" }],
    serviceAccountName: "flannel",
    initContainers: [
      {
        name: "install-cni-plugin",
        ...daemonContainer,
        command: installPlugin("flannel"),
        volumeMounts: [{ name: "cni-plugin", mountPath: "/opt/cni/bin" }],
      },
      {
        name: "install-cni",
        ...daemonContainer,
        command: ["cp", "-f", "/etc/kube-flannel/cni-conf.json", "/etc/cni/net.d/10-flannel.conflist"],
        volumeMounts: [{ name: "cni", mountPath: "/etc/cni/net.d" }, configuration],
      },
    ],
    containers: [
      {
        name: "kube-flannel",
        ...daemonContainer,
        command: daemonCommand("flannel"),
        resources: { requests: { cpu: "100m", memory: "50Mi" } },
        securityContext: { privileged: false, capabilities: { add: ["NET_ADMIN", "NET_RAW"] } },
        env: daemonEnv(plan),
        volumeMounts: [
          { name: "run", mountPath: "/run/flannel" },
          configuration,
          { name: "xtables-lock", mountPath: "/run/xtables.lock" },
        ],
      },
    ],
    volumes: [
      hostPath("run", "/run/flannel"),
      hostPath("cni-plugin", "/opt/cni/bin"),
      hostPath("cni", "/etc/cni/net.d"),
      { name: "flannel-cfg", configMap: { name: "kube-flannel-cfg" } },
      hostPath("xtables-lock", "/run/xtables.lock", "FileOrCreate"),
    ],
  };
}
