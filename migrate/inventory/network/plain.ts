// SPDX-License-Identifier: Apache-2.0
// Networks that need little to be told: the nodes' own ranges and a way between them.
import { cidrList } from "../ranges.ts";
import {
  blankNetwork,
  cniConfiguration,
  configOf,
  type DetectedNetwork,
  type Evidence,
  findSet,
  isTrue,
  networkOf,
  positive,
  readable,
} from "./evidence.ts";

/** kindnet: routes between the nodes, ptp plugin. */
export async function detectKindnet(evidence: Evidence): Promise<DetectedNetwork | undefined> {
  const set = findSet(evidence, /^kindnet/, /kindnetd?(:|@|$)/);
  if (set === undefined) return undefined;
  const network = networkOf("kindnet", set);
  network.mode = "routes";
  network.encapsulation = "none";
  network.podCIDRs = cidrList(set.env.get("POD_SUBNET"));
  network.ipam = "host-local";
  network.plugins = ["ptp", "portmap"];
  // Since kind 0.24 it enforces NetworkPolicies by nftables and nfqueue.
  network.enforcesPolicy = set.images.some((image) => /kindnetd:v202(4(0[89]|1)|[5-9])/.test(image));
  return network;
}

/** Weave Net: its own overlay and address allocator. */
export async function detectWeave(evidence: Evidence): Promise<DetectedNetwork | undefined> {
  const set = findSet(evidence, /^weave-net$/, /\/weave-kube(:|@|$)/);
  if (set === undefined) return undefined;
  const network = networkOf("weave", set);
  Object.assign(network, {
    mode: "fastdp",
    encapsulation: "vxlan",
    port: 6784,
    device: "weave",
    ipam: "weave",
  });
  network.podCIDRs = cidrList(set.env.get("IPALLOC_RANGE") ?? "10.32.0.0/12");
  network.mtu = positive(set.env.get("WEAVE_MTU")) ?? 1376;
  network.enforcesPolicy = set.containers.includes("weave-npc");
  network.plugins = ["weave-net", "portmap"];
  return network;
}

/** Antrea: Open vSwitch, Geneve by default. */
export async function detectAntrea(evidence: Evidence): Promise<DetectedNetwork | undefined> {
  const set = findSet(evidence, /^antrea-agent$/);
  if (set === undefined) return undefined;
  const network = networkOf("antrea", set);
  const { data, refs } = await configOf(evidence, set);
  const conf = readable(data["antrea-agent.conf"]);
  network.configuration = refs;
  const mode = String(conf.trafficEncapMode ?? "encap");
  const tunnel = String(conf.tunnelType ?? "geneve");
  network.mode = mode === "encap" ? tunnel : mode;
  network.encapsulation = /^no/i.test(mode)
    ? "none"
    : tunnel === "vxlan"
      ? "vxlan"
      : tunnel === "geneve"
        ? "geneve"
        : "unknown";
  const port = positive(conf.tunnelPort) ?? { geneve: 6081, vxlan: 4789 }[tunnel];
  if (port !== undefined) network.port = port;
  const mtu = positive(conf.defaultMTU);
  if (mtu !== undefined) network.mtu = mtu;
  network.device = "antrea-gw0";
  network.ipam = "host-local";
  network.enforcesPolicy = true;
  network.servesServices = isTrue(conf.antreaProxy?.proxyAll);
  network.plugins = cniConfiguration(data)?.plugins ?? ["antrea", "portmap", "bandwidth"];
  network.others = [{ kind: "Deployment", namespace: set.ref.namespace, name: "antrea-controller" }];
  return network;
}

/** kube-router: BGP between the nodes, IPIP between subnets, and perhaps a service proxy on IPVS. */
export async function detectKubeRouter(evidence: Evidence): Promise<DetectedNetwork | undefined> {
  const set = findSet(evidence, /^kube-router$/, /\/kube-router(:|@|$)/);
  if (set === undefined || set.args.includes("--run-router=false")) return undefined;
  const network = networkOf("kube-router", set);
  const { data, refs } = await configOf(evidence, set);
  network.configuration = refs;
  const overlay = !set.args.includes("--enable-overlay=false");
  network.mode = overlay ? "bgp, ipip between subnets" : "bgp";
  network.encapsulation = overlay ? "ipip" : "none";
  network.device = "kube-bridge";
  network.ipam = "host-local";
  network.enforcesPolicy = !set.args.includes("--run-firewall=false");
  network.servesServices = set.args.some((arg) => /^--run-service-proxy(=true)?$/.test(arg));
  network.bgpPeers = set.args.some((arg) => arg.startsWith("--peer-router-ips=")) ? 1 : 0;
  network.plugins = cniConfiguration(data)?.plugins ?? ["bridge"];
  return network;
}

/** OVN-Kubernetes, OpenShift's too: Geneve. */
export async function detectOvn(evidence: Evidence): Promise<DetectedNetwork | undefined> {
  const set = findSet(evidence, /^ovnkube-node|^ovn-?kubernetes-node$/);
  const kubeOvn = findSet(evidence, /^kube-ovn-cni$/);
  const found = set ?? kubeOvn;
  if (found === undefined) return undefined;
  const network = networkOf(set === undefined ? "kube-ovn" : "ovn-kubernetes", found);
  Object.assign(network, {
    mode: "geneve",
    encapsulation: "geneve",
    port: 6081,
    device: "br-int",
    ipam: "ovn",
  });
  network.enforcesPolicy = true;
  network.servesServices = set !== undefined;
  network.plugins = [set === undefined ? "kube-ovn" : "ovn-k8s-cni-overlay"];
  network.others = evidence.daemonSets
    .filter((other) => other !== found && /^ovs-|^ovn-|^kube-ovn-|^ovnkube-/.test(other.ref.name))
    .map((other) => other.ref);
  if (evidence.platform === "openshift") network.operator = "OpenShift's cluster-network-operator";
  return network;
}

/** The stock plugins alone: a DaemonSet that writes a bridge or ptp configuration. */
export async function detectBridge(evidence: Evidence): Promise<DetectedNetwork | undefined> {
  for (const set of evidence.daemonSets.filter(
    (candidate) => candidate.installsCni && candidate.configMaps.length > 0,
  )) {
    const { data, refs } = await configOf(evidence, set);
    const conf = cniConfiguration(data);
    if (conf === undefined || !/^(bridge|ptp)$/.test(conf.plugins[0] ?? "")) continue;
    const network = networkOf("bridge", set);
    network.configuration = refs;
    network.mode = conf.plugins[0] ?? "";
    network.encapsulation = "none";
    network.plugins = conf.plugins;
    network.ipam = String(conf.first.ipam?.type ?? "host-local");
    if (conf.plugins[0] === "bridge") network.device = String(conf.first.bridge ?? "cni0");
    const mtu = positive(conf.first.mtu);
    if (mtu !== undefined) network.mtu = mtu;
    return network;
  }
  return detectBridgeFiles(evidence);
}

/** The same written by hand: node tasks saw the devices, no object is behind them. */
function detectBridgeFiles({ nodes }: Evidence): DetectedNetwork | undefined {
  const facts = [...nodes.entries.values()]
    .map(({ node }) => node.facts)
    .find((entry) => entry !== undefined);
  const file = facts?.cniFiles[0];
  const bridge = facts?.devices.find(
    (device) => device.kind === "bridge" && /^(cni|cbr|br-?cni)/.test(device.name),
  );
  if (file === undefined || bridge === undefined || /flannel|calico|shunt/.test(file)) return undefined;
  const network = blankNetwork("bridge", `CNI configuration ${file} and device ${bridge.name} on the nodes`);
  Object.assign(network, { mode: "bridge", encapsulation: "none", device: bridge.name, mtu: bridge.mtu });
  network.ipam = "host-local";
  network.plugins = ["bridge"];
  return network;
}
