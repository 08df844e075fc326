// SPDX-License-Identifier: Apache-2.0
import type { FrontendView, ServiceView } from "../../agent/service-reader.ts";
import { hostPort } from "../../lib/addresses.ts";
import { frontendText, type ServiceSummary, serviceTitle } from "./service-summary.ts";
import { textTable } from "./text-table.ts";

/** A service as one node has it. */
export type NodeService = { node: string } & ServiceView;

/** One Service for people: each of its ports, with each backend's counters on each node. */
export function formatDetails(
  summaries: readonly ServiceSummary[],
  services: readonly NodeService[],
): string {
  const byTitle = Map.groupBy(services, (service) => serviceTitle(service));
  return `${summaries
    .map((summary) => {
      const title = serviceTitle(summary);
      return [
        title,
        ...headOf(summary),
        "",
        ...nodeLines(byTitle.get(title) ?? []),
        ...notesOf(summary),
      ].join("\n");
    })
    .join("\n\n")}\n`;
}

function headOf(summary: ServiceSummary): string[] {
  const { connections, refused, nodes, affinitySeconds, tableSize, sourceRanges } = summary;
  const rows: [string, string][] = [
    ...summary.frontends.map((frontend): [string, string] => [frontend.kind, describe(frontend)]),
    ["affinity", affinitySeconds === 0 ? "" : `a client stays with its backend for ${affinitySeconds} s`],
    ["table", tableSize === 0 ? "" : `${tableSize} entries`],
    ["source ranges", sourceRanges.join(", ")],
    ["connections", `${connections} on ${nodes.length} nodes, and ${refused} refused`],
  ];
  const shown = rows.filter(([, text]) => text !== "");
  const width = Math.max(...shown.map(([name]) => name.length));
  return shown.map(([name, text]) => `  ${name.padEnd(width)}  ${text}`);
}

const describe = (frontend: Omit<FrontendView, "nodeAddresses">): string =>
  [frontendText(frontend), ...frontend.flags].join(", ");

function nodeLines(services: readonly NodeService[]): string[] {
  const rows = services.flatMap(({ node, backends, tableSize, refused }) => [
    ...backends.map(({ address, port, policy, tableEntries, connections }) => [
      ...[node, hostPort(address, port), policy],
      tableSize === 0 || policy === "local" ? "" : `${((100 * tableEntries) / tableSize).toFixed(1)} %`,
      String(connections),
    ]),
    ...(refused > 0 || backends.length === 0 ? [[node, "none: refused", "", "", String(refused)]] : []),
  ]);
  return textTable(["NODE", "BACKEND", "POLICY", "TABLE", "CONNECTIONS"], rows).map((line) => `  ${line}`);
}

const notesOf = ({ differences, problems }: ServiceSummary): string[] =>
  [...differences, ...problems].map((note, index) => `${index === 0 ? "\n" : ""}  ! ${note}`);
