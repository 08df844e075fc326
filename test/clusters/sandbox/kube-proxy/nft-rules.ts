// SPDX-License-Identifier: Apache-2.0
import type { Endpoint } from "./endpoints.ts";
import type { RuleSettings } from "./iptables-rules.ts";
import { nftChains, nftEndpointNames } from "./names.ts";
import { allowedSources, type PortPlan } from "./port-plan.ts";
import type { ServicePort } from "./service-port.ts";

/** A named set or map of the nftables layout. */
export interface NftSet {
  kind: "set" | "map";
  /** Everything between the braces but its elements. */
  body: string;
  elements: string[];
  /** Filled by packets, so never flushed. */
  isDynamic?: boolean;
}

/** The whole table `kube-proxy` of one family. */
export interface NftTable {
  family: "ip" | "ip6";
  sets: Map<string, NftSet>;
  /** Rules by chain. */
  chains: Map<string, { body: string; rules: string[] }>;
}

const masqueradeComment = "masquerade clusterIP traffic from outside cluster";

/** Lays out the rules as kube-proxy's nftables mode does. */
export function nftRules(plans: readonly PortPlan[], settings: RuleSettings): NftTable {
  const writer = new NftWriter(settings);
  for (const plan of plans) writer.port(plan);
  return writer.table;
}

class NftWriter {
  readonly table: NftTable;
  readonly #settings: RuleSettings;
  readonly #ip: "ip" | "ip6";
  readonly #mark: string;

  constructor(settings: RuleSettings) {
    this.#settings = settings;
    this.#ip = settings.family === "ipv4" ? "ip" : "ip6";
    this.#mark = `0x${(1 << settings.masqueradeBit).toString(16).padStart(8, "0")}`;
    this.table = { family: this.#ip, sets: new Map(), chains: new Map() };
    this.#baseSets();
    this.#baseChains();
  }

  port(plan: PortPlan): void {
    const { port, choice } = plan;
    const chains = nftChains(port.namespace, port.name, port.protocol, port.portName);
    this.#add("cluster-ips", port.clusterIP);
    this.#frontends(plan, chains);
    this.#refusals(plan);
    if (plan.usesCluster) this.#balance(port, chains.service, choice.cluster);
    if (plan.usesLocal) this.#balance(port, chains.local, choice.local);
    if (plan.usesExternal) this.#external(plan, chains);
    if (plan.usesFirewall) {
      const sources = [...new Set(allowedSources(port, this.#settings.node).map(withoutFullPrefix))];
      this.#chain(chains.firewall, `${this.#ip} saddr != { ${sources.join(", ")} } drop`);
    }
    for (const { address, port: number, isLocal } of choice.reachable)
      if (isLocal) this.#add("hairpin-connections", `${address} . ${address} . ${port.protocol} . ${number}`);
  }

  #add(set: string, element: string): void {
    const { elements } = this.table.sets.get(set)!;
    if (!elements.includes(element)) elements.push(element);
  }

  #chain(name: string, ...rules: string[]): void {
    this.table.chains.set(name, { body: "", rules });
  }

  #baseSets(): void {
    const address = this.#ip === "ip" ? "ipv4_addr" : "ipv6_addr";
    const { sets } = this.table;
    const define = (kind: "set" | "map", name: string, type: string, words: string) =>
      sets.set(name, { kind, body: `type ${type}; comment "${words}";`, elements: [] });
    const frontend = `${address} . inet_proto . inet_service : verdict`;
    const port = "inet_proto . inet_service : verdict";
    const connection = `${address} . ${address} . inet_proto . inet_service`;
    define("set", "hairpin-connections", connection, "service hairpin connections");
    define("set", "cluster-ips", address, "Active ClusterIPs");
    define("set", "nodeport-ips", address, "IPs that accept NodePort traffic");
    const refused = "vmap to drop or reject packets to";
    define("map", "no-endpoint-services", frontend, `${refused} services with no endpoints`);
    define("map", "no-endpoint-nodeports", port, `${refused} service nodeports with no endpoints`);
    define("map", "firewall-ips", frontend, "destinations that are subject to LoadBalancerSourceRanges");
    define("map", "service-ips", frontend, "ClusterIP, ExternalIP and LoadBalancer IP traffic");
    define("map", "service-nodeports", port, "NodePort traffic");
    for (const own of this.#settings.node.addresses)
      if (own.includes(":") === (this.#ip === "ip6")) this.#add("nodeport-ips", own);
  }

  #baseChains(): void {
    const ip = this.#ip;
    const hook = (name: string, type: string, at: string, priority: string, ...rules: string[]) =>
      this.table.chains.set(name, { body: `type ${type} hook ${at} priority ${priority};`, rules });
    const fresh = (chain: string) => `ct state new jump ${chain}`;
    hook("filter-prerouting-pre-dnat", "filter", "prerouting", "-110", fresh("firewall-check"));
    hook("filter-output-pre-dnat", "filter", "output", "-110", fresh("firewall-check"));
    const [service, cluster] = [fresh("service-endpoints-check"), fresh("cluster-ips-check")];
    hook("filter-input", "filter", "input", "0", fresh("nodeport-endpoints-check"), service);
    hook("filter-forward", "filter", "forward", "0", service, cluster);
    hook("filter-output", "filter", "output", "0", service, cluster);
    hook("nat-prerouting", "nat", "prerouting", "-100", "jump services");
    hook("nat-output", "nat", "output", "-100", "jump services");
    hook("nat-postrouting", "nat", "postrouting", "100", "jump masquerading");
    const nodePorts = `${ip} daddr @nodeport-ips meta l4proto . th dport vmap`;
    const frontends = `${ip} daddr . meta l4proto . th dport vmap`;
    this.#chain("nodeport-endpoints-check", `${nodePorts} @no-endpoint-nodeports`);
    this.#chain("service-endpoints-check", `${frontends} @no-endpoint-services`);
    this.#chain("firewall-check", `${frontends} @firewall-ips`);
    const { clusterCidr, masqueradeAll } = this.#settings;
    const from = masqueradeAll ? "" : ` ${ip} saddr != ${clusterCidr}`;
    const masquerade = `${ip} daddr @cluster-ips${from} meta mark set meta mark | ${this.#mark} comment "${masqueradeComment}"`;
    this.#chain(
      "services",
      ...(masqueradeAll || clusterCidr !== undefined ? [masquerade] : []),
      `${frontends} @service-ips`,
      `${nodePorts} @service-nodeports`,
    );
    this.#chain(
      "masquerading",
      `meta mark & ${this.#mark} != 0 meta mark set meta mark ^ ${this.#mark} masquerade fully-random`,
      `ct status dnat ${ip} saddr . ${ip} daddr . meta l4proto . th dport @hairpin-connections masquerade fully-random`,
    );
    this.#chain(
      "cluster-ips-check",
      `${ip} daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"`,
    );
    this.table.chains.set("reject-chain", {
      body: 'comment "helper for @no-endpoint-services / @no-endpoint-nodeports";',
      rules: ["reject"],
    });
  }

  #frontends(plan: PortPlan, chains: ReturnType<typeof nftChains>): void {
    const { port } = plan;
    const key = (address: string) => `${address} . ${port.protocol} . ${port.port}`;
    if (plan.internal === "forward")
      this.#add(
        "service-ips",
        `${key(port.clusterIP)} : goto ${port.internalLocal ? chains.local : chains.service}`,
      );
    if (!plan.usesExternal) return;
    for (const address of [...port.externalIPs, ...port.loadBalancerIPs])
      this.#add("service-ips", `${key(address)} : goto ${chains.external}`);
    if (port.nodePort !== 0)
      this.#add("service-nodeports", `${port.protocol} . ${port.nodePort} : goto ${chains.external}`);
    if (plan.usesFirewall)
      for (const address of port.loadBalancerIPs)
        this.#add("firewall-ips", `${key(address)} : goto ${chains.firewall}`);
  }

  #refusals({ port, internal, external }: PortPlan): void {
    const verdict = { reject: "goto reject-chain", drop: "drop" };
    const refuse = (address: string, how: "reject" | "drop") =>
      this.#add(
        "no-endpoint-services",
        `${address} . ${port.protocol} . ${port.port} comment "${port.fullName}" : ${verdict[how]}`,
      );
    if (internal !== "forward") refuse(port.clusterIP, internal);
    if (external === "forward") return;
    for (const address of [...port.externalIPs, ...port.loadBalancerIPs]) refuse(address, external);
    if (port.nodePort !== 0)
      this.#add(
        "no-endpoint-nodeports",
        `${port.protocol} . ${port.nodePort} comment "${port.fullName}" : ${verdict[external]}`,
      );
  }

  #external({ port, usesLocal }: PortPlan, chains: ReturnType<typeof nftChains>): void {
    const mark = (words: string) => `meta mark set meta mark | ${this.#mark} comment "${words}"`;
    if (!port.externalLocal) {
      this.#chain(chains.external, mark("masquerade"), `goto ${chains.service}`);
      return;
    }
    const { clusterCidr } = this.#settings;
    this.#chain(
      chains.external,
      ...(clusterCidr === undefined
        ? []
        : [`${this.#ip} saddr ${clusterCidr} goto ${chains.service} comment "short-circuit pod traffic"`]),
      `fib saddr type local ${mark("masquerade local traffic")}`,
      `fib saddr type local goto ${chains.service} comment "short-circuit local traffic"`,
      ...(usesLocal ? [`goto ${chains.local}`] : []),
    );
  }

  #balance(port: ServicePort, chain: string, endpoints: readonly Endpoint[]): void {
    const spread = `numgen random mod ${endpoints.length}`;
    if (port.affinitySeconds === 0) {
      const map = endpoints.map(({ address, port: number }, index) => `${index} : ${address} . ${number}`);
      const l4 = `meta l4proto ${port.protocol}`;
      this.#chain(chain, `${l4} dnat ${this.#ip} to ${spread} map { ${map.join(", ")} }`);
      return;
    }
    const named = endpoints.map((endpoint) => ({
      endpoint,
      ...nftEndpointNames(port, endpoint.address, endpoint.port),
    }));
    for (const one of named) this.#endpoint(port, one);
    const map = named.map((one, index) => `${index} : goto ${one.chain}`);
    this.#chain(
      chain,
      ...named.map((one) => `${this.#ip} saddr @${one.affinity} goto ${one.chain}`),
      `${spread} vmap { ${map.join(", ")} }`,
    );
  }

  #endpoint(port: ServicePort, one: { endpoint: Endpoint; chain: string; affinity: string }): void {
    const type = this.#ip === "ip" ? "ipv4_addr" : "ipv6_addr";
    this.table.sets.set(one.affinity, {
      kind: "set",
      body: `type ${type}; size 65535; flags dynamic,timeout; timeout ${port.affinitySeconds}s;`,
      elements: [],
      isDynamic: true,
    });
    this.#chain(
      one.chain,
      `update @${one.affinity} { ${this.#ip} saddr }`,
      `meta l4proto ${port.protocol} dnat to ${one.endpoint.target}`,
    );
  }
}

function withoutFullPrefix(cidr: string): string {
  return cidr.replace(cidr.includes(":") ? /\/128$/ : /\/32$/, "");
}
