// SPDX-License-Identifier: Apache-2.0
// The CNI plugin against the stock `bridge` with `host-local`, as a container runtime calls them, on a node whose
// network, mounts and cgroup are its own. This part runs on the machine; bin/ starts the node's part inside.
import { run } from "../../lib/run.ts";
import { withOwnCgroup } from "../clusters/own-cgroup.ts";
import type { BenchContext, BenchResult } from "./bench.ts";

/** A fresh pair of namespaces that looks like a node; nothing done here is seen outside. */
const nodeSetup = `
set -e
mount -t tmpfs tmpfs /run; mkdir -p /run/netns /run/cgroup /run/lib; mount --bind /run/netns /run/netns; mount --make-shared /run/netns
mkdir -p /etc/cni /opt/cni /var/lib/cni; for folder in /etc/cni /opt/cni /var/lib/cni; do mount -t tmpfs tmpfs $folder; done
mount --bind "$SHUNT_BENCH_CGROUP" /run/cgroup
mount -t sysfs sysfs /sys; mount -t bpf bpf /sys/fs/bpf
sysctl -qw net.ipv4.ip_forward=1
ip link set lo up; ip netns add world; ip link add eth0 type veth peer name eth0 netns world
ip addr add 172.31.0.2/24 dev eth0; ip link set eth0 up
ip -n world link set eth0 up; ip -n world addr add 172.31.0.1/24 dev eth0; ip route add default via 172.31.0.1
exec "$@"`;

/** Times of ADD and DEL, interleaved, as ratios to the stock plugins. */
export async function cni(context: BenchContext): Promise<BenchResult> {
  context.progress(`cni: ${context.rounds} rounds, on a node of namespaces`);
  return await withOwnCgroup("shunt-bench-", async (cgroup) => {
    const words = ["-n", "-m", "--propagation", "private", "sh", "-c", nodeSetup, "sh"];
    const result = await run("unshare", [...words, ...context.parts.cniNode, String(context.rounds)], {
      env: { SHUNT_BENCH_CGROUP: cgroup },
      timeoutMs: 120_000 + context.rounds * 10_000,
    });
    return JSON.parse(result.stdout);
  });
}
