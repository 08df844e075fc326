// SPDX-License-Identifier: Apache-2.0
import type { OldNetwork } from "../../model/inventory.ts";
import { emptySample, type NetworkDetails } from "../details.ts";
import { detectCalico } from "./calico.ts";
import { detectCilium } from "./cilium.ts";
import { detectAws, detectAzure, detectGke } from "./clouds.ts";
import { blankNetwork, type DetectedNetwork, type Evidence } from "./evidence.ts";
import { detectEmbeddedFlannel, detectFlannel } from "./flannel.ts";
import {
  detectAntrea,
  detectBridge,
  detectKindnet,
  detectKubeRouter,
  detectOvn,
  detectWeave,
} from "./plain.ts";

type Detector = (evidence: Evidence) => Promise<DetectedNetwork | undefined> | DetectedNetwork | undefined;

// Networks that stand for themselves, then the clouds' own, then what is left when no other was seen.
const tiers: Detector[][] = [
  [
    detectCilium,
    detectCalico,
    detectFlannel,
    detectKindnet,
    detectWeave,
    detectAntrea,
    detectKubeRouter,
    detectOvn,
  ],
  [detectAws, detectAzure, detectGke],
  [detectEmbeddedFlannel, detectBridge],
];

/** DaemonSets that add themselves to another network's configuration. */
const additions: [RegExp, string][] = [
  [/multus/, "multus"],
  [/^istio-cni-node$/, "istio-cni"],
  [/^linkerd-cni$/, "linkerd-cni"],
  [/^whereabouts$/, "whereabouts"],
  [/^sriov-device-plugin|^kube-sriov/, "sr-iov"],
];

/** Finds the network that gives pods their interfaces, and whatever else has a hand in it. */
export async function detectNetwork(evidence: Evidence): Promise<{
  network: OldNetwork;
  details: Pick<
    NetworkDetails,
    | "evidence"
    | "ipam"
    | "ebpf"
    | "servesServices"
    | "plugins"
    | "beside"
    | "bgpPeers"
    | "foreignBlocks"
    | "announcesServices"
  > & { operator?: string };
}> {
  const found: DetectedNetwork[] = [];
  for (const tier of tiers) {
    const results = await Promise.all(tier.map((detect) => detect(evidence)));
    found.push(...results.filter((result) => result !== undefined));
    const isCloudNext = tier === tiers[0];
    if (found.length > 0 && !isCloudNext) break;
  }
  const main = choose(found) ?? undetected(evidence);
  const beside = [
    ...found.filter((other) => other !== main).map((other) => other.kind),
    ...additions
      .filter(([name]) => evidence.daemonSets.some((set) => !set.idle && name.test(set.ref.name)))
      .map(([, title]) => title),
  ];
  const {
    evidence: seen,
    ipam,
    ebpf,
    servesServices,
    plugins,
    operator,
    foreignBlocks = emptySample(),
    bgpPeers = 0,
    announcesServices = false,
    ...network
  } = main;
  return {
    network,
    details: {
      evidence: seen,
      ipam,
      ebpf,
      servesServices,
      plugins,
      beside: [...new Set(beside)],
      foreignBlocks,
      bgpPeers,
      announcesServices,
      ...(operator === undefined ? {} : { operator }),
    },
  };
}

/** A cloud's network under Calico's or Cilium's policy is the cloud's; a DaemonSet that runs nowhere is none. */
function choose(found: DetectedNetwork[]): DetectedNetwork | undefined {
  const isPolicyOnly = (network: DetectedNetwork): boolean =>
    network.mode === "policy only" || network.mode.startsWith("chained");
  const cloud = found.find((network) => ["aws-vpc", "azure", "gke", "kubenet"].includes(network.kind));
  const own = found.find((network) => !isPolicyOnly(network) && network !== cloud);
  return own ?? cloud ?? found[0];
}

function undetected({ daemonSets, nodes }: Evidence): DetectedNetwork {
  const writer = daemonSets.find((set) => set.installsCni && !set.idle && set.ref.name !== "shunt-agent");
  if (writer !== undefined)
    return {
      ...blankNetwork(
        "unknown",
        `DaemonSet ${writer.ref.namespace}/${writer.ref.name} writes CNI configurations`,
      ),
      daemonSet: writer.ref,
    };
  if (daemonSets.some((set) => set.ref.name === "shunt-agent"))
    return {
      ...blankNetwork("shunt", "DaemonSet kube-system/shunt-agent"),
      mode: "vxlan",
      ebpf: true,
      ipam: "host-local",
    };
  const entries = [...nodes.entries.values()];
  const foreign = entries.some(
    ({ details }) => details.foreignAddresses.count + details.addressesOutside.count > 0,
  );
  const networked = entries.reduce((sum, { node }) => sum + node.networkedPods, 0);
  if (networked > 0 && !foreign && !nodes.ranges.empty) {
    const network = blankNetwork(
      "bridge",
      "no object of a network, and every pod has an address of its node's range: CNI configuration files on the nodes",
    );
    return { ...network, mode: "files on the nodes", encapsulation: "none", ipam: "host-local" };
  }
  return entries.some(({ node }) => node.ready)
    ? blankNetwork("unknown", "nodes are ready, but no object of a known network exists")
    : blankNetwork("none", "no node is ready and no object of a known network exists");
}
