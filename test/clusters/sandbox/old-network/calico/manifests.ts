// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../../lib/kube-object.ts";
import type { ClusterPlan } from "../../plan.ts";
import { account, daemonCommand, daemonContainer, daemonEnv, hostPath } from "../manifest-parts.ts";
import { calicoDefinitions, calicoResources } from "./resources.ts";

const namespace = "kube-system";
const nodeLabels = { "k8s-app": "calico-node" };
const controllerLabels = { "k8s-app": "calico-kube-controllers" };

/** Calico as its calico-vxlan.yaml deploys it, with addresses from the nodes' own ranges. */
export function calicoManifests(plan: ClusterPlan): KubeObject[] {
  const read = ["get", "list", "watch"];
  const crds = {
    apiGroups: ["crd.projectcalico.org"],
    resources: ["*"],
    verbs: [...read, "create", "update"],
  };
  return [
    ...calicoDefinitions(),
    ...account("calico-node", namespace, [
      { apiGroups: [""], resources: ["nodes", "pods", "namespaces", "configmaps"], verbs: read },
      { apiGroups: [""], resources: ["nodes/status", "pods/status"], verbs: ["patch", "update"] },
      { apiGroups: ["networking.k8s.io"], resources: ["networkpolicies"], verbs: read },
      crds,
    ]),
    ...account("calico-kube-controllers", namespace, [
      { apiGroups: [""], resources: ["nodes", "pods"], verbs: read },
      crds,
    ]),
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "calico-config", namespace },
      data: {
        typha_service_name: "none",
        calico_backend: "vxlan",
        veth_mtu: "0",
        cni_network_config: `${JSON.stringify(cniConfiguration, null, 2)}\n`,
      },
    },
    {
      apiVersion: "apps/v1",
      kind: "DaemonSet",
      metadata: { name: "calico-node", namespace, labels: nodeLabels },
      spec: {
        selector: { matchLabels: nodeLabels },
        updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 1 } },
        template: { metadata: { labels: nodeLabels }, spec: nodePodSpec(plan) },
      },
    },
    controllers(),
    {
      apiVersion: "policy/v1",
      kind: "PodDisruptionBudget",
      metadata: { name: "calico-kube-controllers", namespace, labels: controllerLabels },
      spec: { maxUnavailable: 1, selector: { matchLabels: controllerLabels } },
    },
    ...calicoResources(plan),
  ];
}

const cniConfiguration = {
  name: "k8s-pod-network",
  cniVersion: "0.3.1",
  plugins: [
    {
      type: "calico",
      log_level: "info",
      log_file_path: "/var/log/calico/cni/cni.log",
      datastore_type: "kubernetes",
      nodename: "__KUBERNETES_NODE_NAME__",
      ipam: { type: "host-local", subnet: "usePodCidr" },
      policy: { type: "k8s" },
      kubernetes: { kubeconfig: "__KUBECONFIG_FILEPATH__" },
    },
    { type: "portmap", snat: true, capabilities: { portMappings: true } },
    { type: "bandwidth", capabilities: { bandwidth: true } },
  ],
};

function fromConfig(name: string, key: string): object {
  return { name, valueFrom: { configMapKeyRef: { name: "calico-config", key } } };
}

function nodePodSpec(plan: ClusterPlan): object {
  const environment = {
    DATASTORE_TYPE: "kubernetes",
    WAIT_FOR_DATASTORE: "true",
    CLUSTER_TYPE: "k8s",
    IP: "autodetect",
    IP_AUTODETECTION_METHOD: "kubernetes-internal-ip",
    CALICO_IPV4POOL_IPIP: "Never",
    CALICO_IPV4POOL_VXLAN: "Always",
    CALICO_IPV6POOL_VXLAN: "Never",
    CALICO_IPV4POOL_CIDR: plan.podCidrs[0]!,
    CALICO_DISABLE_FILE_LOGGING: "true",
    FELIX_DEFAULTENDPOINTTOHOSTACTION: "ACCEPT",
    FELIX_IPV6SUPPORT: "false",
    FELIX_HEALTHENABLED: "true",
  };
  return {
    nodeSelector: { "kubernetes.io/os": "linux" },
    hostNetwork: true,
    tolerations: [
      { effect: "NoSchedule", operator: "Exists" },
      { key: "CriticalAddonsOnly", operator: "Exists" },
      { effect: "NoExecute", operator: "Exists" },
    ],
    serviceAccountName: "calico-node",
    terminationGracePeriodSeconds: 0,
    priorityClassName: "system-node-critical",
    initContainers: [
      {
        name: "install-cni",
        ...daemonContainer,
        command: daemonCommand("calico-install-cni"),
        env: [
          { name: "CNI_CONF_NAME", value: "10-calico.conflist" },
          fromConfig("CNI_NETWORK_CONFIG", "cni_network_config"),
          fromConfig("CNI_MTU", "veth_mtu"),
          ...daemonEnv(plan),
        ],
        securityContext: { privileged: true },
        volumeMounts: [
          { name: "cni-bin-dir", mountPath: "/host/opt/cni/bin" },
          { name: "cni-net-dir", mountPath: "/host/etc/cni/net.d" },
        ],
      },
    ],
    containers: [
      {
        name: "calico-node",
        ...daemonContainer,
        command: daemonCommand("calico"),
        env: [
          ...Object.entries(environment).map(([name, value]) => ({ name, value })),
          fromConfig("CALICO_NETWORKING_BACKEND", "calico_backend"),
          fromConfig("FELIX_VXLANMTU", "veth_mtu"),
          { name: "NODENAME", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } },
          ...daemonEnv(plan),
        ],
        resources: { requests: { cpu: "250m" } },
        securityContext: { privileged: true },
        volumeMounts: [
          { name: "var-run-calico", mountPath: "/var/run/calico" },
          { name: "var-lib-calico", mountPath: "/var/lib/calico" },
          { name: "xtables-lock", mountPath: "/run/xtables.lock" },
        ],
      },
    ],
    volumes: [
      hostPath("var-run-calico", "/var/run/calico", "DirectoryOrCreate"),
      hostPath("var-lib-calico", "/var/lib/calico", "DirectoryOrCreate"),
      hostPath("xtables-lock", "/run/xtables.lock", "FileOrCreate"),
      hostPath("cni-bin-dir", "/opt/cni/bin", "DirectoryOrCreate"),
      hostPath("cni-net-dir", "/etc/cni/net.d"),
    ],
  };
}

/** It has nothing to do here: its controllers keep Calico's own datastore tidy. */
function controllers(): KubeObject {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "calico-kube-controllers", namespace, labels: controllerLabels },
    spec: {
      replicas: 1,
      selector: { matchLabels: controllerLabels },
      strategy: { type: "Recreate" },
      template: {
        metadata: { labels: controllerLabels },
        spec: {
          nodeSelector: { "kubernetes.io/os": "linux" },
          tolerations: [
            { key: "CriticalAddonsOnly", operator: "Exists" },
            { key: "node-role.kubernetes.io/control-plane", effect: "NoSchedule" },
          ],
          serviceAccountName: "calico-kube-controllers",
          priorityClassName: "system-cluster-critical",
          terminationGracePeriodSeconds: 0,
          containers: [
            {
              name: "calico-kube-controllers",
              ...daemonContainer,
              command: ["/bin/busybox", "tail", "-f", "/dev/null"],
              env: [
                { name: "ENABLED_CONTROLLERS", value: "node,loadbalancer" },
                { name: "DATASTORE_TYPE", value: "kubernetes" },
              ],
            },
          ],
        },
      },
    },
  };
}
