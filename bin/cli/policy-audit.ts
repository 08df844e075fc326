// SPDX-License-Identifier: Apache-2.0
import type { DenialView } from "../../agent/policy/denials.ts";
import type { KubeTarget } from "../../lib/kube-connect.ts";
import { type AskedNode, checkAnswers, chosenNodes, withAgents } from "./agents.ts";
import type { CliEnv } from "./env.ts";
import { checkOutput } from "./options.ts";
import { print } from "./print.ts";
import { textTable } from "./text-table.ts";

export interface AuditFlags extends KubeTarget {
  namespace?: string;
  node?: string;
  denied?: boolean;
  output?: string;
}

/** What a node's record has, and where. */
export type NodeDenial = { node: string } & DenialView;

/** `shunt policy audit-report`. */
export async function auditReport(env: CliEnv, flags: AuditFlags): Promise<void> {
  checkOutput(flags.output, ["json", "yaml"]);
  await withAgents<DenialView[]>(env, flags, "/policy/denials", async ({ installation, ask }) => {
    const found: NodeDenial[] = [];
    const asked = await ask(chosenNodes(installation, flags.node), {}, ({ name }, denials) => {
      for (const denial of denials) if (isWanted(denial, flags)) found.push({ node: name, ...denial });
    });
    const denials = found.toSorted((a, b) => (a.lastSeen < b.lastSeen ? 1 : -1));
    const nodes = asked.map(({ name, error }) => ({ name, ...(error === undefined ? {} : { error }) }));
    await print(env, flags.output, { nodes, denials }, () => formatDenials(denials, nodes));
    checkAnswers(asked);
  });
}

const isWanted = ({ pod, verdict }: DenialView, { namespace, denied }: AuditFlags): boolean =>
  (verdict === "audited" || denied === true) && (namespace === undefined || pod.startsWith(`${namespace}/`));

/** The records for people: one line for each kind of connection of a node. */
export function formatDenials(
  denials: readonly NodeDenial[],
  nodes: readonly Pick<AskedNode, "name" | "error">[],
): string {
  const rows = denials.map(({ node, pod, direction, peer, port, verdict, packets, lastSeen, rule }) => [
    ...[node, verdict, pod, `${direction === "ingress" ? "from" : "to"} ${peer.name}`, peer.address, port],
    ...[String(packets), lastSeen.slice(0, 19).replace("T", " "), rule],
  ]);
  const heads = ["NODE", "VERDICT", "POD", "PEER", "ADDRESS", "PORT", "PACKETS", "LAST SEEN (UTC)", "WHY"];
  const answered = nodes.filter(({ error }) => error === undefined).length;
  const count = (number: number, one: string): string => `${number} ${one}${number === 1 ? "" : "s"}`;
  const pods = count(new Set(denials.map(({ pod }) => pod)).size, "pod");
  const summary =
    denials.length === 0
      ? `Nothing on ${count(answered, "node")}.`
      : `${count(denials.length, "connection")} by pod, peer and port, of ${pods} on ${count(answered, "node")}.`;
  return `${[...(rows.length === 0 ? [] : [...textTable(heads, rows), ""]), summary].join("\n")}\n`;
}
