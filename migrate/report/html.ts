// SPDX-License-Identifier: Apache-2.0

/** Text that is HTML already: made by `html` alone, so that nothing else reaches the page unescaped. */
export class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Part = string | number | Markup | undefined | readonly Part[];

const entities: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
  "`": "&#96;",
};

/** Control characters, and those that turn the direction of text around: they could make a name look like another. */
const deceiving =
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Text that cannot be anything but text, in an element or in a quoted attribute. */
export function escapeHtml(text: string): string {
  return text
    .replace(deceiving, "\ufffd")
    .toWellFormed()
    .replace(/[&<>"'`]/g, (character) => entities[character]!);
}

function render(part: Part): string {
  if (part === undefined) return "";
  if (part instanceof Markup) return part.text;
  if (typeof part === "string" || typeof part === "number") return escapeHtml(String(part));
  return part.map(render).join("");
}

/** Template tag: the template is HTML, what is put into it is text, unless it is Markup. */
export function html(strings: TemplateStringsArray, ...parts: Part[]): Markup {
  return new Markup(strings.map((text, index) => text + render(parts[index])).join(""));
}

/** Cuts what is too long for a page; the JSON has all of it. */
export function shorten(text: string, length = 300): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}
