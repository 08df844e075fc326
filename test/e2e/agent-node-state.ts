// SPDX-License-Identifier: Apache-2.0
import { nodeExec } from "../clusters/index.ts";

/** Maps whose entries come and go with pods, or with Services and their backends. */
const countedMaps = ["sh_endpoints", "sh_ipcache", "sh_services", "sh_backends"];

/** Everything that a node keeps for its pods, in numbers. */
interface PodResources {
  links: number;
  pins: number;
  endpoints: number;
  endpointFiles: number;
  /** Pod addresses that are taken, by pod CIDR. */
  addresses: Record<string, number>;
  /** Entries of the pinned BPF maps, by name. */
  mapEntries: Record<string, number>;
}

/** Lines of iptables-save that say nothing of Shunt: comments, tables, built-in chains, what Kubernetes adds. */
const notOurs = "^#|^[*]|^COMMIT|^:(INPUT|OUTPUT|FORWARD|PREROUTING|POSTROUTING) |KUBE-";

async function lines(cluster: string, node: string, script: string): Promise<string[]> {
  const { stdout } = await nodeExec(cluster, node, ["sh", "-c", `{ ${script}; } || true`]);
  return stdout
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
}

/** What the agent could leave on a node. */
export async function agentTraces(cluster: string, node: string): Promise<string[]> {
  const look = async (title: string, script: string) =>
    (await lines(cluster, node, script)).map((line) => `${title}: ${line}`);
  const found = await Promise.all([
    look("link", "ip -o link | grep -E 'shunt|shv' || true"),
    look("route", "ip route; ip -6 route | grep -vE 'fe80|^fd30' || true"),
    look("sysctl", "sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding"),
    look("rule", "ip rule; ip -6 rule"),
    // A kube-proxy that was brought back has its own chains, in tables that were not there before.
    look("netfilter", `iptables-save 2>/dev/null | grep -vE '${notOurs}' || true`),
    look("cni", "find /etc/cni/net.d /opt/cni/bin -name '*shunt*' 2>/dev/null"),
    look("pin", "find /sys/fs/bpf -mindepth 1 2>/dev/null"),
    look("state", "find /var/run/shunt -mindepth 1 2>/dev/null"),
    look(
      "tc",
      "for d in $(ls /sys/class/net); do tc filter show dev $d ingress; tc filter show dev $d egress; done 2>/dev/null",
    ),
    look(
      "cgroup",
      "bpftool cgroup tree /sys/fs/cgroup/unified 2>/dev/null | grep -E 'cgroup_inet|sock' || bpftool cgroup show /sys/fs/cgroup 2>/dev/null | tail -n +2 || true",
    ),
  ]);
  return found.flat().toSorted();
}

/** What the agent of this node says about itself. */
export async function agentStatus(cluster: string, node: string): Promise<any> {
  const { stdout } = await nodeExec(cluster, node, [
    "curl",
    "-sS",
    "--max-time",
    "10",
    "http://127.0.0.1:9879/status",
  ]);
  return JSON.parse(stdout);
}

/** How many host sides of pods' veth pairs a node has. */
async function podLinkCount(cluster: string, node: string): Promise<number> {
  return (await lines(cluster, node, "ip -o link | grep shv")).length;
}

async function mapEntryCount(cluster: string, node: string, map: string): Promise<number> {
  // The folder is named after the maps' layout; there is one.
  const dump = `bpftool -j map dump pinned /sys/fs/bpf/shunt/v*/maps/${map}`;
  return JSON.parse((await nodeExec(cluster, node, ["sh", "-c", dump])).stdout).length;
}

/** Counts what the node keeps for its pods: in the kernel as bpftool sees it, on disk and in the agent. */
export async function podResources(cluster: string, node: string): Promise<PodResources> {
  const status = await agentStatus(cluster, node);
  const mapEntries: [string, number][] = [];
  for (const map of countedMaps) mapEntries.push([map, await mapEntryCount(cluster, node, map)]);
  return {
    links: await podLinkCount(cluster, node),
    pins: (await lines(cluster, node, "find /sys/fs/bpf/shunt")).length,
    endpoints: status.endpoints.length,
    endpointFiles: (await lines(cluster, node, "ls /var/run/shunt/endpoints")).length,
    addresses: Object.fromEntries(status.pools.map((pool: any) => [pool.cidr, pool.taken])),
    mapEntries: Object.fromEntries(mapEntries),
  };
}

/** MiB of memory that the agent has resident, by its own metrics. */
export async function agentMemoryMiB(cluster: string, node: string): Promise<number> {
  const url = "http://127.0.0.1:9962/metrics";
  const { stdout } = await nodeExec(cluster, node, ["curl", "-sS", "--max-time", "10", url]);
  return Number(/^shunt_process_resident_memory_bytes (\d+)$/m.exec(stdout)?.[1]) / 2 ** 20;
}
