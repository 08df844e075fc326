// SPDX-License-Identifier: Apache-2.0
import { emptySample, type InventoryDetails, type PodDetails, type ServiceDetails } from "./details.ts";

export const emptyPodDetails = (): PodDetails => ({
  stuck: emptySample(),
  doNotEvict: emptySample(),
  portConflicts: [],
  sidecars: {},
  bandwidthLimits: emptySample(),
  severalNetworks: emptySample(),
  virtualMachines: emptySample(),
  nodeLocalDns: false,
  autoscalers: [],
  pending: emptySample(),
});

export const emptyServiceDetails = (): ServiceDetails => ({
  ports: 0,
  nodePorts: 0,
  externalTrafficLocal: 0,
  internalTrafficLocal: 0,
  sessionAffinity: 0,
  externalName: 0,
  withoutSelector: 0,
  topologyAware: 0,
  healthCheckNodePorts: 0,
  dualStack: 0,
  sctp: emptySample(),
  sourceRanges: emptySample(),
  otherProxy: emptySample(),
  loadBalancerClasses: {},
  readyEndpoints: 0,
  largest: { service: "", endpoints: 0 },
  iptablesRules: 0,
  changesPerHour: 0,
  changedLastHour: 0,
});

/** For an inventory that was not read from a cluster: nothing is known beyond it. */
export const emptyDetails = (): InventoryDetails => ({
  gaps: [],
  nodes: [],
  network: {
    platformEvidence: "",
    evidence: "",
    ipam: "unknown",
    ebpf: false,
    servesServices: false,
    plugins: [],
    beside: [],
    reconciledBy: "",
    kubeProxyReconciledBy: "",
    foreignBlocks: emptySample(),
    bgpPeers: 0,
    announcesServices: false,
    strictRpFilter: emptySample(),
    rpFilterKnown: 0,
    uplinkMtus: [],
    serviceCIDRsEstimated: false,
  },
  services: emptyServiceDetails(),
  policies: { kinds: {}, namespaces: 0, namespacesWithPolicy: 0, layer7: 0 },
  budgets: [],
  webhooks: [],
  pods: emptyPodDetails(),
});
