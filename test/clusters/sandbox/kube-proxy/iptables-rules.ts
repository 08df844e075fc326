// SPDX-License-Identifier: Apache-2.0
import type { Family } from "../../../../lib/addresses.ts";
import type { Endpoint } from "./endpoints.ts";
import { iptablesChains, iptablesEndpointChain } from "./names.ts";
import { allowedSources, type PortPlan, type ProxyNode } from "./port-plan.ts";
import type { ServicePort } from "./service-port.ts";

/** What the rules depend on beside the Services. */
export interface RuleSettings {
  family: Family;
  node: ProxyNode;
  /** Pod range; undefined: nothing is known of where traffic comes from. */
  clusterCidr: string | undefined;
  masqueradeAll: boolean;
  masqueradeBit: number;
  localhostNodePorts: boolean;
}

/** The chains and rules of one table, in order. */
export interface TableRules {
  chains: string[];
  rules: string[];
}

/** Both tables of the iptables layout. */
export interface IptablesRules {
  filter: TableRules;
  nat: TableRules;
}

const comment = (text: string) => `-m comment --comment "${text}"`;
const bits = (family: Family) => (family === "ipv4" ? 32 : 128);

/** Chains that are there with no Service at all. */
export const fixedChains = {
  filter: [
    "KUBE-SERVICES",
    "KUBE-EXTERNAL-SERVICES",
    "KUBE-FORWARD",
    "KUBE-NODEPORTS",
    "KUBE-PROXY-FIREWALL",
    "KUBE-FIREWALL",
  ],
  nat: ["KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ"],
};

/** Writes every rule of the iptables layout, as kube-proxy lays it out. */
export function iptablesRules(plans: readonly PortPlan[], settings: RuleSettings): IptablesRules {
  const writer = new RuleWriter(settings);
  for (const plan of plans) writer.port(plan);
  return writer.finish();
}

class RuleWriter {
  readonly #settings: RuleSettings;
  readonly #filter: TableRules = { chains: [...fixedChains.filter], rules: [] };
  readonly #nat: TableRules = { chains: [...fixedChains.nat], rules: [] };

  constructor(settings: RuleSettings) {
    this.#settings = settings;
    const mark = `0x${(1 << settings.masqueradeBit).toString(16)}`;
    this.#nat.rules.push(
      `-A KUBE-POSTROUTING -m mark ! --mark ${mark}/${mark} -j RETURN`,
      `-A KUBE-POSTROUTING -j MARK --xor-mark ${mark}`,
      `-A KUBE-POSTROUTING ${comment("kubernetes service traffic requiring SNAT")} -j MASQUERADE --random-fully`,
      `-A KUBE-MARK-MASQ -j MARK --or-mark ${mark}`,
    );
    if (settings.family === "ipv4" && settings.localhostNodePorts)
      this.#filter.rules.push(
        `-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 ${comment("block incoming localnet connections")} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP`,
      );
    this.#filter.rules.push(
      "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP",
      `-A KUBE-FORWARD ${comment("kubernetes forwarding rules")} -m mark --mark ${mark}/${mark} -j ACCEPT`,
      `-A KUBE-FORWARD ${comment("kubernetes forwarding conntrack rule")} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
    );
  }

  port(plan: PortPlan): void {
    const { port } = plan;
    const chains = iptablesChains(port.fullName, port.protocol);
    this.#frontends(plan, chains);
    this.#refusals(plan);
    if (plan.internal === "forward")
      this.#masqueradeClusterIp(port, port.internalLocal ? chains.local : chains.service);
    if (plan.usesExternal) this.#external(plan, chains);
    if (plan.usesFirewall) this.#sourceRanges(port, chains);
    if (plan.usesCluster) this.#balance(port, chains.service, plan.choice.cluster);
    if (plan.usesLocal) this.#balance(port, chains.local, plan.choice.local);
    for (const endpoint of plan.choice.reachable) this.#endpoint(port, endpoint);
  }

  finish(): IptablesRules {
    const { family, localhostNodePorts } = this.#settings;
    const not = family === "ipv6" ? "! -d ::1/128 " : localhostNodePorts ? "" : "! -d 127.0.0.0/8 ";
    this.#nat.rules.push(
      `-A KUBE-SERVICES ${not}${comment("kubernetes service nodeports; NOTE: this must be the last rule in this chain")} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS`,
    );
    return { filter: this.#filter, nat: this.#nat };
  }

  #to(address: string, port: ServicePort, what: string): string {
    const { protocol } = port;
    return `${comment(`${port.fullName} ${what}`)} -m ${protocol} -p ${protocol} -d ${address}/${bits(this.#settings.family)} --dport ${port.port}`;
  }

  #frontends(plan: PortPlan, chains: ReturnType<typeof iptablesChains>): void {
    const { port } = plan;
    const { rules } = this.#nat;
    if (plan.internal === "forward")
      rules.push(
        `-A KUBE-SERVICES ${this.#to(port.clusterIP, port, "cluster IP")} -j ${port.internalLocal ? chains.local : chains.service}`,
      );
    if (plan.usesExternal) {
      for (const address of port.externalIPs)
        rules.push(`-A KUBE-SERVICES ${this.#to(address, port, "external IP")} -j ${chains.external}`);
      const target = plan.usesFirewall ? chains.firewall : chains.external;
      for (const address of port.loadBalancerIPs)
        rules.push(`-A KUBE-SERVICES ${this.#to(address, port, "loadbalancer IP")} -j ${target}`);
      if (port.nodePort !== 0)
        rules.push(
          `-A KUBE-NODEPORTS ${comment(port.fullName)} -m ${port.protocol} -p ${port.protocol} --dport ${port.nodePort} -j ${chains.external}`,
        );
    }
    if (plan.usesFirewall)
      for (const address of port.loadBalancerIPs)
        this.#filter.rules.push(
          `-A KUBE-PROXY-FIREWALL ${this.#to(address, port, `traffic not accepted by ${chains.firewall}`)} -j DROP`,
        );
    if (port.healthCheckNodePort !== 0)
      this.#filter.rules.push(
        `-A KUBE-NODEPORTS ${comment(`${port.fullName} health check node port`)} -m tcp -p tcp --dport ${port.healthCheckNodePort} -j ACCEPT`,
      );
  }

  #refusals({ port, internal, external }: PortPlan): void {
    const { rules } = this.#filter;
    const words = { reject: "has no endpoints", drop: "has no local endpoints" };
    const targets = { reject: "REJECT", drop: "DROP" };
    if (internal !== "forward")
      rules.push(
        `-A KUBE-SERVICES ${this.#to(port.clusterIP, port, words[internal])} -j ${targets[internal]}`,
      );
    if (external === "forward") return;
    for (const address of [...port.externalIPs, ...port.loadBalancerIPs])
      rules.push(
        `-A KUBE-EXTERNAL-SERVICES ${this.#to(address, port, words[external])} -j ${targets[external]}`,
      );
    if (port.nodePort !== 0)
      rules.push(
        `-A KUBE-EXTERNAL-SERVICES ${comment(`${port.fullName} ${words[external]}`)} -m addrtype --dst-type LOCAL -m ${port.protocol} -p ${port.protocol} --dport ${port.nodePort} -j ${targets[external]}`,
      );
  }

  #masqueradeClusterIp(port: ServicePort, chain: string): void {
    const { masqueradeAll, clusterCidr } = this.#settings;
    if (!masqueradeAll && clusterCidr === undefined) return;
    const from = masqueradeAll ? "" : ` ! -s ${clusterCidr}`;
    this.#nat.rules.push(
      `-A ${chain}${from} ${this.#to(port.clusterIP, port, "cluster IP")} -j KUBE-MARK-MASQ`,
    );
  }

  #external({ port, usesLocal }: PortPlan, chains: ReturnType<typeof iptablesChains>): void {
    const { rules, chains: names } = this.#nat;
    const { external, service, local } = chains;
    names.push(external);
    if (!port.externalLocal) {
      rules.push(
        `-A ${external} ${comment(`masquerade traffic for ${port.fullName} external destinations`)} -j KUBE-MARK-MASQ`,
        `-A ${external} -j ${service}`,
      );
      return;
    }
    const { clusterCidr } = this.#settings;
    if (clusterCidr !== undefined)
      rules.push(
        `-A ${external} -s ${clusterCidr} ${comment(`pod traffic for ${port.fullName} external destinations`)} -j ${service}`,
      );
    rules.push(
      `-A ${external} ${comment(`masquerade LOCAL traffic for ${port.fullName} external destinations`)} -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ`,
      `-A ${external} ${comment(`route LOCAL traffic for ${port.fullName} external destinations`)} -m addrtype --src-type LOCAL -j ${service}`,
    );
    if (usesLocal) rules.push(`-A ${external} -j ${local}`);
  }

  #sourceRanges(port: ServicePort, chains: ReturnType<typeof iptablesChains>): void {
    this.#nat.chains.push(chains.firewall);
    for (const source of allowedSources(port, this.#settings.node))
      this.#nat.rules.push(
        `-A ${chains.firewall} -s ${source} ${comment(`${port.fullName} loadbalancer IP`)} -j ${chains.external}`,
      );
    this.#nat.rules.push(
      `-A ${chains.firewall} ${comment(`other traffic to ${port.fullName} will be dropped by KUBE-PROXY-FIREWALL`)}`,
    );
  }

  /** One endpoint in n by chance, those with affinity to the client first. */
  #balance(port: ServicePort, chain: string, endpoints: readonly Endpoint[]): void {
    const { rules, chains } = this.#nat;
    chains.push(chain);
    const rule = (endpoint: Endpoint, match: string) => {
      const name = iptablesEndpointChain(port.fullName, port.protocol, endpoint.target);
      const words = comment(`${port.fullName} -> ${endpoint.target}`);
      return `-A ${chain} ${words}${match.replace("NAME", name)} -j ${name}`;
    };
    if (port.affinitySeconds > 0)
      for (const endpoint of endpoints)
        rules.push(
          rule(endpoint, ` -m recent --name NAME --rcheck --seconds ${port.affinitySeconds} --reap`),
        );
    endpoints.forEach((endpoint, index) => {
      const left = endpoints.length - index;
      const chance = left === 1 ? "" : ` -m statistic --mode random --probability ${(1 / left).toFixed(10)}`;
      rules.push(rule(endpoint, chance));
    });
  }

  #endpoint(port: ServicePort, endpoint: Endpoint): void {
    const name = iptablesEndpointChain(port.fullName, port.protocol, endpoint.target);
    const recent = port.affinitySeconds > 0 ? ` -m recent --name ${name} --set` : "";
    const { protocol } = port;
    this.#nat.chains.push(name);
    this.#nat.rules.push(
      `-A ${name} ${comment(port.fullName)} -s ${endpoint.address}/${bits(this.#settings.family)} -j KUBE-MARK-MASQ`,
      `-A ${name} ${comment(port.fullName)}${recent} -m ${protocol} -p ${protocol} -j DNAT --to-destination ${endpoint.target}`,
    );
  }
}
