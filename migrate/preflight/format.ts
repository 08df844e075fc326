// SPDX-License-Identifier: Apache-2.0
import type { Finding, Inventory, Severity } from "../model/inventory.ts";

const titles: Record<Severity, string> = { block: "BLOCKS", warn: "WARNING", info: "INFO" };

/** Names come from the cluster: nothing of them may steer a terminal. */
const printable = (text: string): string =>
  text.replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");

/** `2 block, 5 warnings, 4 notes`. */
export function countFindings(findings: readonly Finding[]): string {
  const count = (severity: Severity): number =>
    findings.filter((found) => found.severity === severity).length;
  const warnings = count("warn");
  const notes = count("info");
  return `${count("block")} block, ${warnings} warning${warnings === 1 ? "" : "s"}, ${notes} note${notes === 1 ? "" : "s"}`;
}

/** Breaks text into lines of at most `width` characters, at spaces. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

/** The findings for people: what, about what, and below it what to do. */
export function formatFindings(findings: readonly Finding[], width = 110): string {
  const indent = " ".repeat(9);
  const text = findings.map(({ id, severity, object, problem, remedy }) => {
    const inner = Math.max(40, width - indent.length);
    const body = wrap(printable(`${object}: ${problem}`), inner).join(`\n${indent}`);
    const what = wrap(printable(`→ ${remedy}`), inner).join(`\n${indent}  `);
    return `${titles[severity].padEnd(indent.length)}${body}\n${indent}${what}  [${id}]\n`;
  });
  return `${text.join("")}\n${countFindings(findings)}\n`;
}

/** The inventory for people, a fact a line. */
export function formatInventory(inventory: Inventory): string {
  return inventoryFacts(inventory)
    .map(([title, value]) => `${title.padEnd(16)}${printable(value)}\n`)
    .join("");
}

const number = (value: number): string => value.toLocaleString("en");

/** What is there, as pairs of title and text. */
export function inventoryFacts(inventory: Inventory): [string, string][] {
  const { network, kubeProxy, counts, details } = inventory;
  const controlPlanes = inventory.nodes.filter(({ roles }) => roles.includes("control-plane")).length;
  const others = Object.entries(counts.otherPolicies).map(([kind, count]) => `, ${number(count)} ${kind}`);
  const facts: [string, string | undefined][] = [
    ["Cluster", `${inventory.server}, Kubernetes ${inventory.serverVersion}`],
    ["Platform", `${inventory.platform} (${details?.network.platformEvidence ?? "not looked at"})`],
    [
      "Nodes",
      `${number(counts.nodes)} (${number(controlPlanes)} control plane), kernels ${kernels(inventory)}`,
    ],
    ["Pod network", networkText(inventory)],
    ["Pod ranges", network.podCIDRs.join(", ") || "not known"],
    [
      "Service ranges",
      `${inventory.serviceCIDRs.join(", ") || "not known"}${details?.network.serviceCIDRsEstimated === true ? " (estimated)" : ""}`,
    ],
    ["kube-proxy", `${kubeProxy.form}, mode ${kubeProxy.mode}${kubeProxy.disabled ? ", disabled" : ""}`],
    ["Services", servicesText(inventory)],
    [
      "Endpoints",
      `${number(counts.endpoints)} in ${number(counts.endpointSlices)} slices${details === undefined ? "" : `, about ${number(details.services.changesPerHour)} changes an hour`}`,
    ],
    [
      "Policies",
      `${number(counts.networkPolicies)} NetworkPolicies${others.join("")}; ${network.enforcesPolicy ? "" : "not "}enforced by ${network.kind}`,
    ],
    ["Pods", `${number(counts.pods)}, ${number(counts.podDisruptionBudgets)} PodDisruptionBudgets`],
    ["Drain concerns", concernsText(inventory)],
    ["Webhooks", `${number(inventory.webhooks.length)} in the way of pods, nodes or evictions`],
    ["Agent", inventory.agent === undefined ? "not installed" : `version ${inventory.agent.version}`],
    [
      "Not readable",
      details === undefined || details.gaps.length === 0
        ? undefined
        : details.gaps.map((gap) => gap.resource).join(", "),
    ],
  ];
  return facts.filter((fact): fact is [string, string] => fact[1] !== undefined);
}

function networkText({ network, details }: Inventory): string {
  const parts = [
    network.mode,
    network.encapsulation === "unknown" ? "" : `encapsulation ${network.encapsulation}`,
    network.port === undefined ? "" : `port ${network.port}`,
    network.mtu === undefined ? "" : `MTU ${network.mtu}`,
    network.device === undefined ? "" : `device ${network.device}`,
    details === undefined ? "" : `addresses by ${details.network.ipam}`,
    network.addressDetection === undefined ? "" : `node address by ${network.addressDetection}`,
  ].filter((part) => part !== "");
  const beside = details?.network.beside ?? [];
  return `${network.kind} (${parts.join(", ")})${beside.length > 0 ? `, beside it ${beside.join(", ")}` : ""}${details === undefined ? "" : `; ${details.network.evidence}`}`;
}

function servicesText({ counts, details }: Inventory): string {
  const services = details?.services;
  const parts: [number, string][] = [
    [counts.headlessServices, "headless"],
    [counts.nodePortServices, "NodePort"],
    [counts.loadBalancerServices, "LoadBalancer"],
    [services?.externalName ?? 0, "ExternalName"],
    [counts.externalIPServices, "with externalIPs"],
    [services?.externalTrafficLocal ?? 0, "externalTrafficPolicy Local"],
    [services?.internalTrafficLocal ?? 0, "internalTrafficPolicy Local"],
    [services?.sessionAffinity ?? 0, "session affinity"],
    [services?.topologyAware ?? 0, "topology aware"],
    [services?.sctp.count ?? 0, "SCTP"],
  ];
  const some = parts.filter(([count]) => count > 0).map(([count, title]) => `${number(count)} ${title}`);
  return `${number(counts.services)} with ${number(services?.ports ?? 0)} ports${some.length > 0 ? ` (${some.join(", ")})` : ""}`;
}

function kernels({ nodes }: Inventory): string {
  const versions = [...new Set(nodes.map(({ kernel }) => kernel))].sort();
  return versions.length > 3 ? `${versions[0]} to ${versions.at(-1)}` : versions.join(", ");
}

function concernsText({ drain }: Inventory): string {
  const counts = new Map<string, number>();
  for (const { concerns } of drain)
    for (const concern of concerns) counts.set(concern, (counts.get(concern) ?? 0) + 1);
  if (counts.size === 0) return "none";
  return [...counts]
    .sort((a, b) => b[1] - a[1])
    .map(([concern, count]) => `${number(count)} ${concern}`)
    .join(", ");
}
