// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../lib/kube-object.ts";
import { addSample, emptySample, type Sample } from "../details.ts";
import { cidrList } from "../ranges.ts";
import {
  cniConfiguration,
  configOf,
  type DaemonSet,
  type DetectedNetwork,
  type Evidence,
  findSet,
  isTrue,
  networkOf,
  positive,
  readable,
  setting,
} from "./evidence.ts";
import { applyFlannelConfig } from "./flannel.ts";

const crd = "/apis/crd.projectcalico.org/v1";

/** Calico's own objects, wherever it was installed from. */
interface CalicoObjects {
  pools: KubeObject[];
  felix: any;
  bgp: any;
  peers: number;
  installation: any;
}

async function readObjects({ source }: Evidence): Promise<CalicoObjects> {
  const [pools, felix, bgp, peers, installation] = await Promise.all([
    source.all(`${crd}/ippools`),
    source.find(`${crd}/felixconfigurations/default`),
    source.find(`${crd}/bgpconfigurations/default`),
    source.each(`${crd}/bgppeers`, () => undefined),
    source.find("/apis/operator.tigera.io/v1/installations/default"),
  ]);
  return { pools, felix: felix?.spec ?? {}, bgp: bgp?.spec ?? {}, peers, installation: installation?.spec };
}

/** Blocks that Calico's own allocator gave to a node out of a range in which ours gives addresses to another. */
async function blocksOfOthers({ source, nodes }: Evidence): Promise<Sample> {
  const found = emptySample();
  await source.each(`${crd}/ipamblocks`, ({ spec }) => {
    const [, host] = /^host:(.+)$/.exec(String(spec?.affinity ?? "")) ?? [];
    const owner = nodes.ranges.ownerOf(String(spec?.cidr ?? "").split("/")[0] ?? "");
    if (host !== undefined && owner !== undefined && owner !== host)
      addSample(found, `${spec.cidr} of ${host} in the range of ${owner}`);
  });
  return found;
}

/** Calico by manifest or by operator, and Canal, which is Flannel with Calico's policy. */
export async function detectCalico(evidence: Evidence): Promise<DetectedNetwork | undefined> {
  const set = findSet(
    evidence,
    /^(rke2-)?(calico-node|canal)$/,
    /\/calico\/node(:|@|$)|\/mirrored-calico-node/,
  );
  if (set === undefined) return undefined;
  const isCanal = set.containers.some((name) => /flannel/.test(name)) || /canal/.test(set.ref.name);
  const network = networkOf(isCanal ? "canal" : "calico", set);
  const [{ data, refs }, objects] = await Promise.all([configOf(evidence, set), readObjects(evidence)]);
  network.configuration = refs;
  network.enforcesPolicy = true;
  network.bgpPeers = objects.peers;
  network.announcesServices = ["serviceClusterIPs", "serviceExternalIPs", "serviceLoadBalancerIPs"].some(
    (key) => (objects.bgp[key] ?? []).length > 0,
  );
  network.ebpf = isTrue(objects.felix.bpfEnabled) || isTrue(set.env.get("FELIX_BPFENABLED"));
  applyInstallation(network, objects.installation);
  network.servesServices = network.ebpf;
  network.plugins = cniConfiguration(data)?.plugins ?? ["calico", "portmap"];
  applyOthers(network, evidence);
  if (isCanal) {
    applyFlannelConfig(network, readable(data["net-conf.json"]));
    network.ipam = "host-local";
  } else {
    applyCalicoConfig(network, set, data, objects);
    if (network.ipam === "calico-ipam") network.foreignBlocks = await blocksOfOthers(evidence);
  }
  const detection = addressDetection(set, objects.installation);
  if (!isCanal && detection !== undefined) network.addressDetection = detection;
  return network;
}

function applyInstallation(network: DetectedNetwork, installation: any): void {
  if (installation === undefined) return;
  network.configuration.push({ kind: "Installation", name: "default" });
  network.operator = "tigera-operator (Installation default)";
  network.ebpf ||= installation.calicoNetwork?.linuxDataplane === "BPF";
}

function applyOthers(network: DetectedNetwork, { daemonSets }: Evidence): void {
  const namespace = network.daemonSet?.namespace ?? "";
  const beside = daemonSets.filter(
    (set) => set.ref.namespace === namespace && /^csi-node-driver$/.test(set.ref.name),
  );
  const deployment = (name: string, of: string) => ({ kind: "Deployment", namespace: of, name });
  network.others = [...beside.map((set) => set.ref), deployment("calico-kube-controllers", namespace)];
  if (network.operator !== undefined)
    network.others.push(
      deployment("calico-typha", namespace),
      deployment("tigera-operator", "tigera-operator"),
    );
}

function applyCalicoConfig(
  network: DetectedNetwork,
  set: DaemonSet,
  data: Record<string, string>,
  objects: CalicoObjects,
): void {
  const pools = objects.pools.map((pool) => pool.spec ?? {}).filter((pool) => pool.disabled !== true);
  const wanted = objects.installation?.calicoNetwork ?? {};
  const pool = pools[0] ?? poolOfInstallation(wanted) ?? poolOfEnvironment(set);
  network.podCIDRs = pools.length > 0 ? pools.flatMap((entry) => cidrList(entry.cidr)) : cidrList(pool.cidr);
  const uses = (mode: unknown): boolean => mode !== undefined && mode !== "" && mode !== "Never";
  const backend = setting(set, data, "CALICO_NETWORKING_BACKEND", "calico_backend") ?? "bird";
  if (uses(pool.vxlanMode))
    Object.assign(network, {
      mode: poolMode("vxlan", pool.vxlanMode),
      encapsulation: "vxlan",
      device: "vxlan.calico",
      port: positive(objects.felix.vxlanPort) ?? 4789,
    });
  else if (uses(pool.ipipMode))
    Object.assign(network, { mode: poolMode("ipip", pool.ipipMode), encapsulation: "ipip", device: "tunl0" });
  else Object.assign(network, { mode: backend === "none" ? "policy only" : "bgp", encapsulation: "none" });
  if (isTrue(objects.felix.wireguardEnabled)) network.mode += ", wireguard";
  const mtu = positive(wanted.mtu) ?? positive(data.veth_mtu) ?? positive(set.env.get("FELIX_VXLANMTU"));
  if (mtu !== undefined) network.mtu = mtu;
  const cni = cniConfiguration(data)?.first;
  network.ipam = ipamOf(objects.installation?.cni?.ipam?.type ?? cni?.ipam?.type);
}

const poolMode = (name: string, mode: unknown): string =>
  mode === "CrossSubnet" ? `${name} between subnets` : name;

function ipamOf(type: unknown): string {
  if (type === undefined || type === "Calico" || type === "calico-ipam") return "calico-ipam";
  return type === "HostLocal" ? "host-local" : String(type);
}

function poolOfInstallation(network: any): any {
  const pool = network.ipPools?.[0];
  if (pool === undefined) return undefined;
  const encapsulation = String(pool.encapsulation ?? "IPIP");
  const mode = /CrossSubnet$/.test(encapsulation) ? "CrossSubnet" : "Always";
  if (/^VXLAN/.test(encapsulation)) return { cidr: pool.cidr, vxlanMode: mode };
  return /^IPIP/.test(encapsulation) ? { cidr: pool.cidr, ipipMode: mode } : { cidr: pool.cidr };
}

function poolOfEnvironment(set: DaemonSet): any {
  return {
    cidr: set.env.get("CALICO_IPV4POOL_CIDR") ?? "192.168.0.0/16",
    ipipMode: set.env.get("CALICO_IPV4POOL_IPIP"),
    vxlanMode: set.env.get("CALICO_IPV4POOL_VXLAN"),
  };
}

/** How calico-node finds its node's address; `first-found` is what it does when nobody says. */
function addressDetection(set: DaemonSet, installation: any): string | undefined {
  const wanted = installation?.calicoNetwork?.nodeAddressAutodetectionV4;
  if (wanted !== undefined) {
    if (wanted.kubernetes === "NodeInternalIP") return "kubernetes-internal-ip";
    if (wanted.firstFound === true) return "first-found";
    const [key] = Object.keys(wanted);
    return key === undefined ? "first-found" : `${key}=${JSON.stringify(wanted[key])}`;
  }
  const address = set.env.get("IP");
  if (address !== undefined && address !== "autodetect")
    return address === "none" ? undefined : `IP=${address}`;
  return set.env.get("IP_AUTODETECTION_METHOD") ?? "first-found";
}
