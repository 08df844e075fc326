// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../../lib/kube-object.ts";
import type { ClusterPlan } from "../../plan.ts";

const group = "crd.projectcalico.org";

/** Kind, plural and scope of Calico's resources in the Kubernetes datastore. */
const kinds: [kind: string, plural: string, namespaced?: boolean][] = [
  ["BGPConfiguration", "bgpconfigurations"],
  ["BGPPeer", "bgppeers"],
  ["BlockAffinity", "blockaffinities"],
  ["ClusterInformation", "clusterinformations"],
  ["FelixConfiguration", "felixconfigurations"],
  ["GlobalNetworkPolicy", "globalnetworkpolicies"],
  ["GlobalNetworkSet", "globalnetworksets"],
  ["HostEndpoint", "hostendpoints"],
  ["IPAMBlock", "ipamblocks"],
  ["IPAMConfig", "ipamconfigs"],
  ["IPAMHandle", "ipamhandles"],
  ["IPPool", "ippools"],
  ["IPReservation", "ipreservations"],
  ["KubeControllersConfiguration", "kubecontrollersconfigurations"],
  ["NetworkPolicy", "networkpolicies", true],
  ["NetworkSet", "networksets", true],
];

/** Their definitions. */
export function calicoDefinitions(): KubeObject[] {
  return kinds.map(([kind, plural, namespaced]) => ({
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      names: { kind, listKind: `${kind}List`, plural, singular: kind.toLowerCase() },
      scope: namespaced === true ? "Namespaced" : "Cluster",
      preserveUnknownFields: false,
      versions: [
        {
          name: "v1",
          served: true,
          storage: true,
          schema: {
            openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
          },
        },
      ],
    },
  }));
}

/** What calico-node makes of its environment when it starts first. */
export function calicoResources(plan: ClusterPlan): KubeObject[] {
  const object = (kind: string, name: string, spec: object) => ({
    apiVersion: `${group}/v1`,
    kind,
    metadata: { name },
    spec,
  });
  return [
    object("IPPool", "default-ipv4-ippool", {
      ...{ cidr: plan.podCidrs[0], blockSize: 26, nodeSelector: "all()" },
      ...{ ipipMode: "Never", vxlanMode: "Always", natOutgoing: true },
      allowedUses: ["Workload", "Tunnel"],
    }),
    object("FelixConfiguration", "default", {
      bpfConnectTimeLoadBalancing: "TCP",
      logSeverityScreen: "Info",
    }),
    object("ClusterInformation", "default", {
      ...{ calicoVersion: "v3.29.3", clusterType: "k8s,kdd", datastoreReady: true },
    }),
    object("KubeControllersConfiguration", "default", { controllers: { node: { syncLabels: "Enabled" } } }),
  ];
}
