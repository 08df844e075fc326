// SPDX-License-Identifier: Apache-2.0
// By what the parts of a node are known that a pod network or kube-proxy leaves.
import type { NetworkKind } from "../model/inventory.ts";
import type { SavedRule } from "./iptables-save.ts";

/** What belongs to one network, or to kube-proxy. */
export interface Owner {
  name: string;
  isChain(name: string): boolean;
  /** Rules of its own in chains of others, beside jumps to its chains. */
  isRule(rule: SavedRule): boolean;
  isNftTable(name: string): boolean;
  isIpset(name: string): boolean;
  isDevice(name: string): boolean;
  /** Files and folders of its state. */
  paths: string[];
  /** Plugins that it brings itself; the stock ones are everybody's. */
  binaries: string[];
  /** Types of plugins by which a CNI configuration is its own. */
  pluginTypes: string[];
  /** Names by which CNI configuration files are its own. */
  confFiles: RegExp | undefined;
}

const nothing = {
  isChain: () => false,
  isRule: () => false,
  isNftTable: () => false,
  isIpset: () => false,
  isDevice: () => false,
  paths: [],
  binaries: [],
  pluginTypes: [],
  confFiles: undefined,
};

const matches =
  (pattern: RegExp) =>
  (text: string): boolean =>
    pattern.test(text);
const commented =
  (pattern: RegExp) =>
  (rule: SavedRule): boolean =>
    rule.comments.some((comment) => pattern.test(comment));

const flannel: Owner = {
  ...nothing,
  name: "flannel",
  isChain: matches(/^FLANNEL-/),
  isRule: commented(/^flanneld (masq|forward)$/),
  isNftTable: matches(/^flannel-ipv[46]$/),
  isDevice: matches(/^flannel(-v6)?\.\d+$|^flannel-wg(-v6)?$/),
  paths: ["/run/flannel", "/var/lib/cni/flannel"],
  binaries: ["flannel"],
  pluginTypes: ["flannel"],
  confFiles: /^\d+-flannel\.conf(list)?$/,
};

const calico: Owner = {
  ...nothing,
  name: "calico",
  isChain: matches(/^cali-/),
  isRule: commented(/^cali:/),
  isNftTable: matches(/^calico$/),
  isIpset: matches(/^cali[46]/),
  isDevice: matches(/^(vxlan(-v6)?\.calico|wireguard\.cali|wg-v6\.cali|tunl0)$/),
  paths: ["/var/lib/calico", "/run/calico", "/var/log/calico"],
  binaries: ["calico", "calico-ipam"],
  pluginTypes: ["calico"],
  confFiles: /^\d+-calico\.conf(list)?$|^calico-kubeconfig$/,
};

const kindnet: Owner = {
  ...nothing,
  name: "kindnet",
  isChain: matches(/^KIND-MASQ-AGENT$/),
  isNftTable: matches(/^kindnet(-.*)?$|^kube-network-policies$/),
  paths: ["/run/cni-ipam-state"],
  confFiles: /^\d+-kindnet\.conf(list)?$/,
};

const bridge: Owner = { ...nothing, name: "bridge", pluginTypes: ["bridge"] };

/** The kubelet makes KUBE-FIREWALL, KUBE-KUBELET-CANARY and KUBE-IPTABLES-HINT itself; they stay. */
const kubeletChains = new Set([
  "KUBE-FIREWALL",
  "KUBE-KUBELET-CANARY",
  "KUBE-IPTABLES-HINT",
  "KUBE-MARK-DROP",
]);

/** kube-proxy in any mode. */
export const kubeProxyOwner: Owner = {
  ...nothing,
  name: "kube-proxy",
  isChain: (name) => name.startsWith("KUBE-") && !kubeletChains.has(name),
  isNftTable: matches(/^kube-proxy$/),
  isIpset: matches(/^KUBE-/),
  isDevice: matches(/^kube-ipvs0$/),
};

/** Who left what, for a pod network; several for Canal. */
export function networkOwners(kind: NetworkKind): Owner[] {
  switch (kind) {
    case "flannel":
      return [flannel];
    case "calico":
      return [calico];
    case "canal":
      return [calico, flannel];
    case "kindnet":
      return [kindnet];
    case "bridge":
      return [bridge];
    default:
      return [];
  }
}
