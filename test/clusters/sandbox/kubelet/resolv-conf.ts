// SPDX-License-Identifier: Apache-2.0
import type { DnsConfig } from "./cri-messages.ts";
import { isHostNetwork, type Pod } from "./pod.ts";

/** Reads the lines of a resolv.conf that matter to a pod. */
export function parseResolvConf(text: string): DnsConfig {
  const config: DnsConfig = { servers: [], searches: [], options: [] };
  for (const line of text.split("\n")) {
    const [keyword, ...words] = line
      .replace(/[#;].*$/, "")
      .trim()
      .split(/\s+/);
    if (keyword === "nameserver" && words[0] !== undefined) config.servers.push(words[0]);
    if (keyword === "search") config.searches = words.filter((word) => word !== ".");
    if (keyword === "options") config.options = words;
  }
  return config;
}

/** What a pod's /etc/resolv.conf says, by its dnsPolicy and dnsConfig. */
export function podDns(pod: Pod, host: DnsConfig, cluster: { servers: string[]; domain: string }): DnsConfig {
  const policy: string = pod.spec.dnsPolicy ?? "ClusterFirst";
  const usesCluster =
    cluster.servers.length > 0 &&
    (policy === "ClusterFirstWithHostNet" || (policy === "ClusterFirst" && !isHostNetwork(pod)));
  let dns: DnsConfig = { servers: [], searches: [], options: [] };
  if (usesCluster) {
    const { domain } = cluster;
    const own = [`${pod.metadata.namespace}.svc.${domain}`, `svc.${domain}`, domain];
    dns = { servers: cluster.servers, searches: unique([...own, ...host.searches]), options: ["ndots:5"] };
  } else if (policy !== "None") dns = host;
  return mergeDns(dns, pod.spec.dnsConfig);
}

function mergeDns(dns: DnsConfig, extra: any): DnsConfig {
  if (extra === undefined) return dns;
  const options = new Map(dns.options.map((option) => [option.split(":")[0] ?? option, option]));
  for (const { name, value } of extra.options ?? [])
    options.set(name, value === undefined || value === "" ? name : `${name}:${value}`);
  return {
    servers: unique([...dns.servers, ...(extra.nameservers ?? [])]),
    searches: unique([...dns.searches, ...(extra.searches ?? [])]),
    options: [...options.values()],
  };
}

const unique = (items: string[]): string[] => [...new Set(items)];
