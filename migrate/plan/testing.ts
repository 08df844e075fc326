// SPDX-License-Identifier: Apache-2.0
// Inventories for tests: a flannel cluster of any size.
import type { Inventory, InventoryNode } from "../model/inventory.ts";

const node = (name: string, index: number, roles: InventoryNode["roles"]): InventoryNode => ({
  name,
  roles,
  ready: true,
  unschedulable: false,
  kernel: "6.1.0-18-amd64",
  osImage: "Debian GNU/Linux 12 (bookworm)",
  runtime: "containerd://1.7.20",
  kubelet: "v1.33.1",
  architecture: "amd64",
  podCIDRs: [`10.${100 + (index >> 8)}.${index & 255}.0/24`],
  addresses: [`172.30.${index >> 8}.${index & 255}`],
  taints: [],
  pods: 12,
  networkedPods: 10,
  pinnedPods: 1,
});

/** One control plane and this many workers, on flannel with an iptables kube-proxy. */
export function sampleInventory(workers = 3, changes: Partial<Inventory> = {}): Inventory {
  const nodes = [node("control-plane", 0, ["control-plane"])];
  for (let index = 1; index <= workers; index++) nodes.push(node(`worker-${index}`, index, ["worker"]));
  return {
    version: 1,
    takenAt: "2026-01-01T00:00:00.000Z",
    server: "https://127.0.0.1:6443",
    clusterUid: "8c1b5cf2-6a35-4d49-9a5b-111111111111",
    platform: "kubeadm",
    serverVersion: "v1.33.1",
    nodes,
    network: {
      kind: "flannel",
      mode: "vxlan",
      daemonSet: { kind: "DaemonSet", namespace: "kube-flannel", name: "kube-flannel-ds" },
      others: [],
      configuration: [{ kind: "ConfigMap", namespace: "kube-flannel", name: "kube-flannel-cfg" }],
      podCIDRs: ["10.100.0.0/14"],
      mtu: 1450,
      encapsulation: "vxlan",
      port: 8472,
      device: "flannel.1",
      enforcesPolicy: false,
    },
    kubeProxy: {
      form: "daemonset",
      mode: "iptables",
      object: { kind: "DaemonSet", namespace: "kube-system", name: "kube-proxy" },
      disabled: false,
    },
    serviceCIDRs: ["10.96.0.0/16"],
    counts: {
      nodes: nodes.length,
      pods: nodes.length * 12,
      services: 20,
      headlessServices: 1,
      nodePortServices: 2,
      loadBalancerServices: 0,
      externalIPServices: 0,
      endpointSlices: 20,
      endpoints: 60,
      networkPolicies: 0,
      otherPolicies: {},
      podDisruptionBudgets: 3,
    },
    drain: [],
    webhooks: [],
    ...changes,
  };
}
