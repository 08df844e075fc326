// SPDX-License-Identifier: Apache-2.0
// The CNI plugin imports this, so it starts programs itself.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { runProgram } from "../cni-call.ts";
import { type FirewallTable, firewallChanges } from "../firewall-changes.ts";
import { endpointsDir, policyFile, vxlanPort } from "./names.ts";
import type { EndpointPolicies, PolicyChains } from "./policies.ts";
import { chainOf, says } from "./rule-text.ts";

/** A pod's interface on this node. */
export interface Endpoint {
  name: string;
  namespace: string;
}

const accepted = "0x10000/0x10000";

const unknown: PolicyChains = { name: "cali-pi-_unknown", chains: { "cali-pi-_unknown": [] } };

/** Dispatch to every endpoint's own chains; what comes from or goes to an unknown interface is dropped. */
export function endpointTable(
  endpoints: readonly Endpoint[],
  policies: EndpointPolicies = {},
): FirewallTable {
  const sorted = [...endpoints].sort((a, b) => (a.name < b.name ? -1 : 1));
  const dispatch = (flag: "-i" | "-o", prefix: string) => [
    ...sorted.map(({ name }) => `${flag} ${name} % -g ${prefix}${name}`),
    `% ${says("Unknown interface")} -j DROP`,
  ];
  const chains = {
    ...chainOf("cali-from-wl-dispatch", dispatch("-i", "cali-fw-")),
    ...chainOf("cali-to-wl-dispatch", dispatch("-o", "cali-tw-")),
  };
  for (const { name, namespace } of sorted) {
    const profile = `kns.${namespace}`;
    // As with Felix, a pod reaches nobody before its policies are known.
    const { ingress = [], egress = [] } = policies[name] ?? { ingress: [unknown], egress: [unknown] };
    for (const one of [...ingress, ...egress])
      for (const [chain, rules] of Object.entries(one.chains)) Object.assign(chains, chainOf(chain, rules));
    Object.assign(
      chains,
      chainOf(`cali-fw-${name}`, endpointRules(profileChain("cali-pro-", profile), egress, true)),
      chainOf(`cali-tw-${name}`, endpointRules(profileChain("cali-pri-", profile), ingress, false)),
      chainOf(profileChain("cali-pro-", profile), profileRules(profile, "egress")),
      chainOf(profileChain("cali-pri-", profile), profileRules(profile, "ingress")),
    );
  }
  const ownPrefixes = ["cali-fw-", "cali-tw-", "cali-pro-", "cali-pri-", "cali-po-", "cali-pi-"];
  return { table: "filter", chains, hooks: [], ownPrefixes };
}

function endpointRules(profile: string, policies: readonly PolicyChains[], isEgress: boolean): string[] {
  const drop = says("Drop VXLAN encapped packets originating in workloads");
  return [
    "% -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "% -m conntrack --ctstate INVALID -j DROP",
    `% -j MARK --set-xmark 0x0/0x10000`,
    ...(isEgress ? [`-p udp % ${drop} -m multiport --dports ${vxlanPort} -j DROP`] : []),
    ...(policies.length > 0 ? policyRules(policies) : namespaceRules(profile)),
  ];
}

/** Of policies one must accept; profiles are not asked then. */
const policyRules = (policies: readonly PolicyChains[]): string[] => [
  ...policies.flatMap(({ name }) => [
    `% -j ${name}`,
    `% ${says("Return if policy accepted")} -m mark --mark ${accepted} -j RETURN`,
  ]),
  `% ${says("Drop if no policies passed packet")} -j DROP`,
];

const namespaceRules = (profile: string): string[] => [
  `% -j ${profile}`,
  `% ${says("Return if profile accepted")} -m mark --mark ${accepted} -j RETURN`,
  `% ${says("Drop if no profiles matched")} -j DROP`,
];

function profileRules(profile: string, direction: string): string[] {
  return [
    `% ${says(`Profile ${profile} ${direction}`)} -j MARK --set-xmark ${accepted}`,
    `% -m mark --mark ${accepted} -j RETURN`,
  ];
}

/** The kernel allows 28 characters. */
function profileChain(prefix: string, profile: string): string {
  const name = prefix + profile;
  if (name.length <= 28) return name;
  return `${prefix}_${createHash("sha256").update(profile).digest("base64url").slice(0, 18)}`;
}

/** Endpoints that the plugin has told of and whose interface is there. */
export function readEndpoints(): Endpoint[] {
  if (!existsSync(endpointsDir)) return [];
  return readdirSync(endpointsDir)
    .filter((name) => existsSync(`/sys/class/net/${name}`))
    .map((name) => ({ name, namespace: readFileSync(path.join(endpointsDir, name), "utf8") }));
}

/** What calico-node has told last. */
const readPolicies = (): EndpointPolicies =>
  existsSync(policyFile) ? JSON.parse(readFileSync(policyFile, "utf8")) : {};

/** Brings the endpoints' chains in line. To be called with the lock held. */
export function syncEndpointRules(): void {
  const saved = runProgram("iptables-save", ["-t", "filter"]);
  const input = firewallChanges(endpointTable(readEndpoints(), readPolicies()), saved);
  if (input !== "") runProgram("iptables-restore", ["--noflush"], input);
}
