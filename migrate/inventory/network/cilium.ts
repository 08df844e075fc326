// SPDX-License-Identifier: Apache-2.0
import { cidrList } from "../ranges.ts";
import {
  configMapData,
  type DetectedNetwork,
  type Evidence,
  findSet,
  isTrue,
  networkOf,
  positive,
} from "./evidence.ts";

/** Cilium, and what is built on it: GKE's Dataplane V2 (anetd). */
export async function detectCilium(evidence: Evidence): Promise<DetectedNetwork | undefined> {
  const set = findSet(evidence, /^(cilium|anetd)$/, /\/cilium\/cilium(:|@|$)/);
  if (set === undefined) return undefined;
  const network = networkOf(set.ref.name === "anetd" ? "gke" : "cilium", set);
  const config = await configMapData(evidence, set.ref.namespace, "cilium-config");
  network.configuration = [{ kind: "ConfigMap", namespace: set.ref.namespace, name: "cilium-config" }];
  const isNative = config["routing-mode"] === "native" || config.tunnel === "disabled";
  const tunnel = config["tunnel-protocol"] ?? (isNative ? undefined : (config.tunnel ?? "vxlan"));
  network.mode = set.ref.name === "anetd" ? "dataplane-v2" : isNative ? "native routing" : String(tunnel);
  network.encapsulation = isNative ? "none" : tunnel === "geneve" ? "geneve" : "vxlan";
  if (!isNative) network.port = positive(config["tunnel-port"]) ?? (tunnel === "geneve" ? 6081 : 8472);
  if (isTrue(config["enable-wireguard"])) network.mode += ", wireguard";
  const chaining = config["cni-chaining-mode"];
  if (chaining !== undefined && chaining !== "none" && chaining !== "")
    network.mode = `chained to ${chaining}`;
  network.podCIDRs = cidrList(config["cluster-pool-ipv4-cidr"]?.replaceAll(" ", ","));
  if (network.podCIDRs.length === 0) network.podCIDRs = cidrList(config["ipv4-native-routing-cidr"]);
  const mtu = positive(config.mtu);
  if (mtu !== undefined) network.mtu = mtu;
  network.device = isNative ? "cilium_host" : `cilium_${tunnel}`;
  network.ipam = config.ipam ?? "cluster-pool";
  network.ebpf = true;
  network.servesServices =
    /^(true|strict)$/.test(config["kube-proxy-replacement"] ?? "") || set.ref.name === "anetd";
  network.enforcesPolicy = config["enable-policy"] !== "never";
  network.plugins = ["cilium-cni"];
  const operator = { kind: "Deployment", namespace: set.ref.namespace, name: "cilium-operator" };
  network.others = set.ref.name === "anetd" ? [] : [operator];
  return network;
}
