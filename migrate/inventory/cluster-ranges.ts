// SPDX-License-Identifier: Apache-2.0
import { parse } from "yaml";
import { findServiceCidrs } from "../../installer/index.ts";
import { KubeClient, resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { argument } from "./kube-proxy.ts";
import type { NodeTally } from "./nodes.ts";
import type { PodTally } from "./pods.ts";
import { cidrList, enclosingRange } from "./ranges.ts";
import type { ServiceTally } from "./services.ts";
import type { ClusterSource, KubeReader } from "./source.ts";

/** Address ranges of a whole cluster. */
export interface ClusterRanges {
  serviceCIDRs: string[];
  podCIDRs: string[];
  /** The Service range is a guess from the addresses in it. */
  estimated: boolean;
}

/** Pod and Service ranges of the cluster: from objects, else from arguments, else guessed from addresses. */
export async function readRanges(
  kube: KubeReader,
  source: ClusterSource,
  { nodes, pods, services }: { nodes: NodeTally; pods: PodTally; services: ServiceTally },
): Promise<ClusterRanges> {
  const [objects, kubeadm] = await Promise.all([
    source.all("/apis/networking.k8s.io/v1/servicecidrs"),
    source.find(resourcePath("v1", "configmaps", "kube-system", "kubeadm-config")),
  ]);
  const networking = clusterConfiguration(kubeadm)?.networking ?? {};
  const server = pods.parts.get("kube-apiserver")?.args ?? [];
  const manager = pods.parts.get("kube-controller-manager")?.args ?? [];
  const known = [
    objects.flatMap((object) => cidrList((object.spec?.cidrs ?? []).join(","))),
    cidrList(argument(server, "--service-cluster-ip-range")),
    cidrList(networking.serviceSubnet),
    cidrList(argument(nodes.distributionArgs, "--service-cidr")),
  ].find((list) => list.length > 0);
  // The server tells its range when it refuses an address in a dry run, which keeps nothing.
  const asked =
    known === undefined && kube instanceof KubeClient ? await findServiceCidrs(kube).catch(() => []) : [];
  const podCIDRs = [
    cidrList(argument(manager, "--cluster-cidr")),
    cidrList(networking.podSubnet),
    cidrList(argument(nodes.distributionArgs, "--cluster-cidr")),
    guess([...nodes.entries.values()].flatMap(({ node }) => node.podCIDRs)),
  ].find((list) => list.length > 0);
  return {
    serviceCIDRs: known ?? (asked.length > 0 ? cidrList(asked.join(",")) : guess(services.clusterIPs)),
    podCIDRs: podCIDRs ?? [],
    estimated: known === undefined && asked.length === 0,
  };
}

/** The smallest range around the addresses of each family. */
function guess(addresses: string[]): string[] {
  const families = [false, true].map((six) => addresses.filter((address) => address.includes(":") === six));
  return families.map(enclosingRange).filter((range) => range !== undefined);
}

function clusterConfiguration(kubeadm: KubeObject | undefined): any {
  try {
    return parse(kubeadm?.data?.ClusterConfiguration ?? "");
  } catch {
    return undefined;
  }
}
