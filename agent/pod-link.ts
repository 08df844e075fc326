// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { hostPrefix } from "../lib/addresses.ts";
import { ShuntError } from "../lib/errors.ts";
import type { Endpoint } from "./endpoint-store.ts";
import { ipBatch, ipJson } from "./ip-command.ts";
import { podDevicePrefix } from "./paths.ts";

/** Names of the device pair of an attachment: the same for every try, so that a second ADD meets the first's. */
export function podLinkNames(
  containerId: string,
  ifName: string,
): { device: string; mac: string; hostMac: string } {
  const hash = createHash("sha256").update(`${containerId}/${ifName}`).digest("hex");
  return {
    device: `${podDevicePrefix}${hash.slice(0, 10)}`,
    mac: macOf(hash.slice(10, 20)),
    hostMac: macOf(hash.slice(20, 30)),
  };
}

/** A locally administered unicast MAC from ten hex digits. */
export function macOf(tenDigits: string): string {
  return `0a:${tenDigits.match(/../g)!.join(":")}`;
}

export function macBytes(mac: string): Uint8Array {
  return Uint8Array.from(mac.split(":").map((part) => Number.parseInt(part, 16)));
}

/**
 * Makes the pair with its pod side born inside the pod's namespace under its final name, brings the host side up
 * and tells the node's stack how it reaches the pod. Returns the host side's interface index.
 *
 * By IPv6 it must be told the node's address too, or a server of the node answers a pod's datagrams from the
 * gateway address, which is nearer. By IPv4 it is the first choice, and a route that names it would go with it.
 */
export async function createPodLink(
  endpoint: Endpoint,
  netns: string,
  nodeIpv6: string | undefined,
): Promise<number> {
  const from = nodeIpv6 === undefined ? "" : ` src ${nodeIpv6}`;
  const { device, mac, hostMac, ifName, mtu, addresses } = endpoint;
  const made = await ipBatch([
    `link add ${device} mtu ${mtu} address ${hostMac} type veth peer name ${ifName} mtu ${mtu} address ${mac} netns ${netns}`,
    // No link-local address: nothing on the node speaks from this device, and 500 pods need no 500 of them.
    `link set ${device} addrgenmode none`,
    `link set ${device} up`,
    ...addresses.flatMap((address) => [
      `neigh replace ${address} lladdr ${mac} dev ${device} nud permanent`,
      `route replace ${hostPrefix(address)} dev ${device}${address.includes(":") ? from : ""}`,
    ]),
    `link show dev ${device}`,
  ]);
  const ifindex = /"ifindex":(\d+)/.exec(made)?.[1];
  if (ifindex === undefined) throw new ShuntError(`Device ${device} was made and is not there`);
  return Number(ifindex);
}

/** Addresses, gateway and default route inside the pod. */
export async function configurePodSide(endpoint: Endpoint, netns: string): Promise<void> {
  const { ifName, hostMac, addresses, gateways } = endpoint;
  const six = addresses.some((address) => address.includes(":"));
  await ipBatch(
    [
      "link set lo up",
      ...addresses.map(
        (address) => `addr add ${hostPrefix(address)} dev ${ifName}${address.includes(":") ? " nodad" : ""}`,
      ),
      ...(six ? [] : [`link set ${ifName} addrgenmode none`]),
      `link set ${ifName} up`,
      ...gateways.flatMap((gateway) => [
        `neigh replace ${gateway} lladdr ${hostMac} dev ${ifName} nud permanent`,
        `route replace ${hostPrefix(gateway)} dev ${ifName}`,
        `route replace default via ${gateway} dev ${ifName}`,
      ]),
    ],
    { netns },
  );
}

/** Deletes the pair, with its routes and neighbours; content when it is gone. */
export async function deletePodLink(device: string): Promise<void> {
  const errors = await ipBatch([`link del ${device}`], { force: true });
  if (errors !== "" && !/Cannot find device|does not exist/.test(errors))
    throw new ShuntError(`Cannot delete device ${device}: ${errors.trim()}`, { code: "DeviceBusy" });
}

/** What CHECK found wrong inside the pod and on the node; empty when all is in place. */
export async function checkPodLink(endpoint: Endpoint, netns: string): Promise<string[]> {
  const problems: string[] = [];
  const [host] = await ipJson(["link", "show", "dev", endpoint.device]);
  if (host === undefined) return [`device ${endpoint.device} is missing on the node`];
  const [pod] = await ipJson(["address", "show", "dev", endpoint.ifName], netns);
  if (pod === undefined) return [`device ${endpoint.ifName} is missing in the pod`];
  if (pod.address !== endpoint.mac) problems.push(`${endpoint.ifName} has MAC ${pod.address}`);
  const present = new Set((pod.addr_info ?? []).map((entry: any) => entry.local));
  for (const address of endpoint.addresses) {
    if (!present.has(address)) problems.push(`${endpoint.ifName} lacks address ${address}`);
    const family = address.includes(":") ? "-6" : "-4";
    const [defaults, routes] = await Promise.all([
      ipJson([family, "route", "show", "default"], netns),
      ipJson([family, "route", "show", address, "dev", endpoint.device]),
    ]);
    if (!defaults.some((route) => route.dev === endpoint.ifName))
      problems.push(`the pod has no default route by ${endpoint.ifName} (${family})`);
    if (routes.length === 0) problems.push(`the node has no route to ${address}`);
  }
  return problems;
}

/** All pod devices of this node: name to interface index. */
export async function listPodDevices(): Promise<Map<string, number>> {
  const links = await ipJson(["link", "show", "type", "veth"]);
  return new Map(
    links
      .filter((link) => link.ifname?.startsWith(podDevicePrefix))
      .map((link) => [link.ifname as string, link.ifindex as number]),
  );
}

/**
 * The path by which this process reaches a namespace that the runtime names `/var/run/netns/x` or `/run/netns/x`;
 * undefined when it is gone. Only these folders (and /proc/PID/ns/net) are taken.
 */
export function visibleNetns(path: string): string | undefined {
  const name = /^(?:\/var)?\/run\/netns\/([\w.-]+)$/.exec(path)?.[1];
  const candidates =
    name !== undefined
      ? [`/run/netns/${name}`]
      : /^\/proc\/\d+\/(task\/\d+\/)?ns\/net$/.test(path)
        ? [path]
        : [];
  return candidates.find((candidate) => existsSync(candidate));
}
