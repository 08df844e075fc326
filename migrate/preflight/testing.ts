// SPDX-License-Identifier: Apache-2.0
// A healthy flannel cluster as objects, for tests that make one thing of it wrong.
import type { KubeObject } from "../../lib/kube-object.ts";
import { readInventory } from "../inventory/index.ts";
import type { InventoryOptions } from "../inventory/read.ts";
import { fakeCluster } from "../inventory/testing.ts";
import type { Finding } from "../model/inventory.ts";
import { type PreflightOptions, preflight } from "./index.ts";

export const nowMs = Date.parse("2026-01-10T12:00:00Z");

/** An object with the usual head. */
export function object(apiVersion: string, kind: string, name: string, fields: any = {}): KubeObject {
  const { namespace, labels, annotations, metadata, ...rest } = fields;
  return { apiVersion, kind, metadata: { name, namespace, labels, annotations, ...metadata }, ...rest };
}

/** A Linux node that is well. */
export function node(index: number, changes: any = {}): KubeObject {
  const { spec, status, nodeInfo, ...rest } = changes;
  return object("v1", "Node", `node-${index}`, {
    annotations: { "kubeadm.alpha.kubernetes.io/cri-socket": "unix:///run/containerd/containerd.sock" },
    ...rest,
    spec: { podCIDRs: [`10.244.${index}.0/24`], ...spec },
    status: {
      conditions: [{ type: "Ready", status: "True" }],
      addresses: [{ type: "InternalIP", address: `172.30.0.${index + 1}` }],
      allocatable: { cpu: "4", memory: "8Gi", pods: "110" },
      ...status,
      nodeInfo: {
        kernelVersion: "6.1.0-18-amd64",
        operatingSystem: "linux",
        osImage: "Debian GNU/Linux 12 (bookworm)",
        containerRuntimeVersion: "containerd://1.7.20",
        kubeletVersion: "v1.33.1",
        architecture: "amd64",
        ...nodeInfo,
      },
    },
  });
}

const controller = (kind: string, name: string) => [
  { apiVersion: "apps/v1", kind, name, uid: name, controller: true },
];

/** A running pod of Deployment `app`, on node 1 unless told otherwise. */
export function pod(name: string, changes: any = {}): KubeObject {
  const { spec, status, owner = "app-5d4f", on = 1, ...rest } = changes;
  return object("v1", "Pod", name, {
    namespace: "default",
    labels: { app: "app", "pod-template-hash": "5d4f" },
    ...rest,
    metadata: {
      ...(owner === null ? {} : { ownerReferences: controller("ReplicaSet", owner) }),
      ...rest.metadata,
    },
    spec: {
      nodeName: `node-${on}`,
      containers: [{ name: "app", image: "app:1", resources: { requests: { cpu: "100m", memory: "64Mi" } } }],
      ...spec,
    },
    status: { phase: "Running", podIPs: [{ ip: `10.244.${on}.7` }], ...status },
  });
}

/** A DaemonSet whose pods have one container. */
export function daemonSet(name: string, fields: any = {}): KubeObject {
  const { containers = [{ name, image: `${name}:1` }], volumes = [], nodeSelector, ...rest } = fields;
  return object("apps/v1", "DaemonSet", name, {
    namespace: "kube-system",
    ...rest,
    spec: {
      selector: { matchLabels: { "k8s-app": name } },
      template: { spec: { containers, volumes, ...(nodeSelector ? { nodeSelector } : {}) } },
    },
    status: { desiredNumberScheduled: 3, observedGeneration: 1, ...rest.status },
  });
}

export const configMap = (
  name: string,
  data: Record<string, string>,
  namespace = "kube-system",
): KubeObject => object("v1", "ConfigMap", name, { namespace, data });

/** kube-proxy as kubeadm deploys it. */
export const kubeProxy = (mode = ""): KubeObject[] => [
  daemonSet("kube-proxy", { volumes: [{ name: "c", configMap: { name: "kube-proxy" } }] }),
  configMap("kube-proxy", { "config.conf": `mode: "${mode}"\nclusterCIDR: 10.244.0.0/16\n` }),
];

export const flannelConf = (backend: object = { Type: "vxlan" }): KubeObject =>
  configMap(
    "kube-flannel-cfg",
    {
      "net-conf.json": JSON.stringify({ Network: "10.244.0.0/16", Backend: backend }),
      "cni-conf.json": JSON.stringify({ name: "cbr0", plugins: [{ type: "flannel" }, { type: "portmap" }] }),
    },
    "kube-flannel",
  );

export const flannel = (): KubeObject =>
  daemonSet("kube-flannel-ds", {
    namespace: "kube-flannel",
    containers: [{ name: "kube-flannel", image: "ghcr.io/flannel-io/flannel:v0.26.1" }],
    volumes: [
      { name: "cni", hostPath: { path: "/etc/cni/net.d" } },
      { name: "cfg", configMap: { name: "kube-flannel-cfg" } },
    ],
  });

/** What is true of every healthy cluster, without its network and its kube-proxy. */
export function base(): KubeObject[] {
  return [
    object("v1", "Namespace", "kube-system", { metadata: { uid: "cluster-uid" } }),
    object("v1", "Namespace", "default"),
    object("networking.k8s.io/v1", "ServiceCIDR", "kubernetes", { spec: { cidrs: ["10.96.0.0/16"] } }),
    node(0, { labels: { "node-role.kubernetes.io/control-plane": "" } }),
    node(1),
    node(2),
    object("v1", "Service", "web", {
      namespace: "default",
      spec: { type: "ClusterIP", clusterIP: "10.96.0.20", selector: { app: "app" }, ports: [{ port: 80 }] },
    }),
    object("discovery.k8s.io/v1", "EndpointSlice", "web-abc", {
      namespace: "default",
      labels: { "kubernetes.io/service-name": "web" },
      metadata: { generation: 1, creationTimestamp: "2026-01-01T00:00:00Z" },
      ports: [{ port: 80 }],
      endpoints: [{ addresses: ["10.244.1.7"], conditions: { ready: true } }, { addresses: ["10.244.2.7"] }],
    }),
    pod("app-5d4f-a", { on: 1 }),
    pod("app-5d4f-b", { on: 2 }),
  ];
}

/** A cluster on flannel that has nothing wrong. */
export const healthy = (): KubeObject[] => [...base(), flannel(), flannelConf(), ...kubeProxy()];

/** Reads these objects as a cluster and judges it. */
export async function judge(
  objects: KubeObject[],
  options: PreflightOptions & { inventory?: InventoryOptions; forbidden?: string[] } = {},
): Promise<Finding[]> {
  const { inventory: reading, forbidden, ...rest } = options;
  const kube = fakeCluster({ objects, ...(forbidden === undefined ? {} : { forbidden }) });
  return preflight(await readInventory(kube, { nowMs, ...reading }), rest);
}
