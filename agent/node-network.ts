// SPDX-License-Identifier: Apache-2.0

import { createHash } from "node:crypto";
import { type Cidr, type Family, hostPrefix } from "../lib/addresses.ts";
import { ipBatch, ipJson } from "./ip-command.ts";
import { overlayDevice } from "./paths.ts";
import { macOf } from "./pod-link.ts";

/** Our routes carry this protocol number, by which they are found again. */
export const routeProtocol = "83";
/** Higher than the kernel's and routing daemons': beside another pod network, its routes win. */
const routeMetric = 8473;
/**
 * Tables that are asked before the main one, where another pod network's routes are: routes for connections of the
 * node itself, and those for whatever passes through it too.
 */
const peerTables = { node: "8473", all: "8474" } as const;
/** Whose packets take a route before another pod network's. */
export type Preference = keyof typeof peerTables;
/** Before cloud networks' rules for single pods (from 512 on), after the local table. */
const rulePriorities = { except: 472, node: 473, all: 474, end: 475 } as const;

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

/**
 * Puts exactly these gateway addresses on the overlay device, or on `lo` without one. There, IPv4 ones get scope
 * "link": netfilter's masquerading of what the node sends to itself takes the first address of `lo` with scope
 * "global" (inet_select_addr in net/ipv4/devinet.c), and a server's datagrams would answer from that.
 */
export async function ensureGateways(device: string, gateways: readonly string[]): Promise<void> {
  const [link] = await ipJson(["address", "show", "dev", device]);
  const present: string[] = (link?.addr_info ?? [])
    .filter((entry: any) => !/^(127\.|::1$|fe80:)/i.test(entry.local))
    .map((entry: any) => entry.local);
  const attributes = (gateway: string) =>
    gateway.includes(":") ? " nodad" : device === overlayDevice ? "" : " scope link";
  const lines = gateways
    .filter((gateway) => !present.includes(gateway))
    .map((gateway) => `addr replace ${hostPrefix(gateway)} dev ${device}${attributes(gateway)}`);
  if (device === overlayDevice)
    lines.push(
      ...present
        .filter((address) => !gateways.includes(address))
        .map((address) => `addr del ${hostPrefix(address)} dev ${device}`),
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
  /** That node's pods are ours, and another network's route leads there as well. */
  preferred?: Preference;
}

/**
 * Makes our routes be exactly these. Returns the errors of routes that the kernel refused. Connections from one of
 * `nodeAddresses` keep the routes that they had: netfilter may have translated them, and ends a masqueraded one whose
 * route changes.
 */
export async function ensureRoutes(
  wanted: readonly WantedRoute[],
  gateways: readonly string[],
  nodeAddresses: readonly string[],
): Promise<string> {
  const sourceOf = (cidr: Cidr) =>
    gateways.find((gateway) => gateway.includes(":") === (cidr.family === "ipv6"));
  const lines = wanted.map((route) => {
    const table = route.preferred === undefined ? "" : ` table ${peerTables[route.preferred]}`;
    const tail = `proto ${routeProtocol} metric ${routeMetric}${table}`;
    if (route.unreachable === true) return `route replace unreachable ${route.cidr.text} ${tail}`;
    const source = sourceOf(route.cidr);
    const from = source === undefined ? "" : ` src ${source}`;
    const hop = route.via === undefined ? "" : ` via ${route.via}`;
    return `route replace ${route.cidr.text}${hop} dev ${route.device}${from} ${tail}`;
  });
  const keep = new Set(wanted.map((route) => routeKey(route.cidr.text, tableOf(route))));
  for (const route of await ownRoutes()) if (!keep.has(route.key)) lines.push(route.deletion);
  return (await ipBatch(lines, { force: true })) + (await ensureRules(wanted, nodeAddresses));
}

const tableOf = ({ preferred }: WantedRoute): string =>
  preferred === undefined ? "main" : peerTables[preferred];
const routeKey = (cidr: string, table: string): string => `${cidr} ${table}`;

/** Our routes of both families and tables: what they are for, and the line that deletes one. */
export async function ownRoutes(): Promise<{ key: string; dst: string; type: string; deletion: string }[]> {
  const found: { key: string; dst: string; type: string; deletion: string }[] = [];
  for (const family of ["-4", "-6"])
    for (const table of ["main", ...Object.values(peerTables)])
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
          key: routeKey(withPrefix(route.dst), table),
          dst: route.dst,
          type,
          deletion: `route del ${type}${route.dst} proto ${routeProtocol} metric ${metric} table ${table}`,
        });
      }
  return found;
}

/** Leaves exactly the rules by which the preferred routes are asked, and none without such routes. */
export async function ensureRules(
  wanted: readonly WantedRoute[],
  nodeAddresses: readonly string[] = [],
): Promise<string> {
  let errors = "";
  for (const family of ["ipv4", "ipv6"] as const) {
    const preferences = new Set(
      wanted.filter((route) => route.cidr.family === family).flatMap(({ preferred }) => preferred ?? []),
    );
    const rules = rulesFor(family, preferences, nodeAddresses);
    const present = (await ipJson([family === "ipv4" ? "-4" : "-6", "rule", "show"]).catch(() => []))
      .filter(isOurs)
      .map(ruleText);
    const lines = rules.filter((rule) => !present.includes(rule)).map((rule) => `rule add ${rule}`);
    // The exceptions go last, so that no packet meets the rule without them.
    const gone = present.filter((rule) => !rules.includes(rule)).reverse();
    lines.push(...gone.map((rule) => `rule del ${rule}`));
    errors += await ipBatch(lines, { force: true, family });
  }
  return errors;
}

function rulesFor(family: Family, preferences: Set<Preference>, nodeAddresses: readonly string[]): string[] {
  if (preferences.size === 0) return [];
  const { except, node, all, end } = rulePriorities;
  const rules = [`priority ${end} nop`];
  if (preferences.has("node")) {
    const sources = nodeAddresses.filter((address) => address.includes(":") === (family === "ipv6"));
    if (family === "ipv4") sources.push("127.0.0.0/8");
    rules.push(...sources.map((source) => `priority ${except} from ${source} iif lo goto ${end}`));
    rules.push(`priority ${node} iif lo lookup ${peerTables.node}`);
  }
  if (preferences.has("all")) rules.push(`priority ${all} lookup ${peerTables.all}`);
  return rules;
}

const isOurs = ({ priority, table, goto, nop }: any): boolean =>
  Object.values<string>(peerTables).includes(String(table)) ||
  (priority === rulePriorities.except && goto === rulePriorities.end) ||
  (priority === rulePriorities.end && nop !== undefined);

/** A rule as iproute2 shows it, in the words by which we add one. */
function ruleText({ priority, src, srclen, iif, table, goto, nop }: any): string {
  const from = src === "all" ? "" : ` from ${src}${srclen === undefined ? "" : `/${srclen}`}`;
  const target = goto !== undefined ? `goto ${goto}` : nop !== undefined ? "nop" : `lookup ${table}`;
  return `priority ${priority}${from}${iif === undefined ? "" : ` iif ${iif}`} ${target}`;
}

const withPrefix = (text: string): string => (text.includes("/") ? text : hostPrefix(text));
