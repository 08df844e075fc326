// SPDX-License-Identifier: Apache-2.0
import { addressBytes, cidrContains, parseCidr } from "../../lib/addresses.ts";
import type { Host } from "./host.ts";

/** A network device as `ip -details -json address` shows it. */
export interface Link {
  ifname: string;
  mtu: number;
  address?: string;
  master?: string;
  flags?: string[];
  linkinfo?: { info_kind?: string; info_data?: any };
  addr_info?: { family: string; local: string; prefixlen: number; scope: string }[];
  link_type?: string;
}

/** A route as `ip -json route` shows it. */
export interface Route {
  type?: string;
  dst: string;
  gateway?: string;
  dev?: string;
  protocol?: string;
  scope?: string;
  prefsrc?: string;
  metric?: number;
  flags?: string[];
}

/** Protocol number of the routes that Shunt's agent makes. */
const ownProtocol = "83";
const ownDevice = /^(shunt|shv)/;

/** All devices of the network of this process. */
export async function readLinks(host: Host): Promise<Link[]> {
  return parseList((await host.run("ip", ["-details", "-json", "address", "show"])).stdout);
}

/** Routes of the main table. */
export async function readRoutes(host: Host, family: "ipv4" | "ipv6"): Promise<Route[]> {
  const args = [family === "ipv4" ? "-4" : "-6", "-json", "route", "show", "table", "main"];
  return parseList((await host.run("ip", args, { allowFailure: true })).stdout);
}

function parseList(text: string): any[] {
  const list = text.trim() === "" ? [] : JSON.parse(text);
  // Old versions of ip print empty objects for what a filter left out.
  return Array.isArray(list) ? list.filter((entry) => Object.keys(entry).length > 0) : [];
}

/** Whether a pod network made this route: to pods of other nodes, or blackholes for its own blocks. */
export function isNetworkRoute(route: Route, podCidrs: readonly string[]): boolean {
  if (route.dst === "default" || route.protocol === ownProtocol || route.protocol === "kernel") return false;
  if (route.dev !== undefined && ownDevice.test(route.dev)) return false;
  const [address = "", bits = ""] = route.dst.split("/");
  return podCidrs.some((text) => {
    const cidr = parseCidr(text);
    if ((address.includes(":") ? "ipv6" : "ipv4") !== (text.includes(":") ? "ipv6" : "ipv4")) return false;
    const whole = Number(text.split("/")[1]);
    return cidrContains(cidr, addressBytes(address)) && (bits === "" || Number(bits) >= whole);
  });
}

/** The words after `ip route add` or `del` for a route. */
export function routeWords(route: Route): string[] {
  const words = [...(route.type === undefined ? [] : [route.type]), route.dst];
  if (route.gateway !== undefined) words.push("via", route.gateway);
  if (route.dev !== undefined) words.push("dev", route.dev);
  if (route.protocol !== undefined) words.push("proto", route.protocol);
  if (route.scope !== undefined) words.push("scope", route.scope);
  if (route.prefsrc !== undefined) words.push("src", route.prefsrc);
  if (route.metric !== undefined) words.push("metric", String(route.metric));
  if (route.flags?.includes("onlink") === true) words.push("onlink");
  return words;
}
