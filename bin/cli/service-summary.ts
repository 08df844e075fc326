// SPDX-License-Identifier: Apache-2.0
import type { FrontendView, ServiceView } from "../../agent/service-reader.ts";
import { hostPort } from "../../lib/addresses.ts";
import type { AskedNode } from "./agents.ts";
import { textTable } from "./text-table.ts";

/** One port of a Service over all nodes that were asked. */
export interface ServiceSummary
  extends Pick<
    ServiceView,
    | "kind"
    | "namespace"
    | "name"
    | "portName"
    | "protocol"
    | "family"
    | "connections"
    | "refused"
    | "affinitySeconds"
    | "tableSize"
    | "sourceRanges"
  > {
  frontends: Omit<FrontendView, "nodeAddresses">[];
  /** Of either policy. */
  backends: { address: string; port: number; connections: number }[];
  /** Nodes that have it in their maps. */
  nodes: string[];
  /** In what nodes differ, and on which it is not programmed. */
  differences: string[];
  problems: string[];
}

/** What should be the same on every node. */
type Aspects = Record<"addresses" | "backends" | "affinity" | "table" | "source ranges", string[]>;

interface Total {
  summary: ServiceSummary;
  frontends: Map<string, Omit<FrontendView, "nodeAddresses">>;
  backends: Map<string, ServiceSummary["backends"][number]>;
  variants: Map<string, { aspects: Aspects; nodes: string[] }>;
}

const mostNames = 5;

/** What a frontend is called: its address and port, or for all addresses of a node the port alone. */
export const frontendText = ({ address, port }: Pick<FrontendView, "address" | "port">): string =>
  address === "0.0.0.0" || address === "::" ? `*:${port}` : hostPort(address, port);

/** What a service is called: `default/web:http/TCP/ipv4`. */
export function serviceTitle(service: Omit<ServiceView, "frontends"> | ServiceSummary): string {
  const { kind, namespace, name, portName, protocol, family } = service;
  if (kind === "unknown") return `(not known to the agent) ${protocol}/${family}`;
  return `${kind === "Pod" ? "pod " : ""}${namespace}/${name}:${portName}/${protocol}/${family}`;
}

function aspectsOf({ frontends, backends, affinitySeconds, tableSize, sourceRanges }: ServiceView): Aspects {
  return {
    addresses: frontends.map((one) => [frontendText(one), ...one.flags].join(", ")),
    backends: backends
      .filter(({ policy }) => policy !== "local")
      .map(({ address, port }) => hostPort(address, port)),
    affinity: [`${affinitySeconds} s`],
    table: [`${tableSize} entries`],
    "source ranges": sourceRanges,
  };
}

/** Adds up what nodes answer, one after the other. */
export class ServiceTotals {
  readonly #totals = new Map<string, Total>();
  readonly #expected: string[] = [];

  /** Nodes that answered and are to have Services. */
  get expected(): number {
    return this.#expected.length;
  }

  add(node: AskedNode, services: readonly ServiceView[]): void {
    if (node.services !== "off") this.#expected.push(node.name);
    for (const view of services) {
      // What has no name is known by its addresses.
      const key =
        view.kind === "unknown"
          ? JSON.stringify(aspectsOf(view).addresses)
          : `${view.kind} ${serviceTitle(view)}`;
      const total = this.#totals.get(key) ?? emptyTotal(view);
      this.#totals.set(key, total);
      addView(total, node.name, view);
    }
  }

  list(): ServiceSummary[] {
    const order = ({ namespace, name, portName, protocol, family }: ServiceSummary): string =>
      [namespace, name, portName, protocol, family].join("\0");
    return [...this.#totals.values()]
      .map((total) => this.#summary(total))
      .toSorted((a, b) => (order(a) < order(b) ? -1 : 1));
  }

  #summary({ summary, frontends, backends, variants }: Total): ServiceSummary {
    const has = new Set(summary.nodes);
    const lacking = summary.kind === "Service" ? this.#expected.filter((name) => !has.has(name)) : [];
    return {
      ...summary,
      nodes: summary.nodes.toSorted(),
      frontends: [...frontends.values()],
      backends: [...backends.values()],
      differences: [
        ...(lacking.length === 0 ? [] : [`not programmed on ${someOf(lacking.toSorted())}`]),
        ...differencesOf([...variants.values()]),
      ],
    };
  }
}

function emptyTotal(view: ServiceView): Total {
  const { kind, namespace, name, portName, protocol, family, affinitySeconds, tableSize, sourceRanges } =
    view;
  const names = { kind, namespace, name, portName, protocol, family };
  const empty = {
    connections: 0,
    refused: 0,
    frontends: [],
    backends: [],
    nodes: [],
    differences: [],
    problems: [],
  };
  return {
    summary: { ...names, affinitySeconds, tableSize, sourceRanges, ...empty },
    frontends: new Map(),
    backends: new Map(),
    variants: new Map(),
  };
}

function addView({ summary, frontends, backends, variants }: Total, node: string, view: ServiceView): void {
  for (const problem of view.problems) summary.problems.push(`${node}: ${problem}`);
  if (view.id === 0) return;
  summary.nodes.push(node);
  summary.connections += view.connections;
  summary.refused += view.refused;
  for (const { nodeAddresses: _, ...frontend } of view.frontends)
    frontends.set(frontendText(frontend), frontend);
  for (const { address, port, connections } of view.backends) {
    const key = hostPort(address, port);
    const seen = backends.get(key) ?? { address, port, connections: 0 };
    seen.connections += connections;
    backends.set(key, seen);
  }
  const aspects = aspectsOf(view);
  const key = JSON.stringify(aspects);
  const variant = variants.get(key) ?? { aspects, nodes: [] };
  variant.nodes.push(node);
  variants.set(key, variant);
}

/** How nodes differ from what most of them have. */
function differencesOf(variants: readonly { aspects: Aspects; nodes: string[] }[]): string[] {
  if (variants.length < 2) return [];
  return Object.keys(variants[0]!.aspects).flatMap((name) => {
    const values = new Map<string, { value: string[]; nodes: string[] }>();
    for (const { aspects, nodes } of variants) {
      const value = aspects[name as keyof Aspects];
      const key = value.toSorted().join(" ");
      values.set(key, { value, nodes: [...(values.get(key)?.nodes ?? []), ...nodes] });
    }
    const [usual, ...others] = [...values.values()].toSorted((a, b) => b.nodes.length - a.nodes.length);
    return others.map(({ value, nodes }) => {
      const more = value.filter((item) => !usual!.value.includes(item));
      const less = usual!.value.filter((item) => !value.includes(item));
      const parts = [
        ...(more.length === 0 ? [] : [`with ${someOf(more)}`]),
        ...(less.length === 0 ? [] : [`without ${someOf(less)}`]),
      ];
      return `${name}: ${someOf(nodes.toSorted())} ${parts.join(", ")}`;
    });
  });
}

/** The first of them, and how many more there are. */
function someOf(items: readonly string[], most = mostNames): string {
  const shown = items.slice(0, most).join(", ");
  return items.length <= most ? shown : `${shown} and ${items.length - most} more`;
}

/** The list for people. */
export function formatSummaries(
  summaries: readonly ServiceSummary[],
  options: { wide: boolean; expected: number },
): string {
  if (summaries.length === 0) return "No Services are in the maps.\n";
  const { wide, expected } = options;
  const heads = ["NAMESPACE", "NAME", "PORT", "PROTOCOL", "FRONTENDS", "BACKENDS", "CONNECTIONS", "REFUSED"];
  const rows = summaries.map((summary) => {
    const { kind, namespace, name, protocol, backends, connections, refused, nodes, differences } = summary;
    const frontends = summary.frontends.map(frontendText);
    const more = frontends.length > 1 ? ` +${frontends.length - 1}` : "";
    const isFlagged = differences.length > 0 || summary.problems.length > 0;
    const row = [
      namespace || "-",
      kind === "unknown" ? "(unknown)" : kind === "Pod" ? `pod/${name}` : name,
      portText(summary),
      protocol,
      frontends.length === 0 ? "-" : wide ? frontends.join(",") : `${frontends[0]}${more}`,
      String(backends.length),
      String(connections),
      String(refused),
      `${kind === "Service" ? `${nodes.length}/${expected}` : nodes.length}${isFlagged ? " !" : ""}`,
    ];
    if (!wide) return row;
    const { family, affinitySeconds, tableSize, sourceRanges } = summary;
    const addresses = backends.map(({ address, port }) => hostPort(address, port));
    return [
      ...row,
      ...[family, affinitySeconds === 0 ? "-" : `${affinitySeconds} s`, String(tableSize)],
      ...[someOf(sourceRanges) || "-", someOf(addresses) || "-"],
    ];
  });
  const wideHeads = wide ? ["FAMILY", "AFFINITY", "TABLE", "SOURCE RANGES", "BACKEND ADDRESSES"] : [];
  const lines = textTable([...heads, "NODES", ...wideHeads], rows);
  return `${[...lines, ...notesOf(summaries)].join("\n")}\n`;
}

function portText({ portName, frontends }: ServiceSummary): string {
  const port = frontends[0]?.port ?? "-";
  return portName === "" ? String(port) : `${portName}:${port}`;
}

function notesOf(summaries: readonly ServiceSummary[]): string[] {
  const notes = summaries.flatMap((summary) => {
    const lines = [...summary.differences, ...summary.problems];
    return lines.length === 0 ? [] : [`  ${serviceTitle(summary)}`, ...lines.map((line) => `    ${line}`)];
  });
  return notes.length === 0 ? [] : ["", "Differences and problems (!):", ...notes];
}
