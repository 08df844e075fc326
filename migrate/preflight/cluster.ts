// SPDX-License-Identifier: Apache-2.0
import type { Finding } from "../model/inventory.ts";
import { block, type CheckContext, info, warn } from "./check.ts";

/** The API server's version, what could not be read, and who owns the cluster's parts. */
export function checkCluster(context: CheckContext): Finding[] {
  return [...version(context), ...gaps(context), ...managed(context), ...ranges(context)];
}

function version({ inventory }: CheckContext): Finding[] {
  const minor = Number(/^v?1\.(\d+)/.exec(inventory.serverVersion)?.[1] ?? Number.NaN);
  if (Number.isNaN(minor) || minor >= 25) return [];
  return [
    block({
      id: "version-too-old",
      object: "cluster",
      problem: `Kubernetes ${inventory.serverVersion} is older than 1.25`,
      remedy: "Upgrade the cluster to 1.25 or newer first.",
    }),
  ];
}

const essential = /\/(nodes|pods|services|endpointslices|daemonsets|poddisruptionbudgets)$/;

function gaps({ details }: CheckContext): Finding[] {
  return details.gaps.map(({ resource, reason }) => {
    const words = {
      id: "not-readable",
      object: "cluster",
      problem: `${resource} could not be read: ${reason}`,
      remedy:
        "Use a kubeconfig context with the ClusterRole cluster-admin, as the migration itself needs it.",
    };
    return essential.test(resource) ? block(words) : warn(words);
  });
}

const managers: Partial<Record<string, string>> = {
  gke: "GKE makes nodes and their network anew on every upgrade and repair",
  aks: "AKS makes nodes and their network anew on every upgrade and repair",
  openshift: "OpenShift's cluster-network-operator owns the network",
};

function managed({ inventory, details, inPlace, movesPods }: CheckContext): Finding[] {
  const { platform, network } = inventory;
  const found: Finding[] = [];
  const owner = managers[platform];
  if (owner !== undefined && movesPods && inPlace)
    found.push(
      block({
        id: "network-managed-by-provider",
        object: "cluster",
        problem: `${owner}, so a switch in place does not last`,
        remedy:
          "Use --strategy blue-green with a node pool made without the provider's network, or --strategy new-cluster.",
      }),
    );
  if (platform === "eks" && inPlace && movesPods)
    found.push(
      warn({
        id: "prefer-node-groups",
        object: "cluster",
        problem: "on EKS new nodes come with the VPC CNI, also after the switch",
        remedy: "Prefer --strategy blue-green: new node groups, old ones drained and removed.",
      }),
    );
  if (details.network.reconciledBy !== "" && movesPods && inPlace)
    found.push(
      warn({
        id: "network-reconciled",
        object: network.daemonSet === undefined ? "cluster" : objectName(network.daemonSet),
        problem: `${details.network.reconciledBy} puts the old network back when it is changed`,
        remedy:
          "Stop or change that owner before the step remove-old-network (scale it to 0, suspend it, remove the add-on).",
      }),
    );
  if (details.network.kubeProxyReconciledBy !== "" && !inventory.kubeProxy.disabled)
    found.push(
      warn({
        id: "kube-proxy-reconciled",
        object: inventory.kubeProxy.object === undefined ? "cluster" : objectName(inventory.kubeProxy.object),
        problem: `${details.network.kubeProxyReconciledBy} puts kube-proxy back when it is disabled`,
        remedy: "Take kube-proxy out of what that owner manages before the step services-handover.",
      }),
    );
  return found;
}

export const objectName = ({
  kind,
  namespace,
  name,
}: {
  kind: string;
  namespace?: string;
  name: string;
}): string => (namespace === undefined ? `${kind} ${name}` : `${kind} ${namespace}/${name}`);

function ranges({ inventory, details }: CheckContext): Finding[] {
  if (!details.network.serviceCIDRsEstimated) return [];
  return [
    info({
      id: "service-range-estimated",
      object: "cluster",
      problem: `the Service range is not told by the cluster; its Services lie within ${inventory.serviceCIDRs.join(", ") || "nothing"}`,
      remedy: "Check it against the API server's --service-cluster-ip-range.",
    }),
  ];
}
