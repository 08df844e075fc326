// SPDX-License-Identifier: Apache-2.0
import { formatCount } from "./format.ts";
import { html, Markup } from "./html.ts";

export type Cell = string | number | Markup;

export interface Column {
  title: string;
  /** n: a number, to the right; t: a time, in one line. */
  kind?: "n" | "t";
}

/** Cells are closed by the next one, as HTML allows: a table of thousands of rows is a third smaller so. */
export function table(columns: readonly Column[], rows: readonly (readonly Cell[])[]): Markup {
  const open = (tag: "th" | "td", kind: Column["kind"]): Markup =>
    new Markup(kind === undefined ? `<${tag}>` : `<${tag} class=${kind}>`);
  const head = columns.map(({ title, kind }) => html`${open("th", kind)}${title}`);
  const openCells = columns.map(({ kind }) => open("td", kind));
  const body = rows.map((row) => html`<tr>${row.map((cell, index) => html`${openCells[index]}${cell}`)}\n`);
  return html`<div class="scroll" tabindex="0"><table><thead><tr>${head}<tbody>\n${body}</table></div>`;
}

/** Rows for a page, and the sentence about those that are left out. */
export function limited<Item>(
  items: readonly Item[],
  limit: number,
): { shown: readonly Item[]; note: Markup } {
  if (items.length <= limit) return { shown: items, note: html`` };
  const left = formatCount(items.length - limit);
  return {
    shown: items.slice(0, limit),
    note: html`<p class="note">${formatCount(limit)} of ${formatCount(items.length)} are shown; the other ${left} are in report.json.</p>`,
  };
}
