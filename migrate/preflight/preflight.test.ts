// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { KubeObject } from "../../lib/kube-object.ts";
import type { NodeFacts, Severity } from "../model/inventory.ts";
import type { PreflightOptions } from "./index.ts";
import {
  base,
  configMap,
  daemonSet,
  flannel,
  flannelConf,
  healthy,
  judge,
  kubeProxy,
  node,
  object,
  pod,
} from "./testing.ts";

/** What every healthy cluster is told; everything else is a finding that something has to trigger. */
const always = [
  "tunnel-port-firewall",
  "rp-filter-unknown",
  "no-policies",
  "worth-it",
  "churn",
  "duration-by-hand",
];

interface Trigger {
  id: string;
  severity: Severity;
  /** Said about which object. */
  object?: string;
  /** Objects in place of those of the same kind and name, or added to a healthy cluster. */
  with?: KubeObject[];
  /** The whole cluster, when it is another one. */
  cluster?: KubeObject[];
  options?: Parameters<typeof judge>[1];
}

const facts = (changes: Partial<NodeFacts> = {}): NodeFacts => ({
  cniFiles: ["10-flannel.conflist"],
  devices: [],
  kernelFeatures: { btf: true },
  ...changes,
});
const factsOfAll = (changes: Partial<NodeFacts>, rest: Partial<NodeFacts> = changes) =>
  new Map(["node-0", "node-1", "node-2"].map((name, index) => [name, facts(index === 0 ? changes : rest)]));

const calicoConf = (data: Record<string, string>): KubeObject => configMap("calico-config", data);
const calico = (env: Record<string, string>): KubeObject =>
  daemonSet("calico-node", {
    containers: [
      {
        name: "calico-node",
        image: "docker.io/calico/node:v3.28.0",
        env: Object.entries(env).map(([name, value]) => ({ name, value })),
      },
    ],
    volumes: [{ name: "cfg", configMap: { name: "calico-config" } }],
  });
const onCalico = (env: Record<string, string>, ...more: KubeObject[]): KubeObject[] => [
  ...base(),
  calico({ CALICO_IPV4POOL_CIDR: "10.244.0.0/16", CALICO_IPV4POOL_VXLAN: "Always", ...env }),
  calicoConf({ veth_mtu: "1450" }),
  ...kubeProxy(),
  ...more,
];
const internalIp = { IP_AUTODETECTION_METHOD: "kubernetes-internal-ip" };
const budget = (
  name: string,
  spec: any,
  status: any = { expectedPods: 2, disruptionsAllowed: 1 },
): KubeObject =>
  object("policy/v1", "PodDisruptionBudget", name, {
    namespace: "default",
    spec: { selector: { matchLabels: { app: "app" } }, ...spec },
    status,
  });
const service = (name: string, spec: any): KubeObject =>
  object("v1", "Service", name, {
    namespace: "default",
    spec: { clusterIP: "10.96.0.30", selector: { app: "app" }, ports: [{ port: 80 }], ...spec },
  });
const hook = (name: string, changes: any = {}): KubeObject =>
  object("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", name, {
    webhooks: [
      {
        name: `${name}.test`,
        failurePolicy: "Fail",
        clientConfig: { service: { namespace: "default", name: "web" } },
        rules: [{ apiGroups: [""], resources: ["pods"], operations: ["CREATE"] }],
        ...changes,
      },
    ],
  });
const policy = (): KubeObject =>
  object("networking.k8s.io/v1", "NetworkPolicy", "deny", {
    namespace: "default",
    spec: { podSelector: {} },
  });
const volumePod = (volume: any): KubeObject =>
  pod("app-5d4f-a", { spec: { nodeName: "node-1", containers: [], volumes: [volume] } });
const taint = (key: string) => ({ taints: [{ key, effect: "NoSchedule" }] });

const triggers: Trigger[] = [
  { id: "not-readable", severity: "block", options: { forbidden: ["/apis/policy/v1"] } },
  { id: "not-readable", severity: "warn", options: { forbidden: ["/api/v1/persistentvolumes"] } },
  {
    id: "network-managed-by-provider",
    severity: "block",
    with: [0, 1, 2].map((index) => node(index, { labels: { "cloud.google.com/gke-nodepool": "a" } })),
  },
  {
    id: "prefer-node-groups",
    severity: "warn",
    with: [0, 1, 2].map((index) => node(index, { labels: { "eks.amazonaws.com/nodegroup": "a" } })),
  },
  {
    id: "network-reconciled",
    severity: "warn",
    object: "DaemonSet kube-flannel/kube-flannel-ds",
    with: [
      {
        ...flannel(),
        metadata: {
          name: "kube-flannel-ds",
          namespace: "kube-flannel",
          annotations: { "argocd.argoproj.io/tracking-id": "x" },
        },
      },
    ],
  },
  {
    id: "kube-proxy-reconciled",
    severity: "warn",
    with: [
      {
        ...kubeProxy()[0]!,
        metadata: {
          name: "kube-proxy",
          namespace: "kube-system",
          labels: { "addonmanager.kubernetes.io/mode": "Reconcile" },
        },
      },
    ],
  },
  {
    id: "service-range-estimated",
    severity: "info",
    cluster: healthy().filter(({ kind }) => kind !== "ServiceCIDR"),
  },
  {
    id: "node-virtual",
    severity: "warn",
    with: [node(3, { labels: { "eks.amazonaws.com/compute-type": "fargate" } })],
  },
  { id: "node-not-linux", severity: "warn", with: [node(3, { nodeInfo: { operatingSystem: "windows" } })] },
  {
    id: "node-not-ready",
    severity: "block",
    object: "Node node-2",
    with: [node(2, { status: { conditions: [{ type: "Ready", status: "Unknown" }] } })],
  },
  { id: "node-cordoned", severity: "info", with: [node(3, { spec: { unschedulable: true } })] },
  {
    id: "kernel-too-old",
    severity: "block",
    object: "Node node-2",
    with: [node(2, { nodeInfo: { kernelVersion: "4.19.0-26-amd64" } })],
  },
  {
    id: "kernel-below-recommended",
    severity: "info",
    with: [node(2, { nodeInfo: { kernelVersion: "5.10.0-30-amd64" } })],
  },
  {
    id: "kernel-feature-missing",
    severity: "warn",
    options: { inventory: { facts: factsOfAll({ kernelFeatures: { vxlan: false }, rpFilter: 0 }) } },
  },
  {
    id: "kernel-feature-optional",
    severity: "info",
    options: { inventory: { facts: factsOfAll({ kernelFeatures: { tcx: false }, rpFilter: 0 }) } },
  },
  {
    id: "node-without-pod-range",
    severity: "block",
    object: "Node node-2",
    with: [node(2, { spec: { podCIDRs: [] } }), pod("app-5d4f-b")],
  },
  {
    id: "node-condition",
    severity: "warn",
    with: [
      node(2, {
        status: {
          conditions: [
            { type: "Ready", status: "True" },
            { type: "DiskPressure", status: "True" },
          ],
        },
      }),
    ],
  },
  {
    id: "autoscaler-active",
    severity: "warn",
    with: [node(2, { labels: { "karpenter.sh/nodepool": "a" } })],
  },
  {
    id: "autoscaler-active",
    severity: "warn",
    with: [
      pod("cluster-autoscaler-a", { labels: { app: "cluster-autoscaler" } }),
      pod("cluster-autoscaler-b", { labels: { app: "cluster-autoscaler" } }),
    ],
  },
  {
    id: "startup-taint",
    severity: "warn",
    with: [node(3, { spec: taint("node.cilium.io/agent-not-ready") })],
  },
  {
    id: "one-node-only",
    severity: "warn",
    with: [
      node(2, { spec: taint("team") }),
      node(0, { spec: taint("node-role.kubernetes.io/control-plane") }),
    ],
  },
  {
    id: "no-room",
    severity: "warn",
    object: "Node node-1",
    with: [0, 1, 2]
      .map((index) =>
        node(index, {
          status: {
            conditions: [{ type: "Ready", status: "True" }],
            allocatable: { cpu: "110m", memory: "8Gi" },
          },
        }),
      )
      .concat(
        pod("app-5d4f-c", { spec: { containers: [{ name: "app", resources: { requests: { cpu: "1" } } }] } }),
      ),
  },
  {
    id: "network-unknown",
    severity: "block",
    cluster: [
      ...base(),
      daemonSet("mynet", { volumes: [{ name: "c", hostPath: { path: "/etc/cni/net.d" } }] }),
      ...kubeProxy(),
    ],
  },
  {
    id: "network-has-own-datapath",
    severity: "block",
    object: "DaemonSet kube-system/cilium",
    cluster: [
      ...base(),
      daemonSet("cilium"),
      configMap("cilium-config", { "kube-proxy-replacement": "true" }),
    ],
  },
  {
    id: "network-not-supported-in-place",
    severity: "block",
    cluster: [...base(), daemonSet("weave-net"), ...kubeProxy()],
  },
  { id: "several-networks", severity: "warn", with: [daemonSet("kindnet")] },
  { id: "network-addition", severity: "warn", with: [daemonSet("kube-multus-ds")] },
  {
    id: "calico-address-detection",
    severity: "block",
    object: "DaemonSet kube-system/calico-node",
    cluster: onCalico({ IP: "autodetect" }),
  },
  {
    id: "address-of-another-node",
    severity: "block",
    object: "Node node-1",
    with: [pod("app-5d4f-a", { status: { podIPs: [{ ip: "10.244.2.9" }] } })],
  },
  {
    id: "calico-ipam-pools",
    severity: "block",
    object: "DaemonSet kube-system/calico-node",
    cluster: onCalico(internalIp).map((entry) =>
      entry.metadata.name === "app-5d4f-a"
        ? pod("app-5d4f-a", { status: { podIPs: [{ ip: "192.168.5.9" }] } })
        : entry,
    ),
  },
  {
    id: "calico-ipam-blocks",
    severity: "block",
    object: "DaemonSet kube-system/calico-node",
    cluster: onCalico(
      internalIp,
      object("crd.projectcalico.org/v1", "IPAMBlock", "10-244-2-64-26", {
        spec: { cidr: "10.244.2.64/26", affinity: "host:node-1" },
      }),
    ),
  },
  {
    id: "address-outside-ranges",
    severity: "info",
    with: [pod("app-5d4f-a", { status: { podIPs: [{ ip: "192.168.5.9" }] } })],
  },
  {
    id: "range-overlap",
    severity: "block",
    with: [
      object("networking.k8s.io/v1", "ServiceCIDR", "kubernetes", { spec: { cidrs: ["10.244.128.0/17"] } }),
    ],
  },
  {
    id: "range-overlap",
    severity: "block",
    object: "Node node-1",
    with: [node(2, { spec: { podCIDRs: ["10.244.1.128/25"] } }), pod("app-5d4f-b")],
  },
  {
    id: "range-overlap",
    severity: "block",
    object: "Node node-2",
    with: [
      node(2, {
        status: {
          conditions: [{ type: "Ready", status: "True" }],
          addresses: [{ type: "InternalIP", address: "10.244.200.1" }],
        },
      }),
    ],
  },
  { id: "tunnel-port-taken", severity: "block", with: [flannelConf({ Type: "vxlan", Port: 8473 })] },
  {
    id: "node-port-taken",
    severity: "block",
    object: "Pod default/app-5d4f-a",
    with: [
      pod("app-5d4f-a", {
        spec: {
          hostNetwork: true,
          nodeName: "node-1",
          containers: [{ name: "x", ports: [{ containerPort: 9879 }] }],
        },
      }),
    ],
  },
  { id: "mtu-differs", severity: "warn", with: [flannelConf({ Type: "host-gw", MTU: 1500 })] },
  {
    id: "uplink-mtu-differs",
    severity: "warn",
    options: {
      inventory: { facts: factsOfAll({ uplinkMtu: 9001, rpFilter: 0 }, { uplinkMtu: 1500, rpFilter: 0 }) },
    },
  },
  {
    id: "rp-filter-strict",
    severity: "block",
    options: { inventory: { facts: factsOfAll({ rpFilter: 1 }, { rpFilter: 2 }) } },
  },
  {
    id: "bgp-peers",
    severity: "warn",
    cluster: onCalico(internalIp, object("crd.projectcalico.org/v1", "BGPPeer", "tor", { spec: {} })),
  },
  {
    id: "bgp-announces-services",
    severity: "block",
    cluster: onCalico(
      internalIp,
      object("crd.projectcalico.org/v1", "BGPConfiguration", "default", {
        spec: { serviceClusterIPs: [{ cidr: "10.96.0.0/16" }] },
      }),
    ),
  },
  {
    id: "kube-proxy-not-daemonset",
    severity: "block",
    cluster: [
      ...base(),
      flannel(),
      flannelConf(),
      pod("kube-proxy-node-1", {
        namespace: "kube-system",
        annotations: { "kubernetes.io/config.mirror": "x" },
        owner: null,
        spec: {
          hostNetwork: true,
          nodeName: "node-1",
          containers: [{ name: "kube-proxy", command: ["kube-proxy", "--proxy-mode=iptables"] }],
        },
      }),
    ],
  },
  { id: "kube-proxy-not-found", severity: "warn", cluster: [...base(), flannel(), flannelConf()] },
  {
    id: "kube-proxy-mode",
    severity: "block",
    object: "DaemonSet kube-system/kube-proxy",
    cluster: [...base(), flannel(), flannelConf(), ...kubeProxy("ipvs")],
  },
  {
    id: "kube-proxy-mode-unknown",
    severity: "warn",
    cluster: [...base(), flannel(), flannelConf(), ...kubeProxy("new-mode")],
  },
  {
    id: "service-sctp",
    severity: "block",
    object: "Service default/gtp",
    with: [service("gtp", { ports: [{ port: 36412, protocol: "SCTP" }] })],
  },
  {
    id: "service-source-ranges",
    severity: "warn",
    with: [service("lb", { type: "LoadBalancer", loadBalancerSourceRanges: ["192.0.2.0/24"] })],
  },
  {
    id: "service-health-check-ports",
    severity: "warn",
    with: [
      service("lb", { type: "LoadBalancer", externalTrafficPolicy: "Local", healthCheckNodePort: 32000 }),
    ],
  },
  {
    id: "service-other-proxy",
    severity: "info",
    with: [
      object("v1", "Service", "other", {
        namespace: "default",
        labels: { "service.kubernetes.io/service-proxy-name": "x" },
        spec: { clusterIP: "10.96.0.9" },
      }),
    ],
  },
  {
    id: "node-local-dns",
    severity: "warn",
    with: [
      pod("node-local-dns-x", {
        labels: { "k8s-app": "node-local-dns" },
        spec: { hostNetwork: true, nodeName: "node-1" },
        metadata: { ownerReferences: [{ kind: "DaemonSet", name: "n", controller: true }] },
      }),
    ],
  },
  {
    id: "service-mesh",
    severity: "warn",
    with: [pod("app-5d4f-a", { spec: { nodeName: "node-1", containers: [{ name: "istio-proxy" }] } })],
  },
  {
    id: "sidecar-cost",
    severity: "info",
    with: [pod("app-5d4f-a", { spec: { nodeName: "node-1", containers: [{ name: "istio-proxy" }] } })],
  },
  { id: "session-affinity", severity: "info", with: [service("sticky", { sessionAffinity: "ClientIP" })] },
  { id: "external-ips", severity: "info", with: [service("ext", { externalIPs: ["192.0.2.1"] })] },
  { id: "policy-not-enforced", severity: "block", cluster: onCalico(internalIp, policy()) },
  { id: "policy-becomes-effective", severity: "warn", with: [policy()] },
  {
    id: "policy-of-another-kind",
    severity: "block",
    cluster: onCalico(
      internalIp,
      object("crd.projectcalico.org/v1", "GlobalNetworkPolicy", "deny", { spec: {} }),
    ),
  },
  {
    id: "layer7-policies",
    severity: "info",
    with: [
      object("cilium.io/v2", "CiliumNetworkPolicy", "l7", {
        namespace: "default",
        spec: { egress: [{ toFQDNs: [{ matchName: "api.example.com" }] }] },
      }),
    ],
  },
  {
    id: "drain-several-budgets",
    severity: "block",
    object: "Deployment default/app",
    with: [budget("a", { maxUnavailable: 1 }), budget("b", { maxUnavailable: 1 })],
  },
  {
    id: "drain-budget-zero",
    severity: "block",
    object: "Deployment default/app",
    with: [budget("a", { maxUnavailable: 0 })],
  },
  { id: "drain-budget-zero", severity: "block", with: [budget("a", { minAvailable: "100%" })] },
  { id: "drain-budget-zero", severity: "block", with: [budget("a", { minAvailable: 2 })] },
  {
    id: "drain-budget-spent",
    severity: "warn",
    with: [
      budget(
        "a",
        { minAvailable: 1 },
        { expectedPods: 2, currentHealthy: 1, desiredHealthy: 1, disruptionsAllowed: 0 },
      ),
    ],
  },
  {
    id: "drain-budget-failed",
    severity: "block",
    object: "PodDisruptionBudget default/a",
    with: [
      budget(
        "a",
        { maxUnavailable: 1 },
        {
          disruptionsAllowed: 0,
          conditions: [
            { type: "DisruptionAllowed", status: "False", reason: "SyncFailed", message: "no scale" },
          ],
        },
      ),
    ],
  },
  {
    id: "drain-single-replica",
    severity: "warn",
    object: "Deployment default/app",
    cluster: healthy().filter(({ metadata }) => metadata.name !== "app-5d4f-b"),
  },
  {
    id: "drain-unmanaged",
    severity: "block",
    object: "Pod default/lonely",
    with: [pod("lonely", { owner: null })],
  },
  { id: "drain-empty-dir", severity: "block", with: [volumePod({ name: "scratch", emptyDir: {} })] },
  {
    id: "drain-host-path",
    severity: "warn",
    with: [volumePod({ name: "data", hostPath: { path: "/data" } })],
  },
  {
    id: "drain-node-bound-volume",
    severity: "warn",
    with: [
      volumePod({ name: "data", persistentVolumeClaim: { claimName: "data" } }),
      object("v1", "PersistentVolume", "pv", {
        spec: { local: { path: "/mnt" }, claimRef: { namespace: "default", name: "data" } },
      }),
    ],
  },
  {
    id: "drain-tolerates-everything",
    severity: "warn",
    with: [
      pod("app-5d4f-a", {
        spec: { nodeName: "node-1", containers: [], tolerations: [{ operator: "Exists" }] },
      }),
    ],
  },
  {
    id: "drain-long-grace",
    severity: "info",
    with: [
      pod("app-5d4f-a", {
        spec: { nodeName: "node-1", containers: [], terminationGracePeriodSeconds: 3600 },
      }),
    ],
  },
  {
    id: "drain-host-port",
    severity: "info",
    with: [
      pod("app-5d4f-a", {
        spec: {
          nodeName: "node-1",
          containers: [{ name: "x", ports: [{ containerPort: 80, hostPort: 8080 }] }],
        },
      }),
    ],
  },
  {
    id: "drain-pod-stuck",
    severity: "warn",
    object: "Pod default/stuck",
    with: [pod("stuck", { metadata: { deletionTimestamp: "2026-01-10T11:00:00Z" } })],
  },
  {
    id: "drain-virtual-machine",
    severity: "warn",
    with: [
      pod("virt-launcher-x", { labels: { "kubevirt.io": "virt-launcher" } }),
      pod("virt-launcher-y", { labels: { "kubevirt.io": "virt-launcher" } }),
    ],
  },
  {
    id: "drain-do-not-evict",
    severity: "info",
    with: [pod("app-5d4f-a", { annotations: { "karpenter.sh/do-not-disrupt": "true" } })],
  },
  {
    id: "pod-several-networks",
    severity: "warn",
    with: [pod("app-5d4f-a", { annotations: { "k8s.v1.cni.cncf.io/networks": "storage" } })],
  },
  {
    id: "pod-bandwidth",
    severity: "warn",
    with: [pod("app-5d4f-a", { annotations: { "kubernetes.io/egress-bandwidth": "10M" } })],
  },
  {
    id: "pod-pending",
    severity: "info",
    with: [pod("app-5d4f-c", { spec: { nodeName: undefined }, status: { phase: "Pending", podIPs: [] } })],
  },
  {
    id: "webhook-dead",
    severity: "block",
    with: [hook("guard", { clientConfig: { service: { namespace: "default", name: "gone" } } })],
  },
  { id: "webhook-in-cluster", severity: "info", with: [hook("guard")] },
  {
    id: "webhook-single",
    severity: "warn",
    with: [
      hook("guard"),
      object("discovery.k8s.io/v1", "EndpointSlice", "web-abc", {
        namespace: "default",
        labels: { "kubernetes.io/service-name": "web" },
        metadata: { creationTimestamp: "2026-01-01T00:00:00Z" },
        endpoints: [{ addresses: ["10.244.1.7"] }],
      }),
    ],
  },
  {
    id: "policy-engine",
    severity: "warn",
    with: [hook("gatekeeper-validating-webhook-configuration", { failurePolicy: "Ignore" })],
  },
  { id: "already-migrated", severity: "info", cluster: [...base(), daemonSet("shunt-agent")] },
];

function replaced(additions: KubeObject[]): KubeObject[] {
  const key = ({ kind, metadata }: KubeObject): string => `${kind} ${metadata.namespace} ${metadata.name}`;
  const names = new Set(additions.map(key));
  return [...healthy().filter((entry) => !names.has(key(entry))), ...additions];
}

describe("preflight", () => {
  test("says of a healthy cluster only what it says of every one", async () => {
    const found = await judge(healthy());
    assert.deepEqual(found.map(({ id }) => id).sort(), [...always].sort());
    assert.ok(found.every(({ severity }) => severity === "info"));
  });

  for (const trigger of triggers)
    test(`${trigger.id} (${trigger.severity})`, async () => {
      const objects = trigger.cluster ?? replaced(trigger.with ?? []);
      const found = (await judge(objects, trigger.options)).filter(({ id }) => id === trigger.id);
      const matching = found.find(
        (entry) =>
          entry.severity === trigger.severity &&
          (trigger.object === undefined || entry.object === trigger.object),
      );
      assert.ok(matching, `not found among ${JSON.stringify(found, null, 1)}`);
      assert.ok(matching.problem.length > 10 && matching.remedy.length > 5);
      assert.ok(!always.includes(trigger.id));
    });

  test("version-too-old", async () => {
    const { preflight } = await import("./index.ts");
    const { sampleInventory } = await import("../plan/testing.ts");
    const ids = (serverVersion: string) =>
      preflight(sampleInventory(2, { serverVersion })).map(({ id }) => id);
    assert.ok(ids("v1.24.17").includes("version-too-old"));
    assert.ok(!ids("v1.25.0").includes("version-too-old"));
  });
});

describe("what is meant to be done decides", () => {
  const ids = async (objects: KubeObject[], options: PreflightOptions): Promise<Map<string, Severity>> =>
    new Map((await judge(objects, options)).map(({ id, severity }) => [id, severity]));

  test("an accepted finding warns", async () => {
    const objects = replaced([service("gtp", { ports: [{ port: 36412, protocol: "SCTP" }] })]);
    assert.equal((await ids(objects, { accept: ["service-sctp"] })).get("service-sctp"), "warn");
  });
  test("drains that may delete do not block", async () => {
    const objects = replaced([pod("lonely", { owner: null }), volumePod({ name: "scratch", emptyDir: {} })]);
    const found = await ids(objects, { drainForce: true, drainDeleteEmptyDirData: true });
    assert.equal(found.get("drain-unmanaged"), "warn");
    assert.equal(found.get("drain-empty-dir"), "warn");
  });
  test("without pods that move, drains and networks are nobody's business", async () => {
    const objects = [...base(), daemonSet("weave-net"), ...kubeProxy(), pod("lonely", { owner: null })];
    const found = await ids(objects, { strategy: "kube-proxy-only" });
    assert.equal(found.get("drain-unmanaged"), undefined);
    assert.equal(found.get("network-not-supported-in-place"), undefined);
  });
  test("new nodes may replace any network", async () => {
    const found = await ids([...base(), daemonSet("weave-net"), ...kubeProxy()], { strategy: "blue-green" });
    assert.equal(found.get("network-not-supported-in-place"), undefined);
  });
  test("policies that are enforced today go along when the agent enforces them, and not when it audits", async () => {
    const found = await ids(onCalico(internalIp, policy()), { policy: "enforce" });
    assert.equal(found.get("policy-not-enforced"), undefined);
    assert.equal(found.get("policy-goes-along"), "info");
    const audited = await ids(onCalico(internalIp, policy()), { policy: "audit" });
    assert.equal(audited.get("policy-not-enforced"), "block");
    const layer7 = object("cilium.io/v2", "CiliumNetworkPolicy", "l7", {
      namespace: "default",
      spec: { egress: [{ toFQDNs: [{ matchName: "api.example.com" }] }] },
    });
    const refused = await ids(onCalico(internalIp, layer7), { policy: "enforce" });
    assert.equal(refused.get("layer7-policies"), "block");
    const ofCluster = (...to: object[]) =>
      object("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy", "all", {
        spec: { tier: "Admin", priority: 1, subject: { namespaces: {} }, egress: [{ action: "Accept", to }] },
      });
    const known = await ids(onCalico(internalIp, ofCluster({ namespaces: {} })), { policy: "enforce" });
    assert.deepEqual(
      ["policy-goes-along", "policy-of-another-kind", "layer7-policies"].map((id) => known.get(id)),
      ["info", undefined, undefined],
    );
    const byName = onCalico(internalIp, ofCluster({ domainNames: ["a.example"] }));
    assert.equal((await ids(byName, { policy: "enforce" })).get("layer7-policies"), "block");
  });
  test("a block of Calico's in its own node's range is as it should be", async () => {
    const own = object("crd.projectcalico.org/v1", "IPAMBlock", "own", {
      spec: { cidr: "10.244.1.64/26", affinity: "host:node-1" },
    });
    assert.equal((await ids(onCalico(internalIp, own), {})).get("calico-ipam-blocks"), undefined);
  });
  test("the tunnel's port: in a cloud a warning, without a tunnel nothing", async () => {
    const inCloud = replaced([node(1, { spec: { providerID: "aws:///eu-central-1a/i-0" } })]);
    assert.equal((await ids(inCloud, {})).get("tunnel-port-firewall"), "warn");
    assert.equal((await ids(healthy(), {})).get("tunnel-port-firewall"), "info");
    assert.equal((await ids(healthy(), { routing: "direct" })).get("tunnel-port-firewall"), undefined);
    const found = (await judge(healthy(), { tunnelPort: 9000 })).find(
      ({ id }) => id === "tunnel-port-firewall",
    );
    assert.match(found!.problem, /UDP port 9000; flannel uses UDP port 8472/);
  });
  test("an MTU that was chosen to fit is no finding", async () => {
    const objects = replaced([flannelConf({ Type: "host-gw", MTU: 1500 })]);
    assert.equal((await ids(objects, {})).get("mtu-differs"), "warn");
    assert.equal((await ids(objects, { routing: "direct" })).get("mtu-differs"), undefined);
  });
  test("Calico that asks Kubernetes for its address does not block", async () => {
    assert.equal((await ids(onCalico(internalIp), {})).get("calico-address-detection"), undefined);
  });
  test("another tunnel port is free", async () => {
    const objects = replaced([flannelConf({ Type: "vxlan", Port: 8473 })]);
    assert.equal((await ids(objects, { tunnelPort: 8474 })).get("tunnel-port-taken"), undefined);
  });
});

describe("advice with the reader's numbers", () => {
  const services = (count: number): KubeObject[] =>
    Array.from({ length: count }, (_, index) => service(`s-${index}`, {}));
  for (const [count, words] of [
    [10, /probably not needed.*11 Services/],
    [300, /not urgent.*301 Services/],
    [600, /worth it.*601 Services.*iptables rules/],
    [2500, /worth it.*2,501 Services.*connections/],
  ] as const)
    test(`${count} Services`, async () => {
      const found = (await judge([...healthy(), ...services(count)])).find(({ id }) => id === "worth-it");
      assert.match(found?.problem ?? "", words);
      assert.equal(found?.severity, "info");
    });
  test("policies are a reason where size is none", async () => {
    const found = (await judge(replaced([policy()]))).find(({ id }) => id === "worth-it");
    assert.match(found?.problem ?? "", /worth it if you need.*1 network policies/);
  });
});
