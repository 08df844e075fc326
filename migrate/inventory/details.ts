// SPDX-License-Identifier: Apache-2.0
// What an inventory holds beyond what a plan needs: the material of preflight's judgement.

/** Some of many: all are counted, the first are named. */
export interface Sample {
  count: number;
  /** The first of them, as `namespace/name` or `name`. */
  first: string[];
}

/** A resource that could not be read, so that what depends on it is not known. */
export interface Gap {
  resource: string;
  reason: string;
}

/** Amounts that the scheduler counts. */
export interface Amounts {
  cpuMillis: number;
  memoryBytes: number;
  pods: number;
}

export interface NodeDetails {
  name: string;
  operatingSystem: string;
  zone: string;
  /** Conditions that are not as on a healthy node, for example `DiskPressure=True`. */
  problems: string[];
  /** Who makes and removes such nodes by itself: karpenter, cluster-autoscaler …; empty when nobody is known. */
  scaledBy: string;
  /** No machine of its own to run an agent on: fargate, virtual-kubelet; empty for real ones. */
  virtual: string;
  allocatable: Amounts;
  /** What its pods ask for. */
  requested: Amounts;
  /** Pods whose address belongs to the range of another node. */
  foreignAddresses: Sample;
  /** Pods whose address belongs to no node's range. */
  addressesOutside: Sample;
  longestGraceSeconds: number;
}

export interface NetworkDetails {
  /** Why the platform and the network were taken for what they are. */
  platformEvidence: string;
  evidence: string;
  /** Who gives addresses to pods: host-local (from the node's range), calico-ipam, cloud, cluster-pool … */
  ipam: string;
  /** Has an eBPF datapath of its own. */
  ebpf: boolean;
  /** Answers Services itself, without kube-proxy. */
  servesServices: boolean;
  /** Plugins of its CNI configuration, in order. */
  plugins: string[];
  /** Other networks beside the main one, and plugins that add themselves to it: calico, multus, istio-cni … */
  beside: string[];
  /** Who puts its objects back when they are changed: an operator, an add-on manager, GitOps. */
  reconciledBy: string;
  kubeProxyReconciledBy: string;
  /** Blocks of addresses that the network gave to one node out of another node's range. */
  foreignBlocks: Sample;
  bgpPeers: number;
  /** Service ranges that it announces to routers. */
  announcesServices: boolean;
  strictRpFilter: Sample;
  /** Nodes whose rp_filter a node task read. */
  rpFilterKnown: number;
  /** Smallest and largest MTU of the nodes' uplinks, from node tasks. */
  uplinkMtus: number[];
  serviceCIDRsEstimated: boolean;
}

export interface ServiceDetails {
  /** Ports of all Services that have an address. */
  ports: number;
  nodePorts: number;
  externalTrafficLocal: number;
  internalTrafficLocal: number;
  sessionAffinity: number;
  externalName: number;
  withoutSelector: number;
  topologyAware: number;
  healthCheckNodePorts: number;
  dualStack: number;
  sctp: Sample;
  sourceRanges: Sample;
  otherProxy: Sample;
  loadBalancerClasses: Record<string, number>;
  readyEndpoints: number;
  largest: { service: string; endpoints: number };
  /** Rules that kube-proxy's iptables mode keeps on every node for them, about. */
  iptablesRules: number;
  /** Changes of endpoints an hour, averaged over the life of the EndpointSlices. */
  changesPerHour: number;
  /** EndpointSlices whose endpoints changed within the last hour. */
  changedLastHour: number;
}

export interface PolicyDetails {
  /** Kinds with group, for example `NetworkPolicy.networking.k8s.io`, and how many there are. */
  kinds: Record<string, number>;
  namespaces: number;
  namespacesWithPolicy: number;
  /** Policies with rules on HTTP, DNS names or the like. */
  layer7: number;
}

/** A budget that lets no pod go. */
export interface BudgetConcern {
  /** namespace/name of the PodDisruptionBudget. */
  name: string;
  /** never: by its own words; now: until its pods are healthy; failed: its controller cannot tell. */
  allows: "never" | "now" | "failed";
  /** In words, with its numbers. */
  reason: string;
  pods: number;
}

export interface WebhookDetails {
  /** Configuration and webhook, as in the inventory's `webhooks`. */
  name: string;
  webhook: string;
  /** Ready addresses of its Service; undefined when it is no Service of the cluster, or not known. */
  readyEndpoints?: number;
  serviceExists: boolean;
  /** Leaves our namespace alone by its namespaceSelector. */
  sparesKubeSystem: boolean;
}

export interface PodDetails {
  /** Being deleted for longer than their grace and five minutes. */
  stuck: Sample;
  /** That ask not to be evicted by autoscalers. */
  doNotEvict: Sample;
  /** On the hosts' network, with ports that the agent needs. */
  portConflicts: { object: string; port: number }[];
  /** Sidecar proxies by name, for example istio-proxy. */
  sidecars: Record<string, number>;
  bandwidthLimits: Sample;
  severalNetworks: Sample;
  virtualMachines: Sample;
  nodeLocalDns: boolean;
  autoscalers: string[];
  pending: Sample;
}

export interface InventoryDetails {
  gaps: Gap[];
  nodes: NodeDetails[];
  network: NetworkDetails;
  services: ServiceDetails;
  policies: PolicyDetails;
  budgets: BudgetConcern[];
  webhooks: WebhookDetails[];
  pods: PodDetails;
}

const sampleSize = 50;

export const emptySample = (): Sample => ({ count: 0, first: [] });

/** Counts one more, and names it while there is room. */
export function addSample(sample: Sample, name: string): void {
  sample.count += 1;
  if (sample.first.length < sampleSize) sample.first.push(name);
}
