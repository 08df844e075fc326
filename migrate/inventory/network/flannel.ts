// SPDX-License-Identifier: Apache-2.0
import { cidrList } from "../ranges.ts";
import {
  blankNetwork,
  cniConfiguration,
  configOf,
  type DetectedNetwork,
  type Evidence,
  findSet,
  networkOf,
  positive,
  readable,
} from "./evidence.ts";

const encapsulations: Record<string, DetectedNetwork["encapsulation"]> = {
  vxlan: "vxlan",
  "host-gw": "none",
  wireguard: "wireguard",
  ipip: "ipip",
  alloc: "none",
};

const defaultPorts: Record<string, number> = { vxlan: 8472, wireguard: 51_820, udp: 8285 };

/** The network that Flannel's net-conf.json describes. */
export function applyFlannelConfig(network: DetectedNetwork, conf: any): void {
  const backend = conf.Backend ?? {};
  const mode = String(backend.Type ?? "udp").toLowerCase();
  network.mode = backend.DirectRouting === true ? `${mode}, direct to neighbours` : mode;
  network.encapsulation = encapsulations[mode] ?? "unknown";
  const port = positive(backend.Port ?? backend.ListenPort) ?? defaultPorts[mode];
  if (port !== undefined) network.port = port;
  const mtu = positive(backend.MTU);
  if (mtu !== undefined) network.mtu = mtu;
  const ranges = [
    conf.EnableIPv4 === false ? undefined : conf.Network,
    conf.EnableIPv6 === true ? conf.IPv6Network : undefined,
  ];
  network.podCIDRs = ranges.flatMap((range) => cidrList(range));
  network.device =
    mode === "vxlan" ? `flannel.${positive(backend.VNI) ?? 1}` : mode === "wireguard" ? "flannel-wg" : "cni0";
}

/** Flannel by its DaemonSet. */
export async function detectFlannel(evidence: Evidence): Promise<DetectedNetwork | undefined> {
  const set = findSet(evidence, /flannel/, /\/flannel(-cni)?(:|@|$)/);
  if (set === undefined || set.containers.includes("calico-node")) return undefined;
  const network = networkOf("flannel", set);
  const { data, refs } = await configOf(evidence, set);
  network.configuration = refs;
  applyFlannelConfig(network, readable(data["net-conf.json"]));
  if (data["net-conf.json"] === undefined) applyFlannelMarks(network, evidence);
  network.plugins = cniConfiguration(data)?.plugins ?? [];
  network.ipam = "host-local";
  return network;
}

/** Flannel inside k3s, which has no object of its own: its nodes' annotations and arguments tell. */
export function detectEmbeddedFlannel(evidence: Evidence): DetectedNetwork | undefined {
  const { nodes, platform } = evidence;
  if (nodes.flannelBackends.size === 0 || (platform !== "k3s" && platform !== "microk8s")) return undefined;
  const args = nodes.distributionArgs;
  if (args.includes("--flannel-backend=none") || args[args.indexOf("--flannel-backend") + 1] === "none")
    return undefined;
  const network = blankNetwork(
    "flannel",
    "annotation flannel.alpha.coreos.com/backend-type, no DaemonSet: embedded",
  );
  applyFlannelMarks(network, evidence);
  network.ipam = "host-local";
  network.plugins = ["flannel", "portmap", "bandwidth"];
  // k3s brings kube-router's policy controller along.
  network.enforcesPolicy = platform === "k3s" && !args.includes("--disable-network-policy");
  network.operator = `the ${platform} service on every node`;
  return network;
}

function applyFlannelMarks(network: DetectedNetwork, { nodes }: Evidence): void {
  const [backend] = nodes.flannelBackends;
  const [vni] = nodes.flannelData;
  if (backend === undefined) return;
  const Type = backend === "extension" ? "wireguard" : backend;
  const { podCIDRs } = network;
  applyFlannelConfig(network, { Backend: { Type, ...(vni === undefined ? {} : { VNI: Number(vni) }) } });
  network.podCIDRs = podCIDRs;
}
