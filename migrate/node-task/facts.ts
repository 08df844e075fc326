// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { request } from "node:http";
import { release } from "node:os";
import path from "node:path";
import { gunzipSync } from "node:zlib";
import type { KubeProxyForm, KubeProxyMode, NodeFacts } from "../model/inventory.ts";
import { confFolder, readConfFiles } from "./cni-files.ts";
import { type FirewallTable, procNet, readFirewall } from "./firewall.ts";
import type { Host } from "./host.ts";
import { type Link, readLinks } from "./links.ts";
import { readNftTables } from "./residue.ts";

/** NodeFacts with what only reports and people look at. */
export interface DetailedFacts extends NodeFacts {
  kernel: string;
  cniNetworks: { file: string; name: string; types: string[] }[];
  /** `net.ipv4.ip_forward` … by name. */
  sysctls: Record<string, string>;
  /** Chains and rules by `iptables-nft nat`. */
  iptables: Record<string, { chains: number; rules: number }>;
  /** `ip kube-proxy` … */
  nftTables: string[];
}

/** Looks at the node; changes nothing. */
export async function gatherNodeFacts(host: Host): Promise<DetailedFacts> {
  const [firewall, nftTables, links] = await Promise.all([
    readFirewall(host),
    readNftTables(host),
    readLinks(host),
  ]);
  const confs = readConfFiles(host);
  const form = findKubeProxy(host);
  const mode = await kubeProxyMode(firewall, nftTables, links);
  const count = Number.parseInt(readSysctl("net.netfilter.nf_conntrack_count") ?? "", 10);
  return {
    kernel: release(),
    cniFiles: confs.map((conf) => path.posix.relative(confFolder, conf.path)),
    cniNetworks: confs.map(({ path: file, name, types }) => ({ file, name, types })),
    devices: links.map(factsOfLink),
    kernelFeatures: kernelFeatures(host),
    ...(form === undefined ? {} : { kubeProxy: { form, mode } }),
    ...(Number.isNaN(count) ? {} : { conntrackEntries: count }),
    sysctls: readSysctls(links),
    iptables: Object.fromEntries(
      firewall.map(({ backend, table, chains, rules }) => [
        `${backend.command} ${table}`,
        { chains: chains.size, rules: rules.length },
      ]),
    ),
    nftTables: nftTables.map(({ family, name }) => `${family} ${name}`),
  };
}

function factsOfLink({
  ifname,
  mtu,
  linkinfo,
  link_type,
  addr_info = [],
}: Link): NodeFacts["devices"][number] {
  return {
    name: ifname,
    mtu,
    kind: linkinfo?.info_kind ?? link_type ?? "",
    addresses: addr_info.map(({ local, prefixlen }) => `${local}/${prefixlen}`),
  };
}

const configFeatures: Record<string, string[]> = {
  bpf: ["BPF_SYSCALL"],
  "bpf-jit": ["BPF_JIT"],
  "cgroup-bpf": ["CGROUP_BPF"],
  "tc-bpf": ["NET_CLS_BPF", "NET_CLS_ACT", "NET_SCH_INGRESS"],
  vxlan: ["VXLAN"],
  veth: ["VETH"],
  kprobes: ["KPROBES", "BPF_EVENTS"],
  "bpf-lsm": ["BPF_LSM"],
};

/** Features by name; those that nothing on the node tells are left out. */
function kernelFeatures(host: Host): Record<string, boolean> {
  const features = featuresOfConfig(readKernelConfig(host));
  const [major = 0, minor = 0] = release().split(".").map(Number);
  features.tcx = major > 6 || (major === 6 && minor >= 6);
  features.btf = existsSync("/sys/kernel/btf/vmlinux");
  const mounts = host.read("/proc/1/mounts") ?? host.read("/proc/mounts");
  if (mounts !== undefined) {
    features.cgroup2 = / cgroup2 /.test(mounts);
    features.bpffs = / \/sys\/fs\/bpf bpf /.test(mounts);
  }
  const lsm = host.read("/sys/kernel/security/lsm");
  if (lsm !== undefined) features["bpf-lsm"] = lsm.split(",").includes("bpf");
  return features;
}

/** Features that a kernel's configuration says; none when it is unknown. */
export function featuresOfConfig(config: string | undefined): Record<string, boolean> {
  if (config === undefined) return {};
  const set = new Set([...config.matchAll(/^CONFIG_(\w+)=[ym]$/gm)].map(([, name]) => name));
  return Object.fromEntries(
    Object.entries(configFeatures).map(([feature, names]) => [feature, names.every((name) => set.has(name))]),
  );
}

function readKernelConfig(host: Host): string | undefined {
  try {
    return gunzipSync(readFileSync("/proc/config.gz")).toString();
  } catch {
    return host.read(`/boot/config-${release()}`);
  }
}

function readSysctl(name: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${name.replaceAll(".", "/")}`, "utf8").trim();
  } catch {
    return undefined;
  }
}

function readSysctls(links: readonly Link[]): Record<string, string> {
  const names = [
    "net.ipv4.ip_forward",
    "net.ipv6.conf.all.forwarding",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.conf.default.rp_filter",
    "net.bridge.bridge-nf-call-iptables",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_count",
    // A device whose name has a dot cannot be spelled this way; those are tunnels, not uplinks.
    ...links
      .filter(({ ifname }) => !ifname.includes(".") && !/^(veth|cali|shv)/.test(ifname))
      .map(({ ifname }) => `net.ipv4.conf.${ifname}.rp_filter`),
  ];
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = readSysctl(name);
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

/** In which form kube-proxy runs here, by its process; undefined when there is none. */
function findKubeProxy(host: Host): KubeProxyForm | undefined {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    const words = readProc(pid, "cmdline").split("\0");
    const form = formOf(words, readProc(pid, "cgroup"));
    if (form !== "daemonset") {
      if (form !== undefined) return form;
      continue;
    }
    const manifests = host.list("/etc/kubernetes/manifests");
    return manifests.some((file) => file.includes("kube-proxy")) ? "static-pod" : "daemonset";
  }
  return undefined;
}

/** What a process says of kube-proxy's form; a static pod looks like a DaemonSet's from here. */
export function formOf(words: readonly string[], cgroup: string): KubeProxyForm | undefined {
  const [program = "", command = ""] = words;
  const name = path.posix.basename(program);
  if ((name === "k3s" || name === "rke2") && /^(server|agent)$/.test(command.trim()))
    return words.some((word) => word.startsWith("--disable-kube-proxy")) ? undefined : "k3s";
  if (name !== "kube-proxy") return undefined;
  return /kubepods/.test(cgroup) ? "daemonset" : "systemd";
}

function readProc(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return ""; // It ended meanwhile.
  }
}

async function kubeProxyMode(
  firewall: readonly FirewallTable[],
  nftTables: readonly { name: string }[],
  links: readonly Link[],
): Promise<KubeProxyMode> {
  const said = await askProxyMode();
  if (said === "iptables" || said === "nftables" || said === "ipvs") return said;
  if (nftTables.some(({ name }) => name === "kube-proxy")) return "nftables";
  if (links.some(({ ifname }) => ifname === "kube-ipvs0") || procNet("ip_vs").split("\n").length > 4)
    return "ipvs";
  return firewall.some(({ chains }) => chains.has("KUBE-SERVICES")) ? "iptables" : "unknown";
}

/** kube-proxy says its mode on its metrics port. */
function askProxyMode(): Promise<string | undefined> {
  return new Promise((resolve) => {
    const asked = request("http://127.0.0.1:10249/proxyMode", { timeout: 1_000 }, (response) => {
      response.setEncoding("utf8");
      let text = "";
      response.on("data", (chunk: string) => {
        text = (text + chunk).slice(0, 100);
      });
      response.on("end", () => resolve(text.trim()));
      response.on("error", () => resolve(undefined));
    });
    asked.on("timeout", () => asked.destroy());
    asked.on("error", () => resolve(undefined));
    asked.end();
  });
}
