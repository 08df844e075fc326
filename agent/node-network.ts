// SPDX-License-Identifier: Apache-2.0

import { createHash } from "node:crypto";
import { addressText, type Cidr, cidrAddress } from "../lib/addresses.ts";
import { ipBatch, ipJson } from "./ip-command.ts";
import { overlayDevice } from "./paths.ts";
import { macOf } from "./pod-link.ts";

/** Our routes carry this protocol number, by which they are found again. */
export const routeProtocol = "83";
/** Higher than the kernel's and routing daemons': beside another pod network, its routes win. */
const routeMetric = 8473;
/** Routes to nodes whose pods are ours, asked before the main table: an old pod network's routes stay there. */
export const peerTable = "8473";
/** Before cloud networks' rules for single pods (from 512 on), after the local table. */
const peerRulePriority = "473";

export const gatewayOf = (cidr: Cidr): string => addressText(cidrAddress(cidr, 1));
const single = (address: string): string => `${address}/${address.includes(":") ? 128 : 32}`;

/** Makes or adopts the VXLAN device and brings it up. Returns its interface index. */
export async function ensureOverlay(options: {
  port: number;
  mtu: number;
  nodeName: string;
}): Promise<number> {
  const { port, mtu } = options;
  let [link] = await ipJson(["link", "show", "dev", overlayDevice]);
  const info = link?.linkinfo;
  if (link !== undefined && (info?.info_kind !== "vxlan" || info.info_data?.port !== port)) {
    await ipBatch([`link del ${overlayDevice}`]);
    link = undefined;
  }
  const lines: string[] = [];
  if (link === undefined) {
    const mac = macOf(createHash("sha256").update(options.nodeName).digest("hex").slice(0, 10));
    lines.push(
      `link add ${overlayDevice} address ${mac} mtu ${mtu} type vxlan external dstport ${port} nolearning`,
      `link set ${overlayDevice} arp off addrgenmode none`,
    );
  } else if (link.mtu !== mtu) lines.push(`link set ${overlayDevice} mtu ${mtu}`);
  if (!link?.flags?.includes("UP")) lines.push(`link set ${overlayDevice} up`);
  await ipBatch(lines);
  if (link === undefined) [link] = await ipJson(["link", "show", "dev", overlayDevice]);
  return link.ifindex;
}

/** Puts exactly these gateway addresses on the overlay device, or on `lo` without one. */
export async function ensureGateways(device: string, gateways: readonly string[]): Promise<void> {
  const [link] = await ipJson(["address", "show", "dev", device]);
  const present: string[] = (link?.addr_info ?? [])
    .filter((entry: any) => entry.scope === "global")
    .map((entry: any) => entry.local);
  const lines = gateways
    .filter((gateway) => !present.includes(gateway))
    .map(
      (gateway) => `addr replace ${single(gateway)} dev ${device}${gateway.includes(":") ? " nodad" : ""}`,
    );
  if (device === overlayDevice)
    lines.push(
      ...present
        .filter((address) => !gateways.includes(address))
        .map((address) => `addr del ${single(address)} dev ${device}`),
    );
  await ipBatch(lines);
}

export interface WantedRoute {
  cidr: Cidr;
  /** Next hop for direct routing; undefined means into the overlay. */
  via?: string;
  device: string;
  /** This node's own range: what no pod has is answered with "unreachable". */
  unreachable?: boolean;
  /** Wins over every other route: that node's pods are ours. */
  preferred?: boolean;
}

/** Makes our routes be exactly these. Returns the errors of routes that the kernel refused. */
export async function ensureRoutes(
  wanted: readonly WantedRoute[],
  gateways: readonly string[],
): Promise<string> {
  const sourceOf = (cidr: Cidr) =>
    gateways.find((gateway) => gateway.includes(":") === (cidr.family === "ipv6"));
  const lines = wanted.map((route) => {
    const table = route.preferred === true ? ` table ${peerTable}` : "";
    const tail = `proto ${routeProtocol} metric ${routeMetric}${table}`;
    if (route.unreachable === true) return `route replace unreachable ${route.cidr.text} ${tail}`;
    const source = sourceOf(route.cidr);
    const from = source === undefined ? "" : ` src ${source}`;
    const hop = route.via === undefined ? "" : ` via ${route.via}`;
    return `route replace ${route.cidr.text}${hop} dev ${route.device}${from} ${tail}`;
  });
  const keep = new Set(wanted.map((route) => routeKey(route.cidr.text, route.preferred === true)));
  for (const route of await ownRoutes()) if (!keep.has(route.key)) lines.push(route.deletion);
  return (await ipBatch(lines, { force: true })) + (await ensureRules(wanted));
}

const routeKey = (cidr: string, preferred: boolean): string => `${cidr} ${preferred}`;

/** Our routes of both families and tables: what they are for, and the line that deletes one. */
export async function ownRoutes(): Promise<{ key: string; dst: string; type: string; deletion: string }[]> {
  const found: { key: string; dst: string; type: string; deletion: string }[] = [];
  for (const family of ["-4", "-6"])
    for (const table of ["main", peerTable])
      for (const route of await ipJson([
        family,
        "route",
        "show",
        "table",
        table,
        "proto",
        routeProtocol,
      ]).catch(
        () => [], // no such table yet
      )) {
        const type = route.type === "unreachable" ? "unreachable " : "";
        const metric = route.metric ?? 0;
        found.push({
          key: routeKey(withPrefix(route.dst), table === peerTable),
          dst: route.dst,
          type,
          deletion: `route del ${type}${route.dst} proto ${routeProtocol} metric ${metric} table ${table}`,
        });
      }
  return found;
}

/** Leaves the rule for the table of preferred routes where one is wanted, and only there. */
export async function ensureRules(wanted: readonly WantedRoute[]): Promise<string> {
  let errors = "";
  for (const family of ["ipv4", "ipv6"] as const) {
    const rules = await ipJson([family === "ipv4" ? "-4" : "-6", "rule", "show"]).catch(() => []);
    const present = rules.filter((rule) => String(rule.table) === peerTable).length;
    const needed = wanted.some((route) => route.preferred === true && route.cidr.family === family);
    const line = (verb: string) => `rule ${verb} priority ${peerRulePriority} lookup ${peerTable}`;
    const lines = needed && present === 0 ? [line("add")] : [];
    for (let extra = needed ? 1 : 0; extra < present; extra++) lines.push(line("del"));
    errors += await ipBatch(lines, { force: true, family });
  }
  return errors;
}

const withPrefix = (text: string): string => (text.includes("/") ? text : single(text));
