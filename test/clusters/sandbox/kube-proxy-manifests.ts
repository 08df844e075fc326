// SPDX-License-Identifier: Apache-2.0
import { stringify } from "yaml";
import type { KubeObject } from "../../../lib/kube-object.ts";
import { kubeProxyImage, shuntImage } from "./images/shunt-image.ts";
import { apiAddress } from "./parts.ts";
import type { ClusterPlan, KubeProxyMode } from "./plan.ts";

const namespace = "kube-system";
const labels = { "k8s-app": "kube-proxy" };

/** True when the cluster runs the real kube-proxy of its assets. */
export function hasRealKubeProxy(plan: ClusterPlan): boolean {
  return kubeProxyMode(plan) !== "none" && plan.assets?.parts.includes("kube-proxy") === true;
}

/** What was asked for; without a word a real kube-proxy is used as it comes. */
export function kubeProxyMode(plan: ClusterPlan): KubeProxyMode {
  return plan.kubeProxy ?? (plan.assets?.parts.includes("kube-proxy") === true ? "iptables" : "none");
}

/** Configuration of a real kube-proxy: it may not write the machine's conntrack settings, hence the zeros. */
export function kubeProxyConfiguration(plan: ClusterPlan): object {
  return {
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    bindAddress: plan.ipFamily === "ipv6" ? "::" : "0.0.0.0",
    clientConnection: { kubeconfig: "/var/lib/kube-proxy/kubeconfig.conf" },
    clusterCIDR: plan.podCidrs.join(","),
    conntrack: {
      maxPerCore: 0,
      min: 0,
      tcpEstablishedTimeout: "0s",
      tcpCloseWaitTimeout: "0s",
      udpTimeout: "0s",
      udpStreamTimeout: "0s",
    },
    iptables: { minSyncPeriod: "1s", syncPeriod: "30s" },
    nftables: { minSyncPeriod: "1s", syncPeriod: "30s" },
    mode: kubeProxyMode(plan),
  };
}

/** kube-proxy as kubeadm deploys it: a DaemonSet with its configuration and kubeconfig in a ConfigMap. */
export function kubeProxyManifests(plan: ClusterPlan): KubeObject[] {
  const token = "/var/run/secrets/kubernetes.io/serviceaccount";
  const kubeconfig = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [
      {
        name: "default",
        cluster: { "certificate-authority": `${token}/ca.crt`, server: `https://${apiAddress(plan)}` },
      },
    ],
    contexts: [{ name: "default", context: { cluster: "default", namespace: "default", user: "default" } }],
    users: [{ name: "default", user: { tokenFile: `${token}/token` } }],
    "current-context": "default",
  };
  const metadata = { name: "kube-proxy", namespace, labels };
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "kube-proxy", namespace } },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: "kubeadm:node-proxier" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "system:node-proxier" },
      subjects: [{ kind: "ServiceAccount", name: "kube-proxy", namespace }],
    },
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata,
      data: {
        "config.conf": stringify(kubeProxyConfiguration(plan)),
        "kubeconfig.conf": stringify(kubeconfig),
      },
    },
    {
      apiVersion: "apps/v1",
      kind: "DaemonSet",
      metadata,
      spec: {
        selector: { matchLabels: labels },
        updateStrategy: { type: "RollingUpdate" },
        template: { metadata: { labels }, spec: podSpec(plan) },
      },
    },
  ];
}

function podSpec(plan: ClusterPlan): object {
  const isReal = hasRealKubeProxy(plan);
  const program = isReal
    ? ["/usr/local/bin/kube-proxy"]
    : ["/usr/local/bin/node", "/opt/shunt/bin/sandbox-part.ts", "kube-proxy"];
  return {
    serviceAccountName: "kube-proxy",
    hostNetwork: true,
    priorityClassName: "system-node-critical",
    nodeSelector: { "kubernetes.io/os": "linux" },
    tolerations: [{ operator: "Exists" }],
    containers: [
      {
        name: "kube-proxy",
        image: isReal ? kubeProxyImage : shuntImage,
        imagePullPolicy: "IfNotPresent",
        command: [...program, "--config=/var/lib/kube-proxy/config.conf", "--hostname-override=$(NODE_NAME)"],
        env: [{ name: "NODE_NAME", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } }],
        securityContext: { privileged: true },
        volumeMounts: [
          { name: "kube-proxy", mountPath: "/var/lib/kube-proxy" },
          { name: "xtables-lock", mountPath: "/run/xtables.lock" },
        ],
      },
    ],
    volumes: [
      { name: "kube-proxy", configMap: { name: "kube-proxy" } },
      { name: "xtables-lock", hostPath: { path: "/run/xtables.lock", type: "FileOrCreate" } },
    ],
  };
}
