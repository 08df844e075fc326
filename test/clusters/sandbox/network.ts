// SPDX-License-Identifier: Apache-2.0
import { run } from "../../../lib/run.ts";
import { type ClusterPlan, families, type NodePlan, outside } from "./plan.ts";

/** Commands (`ip -batch`) that make the switch: a bridge, and the world's addresses behind it. */
export function switchCommands(): string[] {
  const world = [...Object.values(outside.servers).flat(), ...Object.values(outside.resolvers)];
  return [
    "link set lo up",
    "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
    "link set br0 up",
    ...["ipv4", "ipv6"].map((family) => addressCommand(outside.gateways[family as "ipv4"], "br0")),
    ...world.map((address) => `address add ${address}/${address.includes(":") ? 128 : 32} dev lo`),
  ];
}

function addressCommand(address: string, device: string): string {
  return address.includes(":")
    ? `address add ${address}/64 dev ${device} nodad`
    : `address add ${address}/24 dev ${device}`;
}

/** Commands, run in the switch, that give a node its uplink. The machine's namespace never sees the pair. */
export function plugCommands(index: number, nodePid: number): string[] {
  const port = `node${index}`;
  return [
    `link add ${port} type veth peer name eth0 netns ${nodePid}`,
    `link set ${port} master br0`,
    `link set ${port} up`,
  ];
}

/** Commands, run in the node, that configure its uplink. */
export function uplinkCommands(plan: ClusterPlan, node: NodePlan): string[] {
  return [
    ...node.addresses.map((address) => addressCommand(address, "eth0")),
    "link set eth0 up",
    ...families(plan.ipFamily).map((family) => `route add default via ${outside.gateways[family]} dev eth0`),
  ];
}

async function ipBatch(pid: number, commands: readonly string[], signal?: AbortSignal): Promise<void> {
  await run("nsenter", [`--net=/proc/${pid}/ns/net`, "ip", "-batch", "-"], {
    input: `${commands.join("\n")}\n`,
    timeoutMs: 10_000,
    ...(signal === undefined ? {} : { signal }),
  });
}

/** Plugs the node into the switch. */
export async function connectNode(
  plan: ClusterPlan,
  node: NodePlan,
  pids: { node: number; switch: number },
  signal?: AbortSignal,
): Promise<void> {
  await ipBatch(pids.switch, plugCommands(node.index, pids.node), signal);
  const settings = [
    "net.ipv4.ip_forward=1",
    "net.ipv6.conf.all.forwarding=1",
    "net.ipv6.conf.default.accept_dad=0",
  ];
  await run("nsenter", [`--net=/proc/${pids.node}/ns/net`, "sysctl", "-qw", ...settings], {
    timeoutMs: 10_000,
  });
  await ipBatch(pids.node, uplinkCommands(plan, node), signal);
}
