// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ApiError } from "../../lib/kube-errors.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import {
  base,
  configMap,
  daemonSet,
  flannel,
  flannelConf,
  healthy,
  kubeProxy,
  node,
  nowMs,
  object,
  pod,
} from "../preflight/testing.ts";
import { readInventory } from "./index.ts";
import { enclosingRange } from "./ranges.ts";
import { ClusterSource } from "./source.ts";
import { fakeCluster } from "./testing.ts";
import { matchedResources } from "./webhooks.ts";

const read = (objects: KubeObject[], pageSize = 500) =>
  readInventory(fakeCluster({ objects, pageSize }), { nowMs });

const withEnv = (name: string, image: string, env: Record<string, string>, fields: any = {}): KubeObject =>
  daemonSet(name, {
    containers: [
      {
        name,
        image,
        env: Object.entries(env).map(([key, value]) => ({ name: key, value })),
        args: fields.args,
      },
    ],
    ...fields,
  });

const calicoCrd = (kind: string, name: string, spec: object): KubeObject =>
  object("crd.projectcalico.org/v1", kind, name, { spec });

interface NetworkCase {
  title: string;
  objects: KubeObject[];
  /** What has to be among what was found. */
  network: Record<string, unknown>;
  details?: Record<string, unknown>;
  platform?: string;
}

const marked = (labels: Record<string, string>, more: object = {}): KubeObject[] =>
  base().map((entry) =>
    entry.kind === "Node" ? node(Number(entry.metadata.name?.at(-1)), { labels, ...more }) : entry,
  );

const cases: NetworkCase[] = [
  {
    title: "flannel over VXLAN",
    objects: [...base(), flannel(), flannelConf()],
    network: {
      kind: "flannel",
      mode: "vxlan",
      encapsulation: "vxlan",
      port: 8472,
      device: "flannel.1",
      podCIDRs: ["10.244.0.0/16"],
      enforcesPolicy: false,
    },
    details: { ipam: "host-local", plugins: ["flannel", "portmap"] },
  },
  {
    title: "flannel by routes between neighbours",
    objects: [...base(), flannel(), flannelConf({ Type: "host-gw" })],
    network: { kind: "flannel", mode: "host-gw", encapsulation: "none", port: undefined },
  },
  {
    title: "flannel with another VNI and port",
    objects: [
      ...base(),
      flannel(),
      flannelConf({ Type: "vxlan", VNI: 4096, Port: 4789, DirectRouting: true }),
    ],
    network: { device: "flannel.4096", port: 4789, mode: "vxlan, direct to neighbours" },
  },
  {
    title: "flannel inside k3s, and kube-proxy too",
    objects: marked(
      {},
      {
        nodeInfo: { kubeletVersion: "v1.33.1+k3s1" },
        annotations: {
          "flannel.alpha.coreos.com/backend-type": "vxlan",
          "flannel.alpha.coreos.com/backend-data": '{"VNI":1}',
          "k3s.io/node-args": '["server"]',
        },
      },
    ),
    network: { kind: "flannel", mode: "vxlan", device: "flannel.1", enforcesPolicy: true },
    platform: "k3s",
  },
  {
    title: "calico by manifest, from its variables",
    objects: [
      ...base(),
      withEnv("calico-node", "calico/node:v3", {
        CALICO_IPV4POOL_CIDR: "10.244.0.0/16",
        CALICO_IPV4POOL_IPIP: "CrossSubnet",
        IP: "autodetect",
      }),
    ],
    network: {
      kind: "calico",
      mode: "ipip between subnets",
      encapsulation: "ipip",
      device: "tunl0",
      addressDetection: "first-found",
      enforcesPolicy: true,
    },
    details: { ipam: "calico-ipam" },
  },
  {
    title: "calico by manifest, from its pool",
    objects: [
      ...base(),
      withEnv(
        "calico-node",
        "calico/node:v3",
        { IP_AUTODETECTION_METHOD: "kubernetes-internal-ip" },
        { volumes: [{ name: "c", configMap: { name: "calico-config" } }] },
      ),
      configMap("calico-config", {
        veth_mtu: "1410",
        cni_network_config:
          '{"name":"k8s-pod-network","plugins":[{"type":"calico","mtu": __CNI_MTU__,"ipam":{"type":"host-local","subnet":"usePodCidr"}},{"type":"portmap"}]}',
      }),
      calicoCrd("IPPool", "default", { cidr: "10.50.0.0/16", vxlanMode: "Always", ipipMode: "Never" }),
      calicoCrd("FelixConfiguration", "default", { vxlanPort: 4790 }),
    ],
    network: {
      kind: "calico",
      mode: "vxlan",
      port: 4790,
      device: "vxlan.calico",
      mtu: 1410,
      podCIDRs: ["10.50.0.0/16"],
      addressDetection: "kubernetes-internal-ip",
    },
    details: { ipam: "host-local", plugins: ["calico", "portmap"], ebpf: false },
  },
  {
    title: "calico by operator",
    objects: [
      ...base(),
      withEnv("calico-node", "calico/node:v3", {}, { namespace: "calico-system" }),
      object("operator.tigera.io/v1", "Installation", "default", {
        spec: {
          calicoNetwork: {
            mtu: 1400,
            nodeAddressAutodetectionV4: { kubernetes: "NodeInternalIP" },
            ipPools: [{ cidr: "10.244.0.0/16", encapsulation: "VXLANCrossSubnet" }],
          },
        },
      }),
    ],
    network: {
      kind: "calico",
      mode: "vxlan between subnets",
      mtu: 1400,
      addressDetection: "kubernetes-internal-ip",
    },
    details: { reconciledBy: "tigera-operator (Installation default)" },
  },
  {
    title: "calico's eBPF datapath",
    objects: [
      ...base(),
      withEnv("calico-node", "calico/node:v3", {}),
      calicoCrd("FelixConfiguration", "default", { bpfEnabled: true }),
    ],
    network: { kind: "calico" },
    details: { ebpf: true, servesServices: true },
  },
  {
    title: "canal",
    objects: [
      ...base(),
      daemonSet("canal", {
        containers: [
          { name: "calico-node", image: "calico/node:v3" },
          { name: "kube-flannel", image: "flannel" },
        ],
        volumes: [{ name: "c", configMap: { name: "canal-config" } }],
      }),
      configMap("canal-config", {
        "net-conf.json": '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}',
      }),
    ],
    network: { kind: "canal", mode: "vxlan", device: "flannel.1", enforcesPolicy: true },
    details: { ipam: "host-local", beside: [] },
  },
  {
    title: "cilium",
    objects: [
      ...base(),
      daemonSet("cilium"),
      configMap("cilium-config", {
        "tunnel-protocol": "geneve",
        "kube-proxy-replacement": "true",
        "cluster-pool-ipv4-cidr": "10.0.0.0/8",
      }),
    ],
    network: { kind: "cilium", mode: "geneve", port: 6081, podCIDRs: ["10.0.0.0/8"] },
    details: { ebpf: true, servesServices: true },
  },
  {
    title: "kindnet",
    objects: [
      ...base(),
      withEnv("kindnet", "docker.io/kindest/kindnetd:v20240813-c6f155d6", { POD_SUBNET: "10.244.0.0/16" }),
    ],
    network: { kind: "kindnet", mode: "routes", encapsulation: "none", podCIDRs: ["10.244.0.0/16"] },
  },
  {
    title: "weave",
    objects: [...base(), withEnv("weave-net", "weaveworks/weave-kube:2.8", { WEAVE_MTU: "1337" })],
    network: { kind: "weave", mtu: 1337, podCIDRs: ["10.32.0.0/12"], port: 6784 },
  },
  {
    title: "antrea",
    objects: [
      ...base(),
      daemonSet("antrea-agent", { volumes: [{ name: "c", configMap: { name: "antrea-config" } }] }),
      configMap("antrea-config", {
        "antrea-agent.conf": "trafficEncapMode: encap\ntunnelType: vxlan\ndefaultMTU: 1450\n",
      }),
    ],
    network: { kind: "antrea", encapsulation: "vxlan", port: 4789, mtu: 1450, enforcesPolicy: true },
  },
  {
    title: "kube-router with its service proxy",
    objects: [
      ...base(),
      withEnv(
        "kube-router",
        "cloudnativelabs/kube-router:v2",
        {},
        { args: ["--run-router=true", "--run-firewall=false", "--run-service-proxy=true"] },
      ),
    ],
    network: { kind: "kube-router", encapsulation: "ipip", enforcesPolicy: false },
    details: { servesServices: true },
  },
  {
    title: "Amazon's VPC CNI",
    objects: [
      ...marked({ "eks.amazonaws.com/nodegroup": "a" }),
      withEnv("aws-node", "amazon-k8s-cni:v1.18", {
        AWS_VPC_ENI_MTU: "1500",
        ENABLE_PREFIX_DELEGATION: "true",
      }),
    ],
    network: { kind: "aws-vpc", mtu: 1500, mode: "VPC addresses by prefix", encapsulation: "none" },
    details: { ipam: "cloud" },
    platform: "eks",
  },
  {
    title: "Azure's overlay",
    objects: [
      ...marked({ "kubernetes.azure.com/cluster": "a", "kubernetes.azure.com/podnetwork-type": "overlay" }),
      daemonSet("azure-cns"),
    ],
    network: { kind: "azure", mode: "overlay" },
    platform: "aks",
  },
  {
    title: "Azure's kubenet",
    objects: marked({ "kubernetes.azure.com/cluster": "a" }),
    network: { kind: "kubenet", mode: "routes" },
    platform: "aks",
  },
  {
    title: "GKE's Dataplane V2",
    objects: [...marked({ "cloud.google.com/gke-nodepool": "a" }), daemonSet("anetd")],
    network: { kind: "gke", mode: "dataplane-v2" },
    details: { ebpf: true, servesServices: true },
    platform: "gke",
  },
  {
    title: "OpenShift's OVN-Kubernetes",
    objects: [
      ...marked({ "node.openshift.io/os_id": "rhcos" }),
      daemonSet("ovnkube-node", { namespace: "openshift-ovn-kubernetes" }),
    ],
    network: { kind: "ovn-kubernetes", encapsulation: "geneve" },
    platform: "openshift",
  },
  {
    title: "the bridge plugin by a DaemonSet",
    objects: [
      ...base(),
      daemonSet("my-bridge", {
        volumes: [
          { name: "n", hostPath: { path: "/etc/cni/net.d" } },
          { name: "c", configMap: { name: "bridge" } },
        ],
      }),
      configMap("bridge", {
        "10-bridge.conf":
          '{"cniVersion":"0.4.0","name":"b","type":"bridge","bridge":"cni7","mtu":1480,"ipam":{"type":"host-local"}}',
      }),
    ],
    network: { kind: "bridge", device: "cni7", mtu: 1480, encapsulation: "none" },
    details: { ipam: "host-local" },
  },
  {
    title: "the bridge plugin by files alone",
    objects: base(),
    network: { kind: "bridge", mode: "files on the nodes" },
  },
];

function assertIncludes(found: any, wanted: Record<string, unknown>): void {
  for (const [key, value] of Object.entries(wanted)) assert.deepEqual(found[key], value, key);
}

describe("the pod network is told from the cluster", () => {
  for (const { title, objects, network, details = {}, platform = "kubeadm" } of cases)
    test(title, async () => {
      const inventory = await read(objects);
      assertIncludes(inventory.network, network);
      assertIncludes(inventory.details.network, details);
      assert.equal(inventory.platform, platform);
    });
});

describe("kube-proxy is found in each form", () => {
  const found = async (objects: KubeObject[]) => {
    const { form, mode, disabled } = (await read(objects)).kubeProxy;
    return { form, mode, disabled };
  };
  test("as a DaemonSet", async () => {
    assert.deepEqual(await found([...base(), ...kubeProxy("nftables")]), {
      form: "daemonset",
      mode: "nftables",
      disabled: false,
    });
  });
  test("disabled, as a DaemonSet that runs nowhere", async () => {
    const off = daemonSet("kube-proxy", { nodeSelector: { "non-existing": "true" } });
    assert.equal((await found([...base(), off])).disabled, true);
  });
  test("as a static pod", async () => {
    const mirror = pod("kube-proxy-node-1", {
      namespace: "kube-system",
      owner: null,
      annotations: { "kubernetes.io/config.mirror": "x" },
      spec: {
        nodeName: "node-1",
        hostNetwork: true,
        containers: [
          { name: "kube-proxy", command: ["/bin/sh", "-c", "exec kube-proxy --proxy-mode=ipvs 2>&1"] },
        ],
      },
    });
    assert.deepEqual(await found([...base(), mirror]), { form: "static-pod", mode: "ipvs", disabled: false });
  });
  test("inside k3s, unless that was told not to", async () => {
    const k3s = (args: string[]) =>
      marked(
        {},
        {
          nodeInfo: { kubeletVersion: "v1.33.1+k3s1" },
          annotations: { "k3s.io/node-args": JSON.stringify(["server", ...args]) },
        },
      );
    assert.equal((await found(k3s([]))).form, "k3s");
    assert.equal((await found(k3s(["--disable-kube-proxy"]))).form, "none");
  });
  test("as a unit of the nodes, when a node task saw it", async () => {
    const facts = {
      cniFiles: [],
      devices: [],
      kernelFeatures: {},
      kubeProxy: { form: "systemd", mode: "iptables" },
    } as const;
    const kube = fakeCluster({ objects: base() });
    const inventory = await readInventory(kube, {
      nowMs,
      facts: new Map([["node-1", { ...facts, cniFiles: [], devices: [] }]]),
    });
    assert.equal(inventory.kubeProxy.form, "systemd");
  });
  test("not at all under Cilium's replacement", async () => {
    const cilium = [daemonSet("cilium"), configMap("cilium-config", { "kube-proxy-replacement": "true" })];
    assert.equal((await found([...base(), ...cilium])).form, "none");
  });
});

describe("reading", () => {
  test("gives the same whatever the size of a page", async () => {
    assert.deepEqual(await read(healthy(), 1), await read(healthy(), 500));
  });
  test("goes on after a continue token got too old", async () => {
    let asked = 0;
    const get = async (_path: string, { query }: any = {}): Promise<any> => {
      asked += 1;
      if (query.continue === "old") throw new ApiError("GET", 410, { metadata: { continue: "fresh" } });
      const items = [{ metadata: { name: `n${asked}` } }];
      return { items, metadata: query.continue === undefined ? { continue: "old" } : {} };
    };
    const names: string[] = [];
    await new ClusterSource({ get, server: "" }).each("/api/v1/nodes", ({ metadata }) =>
      names.push(metadata.name!),
    );
    assert.deepEqual(names, ["n1", "n3"]);
  });
  test("tries a page again while the server is away, and gives up in the end", async () => {
    let failures = 1;
    const get = async (): Promise<any> => {
      if (failures-- > 0) throw new ApiError("GET", 503, {});
      return { items: [], metadata: {} };
    };
    assert.equal(await new ClusterSource({ get, server: "" }).each("/x", () => undefined), 0);
    failures = Number.POSITIVE_INFINITY;
    await assert.rejects(
      new ClusterSource({ get, server: "" }, { retryMs: 1 }).each("/x", () => undefined),
      /503/,
    );
  });
  test("notes what may not be read, and needs nodes", async () => {
    const inventory = await readInventory(fakeCluster({ objects: healthy(), forbidden: ["/apis/policy/"] }), {
      nowMs,
    });
    assert.deepEqual(
      inventory.details.gaps.map(({ resource }) => resource),
      ["/apis/policy/v1/poddisruptionbudgets"],
    );
    const blind = fakeCluster({ objects: healthy(), forbidden: ["/api/v1/nodes"] });
    await assert.rejects(readInventory(blind), /Cannot read the nodes/);
    await assert.rejects(readInventory(fakeCluster({ objects: [] })), /has no node/);
  });
  test("counts pods by node, and leaves out finished ones and those of the host", async () => {
    const job = pod("done", { status: { phase: "Succeeded" } });
    const host = pod("host", { spec: { nodeName: "node-1", hostNetwork: true, containers: [] } });
    const inventory = await read([...healthy(), job, host]);
    const found = inventory.nodes.find(({ name }) => name === "node-1");
    assert.deepEqual([found?.pods, found?.networkedPods, found?.pinnedPods], [3, 1, 0]);
  });
  test("survives objects that hold nonsense", async () => {
    const broken = [
      object("v1", "Pod", "x", {
        namespace: "default",
        spec: { nodeName: "node-1" },
        status: { podIPs: [{ ip: "nonsense" }] },
      }),
      node(3, { spec: { podCIDRs: ["nonsense"] } }),
      configMap("kube-flannel-cfg", { "net-conf.json": "{{{", "cni-conf.json": "][" }, "kube-flannel"),
    ];
    const inventory = await read([...base(), flannel(), ...broken]);
    assert.equal(inventory.network.kind, "flannel");
  });
});

test("churn is the changes of slices over their life", async () => {
  const slice = (name: string, generation: number) =>
    object("discovery.k8s.io/v1", "EndpointSlice", name, {
      namespace: "default",
      metadata: { generation, creationTimestamp: "2026-01-10T02:00:00Z" },
      endpoints: [],
    });
  const { services } = (
    await read([...base().filter(({ kind }) => kind !== "EndpointSlice"), slice("a", 100), slice("b", 50)])
  ).details;
  assert.equal(services.changesPerHour, 15);
});

test("webhooks that match what a migration asks", () => {
  const rule = (apiGroups: string[], resources: string[], operations = ["*"]) => [
    { apiGroups, resources, operations },
  ];
  assert.deepEqual(matchedResources(rule([""], ["pods"], ["CREATE"])), ["pods"]);
  assert.deepEqual(matchedResources(rule([""], ["pods/*"])), ["pods/eviction"]);
  assert.deepEqual(matchedResources(rule(["apps"], ["*"], ["UPDATE"])), ["daemonsets"]);
  assert.deepEqual(matchedResources(rule([""], ["services"])), []);
  assert.deepEqual(matchedResources(rule(["*"], ["*/*"])).length, 6);
  assert.deepEqual(matchedResources(rule([""], ["pods"], ["UPDATE"])), []);
});

test("the smallest range around addresses", () => {
  assert.equal(enclosingRange([]), undefined);
  assert.equal(enclosingRange(["10.96.0.1"]), "10.96.0.1/32");
  assert.equal(enclosingRange(["10.96.0.1", "10.96.3.7"]), "10.96.0.0/22");
  assert.equal(enclosingRange(["10.244.0.0/24", "10.244.1.0/24"]), "10.244.0.0/23");
  assert.equal(enclosingRange(["fd00::1", "fd00::ff"]), "fd00::/120");
});
