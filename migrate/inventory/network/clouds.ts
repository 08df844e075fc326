// SPDX-License-Identifier: Apache-2.0
import {
  blankNetwork,
  configMapData,
  type DetectedNetwork,
  type Evidence,
  findSet,
  isTrue,
  networkOf,
  positive,
} from "./evidence.ts";

/** Amazon's VPC CNI: pods have addresses of the VPC. */
export async function detectAws(evidence: Evidence): Promise<DetectedNetwork | undefined> {
  const set = findSet(evidence, /^aws-node$/, /amazon-k8s-cni(:|@|$)/);
  if (set === undefined) return undefined;
  const network = networkOf("aws-vpc", set);
  const config = await configMapData(evidence, set.ref.namespace, "amazon-vpc-cni");
  network.configuration = [{ kind: "ConfigMap", namespace: set.ref.namespace, name: "amazon-vpc-cni" }];
  const isPrefix = isTrue(set.env.get("ENABLE_PREFIX_DELEGATION"));
  network.mode = isPrefix ? "VPC addresses by prefix" : "VPC addresses";
  network.encapsulation = "none";
  network.mtu = positive(set.env.get("AWS_VPC_ENI_MTU")) ?? 9001;
  network.device = "eth0";
  network.ipam = "cloud";
  network.enforcesPolicy =
    isTrue(config["enable-network-policy-controller"]) || set.args.includes("--enable-network-policy=true");
  network.plugins = ["aws-cni", "egress-cni", "portmap"];
  return network;
}

/** Azure CNI with addresses of the VNet or of an overlay, and AKS's kubenet. */
export async function detectAzure(evidence: Evidence): Promise<DetectedNetwork | undefined> {
  const set = findSet(evidence, /^azure-(cns|cni|vnet|cni-networkmonitor)$/);
  const labels = evidence.nodes.networkLabels;
  if (
    set === undefined &&
    (evidence.platform !== "aks" || evidence.daemonSets.some((other) => other.installsCni))
  )
    return undefined;
  const evidenceText = "platform AKS, no network's DaemonSet";
  const network = set === undefined ? blankNetwork("kubenet", evidenceText) : networkOf("azure", set);
  const isOverlay = labels.get("kubernetes.azure.com/podnetwork-type") === "overlay";
  network.mode = set === undefined ? "routes" : isOverlay ? "overlay" : "VNet addresses";
  network.encapsulation = "none";
  network.ipam = set === undefined ? "host-local" : "cloud";
  network.device = set === undefined ? "cbr0" : "azure0";
  network.plugins = [set === undefined ? "kubenet" : "azure-vnet"];
  network.enforcesPolicy = findSet(evidence, /^azure-npm$/) !== undefined;
  network.operator = "AKS";
  return network;
}

/** GKE without Dataplane V2: routes of the VPC to the nodes' ranges. */
export async function detectGke(evidence: Evidence): Promise<DetectedNetwork | undefined> {
  if (evidence.platform !== "gke" || findSet(evidence, /^anetd$/) !== undefined) return undefined;
  const set = findSet(evidence, /^netd$/);
  const network = set === undefined ? blankNetwork("gke", "platform GKE, no anetd") : networkOf("gke", set);
  network.mode = set === undefined ? "routes" : "VPC-native";
  network.encapsulation = "none";
  network.ipam = "host-local";
  network.plugins = ["ptp"];
  network.enforcesPolicy = findSet(evidence, /^calico-node/) !== undefined;
  network.operator = "GKE";
  return network;
}
