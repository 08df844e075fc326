// SPDX-License-Identifier: Apache-2.0
import { podMtus, tunnelBytes } from "../inventory/pod-mtu.ts";
import type { Finding, OldNetwork } from "../model/inventory.ts";
import { block, type CheckContext, info, limited, named, warn } from "./check.ts";
import { objectName } from "./cluster.ts";
import { overlaps } from "./ranges.ts";

/** The network that is there: whether Shunt knows it, and what of it gets in the way of a second one. */
export function checkNetwork(context: CheckContext): Finding[] {
  if (!context.movesPods) return overlaps(context);
  return [
    ...kind(context),
    ...beside(context),
    ...autodetection(context),
    ...addresses(context),
    ...overlaps(context),
    ...ports(context),
    ...firewall(context),
    ...mtu(context),
    ...reversePath(context),
    ...routers(context),
  ];
}

const networkObject = ({ daemonSet }: OldNetwork): string =>
  daemonSet === undefined ? "cluster" : objectName(daemonSet);

function kind({ inventory, details, inPlace }: CheckContext): Finding[] {
  const { network } = inventory;
  const object = networkObject(network);
  if (network.kind === "unknown" || network.kind === "none")
    return [
      block({
        id: "network-unknown",
        object,
        problem: `the pod network was not recognised: ${details.network.evidence}`,
        remedy:
          "Use --strategy new-cluster or blue-green, which need not know it; for a cluster without any network use shunt install.",
      }),
    ];
  if (network.kind === "shunt")
    return [
      info({
        id: "already-migrated",
        object,
        problem: "the cluster runs on Shunt's network already",
        remedy: "Nothing to migrate; see shunt status.",
      }),
    ];
  if (!inPlace) return [];
  const supported = ["flannel", "calico", "canal", "kindnet", "bridge"].includes(network.kind);
  if (details.network.ebpf)
    return [
      block({
        id: "network-has-own-datapath",
        object,
        problem: `${network.kind} has eBPF programs of its own on the nodes' devices and answers Services itself; two of that sort on one node fight over each packet`,
        remedy:
          network.kind === "calico"
            ? "Turn Calico's eBPF mode off first (FelixConfiguration bpfEnabled: false, kube-proxy on), or use --strategy blue-green."
            : "Use --strategy blue-green or new-cluster.",
      }),
    ];
  if (supported) return [];
  return [
    block({
      id: "network-not-supported-in-place",
      object,
      problem: `switching nodes in place is made for flannel, calico, canal, kindnet and bridge, not for ${network.kind}`,
      remedy: "Use --strategy blue-green or new-cluster.",
    }),
  ];
}

const additions: Record<string, string> = {
  multus:
    "Multus wraps the default network: make its configuration name Shunt's as the default (clusterNetwork) when a node is switched",
  "istio-cni":
    "istio-cni adds itself to the first CNI configuration: let it run again after a node is switched, it then adds itself to Shunt's",
  "linkerd-cni":
    "linkerd-cni adds itself to the first CNI configuration: restart its DaemonSet's pod after a node is switched",
  whereabouts: "whereabouts gives addresses to further interfaces and is not touched",
  "sr-iov": "SR-IOV interfaces are not touched",
};

function beside({ inventory, details }: CheckContext): Finding[] {
  return details.network.beside.map((name) => {
    const addition = additions[name];
    return warn({
      id: addition === undefined ? "several-networks" : "network-addition",
      object: networkObject(inventory.network),
      problem:
        addition === undefined
          ? `${name} is there beside ${inventory.network.kind}: which of them a node uses is not certain`
          : `${name} has a hand in the pods' interfaces`,
      remedy:
        addition === undefined
          ? `Remove what is left of the one that is not used, or see which files are in /etc/cni/net.d.`
          : `${addition}.`,
    });
  });
}

/** Methods that could take our device or a pod address for the node's own. */
const riskyDetection = /^(first-found|can-reach)/;

function autodetection({ inventory, inPlace }: CheckContext): Finding[] {
  const { addressDetection } = inventory.network;
  if (addressDetection === undefined || !inPlace || !riskyDetection.test(addressDetection)) return [];
  const { daemonSet } = inventory.network;
  const command = `kubectl -n ${daemonSet?.namespace ?? "kube-system"} set env daemonset/${daemonSet?.name ?? "calico-node"} IP_AUTODETECTION_METHOD=kubernetes-internal-ip`;
  return [
    block({
      id: "calico-address-detection",
      object: networkObject(inventory.network),
      problem: `Calico looks for its node's address by ${addressDetection} and may take our device's: its nodes would turn unready`,
      remedy: `${command} ; with the operator, set nodeAddressAutodetectionV4 to {kubernetes: NodeInternalIP} in Installation default.`,
    }),
  ];
}

const ownAddresses =
  "Give pods addresses of their own node first (Calico: ipam host-local with usePodCidr, then recreate all pods), or use --strategy blue-green or new-cluster.";

function addresses({ inventory, details, inPlace }: CheckContext): Finding[] {
  if (!inPlace) return [];
  const found = details.nodes.flatMap((node) =>
    node.foreignAddresses.count === 0
      ? []
      : [
          block({
            id: "address-of-another-node",
            object: `Node ${node.name}`,
            problem: `${named(node.foreignAddresses, "pod has an address", "pods have addresses")} in the range of another node: once that one is switched, they are not reached any more`,
            remedy: ownAddresses,
          }),
        ],
  );
  const { ipam, foreignBlocks } = details.network;
  const object = networkObject(inventory.network);
  if (foreignBlocks.count > 0)
    found.push(
      block({
        id: "calico-ipam-blocks",
        object,
        problem: `${named(foreignBlocks, "block")} of Calico's addresses: pods to come would get addresses of a node that may be switched already`,
        remedy: ownAddresses,
      }),
    );
  const outside = details.nodes.reduce((sum, node) => sum + node.addressesOutside.count, 0);
  if (outside === 0) return limited(found);
  const problem = `${outside} pods have addresses outside of all nodes' ranges (spec.podCIDRs)`;
  if (ipam === "calico-ipam")
    // Calico translates what goes from its pools to elsewhere: new pods and policies would see nodes' addresses.
    found.push(
      block({
        id: "calico-ipam-pools",
        object,
        problem: `${problem}: Calico takes them from IPPools of its own, whose pods reach pods elsewhere under their node's address only, and policies then refuse them`,
        remedy: ownAddresses,
      }),
    );
  else
    found.push(
      info({
        id: "address-outside-ranges",
        object: "cluster",
        problem: `${problem}: the old network gives them from ranges of its own`,
        remedy:
          "Nothing to do: the two do not overlap. Firewalls that know pods by address must learn the nodes' ranges (spec.podCIDRs).",
      }),
    );
  return limited(found);
}

function ports({ inventory, details, options, inPlace }: CheckContext): Finding[] {
  const { network } = inventory;
  const found: Finding[] = [];
  if (inPlace && network.port === options.tunnelPort && options.routing === "vxlan")
    found.push(
      block({
        id: "tunnel-port-taken",
        object: networkObject(network),
        problem: `${network.kind} tunnels by UDP port ${network.port}, which is the one set for ours`,
        remedy: "Choose another with --set tunnelPort=PORT.",
      }),
    );
  for (const { object, port } of details.pods.portConflicts)
    found.push(
      block({
        id: "node-port-taken",
        object,
        problem: `listens on port ${port} of its node, which the agent needs`,
        remedy: "Choose other ports with --set tunnelPort=, healthPort= or metricsPort=, or move that pod's.",
      }),
    );
  return limited(found);
}

const cloudNode = /^(aws|gce|azure|openstack|digitalocean|hcloud|linode|ibm|oci|alicloud|vultr):/;

/** Firewalls between nodes cannot be seen from here; those of clouds let pass what is named only. */
function firewall({ inventory, options, inPlace }: CheckContext): Finding[] {
  if (!inPlace || options.routing !== "vxlan") return [];
  const inCloud = inventory.nodes.some(({ providerID }) => cloudNode.test(providerID ?? ""));
  const { kind, port } = inventory.network;
  const before = port === undefined ? `${kind} needs no such port` : `${kind} uses UDP port ${port}`;
  return [
    (inCloud ? warn : info)({
      id: "tunnel-port-firewall",
      object: "cluster",
      problem: `nodes have to reach each other by UDP port ${options.tunnelPort}; ${before}`,
      remedy: `Let UDP port ${options.tunnelPort} pass between all nodes${inCloud ? " (security groups, firewall rules of the VPC)" : ", where a firewall is between or on them"} before; or --set tunnelPort=PORT for one that passes.`,
    }),
  ];
}

function mtu({ inventory, details, options, inPlace }: CheckContext): Finding[] {
  const { network } = inventory;
  const [smallest] = details.network.uplinkMtus;
  const largest = details.network.uplinkMtus.at(-1);
  const found: Finding[] = [];
  if (smallest !== undefined && largest !== undefined && smallest !== largest)
    found.push(
      warn({
        id: "uplink-mtu-differs",
        object: "cluster",
        problem: `the nodes' uplinks have MTUs from ${smallest} to ${largest} bytes: each node's pods would have another`,
        remedy: `Set one for all: --set mtu=${smallest - (options.routing === "vxlan" ? tunnelBytes(inventory) : 0)}.`,
      }),
    );
  if (network.mtu === undefined || !inPlace) return found;
  const ours = options.mtu > 0 ? options.mtu : podMtus(inventory, options.routing).ours;
  if (ours === undefined || ours === network.mtu) return found;
  found.push(
    warn({
      id: "mtu-differs",
      object: networkObject(network),
      problem: `pods have an MTU of ${network.mtu} bytes now and would get ${ours}: UDP packets between old and new pods that are larger than ${Math.min(ours, network.mtu)} are lost where fragments are`,
      remedy:
        ours > network.mtu
          ? `Keep the old one for the time of the migration: --set mtu=${network.mtu}; raise it afterwards.`
          : `Lower the old network's MTU to ${ours} before (as OpenShift's migration does), or raise the uplinks' by ${network.mtu - ours}.`,
    }),
  );
  return found;
}

function reversePath({ inventory, details, inPlace }: CheckContext): Finding[] {
  if (!inPlace) return [];
  const { strictRpFilter, rpFilterKnown } = details.network;
  const remedy =
    "sysctl -w net.ipv4.conf.all.rp_filter=2 on every node (and in /etc/sysctl.d), until the migration is done.";
  if (strictRpFilter.count > 0)
    return [
      block({
        id: "rp-filter-strict",
        object: `Node ${strictRpFilter.first[0]}`,
        problem: `${named(strictRpFilter, "node")} with strict reverse-path filtering: what comes by the other overlay would be dropped`,
        remedy,
      }),
    ];
  if (rpFilterKnown === inventory.nodes.length) return [];
  return [
    info({
      id: "rp-filter-unknown",
      object: "cluster",
      problem: "whether nodes filter strictly by reverse path (rp_filter=1) was not looked at",
      remedy: `Look with --node-facts; to be sure without: ${remedy}`,
    }),
  ];
}

function routers({ inventory, details }: CheckContext): Finding[] {
  const found: Finding[] = [];
  const object = networkObject(inventory.network);
  if (details.network.bgpPeers > 0)
    found.push(
      warn({
        id: "bgp-peers",
        object,
        problem: `${details.network.bgpPeers} BGP peers outside learn the pods' addresses from ${inventory.network.kind}; Shunt announces nothing`,
        remedy:
          "Reach pods from outside by LoadBalancer or NodePort, or add routes to the nodes' ranges on those routers first.",
      }),
    );
  if (details.network.announcesServices)
    found.push(
      block({
        id: "bgp-announces-services",
        object,
        problem:
          "Service addresses are announced to routers by BGP; with the old network gone they are not reached from outside",
        remedy:
          "Move these Services to a load balancer of their own (MetalLB, kube-vip) before, or accept it: --accept bgp-announces-services.",
      }),
    );
  return found;
}
