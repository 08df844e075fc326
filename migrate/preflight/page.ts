// SPDX-License-Identifier: Apache-2.0
import { VERSION } from "../../lib/version.ts";
import type { Finding, Inventory, Severity } from "../model/inventory.ts";
import { html, Markup } from "../report/html.ts";
import { style } from "../report/style.ts";
import { table } from "../report/table.ts";
import { countFindings, inventoryFacts } from "./format.ts";

const words: Record<Severity, { title: string; look: string }> = {
  block: { title: "blocks", look: "state-bad" },
  warn: { title: "warning", look: "" },
  info: { title: "note", look: "state-soft" },
};

/** A page that needs nothing else: the inventory, and the findings if there was a preflight. */
export function findingsPage(inventory: Inventory, findings?: readonly Finding[]): string {
  const title = findings === undefined ? "Inventory" : "Preflight";
  const page = html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${title}: ${inventory.server}</title><style>${new Markup(style)}</style></head><body><main>
<h1>${title} of ${inventory.server}</h1>
${findings === undefined ? undefined : verdict(findings)}
<h2>What is there</h2>
${table([{ title: "" }, { title: "" }], inventoryFacts(inventory))}
${findings === undefined ? undefined : section(findings)}
${nodes(inventory)}
<footer>shunt ${VERSION}, read at ${inventory.takenAt}; nothing was changed.</footer>
</main></body></html>
`;
  return page.text;
}

function verdict(findings: readonly Finding[]): Markup {
  const blocks = findings.some(({ severity }) => severity === "block");
  const tone = blocks ? "bad" : "good";
  return html`<div class="result ${tone}"><strong>${blocks ? "Something blocks the migration" : "Nothing blocks the migration"}</strong><p>${countFindings(findings)}</p></div>`;
}

function section(findings: readonly Finding[]): Markup {
  const rows = findings.map(({ id, severity, object, problem, remedy }) => [
    html`<span class="${words[severity].look}">${words[severity].title}</span>`,
    object,
    problem,
    remedy,
    id,
  ]);
  const columns = ["Severity", "Object", "Problem", "Remedy", "Id"].map((title) => ({ title }));
  return html`<h2>Findings</h2>${table(columns, rows)}`;
}

const most = 1000;

function nodes({ nodes: list }: Inventory): Markup {
  const rows = list
    .slice(0, most)
    .map((node) => [
      node.name,
      node.roles.join(", "),
      node.ready ? "yes" : "no",
      node.kernel,
      node.osImage,
      node.runtime,
      node.podCIDRs.join(", "),
      node.networkedPods,
    ]);
  const titles = ["Node", "Role", "Ready", "Kernel", "System", "Runtime", "Pod CIDRs"];
  const columns = [
    ...titles.map((title) => ({ title })),
    { title: "Pods with a network", kind: "n" as const },
  ];
  const rest =
    list.length > most
      ? html`<p class="note">${list.length - most} more nodes are in the JSON.</p>`
      : undefined;
  return html`<h2>Nodes</h2>${table(columns, rows)}${rest}`;
}
