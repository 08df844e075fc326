// SPDX-License-Identifier: Apache-2.0
import { UsageError } from "../../../lib/errors.ts";

export type IpFamily = "ipv4" | "ipv6" | "dual";
export type NodeRole = "control-plane" | "worker";

/** Pod networks that a cluster can start with, made like those that people migrate from. */
export const cniKinds = ["flannel", "calico", "kindnet", "bridge", "none"] as const;
export type CniKind = (typeof cniKinds)[number];

/** What implements Services from the start. */
export const kubeProxyModes = ["iptables", "nftables", "none"] as const;
export type KubeProxyMode = (typeof kubeProxyModes)[number];

/** What a user says about the cluster that they want. */
export interface SandboxOptions {
  name: string;
  /** Worker nodes beside the control plane. Default 2. */
  workers?: number;
  ipFamily?: IpFamily;
  /** Pod network that it starts with. Default none. */
  cni?: CniKind;
  /** Default: iptables where the assets have a real kube-proxy, else none. */
  kubeProxy?: KubeProxyMode;
  /** kubeconfig file to write; default: merged into $KUBECONFIG or ~/.kube/config. */
  kubeconfig?: string;
  /** Prefix length of a node's IPv4 pod range. Default 24 (254 pods). */
  nodeCidrMaskSizeIpv4?: number;
  /** Environment variables: KUBECONFIG, HOME, KUBEBUILDER_ASSETS. */
  env: Record<string, string | undefined>;
}

export interface NodePlan {
  name: string;
  role: NodeRole;
  /** Its number in the cluster; never given to another node. */
  index: number;
  zone: string;
  /** Uplink addresses, the cluster's first family first. */
  addresses: string[];
  /** Taints that it registers with, as `key=value:Effect`. */
  taints?: string[];
  /** Who asked for it, of nodes that were added later. */
  group?: string;
  /** Added, but not in the cluster yet; made anew when that was cut off. */
  joining?: true;
}

/** Everything that a cluster is made of; kept in its cluster.json. */
export interface ClusterPlan {
  name: string;
  createdAt: string;
  ipFamily: IpFamily;
  cni: CniKind;
  kubeProxy?: KubeProxyMode;
  nodes: NodePlan[];
  /** The highest index that any node ever had. */
  lastIndex: number;
  podCidrs: string[];
  serviceCidrs: string[];
  nodeCidrMaskSizeIpv4: number;
  dnsServiceIp: string;
  /** Port on 127.0.0.1 that leads to the API server; 0 until it is bound. */
  apiPort: number;
  /** File that the kubeconfig was written to. */
  kubeconfig: string;
  /** Folder with real Kubernetes binaries, and which of them it has. */
  assets?: {
    dir: string;
    parts: string[];
    /** Minor version of the kubelet, when the folder has one. */
    kubeletMinor?: number;
  };
}

/** Addresses behind the switch. */
export const outside = {
  gateways: { ipv4: "172.30.0.1", ipv6: "fd30::1" },
  resolvers: { ipv4: "203.0.113.53", ipv6: "2001:db8:53::53" },
  servers: {
    "world.example": ["192.0.2.10", "2001:db8::10"],
    "other.example": ["192.0.2.20", "2001:db8::20"],
    "api.example.com": ["198.51.100.10", "2001:db8:1::10"],
  } as Record<string, string[]>,
};

/** The cluster's families, the first one first. */
export function families(ipFamily: IpFamily): ("ipv4" | "ipv6")[] {
  return ipFamily === "dual" ? ["ipv4", "ipv6"] : [ipFamily];
}

/** More would be too many for one machine. */
export const maxWorkers = 20;

/** Works out names and addresses from what the user said. Throws UsageError. */
export function planCluster(options: SandboxOptions, kubeconfig: string): ClusterPlan {
  const { name, workers = 2, ipFamily = "ipv4", cni = "none", kubeProxy } = options;
  checkName(name);
  if (!Number.isInteger(workers) || workers < 0 || workers > maxWorkers)
    throw new UsageError(`--workers must be a number from 0 to ${maxWorkers}, not ${workers}`);
  if (!["ipv4", "ipv6", "dual"].includes(ipFamily))
    throw new UsageError(`Unknown --ip-family "${ipFamily}"`, "Use ipv4, ipv6 or dual.");
  checkChoice("--cni", cni, cniKinds);
  if (kubeProxy !== undefined) checkChoice("--kube-proxy", kubeProxy, kubeProxyModes);
  if (cni === "calico" && ipFamily !== "ipv4")
    throw new UsageError(`The calico-like network speaks no ${ipFamily}`, "Use --ip-family ipv4.");
  const mask = options.nodeCidrMaskSizeIpv4 ?? 24;
  if (!Number.isInteger(mask) || mask < 17 || mask > 28)
    throw new UsageError(`The node's pod range must be /17 to /28, not /${mask}`);
  const pick = (four: string, six: string) =>
    families(ipFamily).map((family) => (family === "ipv4" ? four : six));
  const nodes = Array.from({ length: workers + 1 }, (_, index) => planNode(name, ipFamily, index));
  return {
    name,
    createdAt: new Date().toISOString(),
    ipFamily,
    cni,
    ...(kubeProxy === undefined ? {} : { kubeProxy }),
    nodes,
    lastIndex: workers,
    podCidrs: pick("10.244.0.0/16", "fd10:244::/56"),
    serviceCidrs: pick("10.96.0.0/16", "fd10:96::/112"),
    nodeCidrMaskSizeIpv4: mask,
    dnsServiceIp: pick("10.96.0.10", "fd10:96::a")[0]!,
    apiPort: 0,
    kubeconfig,
  };
}

/** The node with this number; 0 is the control plane. */
export function planNode(cluster: string, ipFamily: IpFamily, index: number): NodePlan {
  const role = index === 0 ? "control-plane" : "worker";
  const address = (family: string) =>
    family === "ipv4" ? `172.30.0.${index + 2}` : `fd30::${(index + 2).toString(16)}`;
  return {
    name: `${cluster}-${role}${index > 1 ? index : ""}`,
    role,
    index,
    zone: `zone-${"abc"[Math.max(0, index - 1) % 3]}`,
    addresses: families(ipFamily).map(address),
  };
}

function checkChoice(flag: string, value: string, choices: readonly string[]): void {
  if (!choices.includes(value))
    throw new UsageError(`Unknown ${flag} "${value}"`, `Use one of ${choices.join(", ")}.`);
}

/** A cluster's name becomes folder, cgroup and host names. Throws UsageError. */
export function checkName(name: string): void {
  if (!/^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/.test(name))
    throw new UsageError(
      `"${name}" is no name for a cluster`,
      "Use 1 to 40 lower-case letters, digits and hyphens, a letter or digit first and last.",
    );
}

/** The node that runs the control plane. */
export function controlPlane(plan: ClusterPlan): NodePlan {
  return plan.nodes[0]!;
}
