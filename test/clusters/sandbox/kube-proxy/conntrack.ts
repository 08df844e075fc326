// SPDX-License-Identifier: Apache-2.0
import type { Family } from "../../../../lib/addresses.ts";
import { run } from "../../../../lib/run.ts";
import type { PortPlan, ProxyNode } from "./port-plan.ts";

/** One tracked UDP connection: where its client sent to, and who answers. */
export interface UdpFlow {
  source: string;
  sourcePort: number;
  destination: string;
  destinationPort: number;
  answerer: string;
  answererPort: number;
}

/**
 * Forgets UDP connections to endpoints that are gone, and those to a Service that began before it had any: a
 * client that keeps its port would else be sent there for as long as it goes on.
 */
export async function forgetStaleUdp(
  plans: readonly PortPlan[],
  family: Family,
  node: ProxyNode,
): Promise<number> {
  if (!plans.some(({ port }) => port.protocol === "udp")) return 0;
  const args = ["-p", "udp", "-f", family];
  const { stdout } = await run("conntrack", ["-L", ...args], { allowFailure: true });
  const stale = staleFlows(parseFlows(stdout), plans, node);
  // One call for all clients of an endpoint that is gone. An entry that has ended meanwhile is no failure.
  const filters = new Set(
    stale.map(
      ({ destination, destinationPort, answerer }) =>
        `--orig-dst ${destination} --orig-port-dst ${destinationPort} --reply-src ${answerer}`,
    ),
  );
  for (const filter of filters)
    await run("conntrack", ["-D", ...args, ...filter.split(" ")], { allowFailure: true });
  return stale.length;
}

/** Reads `conntrack -L -p udp`. */
export function parseFlows(text: string): UdpFlow[] {
  const tuple = /src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)/g;
  return text.split("\n").flatMap((line): UdpFlow[] => {
    const [original, reply] = [...line.matchAll(tuple)];
    if (original === undefined || reply === undefined) return [];
    return [
      {
        source: original[1]!,
        sourcePort: Number(original[3]),
        destination: original[2]!,
        destinationPort: Number(original[4]),
        answerer: reply[1]!,
        answererPort: Number(reply[3]),
      },
    ];
  });
}

/** The flows to a Service that lead to none of its endpoints. */
export function staleFlows(
  flows: readonly UdpFlow[],
  plans: readonly PortPlan[],
  node: ProxyNode,
): UdpFlow[] {
  const answerers = new Map<string, Set<string>>();
  for (const { port, endpoints } of plans) {
    if (port.protocol !== "udp") continue;
    // One that terminates but still serves keeps its clients.
    const serving = endpoints.filter(({ isServing }) => isServing);
    const targets = new Set(serving.map(({ address, port: number }) => `${address} ${number}`));
    for (const address of [port.clusterIP, ...port.externalIPs, ...port.loadBalancerIPs])
      answerers.set(`${address} ${port.port}`, targets);
    if (port.nodePort !== 0)
      for (const address of node.addresses) answerers.set(`${address} ${port.nodePort}`, targets);
  }
  return flows.filter((flow) => {
    const targets = answerers.get(`${flow.destination} ${flow.destinationPort}`);
    return targets !== undefined && !targets.has(`${flow.answerer} ${flow.answererPort}`);
  });
}
