// SPDX-License-Identifier: Apache-2.0
import { parse } from "yaml";
import { ShuntError } from "../lib/errors.ts";
import { type KubeClient, resourcePath } from "../lib/kube.ts";
import { ApiError } from "../lib/kube-errors.ts";
import type { KubeObject } from "../lib/kube-object.ts";
import { sleep } from "../lib/wait.ts";
import type { ClusterFacts } from "./manifests.ts";
import { agentName } from "./names.ts";
import type { Values } from "./values.ts";

/** A pod network or service proxy that is already in the cluster. */
export interface ExistingPart {
  name: string;
  namespace: string;
  daemonSet: string;
  object: KubeObject;
}

const knownNetworks: Record<string, RegExp> = {
  flannel: /flannel/,
  calico: /calico-node|canal/,
  cilium: /^cilium$/,
  kindnet: /kindnet/,
  weave: /weave-net/,
  antrea: /antrea-agent/,
  "aws-vpc-cni": /^aws-node$/,
  "azure-cni": /azure-(cni|vnet)/,
  "kube-router": /kube-router/,
  "ovn-kubernetes": /ovnkube|ovs-node/,
};

/** Pod networks found by the names under which they are installed. */
export async function findNetworks(kube: KubeClient): Promise<ExistingPart[]> {
  const sets = await kube.list(resourcePath("apps/v1", "daemonsets"));
  return sets.items.flatMap((object) => {
    const daemonSet = object.metadata.name ?? "";
    const found = Object.entries(knownNetworks).find(([, pattern]) => pattern.test(daemonSet));
    if (found === undefined || daemonSet === agentName) return [];
    return [{ name: found[0], namespace: object.metadata.namespace ?? "", daemonSet, object }];
  });
}

/** kube-proxy's DaemonSet, by its usual name or label; undefined when the cluster has none. */
export async function findKubeProxy(kube: KubeClient): Promise<ExistingPart | undefined> {
  const sets = await kube.list(resourcePath("apps/v1", "daemonsets", "kube-system"));
  const object = sets.items.find(
    (set) =>
      set.metadata.name === "kube-proxy" || set.spec?.selector?.matchLabels?.["k8s-app"] === "kube-proxy",
  );
  if (object === undefined) return undefined;
  return { name: "kube-proxy", namespace: "kube-system", daemonSet: object.metadata.name ?? "", object };
}

interface WaitForNodes {
  timeoutMs: number;
  intervalMs?: number;
  signal?: AbortSignal | undefined;
}

/** Waits until it is so of every node. When the time is over it returns as well: whoever needs it judges. */
async function waitForNodes(
  kube: KubeClient,
  isSo: (node: KubeObject) => boolean,
  options: WaitForNodes,
): Promise<void> {
  const deadline = Date.now() + options.timeoutMs;
  while (Date.now() < deadline) {
    const nodes = await kube.list(resourcePath("v1", "nodes"));
    if (nodes.items.every(isSo)) return;
    await sleep(options.intervalMs ?? 500, options.signal);
  }
}

/** Waits while a node has no pod range: it gets one some seconds after it joined. */
export const waitForPodRanges = (kube: KubeClient, options: WaitForNodes): Promise<void> =>
  waitForNodes(kube, ({ spec }) => (spec?.podCIDRs ?? []).length > 0, options);

/**
 * Waits while a node that has just got its pod network still counts as not ready: the kubelet and the node controller
 * take some seconds to see it.
 */
export const waitForReadyNodes = (kube: KubeClient, options: WaitForNodes): Promise<void> =>
  waitForNodes(kube, isReady, options);

const isReady = ({ status, spec }: KubeObject): boolean =>
  (status?.conditions ?? []).some(
    (condition: { type: string; status: string }) =>
      condition.type === "Ready" && condition.status === "True",
  ) && !(spec?.taints ?? []).some((taint: { key: string }) => taint.key === "node.kubernetes.io/not-ready");

/** Finds what the manifests need, values first, then the cluster. */
export async function gatherFacts(kube: KubeClient, values: Values): Promise<ClusterFacts> {
  const { services } = values;
  const [apiServer, podCIDRs, serviceCIDRs, nodePortRange, nodePortAddresses] = await Promise.all([
    findApiServer(kube, values),
    values.clusterPodCIDRs.length > 0 ? values.clusterPodCIDRs : findPodCidrs(kube),
    findServiceCidrs(kube),
    services.nodePortRange || findNodePortRange(kube),
    services.nodePortAddresses.length > 0 ? services.nodePortAddresses : findNodePortAddresses(kube),
  ]);
  return { ...apiServer, clusterPodCIDRs: podCIDRs, serviceCIDRs, nodePortRange, nodePortAddresses };
}

/** The API server's flag, where its pod can be seen; else Kubernetes' default. */
async function findNodePortRange(kube: KubeClient): Promise<string> {
  const pods = await kube.list(resourcePath("v1", "pods", "kube-system"), {
    labelSelector: "component=kube-apiserver",
  });
  const words: string[] = pods.items.flatMap(({ spec }) =>
    (spec?.containers ?? []).flatMap(({ command, args }: any) => [...(command ?? []), ...(args ?? [])]),
  );
  const found = words.map((word) => /^--service-node-port-range=(\d+-\d+)$/.exec(word)?.[1]).find(Boolean);
  return found ?? "30000-32767";
}

/** Where kube-proxy's node ports answer: what was reachable stays so, and what was not too. Empty: everywhere. */
async function findNodePortAddresses(kube: KubeClient): Promise<string[]> {
  const map = await kube.find(resourcePath("v1", "configmaps", "kube-system", "kube-proxy"));
  let config: any;
  try {
    config = parse(map?.data?.["config.conf"] ?? "");
  } catch {
    return [];
  }
  const addresses = Array.isArray(config?.nodePortAddresses) ? config.nodePortAddresses : [];
  if (addresses.length > 0) return addresses.map(String);
  return config?.mode === "nftables" ? ["primary"] : [];
}

/** The API server's own address, so that the agent does not depend on the service routing it provides. */
async function findApiServer(kube: KubeClient, values: Values) {
  if (values.k8sServiceHost !== "")
    return { apiServerHost: values.k8sServiceHost, apiServerPort: values.k8sServicePort || 6443 };
  const slices = await kube.list(resourcePath("discovery.k8s.io/v1", "endpointslices", "default"), {
    labelSelector: "kubernetes.io/service-name=kubernetes",
  });
  for (const slice of slices.items) {
    const host = slice.endpoints?.[0]?.addresses?.[0];
    const port = slice.ports?.[0]?.port;
    if (host !== undefined && port !== undefined)
      return { apiServerHost: host as string, apiServerPort: values.k8sServicePort || (port as number) };
  }
  throw new ShuntError(
    "Cannot find the API server's own address: EndpointSlice default/kubernetes has no address",
    {
      remedy: "Name it with --set k8sServiceHost=ADDRESS,k8sServicePort=PORT.",
    },
  );
}

/** The cluster-wide pod ranges as kubeadm records them, else those of the nodes. */
async function findPodCidrs(kube: KubeClient): Promise<string[]> {
  const kubeadm = await kube.find(resourcePath("v1", "configmaps", "kube-system", "kubeadm-config"));
  const subnet = parse(kubeadm?.data?.ClusterConfiguration ?? "")?.networking?.podSubnet;
  if (typeof subnet === "string" && subnet !== "") return subnet.split(",").map((cidr) => cidr.trim());
  const nodes = await kube.list(resourcePath("v1", "nodes"));
  return nodes.items.flatMap((node) => (node.spec?.podCIDRs as string[] | undefined) ?? []);
}

/** Service ranges from ServiceCIDR objects (1.33 and newer), else from what a refused Service says. */
export async function findServiceCidrs(kube: KubeClient): Promise<string[]> {
  const known = await kube.find<any>(resourcePath("networking.k8s.io/v1", "servicecidrs"));
  const ranges = known?.items?.flatMap((item: KubeObject) => item.spec?.cidrs ?? []) ?? [];
  if (ranges.length > 0) return ranges;
  try {
    const body = {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "shunt-range-question" },
      spec: { clusterIP: "192.0.2.254", ports: [{ port: 1 }] },
    };
    await kube.create(resourcePath("v1", "services", "default"), body, { dryRun: "All" });
  } catch (error) {
    const message = error instanceof ApiError ? error.message : "";
    const range = /range of valid IPs is ([0-9a-fA-F.:]+\/\d+)/.exec(message)?.[1];
    if (range !== undefined) return [range];
  }
  return [];
}
